"""From bytes to pixels, and what can be told of the bytes before."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.errors import DecodeError
from dataflow.image.header import image_size, read_header

__all__ = ["MAX_PIXELS", "check_image", "decode_image", "image_size"]

MAX_PIXELS = 64_000_000
"""192 MB once decoded. A few kB of a PNG can claim to be 30 times as much."""


def check_image(
    data: bytes,
    content_type: str | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    url: str | None = None,
) -> None:
    """Raise unless `data` is a whole image of a known format and of bearable size.

    Reads headers only, and takes a few microseconds. `decode_image` checks the same, so nobody
    needs to do both.

    Args:
        data: the file's bytes: JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, PGM or AVIF.
        content_type: what the server called it. It is only told in the message: servers err.
        max_pixels: height × width may not be more.
        url: where it comes from, for the message.

    Raises:
        DecodeError: with the reason ``empty``, ``not_image``, ``truncated``, ``too_large`` or
            ``corrupt`` (no usable structure).
    """
    if not data:
        raise _error("empty", "there are no bytes", url)
    header = read_header(data)
    if header is None:
        called = f", which the server called {content_type[:80]!r}" if content_type else ""
        raise _error("not_image", f"{_kind(data)}{called}", url)
    name, size, problem = header
    if size is not None and size[0] * size[1] > max_pixels:
        what = f"a {name} of {size[0]}×{size[1]} pixels, more than max_pixels={max_pixels}"
        raise _error("too_large", what, url)
    if problem == "truncated":
        raise _error("truncated", f"a {name} of {len(data)} bytes without its end", url)
    if problem is not None or size is None or 0 in size:
        raise _error("corrupt", f"a {name} with a broken structure", url)


def decode_image(
    data: bytes, *, max_pixels: int = MAX_PIXELS, url: str | None = None, grey: bool = False
) -> NDArray[np.uint8]:
    """The pixels: H×W×3, uint8, channels in the order BGR; or H×W where `grey` is asked for.

    Grey images get three equal channels, transparency is left out, 16 bits are reduced to 8, of an
    animation it is the first frame, and the rotation that EXIF asks for is done.

    Args:
        data: the file's bytes.
        max_pixels: height × width may not be more; decided before anything is decoded.
        url: where it comes from, kept in the error.
        grey: brightness only, as the decoder gives it.

    Raises:
        DecodeError: with the reasons of `check_image`, or ``corrupt`` where the decoder gave up.
    """
    check_image(data, max_pixels=max_pixels, url=url)
    mode = cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR
    try:
        image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    except (cv2.error, MemoryError) as error:
        raise _error("corrupt", f"the decoder failed: {error}", url) from error
    if image is None:
        raise _error("corrupt", f"the decoder gave up on {len(data)} bytes", url)
    pixels: NDArray[np.uint8] = image
    return pixels


def _kind(data: bytes) -> str:
    """What the bytes seem to be, for a person."""
    start = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = start[:64].lower()
    if lower.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script")):
        return "an HTML page"
    if b"<svg" in start.lower():
        return "an SVG drawing"
    if lower.startswith((b"<?xml", b"<")):
        return "an XML document"
    if lower.startswith((b"{", b"[")):
        return "JSON"
    return f"bytes of no known image format, beginning with {data[:16]!r}"


def _error(reason: str, what: str, url: str | None) -> DecodeError:
    place = f"{url}: " if url else ""
    return DecodeError(f"{place}not a usable image: {what}", reason=reason, url=url)
