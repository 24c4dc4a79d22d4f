"""Several inputs as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import numpy as np
import pytest
import tensorpack.dataflow as tp

import dataflow as df


def numbers(size: int, start: int = 0) -> df.DataFlow:
    return df.DataFromList([[start + i] for i in range(size)], shuffle=False)


def theirs(size: int, start: int = 0):
    ds = tp.DataFromList([[start + i] for i in range(size)], shuffle=False)
    return ds


def test_concat_and_join_as_tensorpack() -> None:
    for mine, other in (
        (df.ConcatData([numbers(3), numbers(2, 10)]), tp.ConcatData([theirs(3), theirs(2, 10)])),
        (df.JoinData([numbers(3), numbers(2, 10)]), tp.JoinData([theirs(3), theirs(2, 10)])),
    ):
        other.reset_state()
        assert list(mine) == list(other) and len(mine) == len(other)


def test_dicts_are_joined_by_name() -> None:
    left = df.DataFromList([{"a": 1}], shuffle=False)
    right = df.DataFromList([{"b": 2}], shuffle=False)
    assert list(df.JoinData([left, right])) == [{"a": 1, "b": 2}]
    with pytest.raises(ValueError, match="dict, list"):
        list(df.JoinData([left, numbers(1)]))


def test_joined_ones_belong_together_also_where_workers_run_them() -> None:
    """Each input in its own order, although its workers are not asked for one."""

    def slow_first(dp):
        import time

        time.sleep(0.02 if dp[0] == 0 else 0)
        return dp

    pair = [numbers(30).map(slow_first), numbers(30).map(lambda dp: [-dp[0]])]
    for ds in (
        df.PrefetchDataZMQ(df.JoinData(pair), 2),
        df.JoinData([df.PrefetchDataZMQ(one, 2) for one in pair]),
    ):
        with ds:
            assert list(ds) == [[i, -i] for i in range(30)]


def test_a_join_skips_what_one_input_drops() -> None:
    odd = numbers(6).map(lambda dp: dp if dp[0] % 2 else None)
    assert list(df.JoinData([odd, numbers(6)])) == [[1, 0], [3, 1], [5, 2]]


def test_mixing_delivers_everything_interleaved() -> None:
    ds = df.RandomMixData([numbers(300), numbers(100, 1000)]).seed(1)
    delivered = [dp[0] for dp in ds]
    assert sorted(delivered) == [*range(300), *range(1000, 1100)]
    assert [i for i in delivered if i < 1000] == list(range(300)), "each input in its order"
    first_half = sum(i >= 1000 for i in delivered[:200])
    assert 25 < first_half < 75
    assert [dp[0] for dp in ds] != delivered, "each epoch in its own way"
    assert len(ds) == 400


def test_choosing_ends_when_the_chosen_input_is_exhausted() -> None:
    endless = df.RepeatedData(numbers(10), -1)
    ds = df.RandomChooseData([(endless, 0.8), (df.RepeatedData(numbers(10, 1000), -1), 0.2)])
    counts = Counter(dp[0] >= 1000 for dp in islice(ds.seed(2), 5000))
    assert 800 < counts[True] < 1200
    short = df.RandomChooseData([numbers(10), endless]).seed(1)
    delivered = [dp[0] for dp in short]
    assert delivered and list(df.RandomChooseData([numbers(10), endless]).seed(1))


def test_equal_inputs_draw_differently() -> None:
    class Noise(df.MapData, df.RNGDataFlow):
        def apply(self, datapoint):
            return [int(self.rng.randint(1 << 30))]

    one = Noise(numbers(10), lambda dp: dp)
    for ds in (
        df.ConcatData([one, one]),
        df.RandomMixData([one, one]),
        df.JoinData([one, one]),
        df.ConcatData([one.batch(1), one.batch(1)]),
    ):
        drawn = [int(np.ravel(part)[0]) for dp in ds.seed(1) for part in dp]
        assert len(set(drawn)) == 20


def test_a_flow_is_not_joined_with_itself() -> None:
    """It makes random pairs; two stages over one source make pairs that belong together."""
    source = df.DataFromList([[n] for n in range(100)])
    ds = df.JoinData([source, source]).seed(4)
    pairs = list(ds)
    assert sorted(a for a, _ in pairs) == sorted(b for _, b in pairs) == list(range(100))
    assert sum(a == b for a, b in pairs) < 10
    assert [ds[i] for i in range(100)] == pairs
    assert list(df.PrefetchDataZMQ(df.JoinData([source, source]), 2).seed(4)) == pairs
    for joined in ([source, source.map(tuple)], [source, source.map(tuple), source]):
        assert all(a == b for a, b, *_ in df.JoinData(joined))


def test_copies_in_a_row_as_tensorpack() -> None:
    other = tp.RepeatedDataPoint(theirs(3), 2)
    other.reset_state()
    assert list(df.RepeatedDataPoint(numbers(3), 2)) == list(other)
    batches = df.RepeatedDataPoint(numbers(4).batch(2), 2)
    assert [dp[0].tolist() for dp in batches] == [[0, 1], [0, 1], [2, 3], [2, 3]]


def test_selecting_as_tensorpack() -> None:
    points = [[1, "a", 2.0], [3, "b", 4.0]]
    other = tp.SelectComponent(tp.DataFromList(points, shuffle=False), [2, 0])
    other.reset_state()
    mine = df.SelectComponent(df.DataFromList(points, shuffle=False), [2, 0])
    assert list(mine) == list(other) == [[2.0, 1], [4.0, 3]]
    with pytest.raises(IndexError, match="no component 5"):
        list(df.SelectComponent(numbers(1), [5]))


def test_runners_below_one_input_only() -> None:
    chain = df.ConcatData([df.PrefetchDataZMQ(numbers(20).map(lambda dp: dp), 2), numbers(5, 100)])
    with chain.seed(1):
        assert [dp[0] for dp in chain] == [*range(20), *range(100, 105)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: df.ConcatData([]), "empty"),
        (lambda: df.JoinData([numbers(1), 5]), r"df_lists\[1\]"),
        (lambda: df.RandomChooseData([(numbers(1), 0.5), numbers(1)]), "probability for each"),
        (lambda: df.RandomChooseData([(numbers(1), 0.5), (numbers(1), 0.2)]), "add up to 1"),
        (lambda: df.RepeatedDataPoint(numbers(1), 0), "num=0"),
    ],
)
def test_arguments_are_checked(make, message: str) -> None:
    with pytest.raises(df.ConfigError, match=message):
        make()


def test_mixing_needs_lengths() -> None:
    with pytest.raises(TypeError, match=r"df_lists\[1\]"):
        list(df.RandomMixData([numbers(3), df.DataFromGenerator(lambda: iter([]))]))


def test_a_runner_whose_length_is_not_known_below_one_input() -> None:
    endless = df.MultiThreadMapData(
        df.DataFromGenerator(lambda: iter([[1], [2]])), 2, lambda dp: dp
    )
    assert sorted(df.ConcatData([endless, numbers(0), numbers(1, 5)])) == [[1], [2], [5]]


def test_copies_of_copies_draw_differently() -> None:
    class Noise(df.MapData, df.RNGDataFlow):
        def apply(self, datapoint):
            return [int(self.rng.randint(1 << 30))]

    twice = df.RepeatedDataPoint(df.RepeatedDataPoint(numbers(5), 2), 2)
    reused = df.LocallyShuffleData(df.RepeatedDataPoint(numbers(5), 2), 3, num_reuse=2)
    for ds in (twice, reused):
        assert len({dp[0] for dp in Noise(ds, lambda dp: dp).seed(1)}) == 20


def test_mixing_flows_of_a_users_class() -> None:
    class Own(df.DataFlow):
        def __init__(self, claimed: int) -> None:
            self.claimed = claimed

        def __len__(self):
            return self.claimed

        def __iter__(self):
            yield from ([i] for i in range(3))

    for claimed in (2, 3, 5):
        ds = df.RandomMixData([Own(claimed), Own(3), numbers(4)]).seed(1)
        assert sorted(dp[0] for dp in ds) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]


def test_repeating_batches_that_are_never_full_ends() -> None:
    assert list(numbers(2).batch(5).repeat(-1)) == []


def shuffled(size: int = 8) -> df.DataFlow:
    return df.DataFromList([[i] for i in range(size)], shuffle=True)


@pytest.mark.parametrize(
    "stage",
    [
        lambda ds: ds,
        lambda ds: df.LocallyShuffleData(ds, 3),
        lambda ds: df.LocallyShuffleData(ds, 3, num_reuse=2),
        lambda ds: df.RandomMixData([ds, df.DataFromList([[9], [10]])]),
        lambda ds: df.CacheData(ds, shuffle=True),
        lambda ds: df.RepeatedData(ds, 2),
        lambda ds: df.LocallyShuffleData(ds.batch(2), 2),
        lambda ds: df.PrefetchDataZMQ(ds.map(lambda dp: dp), 1),
    ],
)
def test_what_inputs_have_in_common_comes_in_the_same_order(stage: Any) -> None:
    """Features and targets of one shuffled source belong together."""
    common = stage(shuffled())
    both = df.JoinData([common.map(lambda dp: [dp[0] * 1]), common.map(lambda dp: [dp[0] * 10])])
    with both.seed(3) as ds:
        for _ in range(2):
            epoch = list(ds)
            assert len(epoch) >= 4
            assert all(np.array_equal(one * 10, other) for one, other in epoch)
        for place in (0, 3):
            with suppress(TypeError):
                one, other = ds[place]
                assert np.array_equal(one * 10, other)


class Own(df.DataFlow):
    def __iter__(self) -> Iterator[list[int]]:
        yield from ([i] for i in range(4))


@pytest.mark.parametrize(
    "make",
    [
        lambda: df.FixedSizeData(shuffled(), 5),
        Own,
        lambda: Own().batch(2),
        lambda: df.DataFromGenerator(lambda: iter([[1], [2]])),
        lambda: df.FixedSizeData(shuffled(), 5).map(lambda dp: dp),
    ],
)
@pytest.mark.parametrize("kind", [df.JoinData, df.RandomMixData, df.RandomChooseData])
def test_what_cannot_be_iterated_twice_at_once(kind: Any, make: Any) -> None:
    flow = make()
    for inputs in ([flow, flow], [flow.map(lambda dp: dp), df.DataFromList([[1]]), flow]):
        with pytest.raises(df.ConfigError, match=r"\[0\] and df_lists\[[12]\] have the"):
            kind(inputs)
    df.ConcatData([flow, flow])  # one after the other
