"""Batches below a runner: built in the workers, equal to those that are built without."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dataflow as df
from dataflow.engine.runners import ThreadRunner


def numbers(size: int) -> df.DataFlow:
    return df.DataFromList([[i] for i in range(size)], shuffle=False)


def image(dp: list[Any]) -> list[Any]:
    return [np.full((8, 9, 3), dp[0] % 256, np.uint8), dp[0], f"name {dp[0]}"]


def every_tenth_less(dp: list[Any]) -> list[Any] | None:
    return None if dp[0] % 10 == 3 else dp


def with_pid(batch: list[Any]) -> list[Any]:
    return [*batch, os.getpid()]


def assert_equal(found: list[Any], expected: list[Any]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert type(mine) is type(theirs) and getattr(mine, "dtype", 0) == getattr(
                theirs, "dtype", 0
            )
            np.testing.assert_array_equal(mine, theirs)


RUNNERS = {
    "threads": lambda ds, **options: ThreadRunner(ds, 3, **options),
    "processes": lambda ds, **options: df.PrefetchDataZMQ(ds, 2, **options),
    "threads in processes": lambda ds, **options: df.PrefetchDataZMQ(
        ThreadRunner(ds, 2), 2, **options
    ),
}
CHAINS = {
    "plain": lambda: numbers(100).map(image).batch(8),
    "remainder": lambda: numbers(100).map(image).batch(8, remainder=True),
    "drops": lambda: numbers(100).map(every_tenth_less).map(image).batch(8, remainder=True),
    "lists": lambda: numbers(50).map(image).batch(8, use_list=True),
    "lists with drops": lambda: numbers(50).map(every_tenth_less).batch(7, True, True),
    "dicts": lambda: numbers(50).map(lambda dp: {"x": dp[0], "y": np.ones(2)}).batch(6),
    "dicts with drops": lambda: (
        numbers(50).map(every_tenth_less).map(lambda dp: {"x": dp[0], "y": np.ones(2)}).batch(6)
    ),
    "mixed types": lambda: (
        numbers(40)
        .map(every_tenth_less)
        .map(lambda dp: [np.asarray(dp[0], np.float64 if dp[0] % 6 else np.int16)])
        .batch(4)
    ),
    "larger than all": lambda: numbers(5).map(image).batch(8, remainder=True),
    "stages above": lambda: (
        numbers(60).map(image).batch(8).map(lambda b: [b[0].astype(np.float32) / 255, b[1]])
    ),
    "stages above, with drops": lambda: (
        numbers(60)
        .map(every_tenth_less)
        .map(image)
        .batch(8)
        .map(lambda b: [b[0].astype(np.float32) / 255, b[1]])
        .filter(lambda b: b[1][0] % 4)
    ),
    "two inputs": lambda: df.ConcatData([numbers(20).map(image), numbers(21).map(image)]).batch(8),
}


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("name", CHAINS)
def test_they_are_what_they_would_be_without(name: str, runner: str) -> None:
    expected = list(CHAINS[name]())
    with RUNNERS[runner](CHAINS[name](), ordered=True) as ds:
        assert_equal(list(ds), expected)
        assert_equal(list(ds), expected)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("name", ["plain", "remainder", "drops", "stages above"])
def test_without_order_the_datapoints_are_the_same(name: str, runner: str) -> None:
    expected = list(CHAINS[name]())
    with RUNNERS[runner](CHAINS[name](), ordered=False) as ds:
        found = list(ds)
    assert sorted(len(b[1]) for b in found) == sorted(len(b[1]) for b in expected)
    labels, others = ([int(i) for b in batches for i in b[1]] for batches in (found, expected))
    assert len(set(labels)) == len(labels)
    if name != "plain" and name != "stages above":  # of those, the rest is left out
        assert sorted(labels) == sorted(others)
    for batch in found:
        scale = 255 if batch[0].dtype == np.float32 else 1
        assert (np.rint(batch[0][:, 0, 0, 0] * scale) == batch[1]).all()


def test_they_are_built_in_the_workers_and_arrive_as_one_block() -> None:
    with df.PrefetchDataZMQ(numbers(64).map(image).batch(16).map(with_pid), 2, ordered=False) as ds:
        assert all(batch[-1] != os.getpid() for batch in ds)
        rows = {row["name"]: row for row in ds.stats()["stages"]}
    assert rows["BatchData"]["runner"] == "PrefetchDataZMQ" and rows["BatchData"]["items"] == 4
    with df.PrefetchDataZMQ(numbers(64).map(image).batch(16), 1) as ds:
        images, labels, _ = next(iter(ds))
        owner = images
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        assert images.flags.writeable and not images.flags.owndata
        start = images.__array_interface__["data"][0]
        assert labels.__array_interface__["data"][0] - start > 0 or labels.nbytes < 2048


def test_batches_that_are_kept_stay_as_they_are() -> None:
    def large(dp):
        return [np.full((200, 200, 3), dp[0] % 256, np.uint8), dp[0]]

    with df.PrefetchDataZMQ(numbers(400).map(large).batch(8), 1, hwm=1) as ds:
        kept = list(ds)
    for images, labels in kept:
        assert (images == (labels % 256).astype(np.uint8)[:, None, None, None]).all()


def test_a_batch_that_cannot_be_stacked() -> None:
    def ragged(dp):
        return [np.zeros(dp[0] % 5 + 1)]

    with (
        df.PrefetchDataZMQ(numbers(20).map(ragged).batch(4), 2) as ds,
        pytest.raises(ValueError, match="component 0 cannot be batched"),
    ):
        list(ds)


def test_failures_in_a_batch_leave_out_the_datapoint_only() -> None:
    def failing(dp):
        if dp[0] in (5, 17):
            raise KeyError(dp[0])
        return dp

    chain = numbers(40).map(failing).batch(4)
    with df.PrefetchDataZMQ(chain, 2, ordered=True, on_error="skip") as ds:
        found = [int(i) for b in ds for i in b[0]]
        assert found == [i for i in range(40) if i not in (5, 17)][:36]
        assert ds.stats()["errors"] == {"KeyError": 2}
        assert sorted(failure.datapoint[0] for failure in ds.errors()) == [5, 17]


def test_a_datapoint_that_kills_its_worker_costs_the_batch_nothing_else(tmp_path: Path) -> None:
    def killing(dp):
        if dp[0] == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        return dp

    chain = numbers(40).map(killing).batch(4)
    with df.PrefetchDataZMQ(chain, 2, ordered=True, on_error="skip") as ds:
        found = [int(i) for b in ds for i in b[0]]
        assert found == [i for i in range(40) if i != 13][:36]
        assert ds.stats()["errors"] == {"poison": 1}


def test_a_killed_worker_costs_no_batch() -> None:
    with df.PrefetchDataZMQ(numbers(200).map(image).batch(4).map(with_pid), 2, ordered=False) as ds:
        labels, killed = [], False
        for batch in ds:
            labels += batch[1].tolist()
            if not killed:
                os.kill(batch[-1], signal.SIGKILL)
                killed = True
        assert sorted(labels) == list(range(200))
        assert ds.stats()["worker_restarts"] == 1


def test_a_class_with_its_own_way_to_build_keeps_it() -> None:
    class Sums(df.BatchData):
        @staticmethod
        def aggregate_batch(data_holder, use_list=False):
            return [sum(dp[0] for dp in data_holder)]

    with df.PrefetchDataZMQ(Sums(numbers(12), 4), 2, ordered=True) as ds:
        assert list(ds) == [[6], [22], [38]]


def test_who_keeps_every_batch_without_order_and_with_drops_is_not_stuck() -> None:
    """Members that are sent as they are and a batch being built each need a slot."""

    def some(dp):
        return None if dp[0] % 8 == 3 else [np.full((64, 64), dp[0], np.int32)]

    with df.PrefetchDataZMQ(numbers(200).map(some).batch(2), 1, hwm=2, ordered=False) as ds:
        kept = list(ds)
    found = sorted(int(image[0, 0]) for batch in kept for image in batch[0])
    assert len(kept) == 87 and len(set(found)) == 174
    assert set(found) <= {i for i in range(200) if i % 8 != 3}


def test_stages_on_batches_run_in_the_workers_in_order_too() -> None:
    with df.PrefetchDataZMQ(numbers(64).map(image).batch(8).map(with_pid), 2, ordered=True) as ds:
        assert os.getpid() not in {batch[-1] for batch in ds}
    chain = numbers(64).map(every_tenth_less).map(image).batch(8).map(with_pid)
    with df.PrefetchDataZMQ(chain, 2, ordered=True) as ds:
        pids = [batch[-1] for batch in ds]
        assert pids[-1] == os.getpid(), "put together anew here"
        assert {batch[-1] for batch in ds} == {os.getpid()}, "it is known in the next epoch"


def test_python_values_are_still_such_when_batches_are_put_together_anew() -> None:
    values = [None, 3, 4, 5, 2.5, 1.5, 7.5, 8.5]
    chain = df.DataFromList([[v] for v in values], shuffle=False)
    chain = chain.filter(lambda dp: dp[0] is not None).batch(2)
    for ds in (chain, ThreadRunner(chain, 2, ordered=True)):
        with ds:
            batches = [(batch.dtype.name, batch.tolist()) for (batch,) in ds]
        assert batches[:2] == [("int64", [3, 4]), ("float64", [5, 2.5])]
        assert batches[2] == ("float32", [1.5, 7.5])


def test_a_function_for_failures_of_a_batch_gets_what_the_source_has() -> None:
    def bad(batch):
        raise KeyError("bad")

    got = []
    chain = numbers(4).batch(2).map(bad)
    with ThreadRunner(chain, 2, ordered=True, on_error=lambda e, dp: got.append(dp)) as ds:
        assert list(ds) == []
    assert got == [[[0], [1]], [[2], [3]]]
