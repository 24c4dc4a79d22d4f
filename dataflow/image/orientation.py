"""Which way up an image is meant to be seen: EXIF's orientation, and AVIF's boxes for the same.

Our own reader, since OpenCV heeds EXIF in some formats of some versions only, AVIF's never, and
does not say what it did, which boxes and points have to know.

Sources: EXIF 2.32 (tag 274, values 1 to 8); ISO/IEC 23008-12:2022, 6.5.10 ``irot`` and 6.5.12
``imir``; PNG, third edition, 11.3.3.4 ``eXIf``; WebP, RFC 9649, 2.7.1.5.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.image.header import Header

__all__ = [
    "inverse",
    "moved_boxes",
    "orientation",
    "tags",
    "turned",
    "turned_size",
    "upright",
    "without",
]

_ORIENTATION = 274
_FAR = 1 << 16  # the largest segment of a JPEG
_MAX_ENTRIES = 1000

# A quarter turn each, counter-clockwise, then a mirror: 0 exchanges top and bottom, 1 the sides.
_OF_AVIF = {
    (0, None): 1,
    (1, None): 8,
    (2, None): 3,
    (3, None): 6,
    (0, 0): 4,
    (1, 0): 5,
    (2, 0): 2,
    (3, 0): 7,
    (0, 1): 2,
    (1, 1): 7,
    (2, 1): 4,
    (3, 1): 5,
}
_INVERSE = {6: 8, 8: 6}


def orientation(data: bytes, header: Header) -> int:
    """What is to be done with the pixels as they are stored, 1 to 8 as in EXIF; 1: nothing.

    Args:
        data: the file.
        header: of it.
    """
    try:
        if header.format == "AVIF":
            return _of_avif(data)
        if header.format == "JPEG":
            block = data[header.exif : header.exif + _FAR] if header.exif else None
        else:
            block = _BLOCKS[header.format](data) if header.format in _BLOCKS else None
        found = 1 if block is None else tags(block, (_ORIENTATION,)).get(_ORIENTATION, 1)
    except (struct.error, IndexError):
        return 1
    return found if 1 <= found <= 8 else 1


def turned(image: NDArray[Any], how: int) -> NDArray[Any]:
    """Stored pixels, the right way up."""
    if how == 2:
        return cv2.flip(image, 1)
    if how == 3:
        return cv2.rotate(image, cv2.ROTATE_180)
    if how == 4:
        return cv2.flip(image, 0)
    if how == 5:
        return cv2.transpose(image)
    if how == 6:
        return cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)
    if how == 7:
        return cv2.rotate(cv2.transpose(image), cv2.ROTATE_180)
    if how == 8:
        return cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE)
    return image


def inverse(how: int) -> int:
    """What undoes it."""
    return _INVERSE.get(how, how)


def without(image: NDArray[Any], how: int) -> NDArray[Any]:
    """The opposite of `turned`."""
    return turned(image, inverse(how))


def turned_size(size: tuple[int, int], how: int) -> tuple[int, int]:
    """(height, width) the right way up, of those stored."""
    return size if how < 5 else (size[1], size[0])


def upright(box: tuple[float, float, float, float], size: tuple[float, float], how: int) -> Any:
    """Where a part of the stored image is, the right way up.

    Args:
        box: (top, left, bottom, right).
        size: (height, width) as stored.
        how: see `orientation`.

    Returns:
        (top, left, bottom, right).
    """
    top, left, bottom, right = box
    height, width = size
    if how >= 5:  # exchange rows and columns, then what is left is a mirror
        top, left, bottom, right = left, top, right, bottom
        height, width = width, height
    if how in (2, 3, 6, 7):
        left, right = width - right, width - left
    if how in (3, 4, 7, 8):
        top, bottom = height - bottom, height - top
    return top, left, bottom, right


def stored(box: tuple[float, float, float, float], size: tuple[float, float], how: int) -> Any:
    """The opposite of `upright`: where a part of the image that is the right way up is stored.

    Args:
        box: (top, left, bottom, right).
        size: (height, width) as stored.
        how: see `orientation`.
    """
    return upright(box, turned_size(size, how), inverse(how))  # type: ignore[arg-type]


def moved_boxes(boxes: NDArray[Any], size: tuple[int, int], how: int) -> NDArray[Any]:
    """Boxes in the stored image, N×4 rows of (x0, y0, x1, y1), the right way up."""
    left, top, right, bottom = boxes.T
    moved = upright((top, left, bottom, right), size, how)
    return np.stack([moved[1], moved[0], moved[3], moved[2]], axis=1).astype(boxes.dtype)


def tags(block: bytes, wanted: Iterable[int]) -> dict[int, int]:
    """Whole numbers of the first directory of a TIFF, which EXIF is, too.

    Args:
        block: from the byte order on.
        wanted: the tags' numbers.

    Raises:
        struct.error: it ends too early.
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(block[:2]))
    if order is None:
        return {}
    mark, at = struct.unpack_from(order + "HI", block, 2)
    if mark != 42:
        return {}
    (count,) = struct.unpack_from(order + "H", block, at)
    found: dict[int, int] = {}
    for entry in range(at + 2, at + 2 + 12 * min(count, _MAX_ENTRIES), 12):
        tag, kind = struct.unpack_from(order + "HH", block, entry)
        if tag in wanted and kind in (3, 4):
            (found[tag],) = struct.unpack_from(
                order + ("H" if kind == 3 else "I"), block, entry + 8
            )
    return found


def _of_png(data: bytes) -> bytes | None:
    position = 8
    for _ in range(_MAX_ENTRIES):
        if position + 12 > len(data):
            return None
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"eXIf":
            return data[position + 8 : position + 8 + length]
        position += 12 + length
    return None


def _of_webp(data: bytes) -> bytes | None:
    if data[12:16] != b"VP8X" or not data[20] & 0x08:
        return None
    position = 12
    for _ in range(_MAX_ENTRIES):
        if position + 8 > len(data):
            return None
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind == b"EXIF":
            return data[position + 8 : position + 8 + length].removeprefix(b"Exif\0\0")
        position += 8 + length + length % 2
    return None


def _of_avif(data: bytes) -> int:
    head = data[: 1 << 16]
    turn = re.search(rb"\0\0\0\x09irot(.)", head, re.DOTALL)
    mirror = re.search(rb"\0\0\0\x09imir(.)", head, re.DOTALL)
    return _OF_AVIF[
        0 if turn is None else turn[1][0] & 3, None if mirror is None else mirror[1][0] & 1
    ]


def _of_tiff(data: bytes) -> bytes:
    return data


_BLOCKS: dict[str, Callable[[bytes], bytes | None]] = {
    "PNG": _of_png,
    "WebP": _of_webp,
    "TIFF": _of_tiff,
}
