"""One configuration per fresh process, JSON in and out, medians of several runs."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

__all__ = ["cpu_of_all", "main_of_cell", "measure", "median", "report", "run_cell", "steady"]


def run_cell(
    script: str, config: dict[str, Any], timeout: float = 120, python: str = sys.executable
) -> dict[str, Any]:
    """Run one configuration in a process of its own.

    Args:
        script: the benchmark.
        config: what its `run` gets.
        timeout: seconds after which the process is killed with all that it started.
        python: the interpreter that has what the configuration needs.

    Returns:
        What the cell found, with its configuration; ``error`` where it failed.
    """
    process = subprocess.Popen(
        [python, script, "--cell", json.dumps(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that a hanging peer can be ended with all its children
    )
    try:
        out, err = process.communicate(timeout=timeout)
        lines = [line for line in out.splitlines() if line.startswith("{")]
        found = json.loads(lines[-1]) if lines else {"error": err.strip()[-500:] or "no output"}
    except subprocess.TimeoutExpired:
        found = {"error": f"no result within {timeout:g} s"}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return {**config, **found}


def measure(
    script: str, configs: Iterable[dict[str, Any]], runs: int, what: str
) -> list[list[dict[str, Any]]]:
    """Each configuration `runs` times, in turn, so that drift of the machine hits all alike."""
    from tqdm import tqdm  # not for cells: a peer's interpreter need not have it

    configs = list(configs)
    found: list[list[dict[str, Any]]] = [[] for _ in configs]
    with tqdm(total=runs * len(configs), desc=what, unit="cell") as bar:
        for _ in range(runs):
            for place, config in enumerate(configs):
                found[place].append(run_cell(script, config))
                bar.update()
    return found


def median(cells: list[dict[str, Any]], key: str = "rate") -> float:
    """The median over runs; 0 where any run failed."""
    return statistics.median(cell.get(key, 0.0) for cell in cells)


def steady(
    stream: Iterable[Any],
    see: Callable[[Any], None],
    *,
    warm: int,
    stop: int,
    warm_seconds: float = 1.0,
    seconds: float = 4.0,
) -> dict[str, Any]:
    """Time a stream once it flows: what starting its workers takes does not count.

    Args:
        stream: what is timed.
        see: called with every item.
        warm: the clock starts after so many items, or `warm_seconds` after the first one.
        stop: the clock stops after so many items, those before it started included, or `seconds`
            after it did.

    Returns:
        ``items`` and ``seconds`` on the clock; meanwhile ``cpu_seconds`` of this process (all its
        threads) and ``cpu_of_all``, its workers included; and ``seen``, all items.
    """
    iterator = iter(stream)
    for item in islice(iterator, 1):
        see(item)
    seen = 1 + _drive(iterator, see, warm - 1, warm_seconds)
    of_all = cpu_of_all()
    begun, cpu = perf_counter(), process_time()
    items = _drive(iterator, see, stop - seen, seconds)
    return {
        "items": items,
        "seconds": perf_counter() - begun,
        "cpu_seconds": process_time() - cpu,
        "cpu_of_all": cpu_of_all() - of_all,
        "seen": seen + items,
    }


def cpu_of_all() -> float:
    """Seconds of the processor's time that this cell's processes have used, the ended included.

    They are those of its session (see `run_cell`). Other than the clock, this hardly depends on
    what else the machine does. 0 where there is no /proc.
    """
    session = str(os.getsid(0))
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            words = path.read_text().rpartition(")")[2].split()
            if words[3] == session:
                ticks += sum(map(int, words[11:15]))  # user, system; and those of ended children
    return ticks / os.sysconf("SC_CLK_TCK")


def _drive(iterator: Iterator[Any], see: Callable[[Any], None], most: int, seconds: float) -> int:
    end = perf_counter() + seconds
    count = 0
    for count, item in enumerate(islice(iterator, max(0, most)), 1):  # noqa: B007 - the last one
        see(item)
        if perf_counter() > end:
            break
    return count


def main_of_cell(run: Callable[[dict[str, Any]], dict[str, Any]], config: str) -> None:
    """Run a cell, print its result, and leave at once: some peers hang when they exit."""
    print(json.dumps(run(json.loads(config))), flush=True)
    if os.getpgrp() == os.getpid():  # as `run_cell` starts it
        os.killpg(0, signal.SIGKILL)  # children that a peer left would keep the output open
    os._exit(0)


def report(name: str, result: dict[str, Any], folder: Path) -> Path:
    """Write a result with what it was measured on."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    host = {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    path.write_text(json.dumps({"host": host, **result}, indent=1) + "\n")
    return path
