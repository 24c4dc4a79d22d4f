"""Images and their coordinates stay together, wherever augmentors move them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow import imgaug

NEAREST = cv2.INTER_NEAREST
BLACK = cv2.BORDER_CONSTANT

MOVING = {
    "Affine": lambda: imgaug.Affine((0.8, 1.3), (0.1, 0.1), 40, 15, border=BLACK),
    "CenterPaste": lambda: imgaug.CenterPaste((90, 130)),
    "Rotation": lambda: imgaug.Rotation(180, border=BLACK),
    "RotationAndCropValid": lambda: imgaug.RotationAndCropValid(60),
    "RandomCropRandomShape": lambda: imgaug.RandomCropRandomShape(30, 30),
    "RandomPaste": lambda: imgaug.RandomPaste((81, 130)),
    "RandomResize": lambda: imgaug.RandomResize((60, 200), (50, 150), (55, 55), 0.5),
    "Shift": lambda: imgaug.Shift(0.3, 0.3, border=BLACK),
    "Transpose": lambda: imgaug.Transpose(1),
}
HEIGHT, WIDTH = 81, 100

seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("name", MOVING)
@given(st.floats(8, WIDTH - 8), st.floats(8, HEIGHT - 8), seeds)
@settings(max_examples=25)
def test_a_spot_is_where_its_coordinates_say(name: str, x: float, y: float, seed: int) -> None:
    """A round spot, whose centre of mass is a point between the pixels' centres."""
    augmentor = MOVING[name]()
    augmentor.rng = np.random.RandomState(seed)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    image = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8).astype(np.float32) * 255
    transform = augmentor.get_transform(image)
    changed = transform.apply_image(image)
    points = np.array([[x, y], [0, 0]], np.float32)
    ((new_x, new_y), _) = moved = transform.apply_coords(points)
    assert moved.dtype == np.float32
    assert np.array_equal(points, np.array([[x, y], [0, 0]], np.float32))
    height, width = changed.shape[:2]
    if not (12 < new_x < width - 12 and 12 < new_y < height - 12):
        return  # it may have been cut
    rows, columns = np.mgrid[:height, :width] + 0.5
    assert (changed * columns).sum() / changed.sum() == pytest.approx(new_x, abs=0.05)
    assert (changed * rows).sum() / changed.sum() == pytest.approx(new_y, abs=0.05)


@pytest.mark.parametrize("name", MOVING)
@given(st.integers(0, WIDTH - 7), st.integers(0, HEIGHT - 7), seeds)
@settings(max_examples=15)
def test_a_box_covers_what_it_covered(name: str, x: int, y: int, seed: int) -> None:
    """All four corners: the hull of the moved ones holds the moved pixels, and little else."""
    augmentor = MOVING[name]()
    augmentor.rng = np.random.RandomState(seed)
    image = np.zeros((HEIGHT, WIDTH), np.uint8)
    image[y : y + 7, x : x + 7] = 255
    corners = np.array([[x, y], [x + 7, y], [x + 7, y + 7], [x, y + 7]], np.float64)
    transform = augmentor.get_transform(image)
    if name == "RotationAndCropValid":
        transform.borderMode = BLACK  # otherwise a box at the edge goes on beyond it
    changed = transform.apply_image(image)
    hull = transform.apply_coords(corners).astype(np.float32)
    for row, column in np.argwhere(changed > 127):
        centre = (float(column) + 0.5, float(row) + 0.5)
        assert cv2.pointPolygonTest(hull, centre, True) > -1
    inside = [
        changed[row, column]
        for row in range(changed.shape[0])
        for column in range(changed.shape[1])
        if abs(row - hull[:, 1].mean()) < 9 and abs(column - hull[:, 0].mean()) < 9
        if cv2.pointPolygonTest(hull, (column + 0.5, row + 0.5), True) > 1
    ]
    assert min(inside, default=255) > 127


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([1, 3, 4]))
def test_half_a_turn_is_two_flips(height: int, width: int, channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    centre = ((width - 1) / 2, (height - 1) / 2)
    turn = imgaug.WarpAffineTransform(cv2.getRotationMatrix2D(centre, 180, 1), (width, height))
    assert np.array_equal(turn.apply_image(image), image[::-1, ::-1])
    points = np.array([[0.0, 0.0], [0.5, 1.0]])
    flips = imgaug.TransformList(
        [imgaug.FlipTransform(height, width), imgaug.FlipTransform(height, width, False)]
    )
    assert np.allclose(turn.apply_coords(points), flips.apply_coords(points))


@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(-14, 14),
    st.integers(-14, 14),
    st.sampled_from([cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT, cv2.BORDER_REFLECT_101]),
    st.sampled_from([1, 3, 4]),
)
def test_whole_shifts_are_warps(
    height: int, width: int, x: int, y: int, border: int, channels: int
) -> None:
    """They are copied, not warped; nobody should see it."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    matrix = np.array([[1.0, 0, x], [0, 1, y]])
    shift = imgaug.WarpAffineTransform(matrix, (width, height), 1, border, 77)
    warped = cv2.warpAffine(
        image, matrix, (width, height), borderMode=border, borderValue=(77,) * 4
    )
    assert np.array_equal(shift.apply_image(image), warped.reshape(image.shape))


def test_one_border_value_is_for_all_channels() -> None:
    """OpenCV, and so tensorpack, takes it for the first one."""
    image = np.full((9, 9, 4), 200, np.uint8)
    for value, expected in [(50, [50] * 4), ((1, 2, 3, 4), [1, 2, 3, 4])]:
        for augmentor in (
            imgaug.Shift(0.9, 0.9, cv2.BORDER_CONSTANT, value),
            imgaug.Rotation(45, (0, 0), NEAREST, cv2.BORDER_CONSTANT, border_value=value),
            imgaug.Affine((0.1, 0.2), border=cv2.BORDER_CONSTANT, border_value=value),
        ):
            augmentor.rng = np.random.RandomState(4)
            seen = {tuple(pixel) for pixel in augmentor.augment(image).reshape(-1, 4).tolist()}
            assert tuple(expected) in seen
            if not isinstance(augmentor, imgaug.Affine):
                assert seen <= {tuple(expected), (200,) * 4}


def test_steps_of_an_angle() -> None:
    """All multiples, each as often; four quarters give the image again."""
    image = np.random.default_rng(0).integers(0, 256, (20, 20), np.uint8)
    augmentor = imgaug.Rotation(180, (0.5, 0.5), step_deg=90)
    augmentor.rng = np.random.RandomState(0)
    counts = [0] * 4
    for _ in range(200):
        changed = augmentor.augment(image)
        (turns,) = (k for k in range(4) if np.array_equal(np.rot90(image, k), changed))
        counts[turns] += 1
    assert min(counts) > 30


@given(st.integers(2, 400), st.integers(2, 400), st.floats(-180, 180))
def test_the_largest_rectangle_lies_within(w: int, h: int, angle: float) -> None:
    """No corner of it is outside by more than the rounding, and no larger one fits."""
    width, height = imgaug.RotationAndCropValid.largest_rotated_rect(w, h, angle)
    sine, cosine = abs(np.sin(np.radians(angle))), abs(np.cos(np.radians(angle)))
    assert width * cosine + height * sine <= w + 1
    assert width * sine + height * cosine <= h + 1
    area = max(
        part * min((w - part * cosine) / max(sine, 1e-9), (h - part * sine) / max(cosine, 1e-9))
        for part in np.linspace(1, max(w, h), 50)
    )
    assert (width + 1) * (height + 1) >= area


def test_nothing_to_rotate() -> None:
    assert imgaug.RotationAndCropValid.largest_rotated_rect(0, 5, 30) == (0, 0)
    thin = imgaug.RotationAndCropValid(90)
    for _ in range(20):
        assert thin.augment(np.ones((1, 50), np.uint8)).size > 0


def test_valid_means_that_nothing_black_comes_in() -> None:
    augmentor = imgaug.RotationAndCropValid(180)
    for shape in [(40, 60), (61, 31), (9, 90)]:
        for _ in range(20):
            assert augmentor.augment(np.full(shape, 200, np.uint8)).min() == 200


@given(st.integers(2, 80), st.integers(2, 80), seeds)
@settings(max_examples=50)
def test_random_sizes(height: int, width: int, seed: int) -> None:
    image = np.zeros((height, width), np.uint8)
    for arguments, low, high in [
        (
            ((0.5, 2.0), (0.5, 2.0), (0, 0), 99.0),
            (0.5 * width, 0.5 * height),
            (2 * width, 2 * height),
        ),
        (((20, 50), (20, 50), (30, 25), 99.0), (30, 25), (50, 50)),
    ]:
        augmentor = imgaug.RandomResize(*arguments)
        augmentor.rng = np.random.RandomState(seed)
        size = augmentor.get_transform(image)
        assert low[0] - 0.5 <= size.new_w <= high[0] + 0.5
        assert low[1] - 0.5 <= size.new_h <= high[1] + 0.5
    for kept in (
        imgaug.RandomResize((0.5, 2.0), aspect_ratio_thres=0),
        imgaug.RandomResize((40, 90), aspect_ratio_thres=0),
    ):
        size = kept.get_transform(image)
        assert abs(size.new_h - size.new_w / width * height) <= 0.5 + 0.5 * height / width


def test_where_no_size_fits(photo: np.ndarray) -> None:
    augmentor = imgaug.RandomResize((10, 11), (1000, 1001))
    with pytest.warns(RuntimeWarning, match="found no size for an image of 300×451"):
        assert augmentor.augment(photo).shape == photo.shape
    with pytest.warns(UserWarning, match="does not count"):
        imgaug.RandomResize((10, 11), (1000, 1001), aspect_ratio_thres=0)
    assert repr(augmentor) == "imgaug.RandomResize(xrange=(10, 11), yrange=(1000, 1001))"


@given(st.integers(5, 40), st.integers(5, 40), seeds)
def test_crops_of_random_shape_lie_inside(height: int, width: int, seed: int) -> None:
    image = np.zeros((height, width), np.uint8)
    for limits in [(None, None), (100, 8)]:
        augmentor = imgaug.RandomCropRandomShape(3, 5, *limits)
        augmentor.rng = np.random.RandomState(seed)
        crop = augmentor.get_transform(image)
        assert 3 <= crop.w <= min(limits[0] or width, width)
        assert 5 <= crop.h <= min(limits[1] or height, height)
        assert 0 <= crop.y0 <= height - crop.h
        assert 0 <= crop.x0 <= width - crop.w


def test_the_last_places_are_drawn_too() -> None:
    """tensorpack leaves them out for crops of random shape and for pasting."""
    image = np.zeros((4, 4), np.uint8)
    crop, paste = imgaug.RandomCropRandomShape(3, 3, 3, 3), imgaug.RandomPaste(5)
    crop.rng, paste.rng = np.random.RandomState(0), np.random.RandomState(0)
    for augmentor in (crop, paste):
        places = [augmentor.get_transform(image) for _ in range(100)]
        assert {(place.y0, place.x0) for place in places} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert imgaug.RandomPaste(4).augment(image).shape == (4, 4)


def test_backgrounds_of_the_user_s_own(photo: np.ndarray) -> None:
    class Stripes(imgaug.BackgroundFiller):
        def _fill(self, background_shape: tuple[int, int], img: np.ndarray) -> np.ndarray:
            background = np.zeros((*background_shape, *img.shape[2:]), img.dtype)
            background[::2] = 255
            return background

    pasted = imgaug.CenterPaste([310, 471], Stripes()).augment(photo)
    assert np.array_equal(pasted[5:305, 10:461], photo)
    assert pasted[0].min() == 255 and pasted[1].max() == 0
    with pytest.raises(NotImplementedError, match="_fill"):
        imgaug.CenterPaste(500, imgaug.BackgroundFiller()).augment(photo)
    filler: Any = imgaug.ConstantBackgroundFiller
    assert filler((1, 2, 3)).fill((2, 2), photo)[1, 1].tolist() == [1, 2, 3]
    assert filler(9.7).fill([2, 2], photo[:, :, 0]).tolist() == [[10, 10], [10, 10]]
