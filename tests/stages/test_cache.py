"""`CacheData`: one epoch, read once."""

from __future__ import annotations

import copy
import json
import os
import queue
import threading

import numpy as np
import pytest

import dataflow as df
from dataflow.engine.runners import ThreadRunner


class Counted:
    """A function of a map that knows how often it was called."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, dp: list[int]) -> list[int]:
        self.seen.append(dp[0])
        return dp


class Jitter(df.imgaug.ImageAugmentor):
    """Adds a random number to all pixels."""

    def get_transform(self, img):
        by = self.rng.rand()
        return df.imgaug.PhotometricTransform(lambda image: image + by)


def numbers(size: int = 20, shuffle: bool = False) -> df.DataFromList:
    return df.DataFromList([[i] for i in range(size)], shuffle=shuffle)


def values(ds) -> list[int]:
    return [dp[0] for dp in ds]


def test_the_input_is_read_once() -> None:
    count = Counted()
    ds = df.CacheData(numbers().map(count))
    for _ in range(3):
        assert values(ds) == list(range(20))
    assert count.seen == list(range(20))
    assert len(ds) == 20
    assert [row["items"] for row in ds.stats()["stages"]] == [20, 20, 60]


def test_every_epoch_is_the_first_one() -> None:
    """Whatever the input does in later epochs: it is asked for one only."""
    ds = df.CacheData(numbers(shuffle=True))
    first = values(ds)
    assert values(ds) == values(ds) == first != list(range(20))
    assert sorted(first) == list(range(20))


def test_shuffled_anew_in_each_epoch_but_the_first() -> None:
    ds = df.CacheData(numbers(), shuffle=True)
    ds.seed(4)
    epochs = [values(ds) for _ in range(4)]
    assert epochs[0] == list(range(20))
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    again = df.CacheData(numbers(), shuffle=True)
    again.seed(4)
    again.set_epoch(2)
    assert values(again) == epochs[2], "also where nothing was read yet"


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_first_epoch_that_is_left_goes_on_in_the_next(shuffle: bool) -> None:
    count = Counted()
    ds = df.CacheData(numbers().map(count), shuffle)
    for dp in ds:
        if dp[0] == 7:
            break
    assert count.seen == list(range(8))
    assert sorted(values(ds)) == list(range(20))
    assert sorted(values(ds)) == list(range(20))
    assert count.seen == list(range(20))


def test_parts_of_it_in_each_epoch() -> None:
    count = Counted()
    with df.CacheData(numbers().map(count)).take(6) as ds:
        for _ in range(3):
            assert values(ds) == list(range(6))
    assert count.seen == list(range(6))


def test_where_the_input_cannot_go_on_it_begins_again() -> None:
    """A local shuffle of batches has no place to go on from."""
    count = Counted()
    ds = df.CacheData(df.LocallyShuffleData(df.BatchData(numbers().map(count), 2), 4))
    ds.seed(1)
    left = iter(ds)
    begun = [next(left)[0].tolist() for _ in range(3)]
    del left
    epoch = [dp[0].tolist() for dp in ds]
    assert epoch[:3] == begun
    assert sorted(i for batch in epoch for i in batch) == list(range(20))
    assert [dp[0].tolist() for dp in ds] == epoch


def test_an_error_below_stops_the_epoch_and_loses_nothing() -> None:
    broken = [True]

    def work(dp):
        if dp[0] == 5 and broken[0]:
            raise KeyError("not yet")
        return dp

    ds = df.CacheData(numbers(10).map(work))
    with pytest.raises(KeyError):
        list(ds)
    broken[0] = False
    assert values(ds) == values(ds) == list(range(10))


def test_an_index_error_below_is_no_end() -> None:
    def work(dp):
        return [[0, 1, 2][dp[0]]]

    with pytest.raises(IndexError, match="list index"):
        list(df.CacheData(numbers(10).map(work)))


def test_what_is_dropped_below_is_not_kept() -> None:
    count = Counted()
    ds = df.CacheData(numbers().map(count).filter(lambda dp: dp[0] % 3))
    for _ in range(2):
        assert values(ds) == [i for i in range(20) if i % 3]
    assert len(count.seen) == 20
    assert len(ds) == 20, "an upper bound"
    assert ds[0] == [1] and ds[12] == [19]
    with pytest.raises(IndexError):
        ds[13]


def test_random_access() -> None:
    ds = df.CacheData(numbers().map_component(lambda i: i * 2), shuffle=True)
    ds.seed(3)
    assert [ds[i][0] for i in (3, 0, 19)] == [6, 0, 38]
    with pytest.raises(IndexError):
        ds[20]
    ds.set_epoch(5)
    ahead = [ds[i] for i in range(20)]
    assert list(ds) == ahead
    zeros = df.CacheData(df.DataFromList([[np.zeros((1, 1))] for _ in range(5)]))
    drawn = df.AugmentImageComponent(zeros, [Jitter()])
    assert [drawn[i][0].item() for i in range(5)] == [dp[0].item() for dp in drawn]


def test_random_access_while_it_is_iterated() -> None:
    count = Counted()
    ds = df.CacheData(numbers().map(count))
    iterator = iter(ds)
    assert next(iterator) == [0]
    assert ds[10] == [10]
    assert [dp[0] for dp in iterator] == list(range(1, 20))
    assert count.seen == list(range(20))


def test_random_access_from_many_threads() -> None:
    count = Counted()
    ds = df.CacheData(numbers(200).map(count))
    found: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda: found.append([ds[i][0] for i in range(200)]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [list(range(200))] * 4
    assert count.seen == list(range(200))


def test_stages_above_draw_anew_in_each_epoch_those_below_once() -> None:
    zeros = df.DataFromList([[np.zeros((1, 1))] for _ in range(5)])
    below = df.CacheData(df.AugmentImageComponent(zeros, [Jitter()]))
    one, other = (np.ravel([dp[0] for dp in below]) for _ in range(2))
    assert np.array_equal(one, other) and len(set(one)) == 5
    above = df.AugmentImageComponent(df.CacheData(zeros), [Jitter()])
    one, other = (np.ravel([dp[0] for dp in above]) for _ in range(2))
    assert len({*one, *other}) == 10


@pytest.mark.parametrize("stop", [3, 20, 27, 45])
@pytest.mark.parametrize("shuffle", [False, True])
def test_resumed_in_another_process(stop: int, shuffle: bool) -> None:
    """That is: on a chain built anew, whose cache is empty."""

    def chain() -> df.DataFlow:
        ds = df.CacheData(numbers(shuffle=True).filter(lambda dp: dp[0] != 4), shuffle)
        return df.RepeatedData(ds.map(lambda dp: [dp[0]]), 3)

    ds = chain()
    iterator = iter(ds)
    head = [next(iterator)[0] for _ in range(stop)]
    state = json.loads(json.dumps(ds.state_dict()))
    rest = [dp[0] for dp in iterator]
    assert len(head + rest) == 57
    other = chain()
    other.load_state_dict(state)
    assert values(other) == rest
    used = chain()
    list(used)  # its cache is of another seed
    used.load_state_dict(state)
    assert values(used) == rest
    assert values(used) == values(ds)


def test_its_own_state() -> None:
    ds = df.CacheData(numbers(shuffle=True), shuffle=True)
    list(ds)
    iterator = iter(ds)
    head = [next(iterator) for _ in range(8)]
    state = ds.state_dict()
    other = df.CacheData(numbers(shuffle=True), shuffle=True)
    other.load_state_dict(state)
    rest = list(other)
    assert rest == list(iterator) and sorted(head + rest) == [[i] for i in range(20)]


def test_no_state_where_the_input_cannot_be_read_again() -> None:
    source: queue.Queue[list[int]] = queue.Queue()
    for i in range(9):
        source.put([i])
    ds = df.CacheData(df.FixedSizeData(df.DataFromQueue(source), 5))
    iterator = iter(ds)
    assert [next(iterator)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(df.NotResumable, match="gone"):
        ds.state_dict()
    del iterator
    assert values(ds)[:3] == [0, 1, 2]
    with pytest.raises(df.NotResumable, match="gone"):
        ds.state_dict()


def test_a_new_seed_is_another_epoch() -> None:
    ds = df.CacheData(numbers(shuffle=True))
    first = values(ds)
    ds.seed(1)
    one = values(ds)
    ds.seed(2)
    assert sorted(values(ds)) == sorted(one)
    plain = numbers(shuffle=True)
    plain.seed(2)
    assert values(ds) == values(plain) != one != first


def test_several_chains_over_one_cache() -> None:
    count = Counted()
    cache = df.CacheData(numbers().map(count))
    assert values(cache) == values(df.MapData(cache, list)) == list(range(20))
    assert [len(dp[0]) for dp in df.BatchData(cache, 5)] == [5] * 4
    assert len(count.seen) == 20


def test_writing_into_a_datapoint_leaves_the_cache_alone() -> None:
    for make in (lambda i: [i, i], lambda i: {0: i, 1: i}):
        ds = df.CacheData(df.DataFromList([make(i) for i in range(5)], shuffle=False))
        for _ in range(2):
            for dp in ds:
                assert dp[0] == dp[1]
                dp[0] = "mine"


def test_views_are_kept_by_themselves() -> None:
    """A crop must not keep the photo alive."""
    images = df.DataFromList([[np.full((50, 50), i)] for i in range(3)], shuffle=False)
    ds = df.CacheData(images.map_component(lambda image: image[:2, :2]))
    for _ in range(2):
        kept = [dp[0] for dp in ds]
    assert all(image.base is None and (image == i).all() for i, image in enumerate(kept))


def test_copies_read_for_themselves() -> None:
    ds = df.CacheData(numbers())
    list(ds)
    other = copy.copy(ds)
    assert values(other) == list(range(20))


class Opener(df.MapData):
    """A stage whose `reset_state` makes what cannot be pickled."""

    def __init__(self, ds) -> None:
        super().__init__(ds, lambda dp: [*dp, os.getpid()])

    def reset_state(self) -> None:
        super().reset_state()
        self.lock = threading.Lock()


def test_a_runner_below_works_in_the_first_epoch_only() -> None:
    with df.CacheData(df.PrefetchDataZMQ(Opener(numbers()), 2)) as ds:
        first = list(ds)
        assert [dp[0] for dp in first] == list(range(20)), "in order: places are kept"
        assert not ds.ds._executors, "nobody waits for a second one"
        assert list(ds) == first and os.getpid() not in {dp[1] for dp in first}


def test_a_runner_above_reads_it_and_works_on_it() -> None:
    cached = df.CacheData(Opener(numbers(40, shuffle=True)))
    with df.PrefetchDataZMQ(Opener(cached), 2) as ds:
        epochs = [sorted(ds) for _ in range(2)]
        (crew,) = ds._executors.values()
        assert len(crew.workers) == 2, "those that read it are gone"
    for epoch in epochs:
        assert [dp[0] for dp in epoch] == list(range(40))
        assert os.getpid() not in {pid for dp in epoch for pid in dp[1:]}
    assert [dp[1] for dp in epochs[0]] == [dp[1] for dp in epochs[1]], "read once"


def odd_fails(dp: list[int]) -> list[int]:
    if dp[0] % 2:
        raise ValueError(f"{dp[0]} is odd")
    return dp


@pytest.mark.parametrize("looked_at", [False, True])
@pytest.mark.parametrize("above", ["ThreadRunner", "PrefetchDataRemote", "two"])
def test_the_nearest_runner_above_decides_about_failures(looked_at: bool, above: str) -> None:
    """In what is read for the cache, whether for iterating or for `ds[i]`."""
    cached = df.CacheData(numbers(8).map(odd_fails))
    if above == "PrefetchDataRemote":
        ds = df.PrefetchDataRemote(cached, "tcp://127.0.0.1:*", num_proc=1, on_error="skip")
    else:
        ds = ThreadRunner(cached, 2, on_error="skip")
    if above == "two":
        ds = ThreadRunner(ds.map(lambda dp: dp), 2, on_error="raise")
    with ds:
        # Without a seed, runners deliver in no fixed order.
        found = [ds[i][0] for i in range(4)] if looked_at else sorted(dp[0] for dp in ds)
        assert found == [0, 2, 4, 6]
        assert len(ds.errors()) == (3 if looked_at else 4)
        assert not looked_at or not ds._executors, "nobody is hired to look at a few"


def test_no_machines_are_waited_for_to_look_at_some() -> None:
    """But they read the rest, where it is iterated."""
    ds = numbers(shuffle=True).map(lambda dp: [*dp, os.getpid()])
    pool = df.PrefetchDataRemote(ds, "tcp://127.0.0.1:*", num_proc=1)
    with df.CacheData(pool).seed(5) as ds:
        looked_at = [ds[i] for i in range(3)]
        assert {pid for _, pid in looked_at} == {os.getpid()} and not pool._executors
        found = list(ds)
        assert found[:3] == looked_at and os.getpid() not in {pid for _, pid in found[3:]}
        assert values(found) == values(numbers(shuffle=True).seed(5))


def test_a_runner_above_batches_of_it() -> None:
    with df.PrefetchDataZMQ(df.BatchData(df.CacheData(Opener(numbers(12))), 4), 2) as ds:
        for _ in range(2):
            found = list(ds)
            assert [batch.tolist() for batch, _ in found] == [
                [0, 1, 2, 3],
                [4, 5, 6, 7],
                [8, 9, 10, 11],
            ]
        assert not ds._executors, "building them here costs less than sending them there and back"
    assert os.getpid() not in {pid for _, pids in found for pid in pids}


@pytest.mark.parametrize("processes", [False, True])
def test_the_same_bytes_with_and_without_runners(processes: bool) -> None:
    def chain(run: bool) -> df.DataFlow:
        ds: df.DataFlow = df.CacheData(df.FakeData([(3,)], 30), shuffle=True)
        ds = df.AugmentImageComponent(ds.map_component(lambda a: a.reshape(1, 3)), [Jitter()])
        if run:
            ds = df.PrefetchDataZMQ(ds, 2) if processes else df.MultiThreadMapData(ds, 3, list)
        ds.seed(9)
        return ds

    with chain(True) as ours, chain(False) as plain:
        for _ in range(2):
            for one, other in zip(ours, plain, strict=True):
                assert one[0].tobytes() == other[0].tobytes()
