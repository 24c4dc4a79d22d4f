"""Loops that are left and resumed, through everything that hands out a flow's batches."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
from optional import library

import dataflow as df

EPOCHS, STEPS = 3, 5


def known() -> df.DataFlow:
    return df.DataFromList([[i] for i in range(2 * STEPS)], shuffle=True).batch(2).seed(7)


def dropping() -> df.DataFlow:
    """Of unknown length, as some are dropped."""
    flow = df.DataFromList([[i] for i in range(2 * STEPS + 3)], shuffle=True)
    return flow.filter(lambda dp: dp[0] < 2 * STEPS).batch(2).seed(7)


def filled() -> df.DataFlow:
    flow = df.DataFromList([[i] for i in range(2 * STEPS)], shuffle=True)
    return flow.filter(lambda dp: dp[0] > 1).fill_up().batch(2).seed(7)


def endless() -> df.DataFlow:
    return (
        df.DataFromList([[i] for i in range(2 * STEPS)], shuffle=True).repeat(-1).batch(2).seed(7)
    )


class Loader:
    """One way to the batches: an iterable for each epoch, and the state that belongs to it."""

    def __init__(self, flow: df.DataFlow) -> None:
        self.flow = flow

    def epoch(self) -> Iterator[Any]:
        return iter(self.flow)

    def state_dict(self) -> Any:
        return self.flow.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self.flow.load_state_dict(state)


class ToDevice(Loader):
    def epoch(self) -> Iterator[Any]:
        library("torch")
        self.ahead = importlib.import_module("dataflow.adapters.torch").to_device(self.flow, "cpu")
        return self.ahead


class Plain(Loader):
    """PyTorch's loader, which passes batches on."""

    def epoch(self) -> Iterator[Any]:
        data = library("torch.utils.data")
        of = importlib.import_module("dataflow.adapters.torch").IterableDataset
        return iter(data.DataLoader(of(self.flow), batch_size=None))


class Stateful(Loader):
    """torchdata's, which has a state of its own."""

    def __init__(self, flow: df.DataFlow) -> None:
        super().__init__(flow)
        of = library("torchdata.stateful_dataloader").StatefulDataLoader
        dataset = importlib.import_module("dataflow.adapters.torch").IterableDataset(flow)
        self.loader = of(dataset, batch_size=None)

    def epoch(self) -> Iterator[Any]:
        return iter(self.loader)

    def state_dict(self) -> Any:
        return self.loader.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self.loader.load_state_dict(state)


class Jax(Loader):
    def epoch(self) -> Iterator[Any]:
        library("jax")
        return importlib.import_module("dataflow.adapters.jax").iterate(self.flow)


class TensorFlow(Loader):
    def epoch(self) -> Iterator[Any]:
        library("tensorflow")
        return importlib.import_module("dataflow.adapters.tensorflow").iterate(self.flow)


def numbers(batch: Any) -> list[int]:
    return np.asarray(batch[0]).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("stop", [1, 3, STEPS, STEPS + 2, 2 * STEPS])
@pytest.mark.parametrize("made", [known, dropping, filled])
@pytest.mark.parametrize("kind", [Loader, ToDevice, Plain, Stateful, Jax, TensorFlow])
def test_a_loop_that_is_resumed(
    kind: type[Loader], made: Callable[[], df.DataFlow], stop: int
) -> None:
    """The state is taken in the body, after the first batch, within, and after an epoch's last."""
    flow = made()
    whole = [[numbers(batch) for batch in flow] for _ in range(EPOCHS)]
    loader, seen, kept = kind(made()), [], None
    for epoch in range(EPOCHS):
        for batch in loader.epoch():
            seen.append(numbers(batch))
            if len(seen) == stop:
                kept = epoch, json.loads(json.dumps(loader.state_dict()))
                break
        if kept is not None:
            break
    assert kept is not None
    again = kind(made())
    begin, state = kept
    again.load_state_dict(state)
    for _ in range(begin, EPOCHS):
        seen += [numbers(batch) for batch in again.epoch()]
    assert seen == [batch for epoch in whole for batch in epoch]


@pytest.mark.parametrize("kind", [Loader, ToDevice, Plain, Jax, TensorFlow])
def test_an_endless_one(kind: type[Loader]) -> None:
    whole = [numbers(batch) for batch in islice(endless(), 20)]
    loader = kind(endless())
    seen = [numbers(batch) for batch in islice(loader.epoch(), 7)]
    state = loader.state_dict()
    again = kind(endless())
    again.load_state_dict(state)
    assert seen + [numbers(batch) for batch in islice(again.epoch(), 13)] == whole
