"""Scripts of users that end in every way there is: nothing of theirs may be left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import patient

PREFIX = """
import os, sys, time
import dataflow as df
def work(dp):
    time.sleep(0.01)
    return [dp[0], os.getpid()]
ds = df.PrefetchDataZMQ(df.DataFromList([[i] for i in range(100000)]).map(work), 3)
iterator = iter(ds)
pids = {next(iterator)[1] for _ in range(100)}
print(*pids, flush=True)
"""


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Where scripts have their temporary files, too: in a long one there would be no sockets."""
    with tempfile.TemporaryDirectory(prefix="endings-", dir="/tmp") as folder:
        yield Path(folder)


def start(tmp_path: Path, script: str, **options) -> tuple[subprocess.Popen[str], set[int]]:
    """Run a script up to the point where it has told its workers."""
    path = tmp_path / "script.py"
    path.write_text(PREFIX + script)
    process = subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        **options,
    )
    assert process.stdout is not None
    pids = set(map(int, process.stdout.readline().split()))
    assert pids, process.communicate()[1]
    return process, pids


def gone(pids: set[int], within: float) -> bool:
    end = time.monotonic() + patient(within)
    while any(_alive(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def folders(tmp_path: Path) -> list[Path]:
    return list(tmp_path.glob("dataflow-*"))


def finish(process: subprocess.Popen[str], timeout: float) -> tuple[int, str]:
    _, err = process.communicate(timeout=patient(timeout))
    return process.returncode, err


def test_a_script_without_a_main_guard_with_lambdas_and_closures(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def triple(x):\n    return 3 * x\n")
    (tmp_path / "script.py").write_text(
        "import dataflow as df, beside\n"
        "class Point:\n"
        "    def __init__(self, x): self.x = x\n"
        "def make(offset):\n"
        "    return lambda dp: [Point(beside.triple(dp[0]) + offset)]\n"
        "ds = df.PrefetchDataZMQ(df.DataFromList([[1], [2], [3]]).map(make(10)), 2)\n"
        "print(sorted(dp[0].x for dp in ds))\n"
        "print(all(isinstance(dp[0], Point) for dp in ds))\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=patient(60),
    )
    assert done.stdout == "[13, 16, 19]\nTrue\n", done.stderr
    assert done.returncode == 0 and not done.stderr


def test_a_script_with_a_cached_function(tmp_path: Path) -> None:
    """`lru_cache` makes objects that no pickler takes by value; it may also call itself."""
    (tmp_path / "script.py").write_text(
        "import dataflow as df\n"
        "from functools import lru_cache\n"
        "@lru_cache(maxsize=3)\n"
        "def fibonacci(n): return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)\n"
        "def work(dp): return [fibonacci(dp[0]), fibonacci.cache_info().maxsize]\n"
        "ds = df.MapData(df.DataFromList([[i] for i in range(30)], shuffle=False), work)\n"
        "print(*list(df.PrefetchDataZMQ(ds, 1, ordered=True))[-1])\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=patient(60),
    )
    assert (done.returncode, done.stdout) == (0, "514229 3\n"), done.stderr


def test_standard_input_of_a_pipe(tmp_path: Path) -> None:
    """A script that has no file."""
    script = (
        "import dataflow as df\n"
        "ds = df.PrefetchDataZMQ(df.DataFromList([[1], [2]]).map(lambda dp: [dp[0] + 1]))\n"
        "print(sorted(dp[0] for dp in ds))\n"
    )
    done = subprocess.run(
        [sys.executable, "-"],
        input=script,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=patient(60),
    )
    assert done.stdout == "[2, 3]\n", done.stderr


def test_kill_9_of_the_main_process(tmp_path: Path) -> None:
    process, pids = start(tmp_path, "for dp in iterator: pass")
    process.kill()
    process.wait()
    assert gone(pids, 2.0)
    assert not folders(tmp_path)
    finish(process, 5)


def test_kill_9_of_the_main_process_while_a_worker_is_stopped(tmp_path: Path) -> None:
    process, pids = start(tmp_path, "for dp in iterator: pass")
    os.kill(min(pids), signal.SIGSTOP)
    process.kill()
    process.wait()
    assert gone(pids, 2.0)
    finish(process, 5)


def test_sigterm_to_the_main_process(tmp_path: Path) -> None:
    process, pids = start(tmp_path, "for dp in iterator: pass")
    process.terminate()
    status, _ = finish(process, 5)
    assert status in (143, -15) and gone(pids, 2.0) and not folders(tmp_path)


def test_sigint_to_the_whole_group(tmp_path: Path) -> None:
    """As Ctrl-C in a terminal does."""
    process, pids = start(tmp_path, "for dp in iterator: pass", start_new_session=True)
    os.killpg(process.pid, signal.SIGINT)
    status, err = finish(process, 5)
    assert gone(pids, 2.0) and not folders(tmp_path)
    assert "KeyboardInterrupt" in err and err.count("Traceback") == 1, err
    assert status in (1, 130, -2)


def test_an_iterator_kept_alive_by_a_traceback(tmp_path: Path) -> None:
    script = """
kept = iterator
try:
    for dp in kept:
        raise ValueError("in the loop")
except ValueError as error:
    sys.last_value = error
"""
    process, pids = start(tmp_path, script)
    status, err = finish(process, 3)
    assert status == 0 and not err and gone(pids, 0.5) and not folders(tmp_path)


def test_an_exception_in_the_loop(tmp_path: Path) -> None:
    process, pids = start(tmp_path, "for dp in iterator: raise ValueError('in the loop')")
    status, err = finish(process, 3)
    assert status == 1 and "in the loop" in err
    assert gone(pids, 0.5) and not folders(tmp_path)


def test_workers_that_hang_or_ignore_sigterm_are_killed(tmp_path: Path) -> None:
    script = """
import signal
def deaf(dp):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if dp[0] > 2: time.sleep(1000)
    return [dp[0], os.getpid()]
ds.close()
ds = df.PrefetchDataZMQ(df.DataFromList([[i] for i in range(9)], shuffle=False).map(deaf), 2)
iterator = iter(ds)
print(next(iterator)[1], flush=True)
"""
    process, _ = start(tmp_path, script)
    status, err = finish(process, 5)
    assert status == 0 and not err
    with contextlib.suppress(FileNotFoundError):
        assert not folders(tmp_path)


@pytest.mark.parametrize("leave", ["break", "return", "del"])
def test_interpreter_exit(tmp_path: Path, leave: str) -> None:
    script = {
        "break": "for dp in iterator: break",
        "return": "def f():\n    for dp in iterator: return\nf()",
        "del": "del iterator, ds",
    }[leave]
    process, pids = start(tmp_path, script)
    status, err = finish(process, 3)
    assert status == 0 and not err and gone(pids, 0.5) and not folders(tmp_path)


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4])
def test_kill_9_while_the_workers_start(tmp_path: Path, delay: float) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import dataflow as df\n"
        "ds = df.PrefetchDataZMQ(df.DataFromList([[1]] * 1000).map(lambda dp: dp), 2)\n"
        "print('ready', flush=True)\n"
        "list(ds.repeat())\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    process.stdout.readline()
    end = time.monotonic() + patient(10)
    while not folders(tmp_path) and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(delay)  # any moment will do
    process.kill()
    process.communicate()
    end = time.monotonic() + patient(3)
    while folders(tmp_path) and time.monotonic() < end:
        time.sleep(0.02)
    assert not folders(tmp_path)
