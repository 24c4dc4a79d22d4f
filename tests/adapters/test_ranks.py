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


def train(folder: Path, code: str, dead: set[int]) -> list[list[Any]]:
    """The lines that each rank writes."""
    script, out = folder / "train.py", folder / "steps"
    script.write_text(code)
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
    ranks = train(tmp_path, SCRIPT, dead)
    alive = set(range(SIZE)) - dead
    for epochs in zip(*ranks, strict=True):
        assert [len(steps) for steps in epochs] == [SIZE // 2 // BATCH] * 2
        seen = [n for steps in epochs for step in steps for n in step]
        assert len(seen) == SIZE and set(seen) == alive, dead
    for rank, epochs in enumerate(ranks):
        plain = df.DataFromList([[i] for i in range(SIZE)], shuffle=True).seed(3).shard(rank, 2)
        plain = plain.filter(lambda datapoint: datapoint[0] in alive).fill_up().batch(BATCH)
        assert epochs == [[step[0].tolist() for step in plain] for _ in range(EPOCHS)]


LIGHTNING = """
import json, sys, warnings
import lightning.pytorch as pl
import torch
import dataflow as df
from dataflow.adapters.lightning import DataModule

warnings.simplefilter("ignore")
size, batch, epochs, dead = json.loads(sys.argv[1])
dead = set(dead)

class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def training_step(self, batch):
        self.seen.append(batch[0].tolist())
        return (self.weight * batch[0]).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)

def flow():
    ds = df.DataFromList([[i] for i in range(size)], shuffle=True).seed(3).shard()
    return ds.filter(lambda dp: dp[0] not in dead).fill_up().batch(batch)

def fit(path=None, **limits):
    model = Model()
    trainer = pl.Trainer(strategy="ddp", accelerator="cpu", devices=2, logger=False,
                         enable_progress_bar=False, enable_model_summary=False,
                         enable_checkpointing=False, **limits)
    trainer.fit(model, datamodule=DataModule(flow), ckpt_path=path)
    return trainer, model.seen

trainer, whole = fit(max_epochs=epochs)
trainer, first = fit(max_epochs=-1, max_steps=size // 2 // batch + 2)
trainer.save_checkpoint(f"{sys.argv[2]}.ckpt")
trainer, rest = fit(f"{sys.argv[2]}.ckpt", max_epochs=-1, max_steps=len(whole))
with open(f"{sys.argv[2]}.{trainer.global_rank}", "w") as out:
    print(json.dumps(whole), json.dumps(first + rest), sep="\\n", file=out)
"""


@pytest.mark.timeout(400)
def test_lightning_goes_on_in_the_middle_of_an_epoch(tmp_path: Any) -> None:
    """With the state of one rank, as Lightning keeps no other."""
    library("lightning.pytorch")
    dead = set(random.sample(range(SIZE), 7))
    for rank, (whole, resumed) in enumerate(train(tmp_path, LIGHTNING, dead)):
        assert resumed == whole
        plain = df.DataFromList([[i] for i in range(SIZE)], shuffle=True).seed(3).shard(rank, 2)
        plain = plain.filter(lambda datapoint: datapoint[0] not in dead).fill_up().batch(BATCH)
        assert whole == [step[0].tolist() for _ in range(EPOCHS) for step in plain]


LOADERS = """
import json, sys
import torch
import torch.distributed as dist
from torch.utils.data import DistributedSampler
from torchdata.stateful_dataloader import StatefulDataLoader
import dataflow as df
from dataflow.adapters.torch import DataLoader, IterableDataset

dist.init_process_group("gloo")
size, batch, epochs, _ = json.loads(sys.argv[1])
rank = dist.get_rank()

def of_torch():
    sampler = DistributedSampler(range(size), seed=3)
    return DataLoader(list(range(size)), batch, sampler=sampler), sampler.set_epoch

def of_torchdata():
    ds = df.DataFromList([[i] for i in range(size)], shuffle=True).seed(3).shard().batch(batch)
    return StatefulDataLoader(IterableDataset(ds), batch_size=None), lambda epoch: None

def run(made, stop):
    loader, set_epoch = made()
    seen, state = [], None
    for epoch in range(epochs):
        set_epoch(epoch)
        for step in loader:
            numbers = step if isinstance(step, torch.Tensor) else step[0]
            seen.append(numbers.tolist())
            dist.all_reduce(numbers.sum())
            if len(seen) == stop:
                state = json.loads(json.dumps(loader.state_dict()))
                break
        if state is not None:
            break
    else:
        return seen
    again, set_epoch = made()
    again.load_state_dict(state)
    for epoch in range(epoch, epochs):
        set_epoch(epoch)
        for step in again:
            seen.append((step if isinstance(step, torch.Tensor) else step[0]).tolist())
    return seen

with open(f"{sys.argv[2]}.{rank}", "w") as out:
    for made in (of_torch, of_torchdata):
        print(json.dumps([run(made, stop) for stop in (None, 2, 8)]), file=out)
dist.destroy_process_group()
"""


@pytest.mark.timeout(400)
def test_loaders_of_ranks_are_resumed(tmp_path: Any) -> None:
    """PyTorch's data sets with its `DistributedSampler` on this engine; torchdata's loader."""
    library("torchdata")
    for kinds in zip(*train(tmp_path, LOADERS, set()), strict=True):
        for whole, *resumed in kinds:
            assert resumed == [whole, whole]
        steps = SIZE // 2 // BATCH
        for epoch in range(EPOCHS):
            part = slice(epoch * steps, (epoch + 1) * steps)
            assert sorted(n for rank in kinds for step in rank[0][part] for n in step) == [
                *range(SIZE)
            ]
