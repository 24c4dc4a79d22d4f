"""Copies of a datapoint: made once, and each with its own memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pytest

import dataflow as df
from dataflow.engine.runners import ThreadRunner


class Counted:
    """Counts its calls, and gives another number each time."""

    def __init__(self) -> None:
        self.calls = 0
        self._lock = threading.Lock()

    def __call__(self, dp: list[Any]) -> list[Any]:
        with self._lock:
            self.calls += 1
            return [*dp, np.full(3000, self.calls)]


def numbers(size: int) -> df.DataFlow:
    return df.DataFromList([[i] for i in range(size)], shuffle=False)


COPYING: dict[str, Callable[[Any], Any]] = {
    "in a row": lambda ds: df.RepeatedDataPoint(ds, 3),
    "shuffled": lambda ds: df.LocallyShuffleData(ds, 5, num_reuse=3),
}
RUNNERS: dict[str, Callable[[Any], Any]] = {
    "none": lambda ds: ds,
    "threads": lambda ds: ThreadRunner(ds, 3),
    "more stages in threads": lambda ds: ThreadRunner(ds.map(lambda dp: dp), 3),
}


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("copying", COPYING)
def test_upstream_runs_once_for_each_datapoint(copying: str, runner: str) -> None:
    count = Counted()
    with RUNNERS[runner](COPYING[copying](numbers(10).map(count))) as ds:
        assert len(ds) == 30
        for epoch in (1, 2):
            found = [(dp[0], int(dp[1][0])) for dp in ds]
            assert count.calls == epoch * 10
            assert len(found) == 30 and len(set(found)) == 10, "copies are equal"
            assert {number for number, _ in found} == set(range(10))


@pytest.mark.parametrize("copying", COPYING)
def test_in_worker_processes_too(copying: str) -> None:
    """The draws tell: made three times they would differ. Stages downstream draw for each copy."""

    class Draw(df.MapData, df.RNGDataFlow):
        def apply(self, datapoint: list[Any]) -> list[Any]:
            return [*datapoint, int(self.rng.randint(1 << 30)), np.random.default_rng().random()]

    def same(dp: list[Any]) -> list[Any]:
        return dp

    ds = Draw(COPYING[copying](Draw(numbers(8), same)), same)
    with df.PrefetchDataZMQ(ds, 2) as runner:
        found = [tuple(dp) for dp in runner]
    assert len(found) == len(set(found)) == 24
    assert len({dp[:3] for dp in found}) == 8, "also what no seed decides"
    assert len({dp[3] for dp in found}) == 24


@pytest.mark.parametrize("copying", COPYING)
def test_each_has_its_own_memory(copying: str) -> None:
    seen = []
    for dp in COPYING[copying](numbers(4).map(Counted())):
        seen.append(int(dp[1][0]))
        dp[1][:] = -1
    assert -1 not in seen


@pytest.mark.parametrize("runner", ["none", "threads"])
@pytest.mark.parametrize("upstream", ["keys", "dropped", "generator", "shards", "batches"])
@pytest.mark.parametrize("copying", COPYING)
def test_a_state_anywhere(copying: str, upstream: str, runner: str) -> None:
    def make() -> Any:
        ds: Any = df.DataFromList([[i] for i in range(11)], shuffle=True)
        if upstream == "dropped":
            ds = ds.filter(lambda dp: dp[0] % 3)
        elif upstream == "generator":
            ds = df.DataFromGenerator(lambda: iter([[i] for i in range(11)]))
        elif upstream == "shards":
            ds = df.ShardData(ds, 1, 2)
        elif upstream == "batches":
            ds = ds.batch(2)
        return RUNNERS[runner](COPYING[copying](ds)).seed(4)

    def plain(points: Any) -> list[Any]:
        return [np.asarray(dp[0]).tolist() for dp in points]

    with make() as ds:
        epochs = [plain(ds) for _ in range(3)]
    for epoch in (0, 1):
        for step in range(len(epochs[epoch]) + 1):
            with make() as ds:
                for _ in range(epoch):
                    list(ds)
                iterator = iter(ds)
                found = plain(islice(iterator, step))
                state = ds.state_dict()
            with make() as ds:
                ds.load_state_dict(state)
                assert found + plain(ds) == epochs[epoch]
                assert plain(ds) == epochs[epoch + 1]


def test_a_state_goes_on_where_it_was_without_making_what_came_before() -> None:
    count = Counted()
    with df.RepeatedDataPoint(numbers(10).map(count), 3).seed(1) as ds:
        list(islice(iter(ds), 14))
        state = ds.state_dict()
    count.calls = 0
    with df.RepeatedDataPoint(numbers(10).map(count), 3).seed(1) as ds:
        ds.load_state_dict(state)
        assert [dp[0] for dp in ds] == [4, *sorted([*range(5, 10)] * 3)]
    assert count.calls == 6


def test_random_access() -> None:
    ds = df.RepeatedDataPoint(numbers(4), 3)
    assert [ds[i][0] for i in range(12)] == [dp[0] for dp in ds]


def test_another_number_of_ranks_is_refused() -> None:
    def make(ranks: int) -> Any:
        return df.RepeatedDataPoint(df.ShardData(numbers(12).seed(1), 0, ranks), 2).seed(1)

    ds = make(2)
    next(iter(ds))
    with pytest.raises(df.StateError, match="number of ranks"):
        make(3).load_state_dict(ds.state_dict())
