"""Polygons and run lengths to pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from optional import library

from dataflow.dataset.masks import drawn, filled, of_run_lengths, packed, run_lengths

# -- run lengths ---------------------------------------------------------------------------------


def counts_of(mask: np.ndarray) -> list[int]:
    """Run lengths down the columns, of 0 first: the slow way."""
    counts, value = [0], 0
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def compressed(counts: list[int]) -> str:
    """As COCO's format has it."""
    text = ""
    for place, count in enumerate(counts):
        number = count - counts[place - 2] if place > 2 else count
        while True:
            part, number = number & 31, number >> 5
            last = number == (-1 if part & 16 else 0)
            text += chr(48 + part + (0 if last else 32))
            if last:
                break
    return text


MASKS = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(
    lambda size: arrays(np.uint8, size, elements=st.integers(0, 1), fill=st.just(0))
)


@settings(deadline=None)
@given(MASKS)
def test_run_lengths_there_and_back(mask: np.ndarray) -> None:
    counts = counts_of(mask)
    assert run_lengths(compressed(counts)).tolist() == counts
    for form in (counts, compressed(counts)):
        found = drawn(packed({"size": list(mask.shape), "counts": form}), mask.shape)
        assert found.dtype == np.uint8 and np.array_equal(found, mask)


@settings(deadline=None)
@given(st.lists(st.integers(0, (1 << 32) - 1), max_size=50))
def test_large_numbers(counts: list[int]) -> None:
    assert run_lengths(compressed(counts).encode()).tolist() == counts


@settings(deadline=None)
@given(st.text(max_size=30) | st.text("".join(map(chr, range(48, 112))), max_size=60))
def test_any_text_is_numbers_or_an_error(text: str) -> None:
    try:
        mask = of_run_lengths(run_lengths(text), (5, 7))
    except ValueError:
        return
    assert mask.shape == (5, 7) and set(mask.ravel().tolist()) <= {0, 1}


def test_columns_come_first() -> None:
    assert of_run_lengths([1, 3, 2], (2, 3)).tolist() == [[0, 1, 0], [1, 1, 0]]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([1, 3, 3], "of 7 pixels, the image of 2×3 has 6"),
        ([], "of 0 pixels"),
        ([-1, 7], "from 0 to"),
        ([1.5, 4.5], "whole numbers"),
        (["6"], "whole numbers"),
        ([1 << 33], "whole numbers"),
        (None, "whole numbers"),
        ("P", "end within a number"),
        ("6x", "'x' at place 1"),
        ("6é", "at place 1"),
        ("oooooooo0", "of 9 characters"),
        ("O7", "negative"),
    ],
)
def test_run_lengths_that_are_none(counts, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        drawn(packed({"size": [2, 3], "counts": counts}), (2, 3))


# -- polygons ------------------------------------------------------------------------------------


def test_a_pixel_belongs_where_its_middle_is_inside() -> None:
    mask = filled([[(1.4, 0.6), (3.6, 0.6), (3.6, 2.4), (1.4, 2.4)]], (4, 5))
    assert mask.dtype == np.uint8
    assert mask.tolist() == [[0] * 5, [0, 1, 1, 1, 0], [0] * 5, [0] * 5]
    whole = filled([[(0, 0), (5, 0), (5, 4), (0, 4)]], (4, 5))
    assert whole.all()


def test_parts_are_united_and_crossings_are_holes() -> None:
    a, b = [(0, 0), (3, 0), (3, 2), (0, 2)], [(2, 0), (5, 0), (5, 2), (2, 2)]
    assert filled([a, b], (2, 5)).all()  # where they overlap, too
    twice = [(0, 0), (6, 0), (6, 6), (0, 6), (0, 0), (2, 2), (4, 2), (4, 4), (2, 4), (2, 2)]
    mask = filled([twice], (6, 6))
    assert not mask[2:4, 2:4].any() and mask.sum() == 32


def test_what_is_outside_is_cut_off() -> None:
    around = [(-50, -1e30), (1e30, -50), (1e30, 1e30), (-50, 1e30)]
    assert filled([around], (3, 4)).shape == (3, 4)
    assert filled([[(-9, -9), (90, -9), (90, 90), (-9, 90)]], (3, 4)).all()
    for away in (
        [(-9, 0), (-2, 0), (-2, 3)],
        [(9, 0), (20, 0), (20, 3)],
        [(0, 9), (4, 9), (4, 20)],
    ):
        assert not filled([away], (3, 4)).any()
    assert not filled([[(1, 1), (1, 2), (1, 3)]], (3, 4)).any()
    assert not filled([], (3, 4)).any()


POINTS = arrays(np.float64, st.tuples(st.integers(3, 12), st.just(2)), elements=st.floats(-9, 30))


@settings(deadline=None)
@given(POINTS)
def test_as_another_rule_has_it(points: np.ndarray) -> None:
    """The winding of angles around each middle, one by one."""
    height, width = 13, 17
    mask = filled([points], (height, width))
    x, y = points.T
    to_x, to_y = np.roll(x, -1), np.roll(y, -1)
    for row in range(height):
        for column in range(width):
            px, py = column + 0.5, row + 0.5
            passes = (x > px) != (to_x > px)
            with np.errstate(all="ignore"):
                at = y + (px - x) * (to_y - y) / (to_x - x)
            if passes.any() and np.abs(at[passes] - py).min() < 1e-6:
                continue  # on the line
            if np.abs(x - px).min() < 1e-6:
                continue
            assert mask[row, column] == (passes & (at < py)).sum() % 2


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "segmentation=None must be polygons"),
        ([], "empty"),
        ([[1, 2, 3, 4]], "4 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "7 numbers"),
        ([["1", 2, 3, 4, 5, 6]], "no list of numbers"),
        ([1, 2, 3, 4, 5, 6], "no list of numbers"),
        ([[float("nan"), 2, 3, 4, 5, 6]], "not finite"),
        ([[1e300, 2, 3, 4, 5, 6]], "not finite|no list"),
        ({"counts": [1]}, "size=None"),
        ({"size": [2], "counts": [1]}, "size="),
        ({"size": [-2, 3], "counts": [1]}, "size="),
        ({"size": ["2", 3], "counts": [1]}, "size="),
    ],
)
def test_outlines_that_are_none(segmentation, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        packed(segmentation)


def test_of_another_size() -> None:
    data = packed({"size": [2, 3], "counts": [6]})
    assert not drawn(data, (2, 3)).any()
    with pytest.raises(ValueError, match=r"of 2×3 pixels .* not of 3×2"):
        drawn(data, (3, 2))


# -- beside the original -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_beside_pycocotools(seed: int) -> None:
    theirs = library("pycocotools.mask")
    rng = np.random.default_rng(seed)
    mask = np.kron(rng.integers(0, 2, (7, 9)), np.ones((5, 3))).astype(np.uint8)
    packed_there = theirs.encode(np.asfortranarray(mask))
    counts = packed_there["counts"].decode()
    assert compressed(counts_of(mask)) == counts
    assert np.array_equal(drawn(packed({"size": [35, 27], "counts": counts}), (35, 27)), mask)
    # They round to a fifth of a pixel, so the pixels at the border may differ: one of five.
    angles = np.sort(rng.random(rng.integers(3, 30))) * 2 * np.pi
    radii = rng.uniform(20, 70, len(angles))
    points = np.stack([80 + radii * np.cos(angles), 75 + radii * np.sin(angles)], axis=1)
    there = theirs.decode(theirs.frPyObjects([points.ravel().tolist()], 150, 160))[:, :, 0]
    here = drawn(packed([points.ravel().tolist()]), (150, 160))
    around = np.hypot(*(points - np.roll(points, 1, axis=0)).T).sum()
    assert (here != there).sum() < 0.2 * around
