"""Any datapoint by its position."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

import dataflow as df


class Draw(df.MapData, df.RNGDataFlow):
    def apply(self, datapoint):
        return [*super().apply(datapoint), int(self.rng.randint(1 << 30))]


def numbers(size: int = 12, shuffle: bool = True) -> df.DataFlow:
    return Draw(df.DataFromList([[i] for i in range(size)], shuffle=shuffle), lambda dp: dp)


def plain(dp):
    return [part.tolist() if isinstance(part, np.ndarray) else part for part in dp]


CHAINS = {
    "list": lambda: numbers(),
    "map": lambda: Draw(numbers(), lambda dp: [dp[0] + 1, dp[1]]),
    "batch": lambda: numbers().batch(4),
    "batch with a remainder": lambda: numbers().batch(5, remainder=True),
    "map of batches": lambda: Draw(numbers().batch(5), lambda dp: dp),
    "repeat": lambda: numbers().repeat(3),
    "repeated batches": lambda: numbers().batch(4).repeat(3),
    "zip": lambda: df.JoinData([numbers(), numbers(9).map(lambda dp: [-dp[0]])]),
    "zipped batches": lambda: df.JoinData([numbers().batch(2), numbers(9).batch(2)]),
    "concat": lambda: df.ConcatData([numbers(), numbers(5), numbers()]),
    "concatenated batches": lambda: df.ConcatData([numbers().batch(2), numbers(9).batch(2)]),
    "select": lambda: df.SelectComponent(numbers(), [1, 0]),
    "mix": lambda: df.RandomMixData([numbers(), numbers(7)]),
    "copies": lambda: Draw(df.RepeatedDataPoint(numbers(), 2), lambda dp: dp),
    "copied batches": lambda: df.RepeatedDataPoint(numbers().batch(3), 2),
    "take": lambda: numbers().take(17),
    "fake": lambda: df.FakeData([(2,)], 10),
    "the same one": lambda: df.FakeData([(2,)], 10, random=False),
    "processes": lambda: df.PrefetchDataZMQ(numbers(), 2).batch(4),
    "a deep chain": lambda: (
        df.ConcatData([df.JoinData([numbers(), numbers(30)]).map(lambda dp: dp[:2]), numbers(7)])
        .batch(3)
        .repeat(2)
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_it_is_what_iteration_delivers(name: str) -> None:
    with CHAINS[name]().seed(3) as ds:
        for epoch in (0, 1, 4):
            ds.set_epoch(epoch)
            delivered = [plain(dp) for dp in ds]
            assert [plain(ds[i]) for i in range(len(ds))] == delivered
            assert plain(ds[len(ds) - 1]) == delivered[-1]
        ds.set_epoch(0)
        first = plain(ds[0])
        for _ in range(2):
            list(ds)
        assert plain(ds[0]) == first, "iterating moves nothing"


def test_without_end() -> None:
    ds = numbers(5).batch(2).repeat(-1).seed(1)
    delivered = [plain(dp) for dp in islice(ds, 30)]
    assert [plain(ds[i]) for i in range(30)] == delivered
    assert ds[10**12][0].shape == (2,)
    assert df.RepeatedData(numbers(5), -1).seed(1)[10**15]


@pytest.mark.parametrize("index", [-13, 12, 10**9])
@pytest.mark.parametrize("make", [lambda: numbers(12), lambda: numbers(24).batch(2)])
def test_beyond_the_ends(make, index: int) -> None:
    with pytest.raises(IndexError, match=str(index)):
        make()[index]


def test_dropped_ones() -> None:
    ds = df.DataFromList([[i] for i in range(6)], shuffle=False)
    ds = ds.map(lambda dp: dp if dp[0] % 2 else None)
    assert ds[1] == [1] and issubclass(df.Dropped, LookupError)
    with pytest.raises(df.Dropped, match="position 2"):
        ds[2]
    with pytest.raises(df.Dropped):
        ds.batch(2)[0]


def test_what_has_none() -> None:
    class Mine(df.DataFlow):
        def __iter__(self):
            yield [1]

    for ds in (
        numbers().shuffled(3),
        df.DataFromGenerator(lambda: iter([[1]])),
        Mine(),
        Mine().map(lambda dp: dp),
        df.RandomChooseData([numbers(), numbers()]),
        df.RepeatedData(Mine(), -1),
        df.FixedSizeData(numbers(), 5),
    ):
        with pytest.raises(TypeError, match=r"random access|only be iterated|unknown length"):
            ds[0]
    with pytest.raises(TypeError):
        numbers()["first"]


def test_numpys_integers_are_indices() -> None:
    assert numbers().seed(1)[np.int64(3)] == numbers().seed(1)[3]


def test_a_large_permutation_is_not_made_whole() -> None:
    ds = df.DataFromList(range(10_000_000), shuffle=True).seed(1)
    picked = [ds[i] for i in range(0, 10_000_000, 1_000_003)]
    assert len(set(picked)) == len(picked)
    assert all(0 <= i < 10_000_000 for i in picked)


def test_through_a_runner_over_batches() -> None:
    for make in (
        lambda ds: df.PrefetchDataZMQ(ds, 1),
        lambda ds: df.MultiThreadMapData(ds, 2, lambda dp: dp),
    ):
        ds = make(numbers().batch(4)).seed(1)
        assert plain(ds[1]) == plain(numbers().batch(4).seed(1)[1])
