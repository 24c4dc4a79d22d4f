"""Parts of arrays along several axes, as NumPy has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from dataflow import stream as st

ARRAY = np.arange(4 * 5 * 3).reshape(4, 5, 3)

ends = some.one_of(some.none(), some.integers(-6, 6))
one_axis = some.one_of(some.integers(-3, 2), some.builds(slice, ends, ends))


@given(some.lists(one_axis, min_size=2, max_size=3).map(tuple))
def test_parts_are_numpys(index: Any) -> None:
    expected = ARRAY[index]
    node = st.constant(ARRAY)[index]
    for s in (st.Stream(node), st.Stream(node, optimize=False)):
        found = s[0][0]
        assert np.array_equal(found, expected) and np.shape(found) == expected.shape


@given(some.integers(0, 2), some.integers(3, 5))
def test_ends_may_be_nodes(begin: int, end: int) -> None:
    first, last = st.index() - st.index() + begin, st.input("end", end)
    s = st.Stream(st.constant(ARRAY)[:, first:last, 1])
    assert np.array_equal(s[3][0], ARRAY[:, begin:end, 1])


def test_the_type_is_known_as_far_as_the_ends_are() -> None:
    node = st.constant(ARRAY)
    assert str(node[:, 1:3].type) == "int64[4×2×3]"
    assert str(node[:, 1:, 0].type) == "int64[4×4]"
    assert str(node[:, st.index() :].type) == "int64[4×?×3]"
    assert str(node[1, :, 0].type) == "int64[5]"


def test_a_part_of_an_image_is_one() -> None:
    photo = np.zeros((40, 50, 3), np.uint8)
    photo[10:20, 5:15] = 200
    half = st.constant(photo)[:, :25]
    assert st.Stream([half.width, half.height, half.channels])[0] == [25, 40, 3]
    assert st.Stream(st.blur(half[10:20, 5:15], 1))[0][0].min() == 200


@pytest.mark.parametrize("optimize", [True, False])
def test_samples_have_parts_of_their_own(optimize: bool) -> None:
    s = st.Stream(st.constant(ARRAY)[:, 1:3], optimize=optimize)
    s[0][0][:] = -1
    assert np.array_equal(s[0][0], ARRAY[:, 1:3])
