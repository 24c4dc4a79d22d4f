"""The runners under tensorpack's other names: arguments, threads, replicas, batches."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter

import numpy as np
import pytest

import dataflow as df


def numbers(size: int = 30, shuffle: bool = False) -> df.DataFromList:
    return df.DataFromList([[i] for i in range(size)], shuffle=shuffle)


def where(dp: list[int]) -> list[int]:
    return [*dp, os.getpid(), threading.get_ident()]


RUNNERS = {
    "processes": lambda ds, **options: df.MultiProcessRunner(ds, 5, 2, **options),
    "threads": lambda ds, **options: df.MultiThreadRunner(lambda: ds, 5, 2, **options),
}


@pytest.mark.parametrize("kind", RUNNERS)
def test_each_datapoint_once(kind: str) -> None:
    with RUNNERS[kind](numbers(shuffle=True).map(where)) as ds:
        assert len(ds) == 30 and ds.num_prefetch == 5
        for _ in range(2):
            found = list(ds)
            assert sorted(dp[0] for dp in found) == list(range(30))
    assert (os.getpid() in {dp[1] for dp in found}) == (kind == "threads")
    assert threading.get_ident() not in {dp[2] for dp in found if dp[1] == os.getpid()}


@pytest.mark.parametrize("kind", RUNNERS)
def test_in_order_with_a_seed_and_resumed(kind: str) -> None:
    plain = numbers(shuffle=True).map(list)
    plain.seed(2)
    expected = list(plain)
    with RUNNERS[kind](numbers(shuffle=True).map(list)) as ds:
        ds.seed(2)
        iterator = iter(ds)
        head = [next(iterator) for _ in range(11)]
        state = json.loads(json.dumps(ds.state_dict()))
        del iterator
    assert head == expected[:11]
    with RUNNERS[kind](numbers(shuffle=True).map(list)) as other:
        other.load_state_dict(state)
        assert list(other) == expected[11:]
        assert other[3] == expected[3]


@pytest.mark.parametrize("kind", RUNNERS)
def test_failures(kind: str) -> None:
    ds = numbers(8).map(lambda dp: [1 // (dp[0] - 3)])
    with RUNNERS[kind](ds, on_error="skip") as run:
        assert len(list(run)) == 7
        assert run.stats()["errors"] == {"ZeroDivisionError": 1}
    with RUNNERS[kind](ds) as run, pytest.raises(df.WorkerError):
        list(run)


class Endless(df.RNGDataFlow):
    """A random generator, such as `replicate` is made for."""

    def __iter__(self):
        while True:
            yield [float(self.rng.rand()), threading.get_ident(), os.getpid()]


class Few(df.DataFlow):
    def __init__(self, size: int) -> None:
        self.number = size

    def __iter__(self):
        for i in range(self.number):
            yield where([i])

    def __len__(self) -> int:
        return self.number


@pytest.mark.parametrize("kind", RUNNERS)
def test_a_flow_that_can_only_be_iterated_runs_whole_in_one_worker(kind: str, caplog) -> None:
    with RUNNERS[kind](Few(20)) as ds:
        for _ in range(2):
            found = list(ds)
            assert [dp[0] for dp in found] == list(range(20))
    assert len({tuple(dp[1:]) for dp in found}) == 1
    assert (os.getpid(), threading.get_ident()) not in {tuple(dp[1:]) for dp in found}
    told = [record.message for record in caplog.records if "whole in one" in record.message]
    unit = {"processes": "process", "threads": "thread"}[kind]
    assert len(told) == 1 and f"one worker {unit}." in told[0]


@pytest.mark.parametrize("kind", RUNNERS)
def test_replicas(kind: str) -> None:
    made: list[Few] = []

    def make() -> Few:
        made.append(Few(10))
        return made[-1]

    if kind == "threads":
        ds: df.DataFlow = df.MultiThreadRunner(make, 5, 3, replicate=True)
        assert len(made) == 3, "each thread has its own"
    else:
        ds = df.MultiProcessRunner(Few(10), 5, 3, replicate=True)
    with ds:
        assert len(ds) == 30
        found = list(ds)
    assert Counter(dp[0] for dp in found) == Counter(dict.fromkeys(range(10), 3))
    assert len({tuple(dp[1:]) for dp in found}) == 3


@pytest.mark.parametrize("seed", [None, 5])
def test_replicas_draw_their_own_numbers(seed: int | None) -> None:
    with df.MultiThreadRunner(Endless, 4, 3, replicate=True) as ds:
        if seed is not None:
            ds.seed(seed)
        found: dict[int, list[float]] = {}
        for number, thread, _ in ds:
            found.setdefault(thread, []).append(number)
            if len(found) == 3 and min(map(len, found.values())) >= 20:
                break
    drawn = [number for numbers in found.values() for number in numbers[:20]]
    assert len(set(drawn)) == 60


def test_replicas_of_chains_with_keys() -> None:
    with df.MultiThreadRunner(lambda: numbers(10, True).map(where), 4, 2, replicate=True) as ds:
        found = list(ds)
    assert Counter(dp[0] for dp in found) == Counter(dict.fromkeys(range(10), 2))
    per_thread = [[dp[0] for dp in found if dp[2] == one] for one in {dp[2] for dp in found}]
    assert len(per_thread) == 2 and per_thread[0] != per_thread[1], "orders of their own"


def test_a_flow_with_processes_below_a_thread() -> None:
    """It is iterated in the thread, and nothing of it is left when it is closed."""
    below = df.PrefetchDataZMQ(numbers(20).map(where), 2)

    class Over(df.DataFlow):
        def __iter__(self):
            yield from below

    with df.MultiThreadRunner(Over, 4, 1) as ds, below:
        assert sorted(dp[0] for dp in ds) == list(range(20))
        for dp in ds:
            assert dp[1] != os.getpid()
            break


def test_threads_of_a_runner_in_processes() -> None:
    """It sets how many threads each process has."""
    with df.PrefetchDataZMQ(df.MultiThreadRunner(lambda: numbers(40).map(where), 5, 3), 2) as ds:
        found = list(ds)
        (row,) = (row for row in ds.stats()["stages"] if row["kind"] == "runner")
    assert sorted(dp[0] for dp in found) == list(range(40))
    assert (row["workers"], row["threads"]) == (2, 3)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: df.MultiThreadRunner(numbers(1), 5, 2), "get_df=.* must be a function"),
        (lambda: df.MultiThreadRunner(lambda: 3, 5, 2), "get_df must return a dataflow, not 3"),
        (lambda: df.MultiThreadRunner(numbers, 0, 2), "num_prefetch=0"),
        (lambda: df.MultiThreadRunner(numbers, 5, 0), "num_thread=0"),
        (lambda: df.MultiProcessRunner(numbers(), 0, 2), "num_prefetch=0"),
        (lambda: df.MultiProcessRunner(numbers(), 5, 0), "num_proc=0"),
        (lambda: df.MultiProcessMapAndBatchData(numbers(), 2, None, 3), "map_func=None"),
        (lambda: df.MultiProcessMapAndBatchData(numbers(), 2, list, 0), "batch_size=0"),
        (lambda: df.MultiProcessMapAndBatchData(numbers(), 2, list, 3, 0), "buffer_size=0"),
    ],
)
def test_what_makes_no_sense_is_refused(build, message: str) -> None:
    with pytest.raises(df.ConfigError, match=message):
        build()


def test_one_flow_for_all_replicas_is_refused() -> None:
    flow = Few(3)
    with pytest.raises(df.ConfigError, match="a new dataflow each time"):
        df.MultiThreadRunner(lambda: flow, 5, 2, replicate=True)


# -- map and batch ------------------------------------------------------------------------------


@pytest.mark.parametrize("remainder", [False, True])
def test_batches_of_mapped_datapoints(remainder: bool) -> None:
    def work(dp):
        return None if dp[0] == 4 else [np.full((2, 2), dp[0], np.uint8), dp[0], os.getpid()]

    with df.MultiProcessMapAndBatchData(numbers(23), 2, work, 5, remainder=remainder) as ds:
        assert len(ds) == 4 + remainder
        for _ in range(2):
            found = list(ds)
            labels = sorted(label for _, batch, _ in found for label in batch.tolist())
            assert len(labels) == len(set(labels)) == (22 if remainder else 20)
            assert set(labels) <= set(range(23)) - {4}
    assert {image.shape for image, _, _ in found[:4]} == {(5, 2, 2)}
    assert os.getpid() not in {pid for *_, pids in found for pid in pids.tolist()}
    for image, batch, _ in found:
        assert (image[:, 0, 0] == batch).all()


def test_the_same_as_a_batch_over_a_map() -> None:
    def work(dp):
        return [dp[0] * 2] if dp[0] % 7 else None

    plain = df.BatchData(df.MapData(numbers(40, True), work), 6)
    plain.seed(1)
    with df.MultiProcessMapAndBatchData(numbers(40, True), 2, work, 6, 3) as ds:
        ds.seed(1)
        iterator = iter(ds)
        head = [next(iterator)[0].tolist() for _ in range(2)]
        state = ds.state_dict()
        assert head + [dp[0].tolist() for dp in iterator] == [dp[0].tolist() for dp in plain]
        ds.load_state_dict(state)
        plain.set_epoch(0)
        assert [dp[0].tolist() for dp in ds] == [dp[0].tolist() for dp in plain][2:]
