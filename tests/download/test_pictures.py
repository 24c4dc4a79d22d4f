"""What an image becomes."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import data

from dataflow.download.pictures import MakePicture, resized
from dataflow.download.settings import Settings
from dataflow.errors import DecodeError
from dataflow.image.decode import MAX_PIXELS

PHOTO = np.ascontiguousarray(data.astronaut()[:, :, ::-1])  # 512×512


def file_of(image: np.ndarray, suffix: str = ".jpg") -> bytes:
    return cv2.imencode(suffix, image, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()


def made(body: bytes, **settings: Any) -> dict[str, Any]:
    made: Any = MakePicture(Settings(**settings), MAX_PIXELS).apply(
        {"url": "u", "__row__": 0, "image": body}
    )
    return made  # type: ignore[no-any-return]


def pixels(point: dict[str, Any]) -> np.ndarray:
    image = cv2.imdecode(point["image"], cv2.IMREAD_COLOR)
    assert image.shape == (point["height"], point["width"], 3)
    return image


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_files_stay_as_they_are(suffix: str) -> None:
    body = file_of(PHOTO[:50, :70], suffix)
    point = made(body)
    assert point["image"].tobytes() == body and point["suffix"] == suffix[1:]
    assert (point["height"], point["width"]) == (50, 70)
    assert point["row"] == {"url": "u", "__row__": 0}


@given(
    st.integers(1, 700),
    st.integers(1, 700),
    st.integers(1, 300),
    st.sampled_from(["shortest", "border", "crop"]),
    st.booleans(),
)
def test_sizes(height: int, width: int, size: int, resize: Any, larger: bool) -> None:
    image = np.full((height, width, 3), 7, np.uint8)
    settings = Settings(resize=resize, size=size, only_larger=larger)
    if max(height, width) / min(height, width) * size > 20_000:
        return  # memory
    done = resized(image, settings)
    assert done.dtype == np.uint8
    small = larger and min(height, width) <= size
    if resize == "shortest":
        assert min(done.shape[:2]) == (min(height, width) if small else size)
        assert abs(done.shape[0] / done.shape[1] - height / width) <= height / width * 0.5 + 1
    elif resize == "border":
        assert done.shape[:2] == (size, size)
        assert (done == 7).all(2).any() and ((done == 7) | (done == 255)).all()
    else:
        most = [min(side, size) for side in (height, width)]
        assert list(done.shape[:2]) == (most if small else [size, size])


def test_border_is_white_on_both_sides() -> None:
    done = resized(np.zeros((40, 80, 3), np.uint8), Settings(resize="border", size=20))
    assert (done[5:15] == 0).all() and (done[:5] == 255).all() and (done[15:] == 255).all()


@pytest.mark.parametrize("size", [63, 64, 100, 128, 200, 256])
def test_scaled_decoding_looks_like_full_decoding(size: int) -> None:
    found = pixels(made(file_of(PHOTO), resize="shortest", size=size, encoding="png"))
    whole = cv2.imdecode(np.frombuffer(file_of(PHOTO), np.uint8), cv2.IMREAD_COLOR)
    wanted = cv2.resize(whole, (size, size), interpolation=cv2.INTER_AREA)
    assert cv2.PSNR(found, wanted) > 30


def test_rotation_is_done_and_sizes_are_of_what_is_seen() -> None:
    exif = b"Exif\0\0" + struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x112, 3, 1, 6, 0, 0)
    body = file_of(PHOTO[:200])
    turned = body[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + body[2:]
    for size in (300, 150, 50):
        point = made(turned, resize="shortest", size=size)
        assert (point["original_height"], point["original_width"]) == (200, 512), "as stored"
        assert (point["height"], point["width"]) == (round(512 * size / 200), size)


def test_opaque_images_are_not_encoded_anew_for_white() -> None:
    body = file_of(PHOTO[:50, :70], ".png")
    assert made(body, white=True)["image"].tobytes() == body


def test_transparency_is_mixed_by_its_share() -> None:
    image = np.full((8, 8, 4), (100, 100, 100, 128), np.uint8)
    point = made(file_of(image, ".png"), white=True, encoding="png")
    assert np.abs(pixels(point).astype(int) - 177).max() <= 1


def test_what_cannot_be_encoded_is_that_row_alone() -> None:
    body = file_of(np.zeros((4, 4000, 3), np.uint8), ".png")
    with pytest.raises(DecodeError, match="cannot be encoded as webp"):
        made(body, resize="shortest", size=32, encoding="webp")


def test_damaged_pixels() -> None:
    body = bytearray(file_of(PHOTO, ".png"))
    body[5000:6000] = bytes(1000)
    with pytest.raises(DecodeError):
        made(bytes(body), resize="shortest", size=64)
