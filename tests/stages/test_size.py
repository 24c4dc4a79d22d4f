"""Epochs of a given size."""

from __future__ import annotations

import pytest
import tensorpack.dataflow as tp
from hypothesis import given
from hypothesis import strategies as st

import dataflow as df


def ours(size: int, fixed: int, keep_state: bool) -> df.DataFlow:
    return df.FixedSizeData(
        df.DataFromList([[i] for i in range(size)], shuffle=False), fixed, keep_state
    )


@given(st.integers(1, 8), st.integers(1, 20), st.booleans(), st.integers(1, 4))
def test_sizes_are_tensorpacks(size, fixed, keep_state, epochs) -> None:
    theirs = tp.FixedSizeData(
        tp.DataFromList([[i] for i in range(size)], shuffle=False), fixed, keep_state
    )
    theirs.reset_state()
    with ours(size, fixed, keep_state) as ds:
        assert len(ds) == len(theirs) == fixed
        for _ in range(epochs):
            assert list(ds) == list(theirs)


def test_as_the_documentation_says() -> None:
    def epochs(fixed: int, keep_state: bool) -> list[list[int]]:
        with ours(5, fixed, keep_state) as ds:
            return [[i + 1 for (i,) in ds] for _ in range(3)]

    assert epochs(3, True) == [[1, 2, 3], [4, 5, 1], [2, 3, 4]]
    assert epochs(3, False) == [[1, 2, 3]] * 3
    assert epochs(6, False) == [[1, 2, 3, 4, 5, 1]] * 3


@pytest.mark.parametrize("keep_state", [True, False])
def test_nothing_of_nothing(keep_state: bool) -> None:
    assert list(ours(0, 3, keep_state)) == []
    with ours(3, 0, keep_state) as ds:
        assert list(ds) == [] == list(ds)


@pytest.mark.parametrize("keep_state", [True, False])
def test_an_input_that_drops_everything_ends(keep_state: bool) -> None:
    with df.FixedSizeData(ours(3, 3, False).filter(lambda dp: False), 2, keep_state) as ds:
        assert list(ds) == []


def test_drops_do_not_count() -> None:
    points = df.DataFromList([[i] for i in range(10)], shuffle=False)
    with df.FixedSizeData(points.filter(lambda dp: dp[0] % 2 == 0), 3) as ds:
        assert list(ds) == [[0], [2], [4]]
        assert list(ds) == [[6], [8], [0]]


def test_later_rounds_are_later_epochs_of_the_input() -> None:
    points = [[i] for i in range(6)]
    alone = df.DataFromList(points).seed(5)
    epochs = [dp for _ in range(4) for dp in alone]
    with df.FixedSizeData(df.DataFromList(points), 8).seed(5) as ds:
        assert [*ds, *ds, *ds] == epochs


@pytest.mark.parametrize("keep_state", [True, False])
def test_a_loop_that_was_left_early(keep_state: bool) -> None:
    with ours(5, 4, keep_state) as ds:
        for dp in ds:
            if dp == [1]:
                break
        assert next(iter(ds)) == ([2] if keep_state else [0])


def test_closing_starts_over() -> None:
    ds = ours(5, 3, True)
    assert list(ds) == [[0], [1], [2]]
    ds.close()
    assert list(ds) == [[0], [1], [2]]
    ds.close()


def test_above_workers() -> None:
    source = df.DataFromList([[i] for i in range(5)], shuffle=False).map(lambda dp: [dp[0] * 2])
    with df.FixedSizeData(df.PrefetchDataZMQ(source, 2, ordered=True), 3) as ds:
        assert list(ds) == [[0], [2], [4]]
        assert list(ds) == [[6], [8], [0]]


@pytest.mark.parametrize("size", [-1, -7])
def test_sizes_that_cannot_be_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"size={size}"):
        ours(3, size, True)


@given(
    st.integers(1, 12), st.sets(st.integers(0, 11)), st.integers(1, 3), st.sampled_from(range(3))
)
def test_what_was_dropped_is_made_up_for(size, dead, epochs, seed) -> None:
    """Each that works once, then the first ones of the next epoch."""

    def points() -> df.DataFlow:
        return df.DataFromList([[i] for i in range(size)], shuffle=True).seed(seed)

    def alive(datapoint) -> bool:
        return datapoint[0] not in dead

    with points().filter(alive).fill_up() as ds:
        assert len(ds) == size
        if not any(map(alive, points())):
            with pytest.raises(df.TooManyErrors, match=f"{size} of {size} datapoints are missing"):
                list(ds)
            return
        for epoch in range(epochs):
            plain = points()
            plain.set_epoch(epoch)
            wanted = [one for _ in range(10) for one in plain if alive(one)][:size]
            if len(wanted) == size:
                assert list(ds) == wanted


def test_it_is_made_up_for_to_a_bound() -> None:
    with ours(30, 30, False).filter(lambda dp: dp[0] == 7).fill_up() as ds:
        iterator = iter(ds)
        assert [next(iterator) for _ in range(10)] == [[7]] * 10
        with pytest.raises(df.TooManyErrors, match="20 of 30"):
            next(iterator)


def test_take() -> None:
    ds = df.DataFromList([[i] for i in range(5)], shuffle=False).take(2)
    assert [list(ds), list(ds)] == [[[0], [1]]] * 2


def test_one_that_goes_on_below_one_that_starts_over_has_no_state() -> None:
    ds = df.DataFromList([[i] for i in range(5)], shuffle=True)
    ds = df.FixedSizeData(df.FixedSizeData(ds, 3), 2, keep_state=False).seed(1)
    list(ds)
    iterator = iter(ds)
    for _ in range(2):
        with pytest.raises(df.NotResumable, match="keep_state"):
            ds.state_dict()
        next(iterator)
