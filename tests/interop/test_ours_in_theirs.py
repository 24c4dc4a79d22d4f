"""This package's flows inside tensorpack's wrappers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import tensorpack.dataflow as tp

import dataflow as df


def points(size: int = 20) -> list[list]:
    return [[np.full((2, 2), i, np.uint8), i] for i in range(size)]


class Own(df.RNGDataFlow):
    """A user's flow over this package's base class, in the older spelling."""

    def get_data(self):
        yield from points()

    def size(self):
        return 20


FLOWS = {
    "a list": lambda: df.DataFromList(points(), shuffle=False),
    "a shuffled list": lambda: df.DataFromList(points()),
    "a chain": lambda: df.DataFromList([[i] for i in range(20)]).map(lambda dp: points()[dp[0]]),
    "a local shuffle": lambda: df.LocallyShuffleData(df.DataFromList(points()), 5),
    "a users' class": Own,
    "a cache": lambda: df.CacheData(df.DataFromList(points()), shuffle=True),
    "an iterable": lambda: df.DataFromIterable(points()),
    "threads": lambda: df.MultiThreadRunner(lambda: df.DataFromList(points()), 5, 2),
}


@pytest.fixture(params=FLOWS)
def ours(request: pytest.FixtureRequest):
    with FLOWS[request.param]() as ds:
        yield ds


def labels(ds) -> Counter[int]:
    """The labels of an epoch; every image has its own label."""
    found: Counter[int] = Counter()
    for image, label in ds:
        for one, number in zip(np.reshape(image, (-1, 2, 2)), np.ravel(label), strict=True):
            assert (one == number).all()
            found[int(number)] += 1
    return found


def ready(ds):
    ds.reset_state()
    return ds


def once(size: int = 20) -> Counter[int]:
    return Counter(range(size))


def test_map_data(ours) -> None:
    ds = ready(tp.MapData(ours, lambda dp: [dp[0] + 1, dp[1] + 1]))
    assert len(ds) == ds.size() == 20
    for _ in range(2):
        assert labels(ds) == Counter(range(1, 21))


def test_map_data_component(ours) -> None:
    ds = ready(tp.MapDataComponent(ours, lambda label: label if label < 5 else None, 1))
    assert labels(ds) == once(5)


def test_batch_data(ours) -> None:
    ds = ready(tp.BatchData(ours, 6, remainder=True))
    assert len(ds) == 4
    assert labels(ds) == once()


def test_repeated_data(ours) -> None:
    ds = ready(tp.RepeatedData(ours, 3))
    assert len(ds) == 60
    assert labels(ds) == Counter(dict.fromkeys(range(20), 3))


def test_repeated_data_point(ours) -> None:
    assert labels(ready(tp.RepeatedDataPoint(ours, 2))) == Counter(dict.fromkeys(range(20), 2))


@pytest.mark.parametrize("keep_state", [True, False])
def test_fixed_size_data(ours, keep_state: bool) -> None:
    ds = ready(tp.FixedSizeData(ours, 30, keep_state))
    found = labels(ds)
    assert sum(found.values()) == 30 and set(found.values()) == {1, 2}
    if keep_state:  # 30 and 30 are three epochs
        assert found + labels(ds) == Counter(dict.fromkeys(range(20), 3))


def test_concat_data(ours) -> None:
    other = df.DataFromList([[np.full((2, 2), i, np.uint8), i] for i in range(20, 25)])
    ds = ready(tp.ConcatData([ours, other, tp.DataFromList(points(3))]))
    assert len(ds) == 28
    assert labels(ds) == once(25) + once(3)


def test_join_data(ours) -> None:
    ds = ready(tp.JoinData([ours, df.DataFromList([[i] for i in range(20)], shuffle=False)]))
    found = list(ds)
    assert [dp[2] for dp in found] == list(range(20))
    assert labels([dp[:2] for dp in found]) == once()


def test_cache_data(ours) -> None:
    ds = ready(tp.CacheData(ours, shuffle=True))
    for _ in range(3):
        assert labels(ds) == once()
    assert ours.stats()["items"] in (0, 20), "read once"


def test_batch_data_by_shape(ours) -> None:
    ds = ready(tp.BatchDataByShape(ours, 5, 0))
    assert labels(ds) == once()


def test_augment_image_components(ours) -> None:
    both = tp.MapData(ours, lambda dp: [dp[0], dp[0], dp[1]])
    flip = tp.imgaug.Flip(horiz=True)
    ds = ready(tp.AugmentImageComponents(both, [flip], (0, 1)))
    assert labels([image, label] for image, _, label in ds) == once()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_multi_thread_runner() -> None:
    """It takes nothing but its own flows, and makes one for each thread.

    (What it refused it cannot delete without an error, whenever that is collected.)
    """
    with pytest.raises(AssertionError):
        tp.MultiThreadRunner(FLOWS["a chain"], 40, 1)
    ds = ready(tp.MultiThreadRunner(lambda: tp.ProxyDataFlow(FLOWS["a chain"]()), 40, 1))
    assert labels(ds) == once()
    (thread,) = ds.threads
    thread.stop()
    while not ds.queue.empty():
        ds.queue.get()
    thread.join()
    thread.df.ds.close()


def test_random_mix_data(ours) -> None:
    ds = ready(tp.RandomMixData([ours, tp.DataFromList(points(5))]))
    assert labels(ds) == once() + once(5)


def test_select_component(ours) -> None:
    ds = ready(tp.SelectComponent(ours, [1, 0]))
    assert labels([image, label] for label, image in ds) == once()


def test_speed_and_print(ours, capsys: pytest.CaptureFixture[str]) -> None:
    ds = ready(tp.TestDataSpeed(ours, size=10))
    ds.start()
    assert "10/10" in capsys.readouterr().err
    assert labels(ds) == once()


def test_multi_thread_map_data(ours) -> None:
    """Its threads take from our iterator, and each datapoint comes once."""
    ds = tp.MultiThreadMapData(ours, 3, lambda dp: [dp[0], dp[1]], buffer_size=5, strict=True)
    ds.reset_state()
    assert labels(ds) == once()
    del ds


@pytest.mark.parametrize(
    "wrap",
    [
        lambda ds: tp.FixedSizeData(ds, 20),
        lambda ds: tp.BatchData(ds, 5),
        lambda ds: tp.MultiThreadMapData(ds, 2, lambda dp: dp, buffer_size=5, strict=True),
        lambda ds: tp.BatchData(tp.RepeatedData(tp.MapData(ds, list), 1), 4),
    ],
)
@pytest.mark.parametrize(
    "run",
    [
        lambda ds: df.PrefetchDataZMQ(ds, 2),
        lambda ds: df.MultiProcessRunner(df.CacheData(ds), 5, 2),
    ],
)
def test_our_processes(wrap, run) -> None:
    with run(df.DataFromList(points())) as below:
        ds = ready(wrap(below))
        for _ in range(2):
            assert labels(ds) == once()
        del ds


def test_both_ways_at_once(ours) -> None:
    """Ours over theirs over ours."""
    with df.BatchData(tp.MapData(ours, lambda dp: dp), 5) as ds:
        for _ in range(2):
            assert labels(ds) == once()


def test_one_flow_twice_is_two_iterators_of_one() -> None:
    """Unlike tensorpack's, a flow has one pass at a time: the newer ends the older."""
    ds = df.DataFromList(points(), shuffle=False)
    with pytest.raises(df.DataFlowTerminated):
        list(ready(tp.JoinData([ds, ds])))
