"""Programs of several processes that train together, and what each of them had.

A program is `FLOW`, what the test writes, and maybe `TWICE`, which wants `epoch(ds)` of it: a
generator of the numbers of each step, which trains on them when it is asked for the next.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from patience import patient

import dataflow as df

__all__ = ["EPOCHS", "FLOW", "SIZE", "TWICE", "check", "dead_ones", "launched", "started"]

EPOCHS, SIZE, BATCH = 3, 60, 5

FLOW = """
import json, os, sys
import numpy as np
import dataflow as df

rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
size, batch, epochs, dead = json.loads(sys.argv[1])

def load(datapoint):
    if datapoint[0] in dead:
        raise OSError(f"{datapoint[0]} cannot be reached")
    return [np.float32(datapoint[0])]

def flow():
    ds = df.DataFromList([[i] for i in range(size)], shuffle=True).seed(3).shard(rank, ranks)
    ds = df.PrefetchDataZMQ(ds.map(load), 2, on_error="skip")
    return df.FillUpData(ds).batch(batch)

def tell(*epochs):
    with open(f"{sys.argv[2]}.{rank}", "w") as out:
        print(*map(json.dumps, epochs), sep="\\n", file=out)
"""

TWICE = """
with flow() as ds:
    whole = [list(epoch(ds)) for _ in range(epochs)]
with flow() as ds:
    first = []
    for step in epoch(ds):
        first.append(step)
        if len(first) == 2:
            break
    state = json.loads(json.dumps(ds.state_dict()))
with flow() as ds:
    ds.load_state_dict(state)
    first += epoch(ds)
    resumed = [first, *(list(epoch(ds)) for _ in range(epochs - 1))]
assert resumed == whole, (resumed, whole)
tell(*whole)
"""


def dead_ones() -> set[int]:
    """Datapoints that cannot be had: others in each run of the tests."""
    return set(random.sample(range(SIZE), random.randrange(1, 15)))


def launched(folder: Path, code: str, dead: Collection[int] = ()) -> list[list[Any]]:
    """Run a program by torchrun, in two processes; the lines that each `tell`s."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command, out = _written(folder, code, dead)
    subprocess.run([*launch, *command], check=True, capture_output=True, timeout=patient(100))
    return _told(out)


def started(folder: Path, code: str, dead: Collection[int] = ()) -> list[list[Any]]:
    """Run a program in two processes, which find each other by COORDINATOR or TF_CONFIG."""
    command, out = _written(folder, code, dead)
    here = ("127.0.0.1", 0)
    with socket.create_server(here) as one, socket.create_server(here) as other:
        hosts = [f"127.0.0.1:{server.getsockname()[1]}" for server in (one, other)]
    processes = []
    for rank in range(2):
        task = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": rank}}
        environ = {
            "RANK": str(rank),
            "WORLD_SIZE": "2",
            "COORDINATOR": hosts[0],
            "TF_CONFIG": json.dumps(task),
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        with (folder / f"errors.{rank}").open("w") as errors:
            command_line = [sys.executable, *command]
            processes.append(
                subprocess.Popen(command_line, env=os.environ | environ, stderr=errors)
            )
    try:
        for process in processes:
            process.wait(patient(100))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    said = [(folder / f"errors.{rank}").read_text() for rank in range(2)]
    assert not any(process.returncode for process in processes), said
    return _told(out)


def _written(folder: Path, code: str, dead: Collection[int]) -> tuple[list[str], Path]:
    """The command line, and where it `tell`s."""
    script, out = folder / "train.py", folder / "steps"
    script.write_text(FLOW + code)
    return [str(script), json.dumps([SIZE, BATCH, EPOCHS, sorted(dead)]), str(out)], out


def _told(out: Path) -> list[list[Any]]:
    return [
        [json.loads(line) for line in Path(f"{out}.{rank}").read_text().splitlines()]
        for rank in range(2)
    ]


def check(ranks: list[list[Any]], dead: set[int]) -> None:
    """Equally many steps in each epoch, what lives once, and each rank's as in one thread."""
    alive = set(range(SIZE)) - dead
    for epochs in zip(*ranks, strict=True):
        assert [len(steps) for steps in epochs] == [SIZE // 2 // BATCH] * 2
        seen = [n for steps in epochs for step in steps for n in step]
        assert len(seen) == SIZE and set(seen) == alive, dead
    for rank, epochs in enumerate(ranks):
        plain = df.DataFromList([[i] for i in range(SIZE)], shuffle=True).seed(3).shard(rank, 2)
        plain = plain.filter(lambda datapoint: datapoint[0] in alive).fill_up().batch(BATCH)
        assert epochs == [[step[0].tolist() for step in plain] for _ in range(EPOCHS)]
