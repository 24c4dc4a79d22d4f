"""The right way up, whoever wrote the file."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from dataflow.image import decode_image
from dataflow.image.header import read_header
from dataflow.image.orientation import (
    moved_boxes,
    orientation,
    stored,
    turned,
    turned_size,
    upright,
    without,
)

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")


@pytest.fixture(scope="module")
def corner() -> np.ndarray:
    """RGB, 40×64, whose corners all differ, in areas large enough for any compression."""
    image = np.zeros((40, 64, 3), np.uint8)
    image[:16, :24] = (250, 0, 0)
    image[:16, 40:] = (0, 250, 0)
    image[24:, :24] = (0, 0, 250)
    return image


def written(image: np.ndarray, kind: str, how: int) -> bytes:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    file = io.BytesIO()
    picture = Image.fromarray(image)
    if kind == "TIFF":
        picture.save(file, kind, tiffinfo={274: how})
    else:
        exif = Image.Exif()
        exif[274] = how
        picture.save(file, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    return file.getvalue()


@pytest.mark.parametrize("how", range(1, 9))
@pytest.mark.parametrize("kind", FORMATS)
def test_as_pillow_has_it(corner: np.ndarray, kind: str, how: int) -> None:
    data = written(corner, kind, how)
    header = read_header(data)
    assert header is not None and header.size == (40, 64)
    assert orientation(data, header) == how
    picture = Image.fromarray(corner)
    picture.getexif()[274] = how
    wanted = np.asarray(ImageOps.exif_transpose(picture))
    pixels = decode_image(data, mode="rgb")
    assert pixels.shape == wanted.shape
    assert np.abs(pixels.astype(int) - wanted).mean() < 6
    as_stored = decode_image(data, mode="rgb", exif=False)
    assert as_stored.shape == corner.shape
    assert np.abs(as_stored.astype(int) - corner).mean() < 6
    for mode in ("grey", "unchanged"):
        assert decode_image(data, mode=mode).shape[:2] == wanted.shape[:2]  # type: ignore[arg-type]


@pytest.mark.parametrize("how", range(1, 9))
def test_parts_go_where_pixels_go(how: int) -> None:
    image = np.arange(30 * 50).reshape(30, 50).astype(np.uint16)
    up = turned(image, how)
    assert up.shape == turned_size((30, 50), how)
    np.testing.assert_array_equal(without(up, how), image)
    top, left, bottom, right = box = (3, 7, 12, 40)
    moved = upright(box, (30, 50), how)
    np.testing.assert_array_equal(
        up[moved[0] : moved[2], moved[1] : moved[3]],
        turned(np.ascontiguousarray(image[top:bottom, left:right]), how),
    )
    assert stored(moved, (30, 50), how) == box
    boxes = np.array([[left, top, right, bottom]], np.float32)
    assert moved_boxes(boxes, (30, 50), how).tolist() == [[moved[1], moved[0], moved[3], moved[2]]]


@pytest.mark.parametrize("exif", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0\x05"])
def test_broken_notes_turn_nothing(corner: np.ndarray, exif: bytes) -> None:
    plain = written(corner, "JPEG", 1)
    body = b"Exif\0\0" + exif
    segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    data: Any = plain[:2] + segment + plain[2:]
    header = read_header(data)
    assert header is not None and orientation(data, header) == 1
    assert decode_image(data).shape == corner.shape
