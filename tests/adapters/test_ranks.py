"""Ranks of a training that torchrun starts: equally many steps, whatever fails on one of them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from optional import library
from patience import patient

import dataflow as df

library("torch")

EPOCHS, SIZE, BATCH = 3, 60, 5

SCRIPT = """
import json, os, sys
import torch
import torch.distributed as dist
import dataflow as df
from dataflow.adapters.torch import IterableDataset

dist.init_process_group("gloo")
size, batch, epochs, dead = json.loads(sys.argv[1])

def load(datapoint):
    if datapoint[0] in dead:
        raise OSError(f"{datapoint[0]} cannot be reached")
    return datapoint

ds = df.DataFromList([[i] for i in range(size)], shuffle=True).seed(3).shard()
ds = df.PrefetchDataZMQ(ds.map(load), 2, on_error="skip")
ds = df.FillUpData(ds).batch(batch)
rank = dist.get_rank()
with ds, open(f"{sys.argv[2]}.{rank}", "w") as out:
    dataset = IterableDataset(ds)
    for epoch in range(epochs):
        steps = []
        for (numbers,) in dataset:
            steps.append(numbers.tolist())
            dist.all_reduce(numbers.sum())  # waits for the other's step: one more would hang here
        assert len(steps) == len(dataset)
        print(json.dumps(steps), file=out)
dist.destroy_process_group()
"""


def train(folder: Path, dead: set[int]) -> list[list[list[list[int]]]]:
    """The batches of each rank, epoch and step."""
    script, out = folder / "train.py", folder / "steps"
    script.write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*launch, str(script), json.dumps([SIZE, BATCH, EPOCHS, list(dead)]), str(out)],
        check=True,
        capture_output=True,
        timeout=patient(100),
    )
    return [
        [json.loads(line) for line in Path(f"{out}.{rank}").read_text().splitlines()]
        for rank in range(2)
    ]


@pytest.mark.timeout(400)
def test_equally_many_steps_whatever_fails(tmp_path: Any) -> None:
    """Of an epoch each that can be reached once, and a few of the next one's, as in one thread."""
    dead = set(random.sample(range(SIZE), random.randrange(1, 15)))
    ranks = train(tmp_path, dead)
    alive = set(range(SIZE)) - dead
    for epochs in zip(*ranks, strict=True):
        assert [len(steps) for steps in epochs] == [SIZE // 2 // BATCH] * 2
        seen = [n for steps in epochs for step in steps for n in step]
        assert len(seen) == SIZE and set(seen) == alive, dead
    for rank, epochs in enumerate(ranks):
        plain = df.DataFromList([[i] for i in range(SIZE)], shuffle=True).seed(3).shard(rank, 2)
        plain = plain.filter(lambda datapoint: datapoint[0] in alive).fill_up().batch(BATCH)
        assert epochs == [[step[0].tolist() for step in plain] for _ in range(EPOCHS)]
