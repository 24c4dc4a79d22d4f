"""tensorpack's flows, and users' own over its base classes, inside this package's stages."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
import pytest
import tensorpack.dataflow as tp
from tensorpack.dataflow import imgaug

import dataflow as df


def points(size: int = 20) -> list[list]:
    return [[np.full((8, 8, 3), i, np.uint8), i] for i in range(size)]


class OldUser(tp.RNGDataFlow):
    """A user's flow in the older spelling; uses its generator."""

    def get_data(self):
        order = np.arange(20)
        self.rng.shuffle(order)
        for i in order:
            yield points()[i]

    def size(self):
        return 20


class NewUser(tp.RNGDataFlow):
    """In the newer spelling, with a constructor and a reset of its own."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.resets = 0
        self.number = size

    def reset_state(self) -> None:
        super().reset_state()
        self.resets += 1

    def __iter__(self):
        assert self.resets == 1, "once and only once, as tensorpack demands"
        for i in self.rng.permutation(self.number):
            yield points(self.number)[i]

    def __len__(self) -> int:
        return self.number


FLOWS = {
    "DataFromList": lambda: tp.DataFromList(points()),
    "unshuffled": lambda: tp.DataFromList(points(), shuffle=False),
    "DataFromGenerator": lambda: tp.DataFromGenerator(points),
    "MapData": lambda: tp.MapData(
        tp.DataFromList([[i] for i in range(20)]), lambda dp: points()[dp[0]]
    ),
    "MapDataComponent": lambda: tp.MapDataComponent(
        tp.DataFromList([[i, i] for i in range(25)]),
        lambda i: None if i >= 20 else points()[i][0],
        0,
    ),
    "AugmentImageComponent": lambda: tp.AugmentImageComponent(
        tp.DataFromList(points()), [imgaug.Flip(horiz=True), imgaug.Resize((8, 8))]
    ),
    "several per-item stages": lambda: tp.MapData(
        tp.MapDataComponent(tp.DataFromList(points()), lambda image: image, 0), lambda dp: dp
    ),
    "a user's, older": OldUser,
    "a user's, newer": lambda: NewUser(20),
    "a user's below its stages": lambda: tp.MapData(NewUser(20), lambda dp: dp),
    "ConcatData": lambda: tp.ConcatData(
        [tp.DataFromList(points()[:7]), tp.DataFromList(points()[7:])]
    ),
    "RepeatedDataPoint": lambda: tp.MapData(
        tp.RepeatedDataPoint(tp.DataFromList(points()), 1), lambda dp: dp
    ),
    "CacheData": lambda: tp.CacheData(tp.DataFromList(points()), shuffle=True),
    "JoinData": lambda: tp.JoinData(
        [tp.DataFromList([[i] for i in parts], shuffle=False) for parts in zip(*points())]  # noqa: B905
    ),
    "LocallyShuffleData": lambda: tp.FixedSizeData(
        tp.LocallyShuffleData(
            tp.RepeatedData(tp.DataFromList(points(), shuffle=False), 1), 1, 1, 9
        ),
        20,
    ),
    "RandomMixData": lambda: tp.RandomMixData(
        [tp.DataFromList(points()[:7]), df.DataFromList(points()[7:])]
    ),
    "AugmentImageComponents": lambda: tp.AugmentImageComponents(
        tp.DataFromList(points()), [imgaug.Flip(horiz=True)], (0,)
    ),
    "DataFromIterable": lambda: tp.DataFromIterable(points()),
    "both, nested": lambda: tp.MapData(
        df.CacheData(tp.MapData(df.MapData(tp.DataFromList(points()), list), list)), list
    ),
}

WRAPPERS = {
    "MapData": lambda ds: df.MapData(ds, lambda dp: dp),
    "BatchData": lambda ds: df.BatchData(ds, 4),
    "LocallyShuffleData": lambda ds: df.LocallyShuffleData(ds, 6),
    "RepeatedData": lambda ds: df.RepeatedData(ds, 1),
    "FixedSizeData": lambda ds: df.FixedSizeData(ds, 20),
    "PrefetchDataZMQ": lambda ds: df.PrefetchDataZMQ(ds, 2),
    "CacheData": lambda ds: df.CacheData(ds, shuffle=True),
    "BatchDataByShape": lambda ds: df.BatchDataByShape(ds, 4, 0),
    "MultiThreadRunner": lambda ds: df.MultiThreadRunner(lambda: ds, 5, 2),
    "MultiThreadMapData": lambda ds: df.MultiThreadMapData(ds, 2, list, buffer_size=5),
}


@pytest.fixture(params=FLOWS)
def theirs(request: pytest.FixtureRequest):
    return FLOWS[request.param]()


def labels(ds) -> Counter[int]:
    found: Counter[int] = Counter()
    for image, label in ds:
        for one, number in zip(np.reshape(image, (-1, 8, 8, 3)), np.ravel(label), strict=True):
            assert (one == number).all()
            found[int(number)] += 1
    return found


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_each_datapoint_once(wrapper: str, theirs) -> None:
    with WRAPPERS[wrapper](theirs) as ds:
        for _ in range(2):
            assert labels(ds) == Counter(range(20))


@pytest.mark.parametrize("flow", ["DataFromGenerator", "MapDataComponent", "a user's, newer"])
def test_each_datapoint_once_through_our_stage_in_processes(flow: str) -> None:
    with df.MapData(FLOWS[flow](), lambda dp: dp).prefetch(2) as ds:
        for _ in range(2):
            assert labels(ds) == Counter(range(20))


def test_lengths_pass(theirs) -> None:
    try:
        size = len(theirs)
    except (TypeError, NotImplementedError):
        with pytest.raises((TypeError, NotImplementedError)):
            len(df.MapData(theirs, lambda dp: dp))
    else:
        assert len(df.MapData(theirs, lambda dp: dp)) == size
        assert len(df.BatchData(theirs, 3)) == size // 3


def test_their_per_item_stages_run_in_the_workers() -> None:
    import os

    theirs = tp.MapData(
        tp.MapDataComponent(tp.DataFromList([[i] for i in range(40)]), lambda i: [i, os.getpid()]),
        lambda dp: [*dp[0], os.getpid()],
    )
    with df.PrefetchDataZMQ(theirs, 2) as ds:
        found = sorted(ds)
    assert [dp[0] for dp in found] == list(range(40))
    assert all(one == two != os.getpid() for _, one, two in found)


@pytest.mark.parametrize(
    "stage",
    [
        lambda ds: tp.MapData(ds, lambda dp: dp),
        lambda ds: tp.MapDataComponent(ds, lambda image: image, 0),
        lambda ds: tp.AugmentImageComponent(ds, [imgaug.Flip(horiz=True)]),
        lambda ds: tp.AugmentImageComponents(ds, [imgaug.Flip(horiz=True)], (0,)),
        lambda ds: tp.MapData(tp.MapDataComponent(ds, lambda image: image, 0), lambda dp: dp),
    ],
)
def test_their_sources_stay_here(stage) -> None:
    """Only what the stages do travels: the source may hold what cannot be sent."""

    class Locked(NewUser):
        def __init__(self) -> None:
            super().__init__(20)
            self.lock = threading.Lock()

    with df.PrefetchDataZMQ(stage(Locked()), 2) as ds:
        assert labels(ds) == Counter(range(20))


def test_their_augmentors_below_threads() -> None:
    from dataflow.engine.runners import ThreadRunner

    theirs = tp.AugmentImageComponent(
        tp.DataFromList(points()), [imgaug.RandomCrop(4), imgaug.Brightness(30)]
    )
    with ThreadRunner(theirs, 3) as ds:
        found = list(ds)
    assert {image.shape for image, _ in found} == {(4, 4, 3)}
    assert sorted(label for _, label in found) == list(range(20))


def test_their_augmentors_in_our_stage() -> None:
    with df.AugmentImageComponent(
        df.DataFromList(points()), [imgaug.CenterCrop(4), df.imgaug.Flip(horiz=True)]
    ) as ds:
        assert {image.shape for image, _ in ds} == {(4, 4, 3)}


def test_an_unseeded_source_of_theirs_is_new_in_every_epoch() -> None:
    with df.MapData(tp.DataFromList([[i] for i in range(50)]), lambda dp: dp) as ds:
        assert list(ds) != list(ds)


def test_a_failure_below_is_a_worker_error() -> None:
    theirs = tp.MapData(tp.DataFromList([[i] for i in range(9)]), lambda dp: [1 // dp[0]])
    with df.PrefetchDataZMQ(theirs, 2) as ds, pytest.raises(df.WorkerError) as caught:
        list(ds)
    assert caught.value.type_name == "builtins.ZeroDivisionError"
    with df.PrefetchDataZMQ(theirs, 2, on_error="skip") as ds:
        assert len(list(ds)) == 8
        assert ds.stats()["errors"] == {"ZeroDivisionError": 1}


def test_the_same_results_as_theirs() -> None:
    """A chain built of either package's stages, over the same data."""

    def chain(kit):
        ds = kit.DataFromList(points(), shuffle=False)
        ds = kit.MapData(ds, lambda dp: None if dp[1] % 3 == 0 else [dp[0], dp[1], str(dp[1])])
        ds = kit.MapDataComponent(ds, lambda image: image.astype("float32") / 255, 0)
        ds = kit.RepeatedData(ds, 2)
        ds = kit.FixedSizeData(ds, 22)
        return kit.BatchData(ds, 5, remainder=True)

    theirs = chain(tp)
    theirs.reset_state()
    with chain(df) as ours:
        for _ in range(3):
            for one, other in zip(ours, theirs, strict=True):
                assert all(
                    a.dtype == (np.int64 if b.dtype == np.int32 else b.dtype)
                    and np.array_equal(a, b)
                    for a, b in zip(one, other, strict=True)
                )
