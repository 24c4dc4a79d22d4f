"""Images, masks and points stay aligned, whatever the view."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as some

import dataflow as df
from dataflow import stream as st

CORNERS = [[20.0, 18.0], [61.0, 22.0], [55.0, 49.0], [25.0, 44.0]]
SPOTS = [[20.5, 20.5], [50.5, 30.5], [33.5, 41.5]]


def value(node: Any, index: int = 0) -> Any:
    return st.Stream(node)[index][0]


@settings(max_examples=60)
@example(0.0, 2.0, 0.7822265625, 1.75, 0.0, False)
@example(1.6171875, 2.25, 0.6015625, 0.0, 0.0, False)
@given(
    some.floats(-math.pi, math.pi),
    some.floats(0.6, 2.5),
    some.floats(0.6, 2.5),
    some.floats(-15, 15),
    some.floats(-15, 15),
    some.booleans(),
)
def test_images_masks_and_points_stay_aligned(
    angle: float, sx: float, sy: float, x: float, y: float, mirrored: bool
) -> None:
    """Bright discs at the points, and the outline's mask, are where the points are afterwards."""
    image = st.points_mask(SPOTS, 80, 64, radius=4.0)
    outline = st.mask(st.polygon_mask(CORNERS, 80, 64))
    view = st.chain(
        st.translate(90 + x, 90 + y),
        st.flip_view(0, 0, mirrored),
        st.rotate(angle),
        st.scale(sx, sy),
        st.translate(-40, -32),
    )
    picture = st.merge(image, image, image)
    things = {"image": picture, "mask": outline, "spots": SPOTS, "corners": CORNERS, "label": 3}
    seen = st.view(things, view, 180, 180)
    bright, mask, spots, corners, label = st.Stream(list(seen.values()))[0]
    assert label == 3 and set(np.unique(mask)) <= {0, 255} and bright.shape == (180, 180, 3)
    area = cv2.contourArea(np.float32(corners))
    assert area == pytest.approx(abs(sx * sy) * cv2.contourArea(np.float32(CORNERS)), rel=1e-3)
    # Its pixels, but for half of those that the outline goes through.
    outline_length = cv2.arcLength(np.float32(corners), True)
    assert (mask > 0).sum() == pytest.approx(area, abs=0.75 * outline_length)
    rows, columns = np.nonzero(mask)
    middle = np.array([columns.mean(), rows.mean()]) + 0.5
    # The outline is drawn into whole pixels, which are enlarged afterwards.
    assert middle == pytest.approx(_centroid(corners), abs=0.3 + 0.25 * max(sx, sy))
    for spot in spots:
        near = _weights(bright[..., 0], spot, 4.5 * max(sx, sy))
        assert near == pytest.approx(spot, abs=0.2)


def _centroid(corners: Any) -> Any:
    found = cv2.moments(np.float32(corners))
    return np.array([found["m10"], found["m01"]]) / found["m00"]


def _weights(image: Any, spot: Any, reach: float) -> Any:
    """The centre of brightness near a point."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    weights = image * (np.hypot(x - spot[0], y - spot[1]) < reach + 1)
    return np.array([(weights * x).sum(), (weights * y).sum()]) / weights.sum()


@given(some.integers(1, 40), some.integers(1, 40), some.booleans(), some.booleans())
def test_the_view_of_a_flip_is_a_flip(w: int, h: int, horizontal: bool, vertical: bool) -> None:
    image = np.arange(w * h, dtype=np.uint16).reshape(h, w)
    view = st.flip_view(w, h, horizontal, vertical)
    viewed = value(st.view_image(st.image(image), view, w, h))
    assert np.array_equal(viewed, value(st.flip(st.image(image), horizontal, vertical)))


matrices = some.tuples(some.floats(-3, 3), some.floats(0.3, 3), some.floats(-9, 9))


@given(matrices, matrices)
def test_chains_and_inverses(one: Any, other: Any) -> None:
    a = st.affine_view(one[2], one[0], one[0], one[1])
    b = st.affine_view(other[0], other[2], other[0], other[1], 1.5)
    points = st.points([[1, 2], [3, -4], [0, 0]])
    twice = value(st.view_points(st.view_points(points, b), a))
    assert twice == pytest.approx(value(st.view_points(points, st.chain(a, b))), abs=1e-9)
    back = st.view_points(st.view_points(points, a), st.invert_view(a))
    assert value(back) == pytest.approx(value(points), abs=1e-6)


@given(some.lists(some.floats(-50, 50), min_size=4, max_size=4), some.floats(0.1, 2))
def test_centre_and_focus(sides: list[float], part: float) -> None:
    left, right = sorted(sides[:2])
    top, bottom = sorted(sides[2:])
    assume(right - left > 0.1 and bottom - top > 0.1)
    region = st.rectangle(left, top, right, bottom)
    centred = value(st.bounds(st.view_points(st.corners(region), st.center_view(region))))
    assert centred[:2] == pytest.approx(-centred[2:])
    seen = value(st.bounds(st.view_points(st.corners(region), st.focus_view(region, 60, 40, part))))
    width, height = seen[2] - seen[0], seen[3] - seen[1]
    assert max(width / 60, height / 40) == pytest.approx(part)
    assert value(st.center(st.rectangle(0, 0, 60, 40))) == pytest.approx(
        [(seen[0] + seen[2]) / 2, (seen[1] + seen[3]) / 2]
    )


def test_records_go_through_a_view() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    table = st.records(image=image[None], points=np.array([[[3.0, 4.0]]]), label=[7])
    seen = st.view(table[0], st.translate(2, 1), 40, 50)
    shown, points, label = st.Stream([seen["image"], seen["points"], seen["label"]])[0]
    assert shown.shape == (50, 40, 3) and points.tolist() == [[5, 5]] and label == 7


def test_random_patches_are_parts_of_the_image() -> None:
    image = np.arange(30 * 40, dtype=np.uint16).reshape(30, 40)
    node = st.image(image)
    seed = st.seed()
    patch = st.view_image(node, st.patch_view(node, 8, 6, seed=seed), 8, 6, "nearest")
    again = st.view_image(node, st.patch_view(node, 8, 6, seed=seed), 8, 6, "nearest")
    s = st.Stream([patch, again])
    corners = set()
    for index in range(12):
        one, other = s[index]
        assert np.array_equal(one, other)
        y, x = divmod(int(one[0, 0]), 40)
        assert np.array_equal(one, image[y : y + 6, x : x + 8])
        corners.add((x, y))
    assert len(corners) > 9


def test_mistakes_in_points() -> None:
    with pytest.raises(df.ConfigError, match=r"points are pairs \[x, y\]"):
        st.points([[1, 2, 3]])
    with pytest.raises(df.ConfigError, match="view must be"):
        st.view_points([[1.0, 2.0]], [[1, 0], [0, 1]])
