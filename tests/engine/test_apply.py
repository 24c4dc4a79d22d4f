"""The one way in which a datapoint is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import dataflow as df
from dataflow.engine.apply import PENDING, OpExecutor, Raised
from dataflow.engine.counters import Counters
from dataflow.engine.runners import ThreadRunner
from dataflow.epoch import DROPPED
from dataflow.plan.ops import OpChain
from dataflow.plan.tasks import EXHAUSTED, LOADER, Task
from dataflow.randomness import datapoint_rng
from dataflow.stages.item import AsyncStage, ItemStage


class Does(ItemStage):
    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.apply = function  # type: ignore[method-assign]


class Later(AsyncStage):
    def __init__(self) -> None:
        self.begun: list[Any] = []

    def begin(self, datapoint: Any, done: Callable[[Any], None]) -> None:
        done(datapoint + 100)


def executor(
    *stages: ItemStage, loader: Any = None, **options: Any
) -> tuple[OpExecutor, Callable[[], list[list[float]]]]:
    chain = OpChain(loader)
    for number, stage in enumerate(stages, 1):
        chain.add(stage, number)
    counters = Counters([len(stages)])
    options = {"catches": Exception} | options
    return OpExecutor([chain], counters, **options), lambda: [row[0] for row in counters.counts[0]]


def task(key: Any) -> Task:
    return Task((0, 0), 0, key)


def test_load_and_run() -> None:
    ops, counted = executor(Does(lambda x: x + 1), Does(lambda x: x * 2), loader=len)
    assert ops.make(1, task("abc")) == 8
    assert ops.make(1, task("abc"), 1, 5) == 10
    assert counted() == [1, 1, 2]


@pytest.mark.parametrize(
    ("key", "expected", "items"),
    [
        (0, DROPPED, [1, 0, 0]),
        (1, EXHAUSTED, [0, 0, 0]),
        (2, DROPPED, [1, 1, 0]),
        (3, 3, [1, 1, 1]),
    ],
)
def test_what_ends_early(key: int, expected: Any, items: list[int]) -> None:
    loader = {0: None, 1: EXHAUSTED, 2: 2, 3: 3}.get
    ops, counted = executor(Does(lambda x: None if x == 2 else x), Does(lambda x: x), loader=loader)
    assert ops.make(1, task(key)) is expected or expected == 3
    assert counted() == items
    assert ops.make(1, task(DROPPED)) is DROPPED and counted() == items


@pytest.mark.parametrize("where", [LOADER, 0, 1])
def test_what_fails_says_where_and_is_counted(where: int) -> None:
    def fails(value: Any) -> Any:
        raise KeyError(value)

    steps = [fails if number == where else (lambda value: value) for number in (LOADER, 0, 1)]
    ops, counted = executor(*map(Does, steps[1:]), loader=steps[0])
    found = ops.make(1, task(5))
    assert type(found) is Raised and isinstance(found.error, KeyError) and found.stage == where
    assert sum(counted()) == where + 2
    assert datapoint_rng() is None, "no datapoint is in the making any more"


def test_only_what_it_catches_is_the_datapoints_failure() -> None:
    def leaves(value: Any) -> Any:
        raise SystemExit(value)

    ops, _ = executor(Does(leaves))
    with pytest.raises(SystemExit):
        ops.make(1, task(5))
    assert datapoint_rng() is None
    ops, _ = executor(Does(leaves), catches=BaseException)
    assert isinstance(ops.make(1, task(5)).error, SystemExit)


def test_asynchronous_stages_begin_or_are_waited_for() -> None:
    begun: list[Any] = []
    ops, counted = executor(
        Does(lambda x: x), Later(), begin=lambda stage, value, at: begun.append((value, at))
    )
    assert ops.make(1, task(5)) is PENDING and begun == [(5, 1)] and counted() == [0, 1, 0]
    ops, _ = executor(Later())
    assert ops.make(1, task(5)) == 105


def test_random_numbers_are_those_of_datapoint_and_stage() -> None:
    def draws(value: Any) -> Any:
        rng = datapoint_rng()
        assert rng is not None
        return [*value, int(rng.randint(1 << 30))]

    ops, _ = executor(Does(draws), Does(draws))
    first, second = ops.make(1, task([])), ops.make(1, task([]))
    assert first == second and first[0] != first[1]
    assert ops.make(1, task([]), 1, first[:1]) == first
    assert ops.make(2, task([])) != first


def test_the_loop_workers_and_random_access_agree() -> None:
    def work(dp: list[int]) -> list[int] | None:
        rng = datapoint_rng()
        assert rng is not None
        if dp[0] == 3:
            raise ValueError(dp)
        return None if dp[0] == 5 else [dp[0], int(rng.randint(1 << 30))]

    def in_threads(ds: df.DataFlow, **options: Any) -> df.DataFlow:
        return ThreadRunner(ds, 2, **options)

    def at(ds: df.DataFlow, place: int) -> Any:
        try:
            return ds[place]
        except df.Dropped:
            return None

    source = df.DataFromList([[i] for i in range(8)], shuffle=False)
    joined = df.JoinData([source]).map(work)  # streams, as a join does
    found = []
    for chain in (source.map(work), joined):
        for runner in (df.PrefetchDataZMQ, in_threads):
            with runner(chain, on_error="skip", ordered=True) as ds:
                ds.seed(4)
                stream = list(ds)
                assert [point for i in range(8) if (point := at(ds, i))] == stream
                assert len(ds.errors()) >= 1
                found.append([dp[0] for dp in stream])
    assert all(one == [0, 1, 2, 4, 6, 7] for one in found)
