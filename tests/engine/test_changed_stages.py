"""A stage that was changed between two epochs goes to the workers anew; others keep theirs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

import dataflow as df

OFFSET = 0


class Adds(df.MapData):
    """Adds a number of its own, and one of the module."""

    def __init__(self, ds: df.DataFlow) -> None:
        super().__init__(ds, len)
        self.amount = 1

    def apply(self, datapoint: list[int]) -> list[int]:
        return [datapoint[0] + self.amount + offset(), os.getpid()]


class Own(df.DataFlow):
    amount = 1

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(4):
            yield [number + self.amount + offset(), os.getpid()]


offset: Callable[[], int] = lambda: OFFSET  # noqa: E731


def in_processes(ds: df.DataFlow) -> df.DataFlow:
    return df.PrefetchDataZMQ(ds, 1, ordered=True)


def in_threads(ds: df.DataFlow) -> df.DataFlow:
    return df.MultiThreadMapData(ds, 2, lambda dp: dp, ordered=True)


RUNNERS: list[Callable[[df.DataFlow], df.DataFlow]] = [in_processes, in_threads, lambda ds: ds]


def numbers() -> df.DataFlow:
    return df.DataFromList([[number] for number in range(4)], shuffle=False)


@pytest.mark.parametrize("run", RUNNERS)
@pytest.mark.parametrize("make", [lambda: Adds(numbers()), Own])
def test_its_new_value_is_used(
    run: Callable[[df.DataFlow], df.DataFlow], make: Callable[[], df.DataFlow]
) -> None:
    stage = make()
    with run(stage) as ds:
        pids = []
        for epoch, amount in enumerate([1, 1, 10, 10]):
            stage.amount = amount  # type: ignore[attr-defined]
            ds.set_epoch(7 * epoch)
            found = list(ds)
            assert [dp[0] for dp in found] == [number + amount for number in range(4)]
            pids.append(found[0][1])
    assert pids[0] == pids[1] and pids[2] == pids[3], "what is as it was keeps its workers"
    assert (pids[1] != pids[2]) == (run is in_processes)


def test_so_is_what_a_function_reads() -> None:
    names = {"factor": 2}
    exec("def work(dp): return [dp[0] * factor]", names)
    with in_processes(df.MapData(numbers(), names["work"])) as ds:  # type: ignore[arg-type]
        assert [dp[0] for dp in ds] == [0, 2, 4, 6]
        names["factor"] = 5
        assert [dp[0] for dp in ds] == [0, 5, 10, 15]


def test_a_loop_that_was_left_notices_as_well() -> None:
    stage = Adds(numbers())
    with in_processes(stage) as ds:
        assert next(iter(ds))[0] == 1
        stage.amount = 5
        assert [dp[0] for dp in ds] == [5, 6, 7, 8]


@pytest.mark.parametrize("run", RUNNERS)
def test_another_stage_in_its_place_is_used(run: Callable[[df.DataFlow], df.DataFlow]) -> None:
    top = numbers().map(lambda dp: [dp[0] + 1]).map(lambda dp: [dp[0] * 2])
    with run(top) as ds:
        assert [dp[0] for dp in ds] == [2, 4, 6, 8]
        top.ds = numbers().map(lambda dp: [dp[0] + 10])  # type: ignore[attr-defined]
        assert [dp[0] for dp in ds] == [20, 22, 24, 26]
        top.ds.func = lambda dp: [dp[0] + 20]  # type: ignore[attr-defined]
        assert [dp[0] for dp in ds] == [40, 42, 44, 46]
