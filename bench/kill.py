"""What killed workers cost: an epoch during which one of 4 is killed every 2 s.

    python bench/kill.py [--quick] [--runs 5]

The map function computes for about 10 ms; the epoch takes about 20 s. In both cases every datapoint
has to arrive, once. The rate is of the whole epoch from the first datapoint on, restarts included.
"""

from __future__ import annotations

import glob
import hashlib
import os
import signal
import threading
import time
from typing import Any

from suite import Bench, Case, Column, Config, main

WORKERS = 4


def compute(datapoint: list[int], rounds: int) -> list[Any]:
    """Some milliseconds of the processor's time, the same for every datapoint."""
    digest = hashlib.pbkdf2_hmac("sha256", b"dataflow", b"%d" % datapoint[0], rounds)
    return [datapoint[0], digest]


def epoch(config: Config) -> dict[str, Any]:
    """One epoch, with a killer beside it or without."""
    from functools import partial

    import dataflow as df

    count = config["items"]
    source = df.DataFromList([[i] for i in range(count)], shuffle=True)
    ds = df.PrefetchDataZMQ(
        df.MapData(source, partial(compute, rounds=config["rounds"])), num_proc=WORKERS
    )
    arrived: list[int] = []
    killer = Killer(config["every"], arrived)
    iterator = iter(ds)
    arrived.append(next(iterator)[0])
    begun = time.perf_counter()
    with killer:
        for datapoint in iterator:
            arrived.append(datapoint[0])
        seconds = time.perf_counter() - begun
    stats = ds.stats()
    ds.close()
    if sorted(arrived) != list(range(count)):
        raise RuntimeError(f"{len(arrived)} datapoints came, {len(set(arrived))} different ones")
    if stats["errors"]:
        raise RuntimeError(f"errors: {stats['errors']}")
    return {
        "rate": (count - 1) / seconds,
        "seconds": seconds,
        "kills": killer.kills,
        "restarts": stats["worker_restarts"],
    }


class Killer:
    """A thread that kills one of this process's children after the other.

    Where a machine is so slow that nothing arrives between two of them, it waits: the engine gives
    up, rightly, when workers die without getting anything done.

    Args:
        every: seconds from one to the next; 0 for none at all.
        arrived: what has arrived; it grows.
    """

    def __init__(self, every: float, arrived: list[int]) -> None:
        self.kills = 0
        self._every = every
        self._arrived = arrived
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        if self._every:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._every:
            self._thread.join()

    def _run(self) -> None:
        before = 0
        while not self._done.wait(self._every):
            workers = children()
            if workers and len(self._arrived) > before:
                before = len(self._arrived)
                os.kill(workers[0], signal.SIGKILL)  # the one that has lived longest
                self.kills += 1


def children() -> list[int]:
    """This process's children, the oldest first."""
    found: list[int] = []
    for task in glob.glob(f"/proc/{os.getpid()}/task/*/children"):
        with open(task) as file:
            found.extend(map(int, file.read().split()))
    return sorted(found)


def calibrate(quick: bool) -> Config:
    """How many rounds of hashing a datapoint gets: about 10 ms on one core."""
    rounds = 30_000
    begun = time.process_time()
    compute([0], rounds)
    each = (time.process_time() - begun) / rounds
    return {"rounds": max(100, int((0.002 if quick else 0.010) / each))}


def cases(quick: bool) -> list[Case]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    # 20 s of work for the cores that the workers can use.
    config = {"items": 600 if quick else 2000 * min(WORKERS, cores)}
    every = 0.2 if quick else 2.0
    return [
        Case("undisturbed", "dataflow", "epoch", {**config, "every": 0}),
        Case(f"a worker killed every {every:g} s", "dataflow", "epoch", {**config, "every": every}),
    ]


BENCH = Bench(
    name="kill",
    title=f"An epoch on {WORKERS} processes, undisturbed and with workers killed",
    columns=(
        Column("rate", "datapoints/s", 0),
        Column("seconds", "s", 1),
        Column("kills", "workers killed", 0),
        Column("restarts", "workers started anew", 0),
    ),
    cells={"epoch": epoch},
    cases=cases,
    references={None: "undisturbed"},
    prepare=calibrate,
    timeout=300,
)

if __name__ == "__main__":
    main(BENCH)
