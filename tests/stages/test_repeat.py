"""Several epochs as one."""

from __future__ import annotations

from itertools import islice

import pytest
import tensorpack.dataflow as tp
from hypothesis import given
from hypothesis import strategies as st

import dataflow as df

POINTS = st.lists(st.integers(), max_size=10).map(lambda values: [[v] for v in values])


@given(POINTS, st.integers(0, 4))
def test_repetitions_are_tensorpacks(points, num) -> None:
    theirs = tp.RepeatedData(tp.DataFromList(points, shuffle=False), num)
    theirs.reset_state()
    ours = df.RepeatedData(df.DataFromList(points, shuffle=False), num)
    assert list(ours) == list(theirs) == points * num
    assert len(ours) == len(theirs) == len(points) * num


def test_without_end() -> None:
    ds = df.RepeatedData(df.DataFromList([[1], [2]], shuffle=False), -1)
    assert list(islice(ds, 7)) == [[1], [2], [1], [2], [1], [2], [1]]
    with pytest.raises(NotImplementedError, match="no end"):
        len(ds)


@pytest.mark.parametrize("num", [-1, 0, 1, 5])
def test_of_nothing_is_nothing(num: int) -> None:
    assert list(df.RepeatedData(df.DataFromList([]), num)) == []


@pytest.mark.parametrize("num", [1, 2, 3])
def test_each_round_is_shuffled_anew_and_no_order_comes_twice(num: int) -> None:
    """Epoch e, round r is the input's epoch e·num + r."""
    points = [[i] for i in range(20)]
    alone = df.DataFromList(points).seed(1)
    epochs = [list(alone) for _ in range(3 * num)]
    ds = df.RepeatedData(df.DataFromList(points), num).seed(1)
    repeated = [dp for _ in range(3) for dp in ds]
    assert repeated == [dp for epoch in epochs for dp in epoch]
    assert len({str(epoch) for epoch in epochs}) == 3 * num


def test_random_numbers_differ_between_rounds() -> None:
    ds = df.RepeatedData(df.FakeData([[2]], 3), 4)
    assert len({array.tobytes() for (array,) in ds}) == 12


def test_drops_are_repeated_too() -> None:
    ds = df.RepeatedData(df.DataFromList([[1], [2]], shuffle=False).filter(lambda dp: dp[0] > 1), 3)
    assert list(ds) == [[2]] * 3


def test_over_a_generator() -> None:
    ds = df.RepeatedData(df.DataFromGenerator(lambda: iter([[1], [2]])), 2)
    assert list(ds) == [[1], [2]] * 2
    with pytest.raises(NotImplementedError):
        len(ds)


@pytest.mark.parametrize("num", [-2, -10])
def test_numbers_that_cannot_be_are_refused(num: int) -> None:
    with pytest.raises(ValueError, match=f"num={num}"):
        df.RepeatedData(df.DataFromList([]), num)
