"""A datapoint that takes for ever keeps no other: not what is finished, not what is queued."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from patience import patient

import dataflow as df
from dataflow.engine.runners import ThreadRunner

RUNNERS: dict[str, Callable] = {
    "a thread": lambda ds, **kw: ThreadRunner(ds, 1, **kw),
    "threads": lambda ds, **kw: ThreadRunner(ds, 3, **kw),
    "processes": lambda ds, **kw: df.PrefetchDataZMQ(ds, 2, **kw),
    "threads in processes": lambda ds, **kw: df.PrefetchDataZMQ(ThreadRunner(ds, 2), 2, **kw),
}


def numbers(size: int) -> df.DataFromList:
    return df.DataFromList([[i] for i in range(size)], shuffle=False)


def hang_until(path: Path) -> None:
    end = time.monotonic() + patient(60)
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)


@pytest.mark.parametrize("name", RUNNERS)
def test_what_is_finished_comes_at_once(name: str, tmp_path: Path) -> None:
    """The datapoints before one that hangs were gathered in the same thread."""
    release = tmp_path / "release"

    def work(dp):
        if dp[0] == 20:
            hang_until(release)
        return dp

    with RUNNERS[name](numbers(21).map(work), ordered=True) as ds:
        iterator = iter(ds)
        assert [next(iterator)[0] for _ in range(20)] == list(range(20))
        assert not release.exists()
        release.touch()
        assert [dp[0] for dp in iterator] == [20]


@pytest.mark.parametrize("at", [0, 7, 60])
@pytest.mark.parametrize("name", [name for name in RUNNERS if name != "a thread"])
def test_what_is_queued_goes_to_others(name: str, at: int, tmp_path: Path) -> None:
    """All but the one that hangs are delivered, wherever they were waiting behind it."""
    release = tmp_path / "release"

    def work(dp):
        if dp[0] == at:
            hang_until(release)
        return dp

    with RUNNERS[name](numbers(150).map(work), ordered=False) as ds:
        iterator = iter(ds)
        others = [next(iterator)[0] for _ in range(149)]
        assert sorted(others) == [i for i in range(150) if i != at]
        release.touch()
        assert [dp[0] for dp in iterator] == [at]


def test_nothing_runs_twice_where_tasks_change_hands(tmp_path: Path) -> None:
    def work(dp):
        with open(tmp_path / str(dp[0]), "a") as file:
            file.write("x")
        time.sleep(0.15 if dp[0] % 10 == 0 else 0.0)
        return dp

    with df.PrefetchDataZMQ(numbers(60).map(work), 3) as ds:
        assert sorted(dp[0] for dp in ds) == list(range(60))
    assert [(tmp_path / str(i)).read_text() for i in range(60)] == ["x"] * 60


@pytest.mark.parametrize("name", ["threads", "processes"])
def test_waiting_costs_no_processor_time(name: str) -> None:
    """All that this process does while a datapoint takes a second."""

    def work(dp):
        time.sleep(1.0 if dp[0] == 10 else 0.0)
        return [dp[0], os.getpid()]

    with RUNNERS[name](numbers(11).map(work), ordered=True) as ds:
        iterator = iter(ds)
        for _ in range(10):
            next(iterator)
        before = time.process_time()
        assert next(iterator)[0] == 10
        assert time.process_time() - before < 0.3
