"""Whole images are decoded; broken ones are told apart, before and while decoding."""

from __future__ import annotations

import io
import itertools
import pickle
import struct
import time
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optional import library

from dataflow.errors import DecodeError
from dataflow.image import check_image, decode_image, image_size
from dataflow.image.header import read_header

WRITTEN_BY_OPENCV = [".jpg", ".png", ".webp", ".gif", ".bmp", ".tiff", ".avif", ".ppm", ".pgm"]


def encoded(image: np.ndarray, kind: str, *options: int) -> bytes:
    try:
        done, data = cv2.imencode(kind, image, options)
    except cv2.error:
        done = False
    if not done:
        pytest.skip(f"this OpenCV writes no {kind}")
    return data.tobytes()


def reason(data: bytes, **options: Any) -> str | None:
    """Why `data` is refused; both functions must say the same, unless only decoding can tell."""
    found = None
    try:
        check_image(data, **options)
    except DecodeError as error:
        found = error.reason
    try:
        decode_image(data, **options)
    except DecodeError as error:
        assert found in (None, error.reason)
        return error.reason
    assert found is None
    return None


@pytest.fixture(scope="module")
def small(cat: np.ndarray) -> np.ndarray:
    return cv2.resize(cat, (90, 60), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def samples(small: np.ndarray) -> dict[str, bytes]:
    """One small file of each kind."""
    found = {kind: cv2.imencode(kind, small)[1].tobytes() for kind in (".jpg", ".png")}
    found["progressive"] = encoded(small, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    found["restarts"] = encoded(small, ".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 1)
    found["grey"] = encoded(small[:, :, 0], ".jpg")
    found["thumbnail"] = with_thumbnail(found["progressive"], found[".jpg"])
    return found


def with_thumbnail(jpeg: bytes, thumbnail: bytes) -> bytes:
    """`jpeg` with another whole JPEG, and its end marker, in an EXIF and a comment segment."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail
    start = b"".join(
        b"\xff" + code + struct.pack(">H", len(body) + 2) + body
        for code, body in ((b"\xe1", exif), (b"\xfe", b"\xff\xda\xff\xd9 no end \xff\xd9"))
    )
    return jpeg[:2] + start + jpeg[2:]


# -- what is whole ----------------------------------------------------------------------------


def test_photographs(files: dict[str, bytes]) -> None:
    for data in files.values():
        image = decode_image(data)
        assert image.dtype == np.uint8
        assert image.shape == (*(image_size(data) or ()), 3)
        assert np.array_equal(image, cv2.imdecode(np.frombuffer(data, np.uint8), 1))
        assert image.flags.writeable


@pytest.mark.parametrize("kind", WRITTEN_BY_OPENCV)
@pytest.mark.parametrize("shape", [(60, 90), (1, 1), (7, 300)])
def test_every_format(kind: str, shape: tuple[int, int], cat: np.ndarray) -> None:
    data = encoded(cv2.resize(cat, shape[::-1]), kind)
    assert image_size(data) == shape
    check_image(data)
    assert decode_image(data).shape == (*shape, 3)


def test_kinds_of_webp(small: np.ndarray) -> None:
    pillow = library("PIL.Image")
    for options in ({"quality": 80}, {"lossless": True}, {"exif": b"Exif\0\0", "quality": 50}):
        file = io.BytesIO()
        pillow.fromarray(small).save(file, "webp", **options)
        assert image_size(file.getvalue()) == (60, 90)
        check_image(file.getvalue())


def test_kinds_of_tiff_and_bmp(small: np.ndarray) -> None:
    pillow = library("PIL.Image")
    tifffile = library("tifffile")
    for order, big in itertools.product("<>", (False, True)):
        file = io.BytesIO()
        tifffile.imwrite(file, small, byteorder=order, bigtiff=big)
        assert image_size(file.getvalue()) == (60, 90)
    for mode in ("1", "L", "P", "RGB"):
        file = io.BytesIO()
        pillow.fromarray(small).convert(mode).save(file, "bmp")
        assert image_size(file.getvalue()) == (60, 90)
        assert decode_image(file.getvalue()).shape == (60, 90, 3)


def test_channels_and_depths(small: np.ndarray) -> None:
    for image in (
        small[:, :, 0],
        np.dstack([small, small[:, :, 0]]),
        small.astype(np.uint16) * 257,
    ):
        assert decode_image(encoded(image, ".png")).shape == (60, 90, 3)


def test_jpegs_of_all_sorts(samples: dict[str, bytes], small: np.ndarray) -> None:
    for name, data in samples.items():
        for tail in (b"", b"\0" * 100, b"trailing \xff\xd8\xff garbage", b"\xff"):
            assert reason(data + tail) is None, name
        assert image_size(data) == (60, 90)
    assert np.array_equal(decode_image(samples["thumbnail"]), decode_image(samples["progressive"]))


def test_fill_bytes_before_a_marker(samples: dict[str, bytes]) -> None:
    data = samples[".jpg"]
    assert reason(data[:2] + b"\xff" * 5 + data[2:]) is None


def test_the_rotation_that_exif_asks_for_is_done(samples: dict[str, bytes]) -> None:
    body = b"Exif\0\0" + struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x112, 3, 1, 6, 0, 0)
    data = samples[".jpg"]
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    assert image_size(data) == (60, 90)
    assert decode_image(data).shape == (90, 60, 3)


# -- what is cut ------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_part_of_a_file_passes_for_the_whole(samples: dict[str, bytes], data: Any) -> None:
    """Every beginning of a JPEG or PNG is refused, or (only padding is gone) gives the same."""
    name = data.draw(st.sampled_from(sorted(samples)))
    whole = samples[name] + data.draw(st.sampled_from([b"", b"\0" * 9]))
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    if reason(cut) is None:
        assert np.array_equal(decode_image(cut), decode_image(whole))
    elif len(cut) > 8:
        assert reason(cut) == "truncated"


def test_every_cut_of_a_jpeg_with_a_thumbnail(samples: dict[str, bytes]) -> None:
    whole = samples["thumbnail"]
    for length in range(3, len(whole)):
        with pytest.raises(DecodeError) as error:
            check_image(whole[:length])
        assert error.value.reason == "truncated"


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_photographs_cut_short(part: float, files: dict[str, bytes]) -> None:
    for data in files.values():
        assert reason(data[: int(len(data) * part)]) == "truncated"
        assert reason(data[:-1]) == "truncated"


@pytest.mark.parametrize("kind", WRITTEN_BY_OPENCV)
def test_other_formats_cut_short(kind: str, small: np.ndarray) -> None:
    data = encoded(small, kind)
    for length in (20, len(data) // 2, len(data) - 10):
        assert reason(data[:length]) in ("truncated", "corrupt")


def test_a_png_without_its_last_chunk_but_with_garbage(samples: dict[str, bytes]) -> None:
    data = samples[".png"]
    assert reason(data + b"IEND") is None
    assert reason(data[:-12] + b"\0\0\0\0IENX\0\0\0\0") == "truncated"


# -- what is none ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        (b"<!DOCTYPE html><html>404</html>", "text/html", "an HTML page.*'text/html'"),
        (b"\n  <HTML><body>", "image/jpeg", "an HTML page"),
        (b'{"error": "gone"}', "application/json", "JSON"),
        (b"<?xml version='1.0'?><svg xmlns=", None, "SVG"),
        (b"<?xml version='1.0'?><Error>", None, "XML"),
        (b"hello", None, "b'hello'"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "image/webp", "no known image"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", None, "no known image"),
        (b"\xff\xd8", None, "no known image"),
        (b"%PDF-1.4", None, "no known image"),
    ],
)
def test_not_an_image(body: bytes, content_type: str | None, said: str) -> None:
    with pytest.raises(DecodeError, match=said) as error:
        check_image(body, content_type)
    assert error.value.reason == "not_image"
    assert reason(body) == "not_image"
    assert image_size(body) is None


def test_a_server_s_wrong_content_type_does_not_matter(samples: dict[str, bytes]) -> None:
    check_image(samples[".jpg"], "text/html")


def test_empty_and_where_it_came_from() -> None:
    with pytest.raises(DecodeError, match="https://host/1") as error:
        decode_image(b"", url="https://host/1")
    assert (error.value.reason, error.value.url) == ("empty", "https://host/1")
    again = pickle.loads(pickle.dumps(error.value))
    assert (again.reason, again.url, str(again)) == ("empty", "https://host/1", str(error.value))


# -- what is too large, and what is built to hurt ------------------------------------------------


def png(width: int, height: int) -> bytes:
    """A valid PNG of zeros, of a few bytes a megapixel."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def test_a_bomb_is_refused_by_its_header() -> None:
    data = png(40_000, 40_000)
    assert image_size(data) == (40_000, 40_000)
    start = time.process_time()
    with pytest.raises(DecodeError, match="40000×40000") as error:
        decode_image(data)
    assert error.value.reason == "too_large"
    assert time.process_time() - start < 0.1


def test_the_limit_is_exact(samples: dict[str, bytes], small: np.ndarray) -> None:
    for data in (*samples.values(), encoded(small, ".webp"), encoded(small, ".bmp")):
        assert reason(data, max_pixels=5400) is None
        assert reason(data, max_pixels=5399) == "too_large"


def test_a_size_of_zero(samples: dict[str, bytes]) -> None:
    data = samples[".jpg"]
    place = data.index(b"\xff\xc0") + 5
    assert reason(data[:place] + b"\0\0" + data[place + 2 :]) == "corrupt"


SOF = b"\xff\xc2\0\x0b\x08\0\x10\0\x10\x01\1\x11\0"
SOS = b"\xff\xda\0\x08\1\1\0\0\x3f\0"


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff" * 3_000_000,
        b"\xff\xd8" + b"\xff\xe0\0\2" * 1_000_000,
        b"\xff\xd8\xff" + b"\xd0\xff" * 1_000_000,
        b"\xff\xd8\xff" + b"\xe0\0\0" * 100,
        b"\xff\xd8" + SOF + SOS + b"\xff\xc4\0\2" * 1_000_000,
        b"\xff\xd8" + SOF + SOS * 1_000_000 + b"\xff\xd9",
        b"\xff\xd8" + SOF + b"\xff\xd9",
        b"\xff\xd8" + SOS + b"\xff\xd9",
        png(5, 5)[:33] + b"\0\0\0\0aaaa\0\0\0\0" * 1_000_000,
        b"\0\0\0\x10ftypavif\0\0\0\0" + b"\0\0\0\x08free" * 1_000_000,
        b"\0\0\0\x10ftypavif\0\0\0\0" + b"\0\0\0\1free" * 10,
        b"II*\0\x08\0\0\0\xff\xff" + b"\0" * 2_000_000,
        b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0" + b"\xff" * 1_000_000,
        b"MM\0*\xff\xff\xff\xff",
        b"BM" + b"\xff" * 50,
        b"BM" + b"\0" * 50,
        b"GIF89a",
        b"RIFF\0\0\0\0WEBPVP8X",
        b"RIFF\0\0\0\0WEBPnone" + b"\0" * 30,
    ],
    ids=range(19),
)
def test_built_to_hurt(data: bytes) -> None:
    start = time.process_time()
    assert read_header(data) is not None
    with pytest.raises(DecodeError) as error:
        check_image(data)
    assert error.value.reason in ("truncated", "corrupt", "too_large")
    assert time.process_time() - start < 1


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_files_give_only_our_errors(samples: dict[str, bytes], data: Any) -> None:
    whole = bytearray(samples[data.draw(st.sampled_from(sorted(samples)))])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, min(len(whole), 700) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    size = image_size(bytes(whole))
    assert size is None or all(type(side) is int and side >= 0 for side in size)
    try:
        image = decode_image(bytes(whole), max_pixels=1_000_000)
    except DecodeError as error:
        assert error.reason in ("not_image", "truncated", "corrupt", "too_large", "unsupported")
    else:
        assert size is not None
        assert sorted(image.shape[:2]) == sorted(size)


@given(
    st.binary(max_size=200),
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0"]),
)
def test_noise_behind_a_magic_number(noise: bytes, magic: bytes) -> None:
    assert reason(magic + noise, max_pixels=10_000) in ("truncated", "corrupt", "too_large")


def test_the_header_is_enough_for_the_size(files: dict[str, bytes]) -> None:
    for data in files.values():
        assert image_size(data[:65536]) == image_size(data)
