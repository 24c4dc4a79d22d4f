"""Lists as dataflows: order, epochs, seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataflow as df

LISTS = st.lists(st.integers(), max_size=40)


@given(LISTS)
def test_unshuffled_it_is_the_list(items: list[int]) -> None:
    points = [[item] for item in items]
    ds = df.DataFromList(points, shuffle=False)
    assert len(ds) == ds.size() == len(points)
    assert list(ds) == points
    assert list(ds.get_data()) == points  # every epoch


@given(LISTS, st.integers(0, 1 << 64))
def test_each_epoch_is_a_permutation(items: list[int], seed: int) -> None:
    points = [[item] for item in items]
    ds = df.DataFromList(points).seed(seed)
    for _ in range(3):
        assert sorted(ds) == sorted(points)


def test_it_shuffles_by_default_and_epochs_differ() -> None:
    points = [[i] for i in range(100)]
    ds = df.DataFromList(points)
    epochs = [list(ds) for _ in range(3)]
    assert points not in epochs
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert points == [[i] for i in range(100)], "the user's list stays as it is"


@given(st.integers(-5, 1 << 70))
def test_equal_seeds_give_equal_orders(seed: int) -> None:
    first, second = (df.DataFromList([[i] for i in range(30)]).seed(seed) for _ in range(2))
    assert [list(first), list(first)] == [list(second), list(second)]


def test_other_seeds_give_other_orders() -> None:
    points = [[i] for i in range(30)]
    orders = {tuple(i for (i,) in df.DataFromList(points).seed(seed)) for seed in range(50)}
    assert len(orders) == 50


def test_a_drawn_seed_is_told_and_repeats_the_run() -> None:
    ds = df.DataFromList([[i] for i in range(50)])
    first = list(ds)
    again = df.DataFromList([[i] for i in range(50)]).seed(ds.stats()["seed"])
    assert list(again) == first


def test_set_epoch_goes_back() -> None:
    ds = df.DataFromList([[i] for i in range(50)])
    first, second = list(ds), list(ds)
    ds.set_epoch(0)
    assert list(ds) == first
    assert list(ds) == second
    with pytest.raises(ValueError, match="epoch=-1"):
        ds.set_epoch(-1)


def test_shuffling_is_uniform() -> None:
    """Each element comes to each place equally often (chi-squared far below its 1e-6 quantile)."""
    size, epochs = 5, 5000
    ds = df.DataFromList(list(range(size))).seed(1)
    counts = np.zeros((size, size))
    for _ in range(epochs):
        for place, element in enumerate(ds):
            counts[place, element] += 1
    expected = epochs / size
    assert ((counts - expected) ** 2 / expected).sum() < 60  # 16 degrees of freedom


@pytest.mark.parametrize("lst", [(), [], (1, 2, 3), range(4), "abc", np.arange(6).reshape(3, 2)])
def test_any_sequence_will_do(lst: object) -> None:
    ds = df.DataFromList(lst, shuffle=False)  # type: ignore[arg-type]
    assert len(ds) == len(lst)  # type: ignore[arg-type]
    assert [str(item) for item in ds] == [str(item) for item in lst]  # type: ignore[attr-defined]


def test_a_newer_iterator_ends_the_older() -> None:
    ds = df.DataFromList([[0], [1]], shuffle=False)
    older = iter(ds)
    assert next(older) == [0]
    newer = iter(ds)
    with pytest.raises(df.DataFlowTerminated, match="newer"):
        next(older)
    assert list(newer) == [[0], [1]]


def test_stats_count_what_was_delivered() -> None:
    ds = df.DataFromList([[i] for i in range(7)])
    for _ in ds:
        pass
    next(iter(ds))
    stats = ds.stats()
    assert stats["items"] == 8
    assert stats["errors"] == {}
    assert [(row["name"], row["items"]) for row in stats["stages"]] == [("DataFromList", 8)]
