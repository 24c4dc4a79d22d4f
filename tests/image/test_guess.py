"""Which arrays are taken for images, and how bright they become."""

from __future__ import annotations

import numpy as np
import pytest

from dataflow.image.guess import pictures_in


@pytest.mark.parametrize(
    ("shape", "batch", "found"),
    [
        ((2, 9, 10, 3), True, (2, 9, 10, 3)),
        ((2, 3, 9, 10), True, (2, 9, 10, 3)),
        ((2, 1, 9, 10), True, (2, 9, 10, 1)),
        ((2, 4, 9, 10), True, (2, 9, 10, 4)),
        ((2, 9, 10), True, (2, 9, 10, 1)),
        ((9, 10), False, (1, 9, 10, 1)),
        ((3, 9, 10), False, (1, 9, 10, 3)),
        ((9, 10, 4), False, (1, 9, 10, 4)),
        ((2, 9, 10, 2), True, None),
        ((2, 7, 10, 3), True, None),
        ((2, 3, 7, 10), True, None),
        ((2, 9, 3), True, None),
        ((2, 9), True, None),
        ((0, 9, 10, 3), True, None),
        ((2, 2, 9, 10, 3), True, None),
        ((9,), False, None),
    ],
)
def test_shapes(shape: tuple[int, ...], batch: bool, found: tuple[int, ...] | None) -> None:
    pictures = pictures_in(np.zeros(shape, "u1"), batch=batch)
    assert (None if pictures is None else pictures.images.shape) == found


def test_channels_keep_their_order() -> None:
    image = np.random.default_rng(0).integers(0, 256, (2, 9, 10, 3), np.uint8)
    for array in (image, image.transpose(0, 3, 1, 2)):
        found = pictures_in(array, batch=True)
        assert found is not None
        assert np.array_equal(found.images, image) and not found.note


@pytest.mark.parametrize(
    ("kind", "values", "bytes", "note"),
    [
        ("f4", [0, 0.5, 1], [0, 128, 255], "0 to 1"),
        ("f8", [-0.01, 0.5, 1.01], [0, 128, 255], "0 to 1"),
        ("f4", [0, 99.6, 255], [0, 100, 255], ""),
        ("f2", [-2, 0, 2], [0, 128, 255], "stretched: black is -2, white is 2"),
        ("f4", [0, 500, 1000], [0, 128, 255], "stretched: black is 0, white is 1000"),
        ("f4", [np.nan, 1, np.inf], [0, 255, 255], "NaN"),
        ("f4", [np.nan, 0, 1], [0, 0, 255], "NaN and -inf black"),
        ("f4", [np.nan] * 3, [0, 0, 0], "no finite numbers"),
        ("f4", [3, 3, 3], [0, 0, 0], "stretched: black is 3, white is 3"),
        ("i8", [0, 1, 2], [0, 128, 255], "stretched: black is 0, white is 2"),
        ("u2", [0, 7, 200], [0, 7, 200], ""),
        ("u1", [0, 10, 20], [0, 128, 255], "stretched: black is 0, white is 20"),
        ("u1", [0, 10, 200], [0, 10, 200], ""),
        ("b1", [0, 1, 1], [0, 255, 255], "0 to 1"),
    ],
)
def test_brightness(kind: str, values: list[float], bytes: list[int], note: str) -> None:
    array = np.tile(np.array(values, "f8").astype(kind), (9, 3))
    found = pictures_in(array, batch=False)
    assert found is not None and found.images.dtype == np.uint8
    assert found.images[0, 0, :3, 0].tolist() == bytes
    assert found.note.startswith(note) or note in found.note
    assert bool(found.note) is bool(note)


def test_what_is_no_number() -> None:
    assert pictures_in(np.full((9, 9), "x"), batch=False) is None
    assert pictures_in(np.zeros((9, 9), "c8"), batch=False) is None
