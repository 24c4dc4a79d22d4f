"""What `ds.plan()` says of chains, and that it is what happens."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import dataflow as df
from dataflow.plan.show import Plan


def numbers(size: int = 12, *, shuffle: bool = False) -> df.DataFlow:
    return df.DataFromList([[i] for i in range(size)], shuffle=shuffle)


def where_it_runs(dp: list[Any]) -> list[Any]:
    thread = threading.current_thread()
    if os.environ["TESTING_PROCESS"] != str(os.getpid()):
        return [*dp, "process"]
    return [*dp, "loop" if thread is threading.main_thread() else "thread"]


@pytest.fixture(autouse=True)
def testing_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTING_PROCESS", str(os.getpid()))


class Own(df.DataFlow):
    def __iter__(self) -> Iterator[list[Any]]:
        return (where_it_runs([number]) for number in range(6))


def lines(flow: df.DataFlow) -> list[str]:
    return [" ".join(line.split()) for line in str(flow.plan()).splitlines()]


def placed(flow: df.DataFlow, component: int = 1) -> set[str]:
    return {dp[component] for dp in flow}


def test_without_a_runner_everything_is_in_the_loop() -> None:
    ds = numbers().map(where_it_runs).map(where_it_runs).batch(4)
    first, *others, last = lines(ds)
    assert first.endswith("in the loop's thread") and all("loop" in line for line in others)
    assert last.endswith("rewrites: fuse") and len(others) == 3
    assert placed(numbers().map(where_it_runs)) == {"loop"}


def test_processes_with_the_batch_downstream() -> None:
    chain = df.LocallyShuffleData(numbers(), 5).map(where_it_runs).map(where_it_runs)
    with df.PrefetchDataZMQ(chain, 2) as runner:
        ds = df.BatchData(runner, 4, use_list=True)
        assert lines(ds)[:-1] == [
            "BatchData(batch_size=4, use_list=True) "
            "here, by a thread behind the loop (fill behind)",
            "PrefetchDataZMQ(num_proc=2) 2 worker processes of 1 thread",
            "MapData(func=where_it_runs) in PrefetchDataZMQ's workers (fuse)",
            "MapData(func=where_it_runs) in PrefetchDataZMQ's workers (fuse)",
            "LocallyShuffleData(buffer_size=5) here, on keys (order to keys)",
            "DataFromList(12 datapoints, shuffle=False) here, which is all keys",
        ]
        assert ds.plan().rewrites == ("fill behind", "order to keys", "fuse")
        assert {place for dp in ds for place in dp[1]} == {"process"}


def test_the_batch_upstream_is_built_by_workers() -> None:
    with df.PrefetchDataZMQ(df.BatchData(numbers().map(where_it_runs), 4), 2) as ds:
        plan = ds.plan()
        assert "batch to workers" in plan.rewrites
        assert plan.steps[1].where == "built by PrefetchDataZMQ's workers (batch to workers)"
        assert plan.steps[0].where == "2 worker processes of 1 thread"
        assert {place for dp in ds for place in dp[1].tolist()} == {"process"}


def test_runners_upstream_of_a_runner() -> None:
    inner = df.MultiThreadMapData(numbers(), 3, where_it_runs)
    with df.PrefetchDataZMQ(inner, 2) as ds:
        plan = ds.plan()
        assert plan.rewrites == ("flatten runners",)
        assert plan.steps[0].where == "2 worker processes of 3 threads"
        assert plan.steps[1].where == "says how PrefetchDataZMQ's workers are made"
        assert placed(ds) == {"process"}


@pytest.mark.parametrize(("workers", "place"), [(1, "process"), (2, "loop")])
def test_own_sources_move_to_a_single_worker(workers: int, place: str) -> None:
    with df.PrefetchDataZMQ(Own().map(lambda dp: dp), workers) as ds:
        plan = ds.plan()
        moved = plan.steps[-1].where.startswith("iterated in PrefetchDataZMQ's worker")
        assert moved == ("source to worker" in plan.rewrites) == (workers == 1)
        assert placed(ds) == {place}


def test_what_streams_is_shown_with_what_workers_do_for_it() -> None:
    joined = df.JoinData([numbers().map(where_it_runs), numbers()]).map(where_it_runs)
    with df.PrefetchDataZMQ(joined, 2) as ds:
        where = [step.where for step in ds.plan().steps]
        assert where == [
            "2 worker processes of 1 thread, for what can go there",
            "in the loop's thread",
            "in the loop's thread",
            "in PrefetchDataZMQ's workers",
            "here, which is all keys",
            "here, which is all keys",
        ]
        assert [step.depth for step in ds.plan().steps] == [0, 1, 2, 3, 4, 3]
        assert placed(ds, 1) == {"process"} and placed(ds, 3) == {"loop"}


def test_what_a_cache_reads_is_shown_once_more() -> None:
    cached = df.CacheData(numbers().map(where_it_runs))
    with df.MultiThreadMapData(cached, 4, where_it_runs) as ds:
        where = [step.where for step in ds.plan().steps]
        assert where == [
            "4 threads of this process",
            "in MultiThreadMapData's workers",
            "read here, its datapoints go to MultiThreadMapData's workers",
            "in MultiThreadMapData's workers",
            "here, which is all keys",
        ]
        assert placed(ds, 1) == placed(ds, 2) == {"thread"}


def test_workers_with_nothing_to_do_are_told_of() -> None:
    with df.PrefetchDataZMQ(df.DataFromQueue(queue.Queue()), 2) as ds:
        assert ds.plan().steps[0].where == "none: its workers would have nothing to do"


class Adds(df.MapData):
    def __init__(self, ds: df.DataFlow) -> None:
        super().__init__(ds, len)
        self.amount = 1

    def apply(self, datapoint: list[int]) -> list[int]:
        return [datapoint[0] + self.amount]


def test_the_version_is_that_of_what_is_done() -> None:
    def plan(factor: int) -> Plan:
        return df.PrefetchDataZMQ(numbers().map(lambda dp: [dp[0] * factor]), 2).plan()

    assert plan(2).version == plan(2).version != plan(3).version
    stage = Adds(numbers())
    before, again = stage.plan(), stage.plan()
    stage.amount = 2
    assert before.version == again.version != stage.plan().version
    with df.PrefetchDataZMQ(stage, 1) as ds:
        before = ds.plan()
        for epoch in range(2):
            ds.set_epoch(epoch + 3)
            list(ds)
            assert ds.plan().version == before.version


def test_a_plan_is_shown_where_it_stands() -> None:
    plan = numbers().plan()
    assert (
        repr(plan)
        == str(plan)
        == f"{plan.steps[0].flow}  in the loop's thread\nplan " + (plan.version)
    )
