"""Shuffling within a buffer: every epoch exact, and the same again for the same seed.

Here tensorpack's class is different on purpose: it runs without end, mixes passes over its input,
and never delivers what is in the buffer when the input ends.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
import tensorpack.dataflow as tp
from hypothesis import given
from hypothesis import strategies as st

import dataflow as df


def points(size: int) -> list[list[int]]:
    return [[i] for i in range(size)]


def flow(size: int, buffer: int, num_reuse: int = 1) -> df.DataFlow:
    return df.LocallyShuffleData(df.DataFromList(points(size), shuffle=False), buffer, num_reuse)


@given(st.integers(0, 40), st.integers(1, 50), st.integers(1, 3), st.integers(0, 1 << 40))
def test_each_epoch_is_exact(size, buffer, num_reuse, seed) -> None:
    ds = flow(size, buffer, num_reuse).seed(seed)
    for _ in range(3):
        counts = Counter(i for (i,) in ds)
        assert counts == dict.fromkeys(range(size), num_reuse)
    assert len(ds) == size * num_reuse


@given(st.integers(2, 60), st.integers(1, 20))
def test_nothing_comes_earlier_than_the_buffer_allows(size, buffer) -> None:
    for place, (i,) in enumerate(flow(size, buffer)):
        assert i <= place + buffer


def test_seeds_reproduce() -> None:
    one, again, other = (flow(50, 20).seed(seed) for seed in (1, 1, 2))
    first = [list(one), list(one)]
    assert first == [list(again), list(again)]
    assert first[0] != first[1], "epochs differ"
    assert first[0] != list(other)
    assert first[0] != points(50)


def test_a_buffer_of_one_changes_nothing() -> None:
    assert list(flow(20, 1)) == points(20)


def test_a_large_buffer_is_a_full_shuffle() -> None:
    places = [next(iter(flow(4, 100).seed(seed)))[0] for seed in range(400)]
    assert min(Counter(places).values()) > 60 and len(set(places)) == 4


def test_datapoints_move_far() -> None:
    order = [i for (i,) in flow(10_000, 1000)]
    moved = sum(abs(i - place) for place, i in enumerate(order)) / len(order)
    assert moved > 300


def test_copies_draw_their_own_numbers() -> None:
    class Noise(df.RNGDataFlow):
        def __call__(self, dp):
            return [dp[0], self.rng.rand()]

    drawn = list(df.MapData(flow(10, 5, num_reuse=2), Noise()).seed(1))
    assert len({value for _, value in drawn}) == 20


def test_drops_below() -> None:
    ds = df.DataFromList(points(20), shuffle=False).filter(lambda dp: dp[0] % 2).shuffled(4)
    assert sorted(ds) == [[i] for i in range(1, 20, 2)]


def test_under_workers_only_keys_are_shuffled() -> None:
    alone = list(flow(30, 10).map(lambda dp: [dp[0] + 100]).seed(9))
    with df.PrefetchDataZMQ(flow(30, 10).map(lambda dp: [dp[0] + 100]), 2).seed(9) as ds:
        assert list(ds) == alone
    assert sorted(alone) == [[i + 100] for i in range(30)]


@pytest.mark.parametrize("options", [{"buffer_size": 0}, {"buffer_size": 3, "num_reuse": 0}])
def test_values_that_cannot_be_are_refused(options) -> None:
    name, value = list(options.items())[-1]
    with pytest.raises(ValueError, match=f"{name}={value}"):
        df.LocallyShuffleData(df.DataFromList([]), **options)


def test_shuffle_interval_is_accepted() -> None:
    ds = df.LocallyShuffleData(df.DataFromList(points(9)), 3, shuffle_interval=2)
    assert sorted(ds) == points(9)


def test_where_tensorpack_differs() -> None:
    # So many that it does not happen to be exact.
    theirs = tp.LocallyShuffleData(tp.DataFromList(points(200), shuffle=False), 120)
    theirs.reset_state()
    taken = [i for (i,) in islice(iter(theirs), 500)]
    assert len(taken) == 500, "it goes on without end"
    assert len(theirs) == len(flow(200, 120)) == 200, "though it has a length"
    assert sorted(taken[:200]) != list(range(200)), "and its first pass is not exact"
