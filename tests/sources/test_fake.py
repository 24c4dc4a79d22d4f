"""Fake arrays: shapes, dtypes, ranges, and the same again for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataflow as df

SHAPES = st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=3)


def equal(ours, theirs) -> bool:
    pairs = [pair for x, y in zip(ours, theirs, strict=True) for pair in zip(x, y, strict=True)]
    return all(np.array_equal(a, b) for a, b in pairs)


@given(SHAPES, st.integers(0, 5), st.booleans(), st.sampled_from(["float32", "float64", "uint8"]))
def test_shapes_and_dtypes(shapes, size, random, dtype) -> None:
    ds = df.FakeData(shapes, size, random, dtype, (0, 255))
    points = list(ds)
    assert len(points) == len(ds) == size
    for point in points:
        assert [array.shape for array in point] == [tuple(shape) for shape in shapes]
        assert all(array.dtype == np.dtype(dtype) for array in point)
        assert all(((array >= 0) & (array <= 255)).all() for array in point)


def test_defaults_are_a_thousand_float32_from_zero_to_one() -> None:
    ds = df.FakeData([[10]])
    assert len(ds) == 1000
    values = np.concatenate([point[0] for point in ds])
    assert values.dtype == np.float32
    assert 0 <= values.min() < 0.01 and 0.99 < values.max() <= 1
    assert abs(values.mean() - 0.5) < 0.02


def test_a_dtype_and_a_domain_for_each_component() -> None:
    ds = df.FakeData([[200], [200]], 20, dtype=["uint8", "int32"], domain=[(10, 20), (-1000, 1000)])
    for first, second in ds:
        assert first.dtype == np.uint8 and first.min() >= 10 and first.max() < 20
        assert second.dtype == np.int32 and second.min() < -500 and second.max() > 500


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"dtype": ["uint8"]}, "dtype has 1 entries for 2 shapes"),
        ({"domain": [(0, 1)] * 3}, "domain has 3 entries for 2 shapes"),
        ({"size": -1}, "size=-1"),
    ],
)
def test_what_does_not_fit_is_refused(options, match) -> None:
    with pytest.raises(ValueError, match=match):
        df.FakeData([[1], [2]], **options)


def test_random_ones_differ_from_each_other_and_between_epochs() -> None:
    ds = df.FakeData([[4]], 20)
    values = {array.tobytes() for _ in range(2) for (array,) in ds}
    assert len(values) == 40


@pytest.mark.parametrize("random", [True, False])
def test_seeds_reproduce(random: bool) -> None:
    runs = []
    for seed in (1, 1, 2):
        ds = df.FakeData([[3, 3], [2]], 5, random).seed(seed)
        runs.append([*ds, *ds])
    assert equal(runs[0], runs[1])
    assert not equal(runs[0], runs[2])


@pytest.mark.parametrize("random", [True, False])
def test_the_seed_that_is_told_reproduces(random: bool) -> None:
    chain = df.FakeData([[3]], 4, random).map(lambda dp: dp)
    first = list(chain)
    again = df.FakeData([[3]], 4, random).map(lambda dp: dp).seed(chain.stats()["seed"])
    assert equal(first, list(again))


def test_not_random_means_the_same_arrays() -> None:
    ds = df.FakeData([[3], [2]], 4, random=False)
    first, *others = list(ds)
    for other in others:
        assert other is not first, "each datapoint is a list of its own"
        assert equal([first], [other])
        assert not any(np.shares_memory(a, b) for a, b in zip(first, other, strict=True))
    assert equal([first], [next(iter(ds))])


def test_a_stage_that_replaces_components_does_not_change_the_others() -> None:
    def clear(point):
        point[0] = None
        return point

    ds = df.FakeData([[3]], 4, random=False)
    assert [point[0] for point in df.MapData(ds, clear)] == [None] * 4
    assert next(iter(ds))[0] is not None
