"""Ranks of a training that torchrun starts: equally many steps, whatever fails on one of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from optional import library
from ranks import EPOCHS, SIZE, TWICE, check, dead_ones, launched

library("torch")

DATASET = """
import torch
import torch.distributed as dist
from dataflow.adapters.torch import IterableDataset

dist.init_process_group("gloo")
with flow() as ds:
    dataset = IterableDataset(ds)
    whole = []
    for _ in range(epochs):
        steps = []
        for (numbers,) in dataset:
            steps.append(numbers.tolist())
            dist.all_reduce(numbers.sum())  # waits for the other's step: one more would hang here
        assert len(steps) == len(dataset)
        whole.append(steps)
tell(*whole)
dist.destroy_process_group()
"""


@pytest.mark.timeout(400)
def test_equally_many_steps_whatever_fails(tmp_path: Path) -> None:
    """Of an epoch each that can be reached once, and a few of the next one's, as in one thread."""
    dead = dead_ones()
    check(launched(tmp_path, DATASET, dead), dead)


FSDP = """
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from dataflow.adapters.torch import to_device

dist.init_process_group("gloo")
model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Linear(8, 1))
mesh = dist.init_device_mesh("cpu", (ranks,))
for part in (*model, model):
    fully_shard(part, mesh=mesh)
optimizer = torch.optim.SGD(model.parameters(), 1e-6)

def epoch(ds):
    for (numbers,) in to_device(ds, "cpu"):
        yield numbers.tolist()
        model(numbers[:, None]).sum().backward()  # the weights are gathered from all ranks
        optimizer.step()
        optimizer.zero_grad()
"""


@pytest.mark.timeout(400)
def test_fsdp(tmp_path: Path) -> None:
    """Weights in parts, data in shares; resumed in the middle of an epoch."""
    dead = dead_ones()
    code = FSDP + TWICE + "dist.destroy_process_group()\n"
    check(launched(tmp_path, code, dead), dead)


LIGHTNING = """
import warnings
import lightning.pytorch as pl
import torch
from dataflow.adapters.lightning import DataModule

warnings.simplefilter("ignore")

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
assert trainer.global_rank == rank and first + rest == whole
steps = size // 2 // batch
tell(*(whole[at : at + steps] for at in range(0, len(whole), steps)))
"""


@pytest.mark.timeout(400)
def test_lightning_goes_on_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    """With the state of one rank, as Lightning keeps no other."""
    library("lightning.pytorch")
    dead = dead_ones()
    check(launched(tmp_path, LIGHTNING, dead), dead)


LOADERS = """
import torch
import torch.distributed as dist
from torch.utils.data import DistributedSampler
from torchdata.stateful_dataloader import StatefulDataLoader
from dataflow.adapters.torch import DataLoader, IterableDataset

dist.init_process_group("gloo")

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

tell(*([run(made, stop) for stop in (None, 2, 8)] for made in (of_torch, of_torchdata)))
dist.destroy_process_group()
"""


@pytest.mark.timeout(400)
def test_loaders_of_ranks_are_resumed(tmp_path: Path) -> None:
    """PyTorch's data sets with its `DistributedSampler` on this engine; torchdata's loader."""
    library("torchdata")
    for kinds in zip(*launched(tmp_path, LOADERS), strict=True):
        for whole, *resumed in kinds:
            assert resumed == [whole, whole]
        steps = len(kinds[0][0]) // EPOCHS
        for epoch in range(EPOCHS):
            part = slice(epoch * steps, (epoch + 1) * steps)
            assert sorted(n for rank in kinds for step in rank[0][part] for n in step) == [
                *range(SIZE)
            ]
