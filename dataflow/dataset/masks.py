"""Outlines of objects to pixels: polygons and run lengths.

A point (x, y) is in pixels from the top left corner of the image; pixel (column i, row j) covers
[i, i+1) × [j, j+1), and belongs to a polygon where its middle is inside.

Sources: https://cocodataset.org/#format-data (``segmentation``: polygons, and run lengths down the
columns, of 0 first); for their compressed form the comments of ``rleToString`` and ``rleFrString``
in https://github.com/cocodataset/cocoapi, common/maskApi.h.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dataflow.utils.arguments import shortened

__all__ = ["drawn", "filled", "of_run_lengths", "packed", "run_lengths"]

_POLYGONS, _COUNTS, _STRING = b"P", b"C", b"S"
_COUNT = struct.Struct("<I")
_SIZE = struct.Struct("<II")  # height, width
_MOST = (1 << 32) - 1
_BITS, _MORE, _SIGN, _ZERO = 5, 32, 16, 48  # of a character of compressed run lengths
_LONGEST = 7  # characters of a number: 35 bits


def filled(polygons: Iterable[ArrayLike], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The mask of an object.

    Args:
        polygons: its parts, each N×2, rows of (x, y) in pixels; the last point is joined to the
            first one. Of a polygon that crosses itself, what is inside an odd number of times is
            filled; of several, what is in any of them. What is outside of the image is cut off.
        size: (height, width) of the image.

    Returns:
        uint8, height×width: 1 inside, 0 elsewhere.
    """
    mask = np.zeros(size, np.uint8)
    for polygon in polygons:
        _fill(mask, np.asarray(polygon, np.float64))
    return mask


def _fill(mask: NDArray[np.uint8], points: NDArray[np.float64]) -> None:
    """Set the pixels of one polygon to 1."""
    height, width = mask.shape
    (x, y), (to_x, to_y) = points.T, np.roll(points, -1, axis=0).T
    # Each edge crosses the middles of the columns from `first` to before `last`.
    first = np.clip(np.ceil(np.minimum(x, to_x) - 0.5), 0, width).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(x, to_x) - 0.5), 0, width).astype(np.int64)
    counts = last - first
    total = int(counts.sum())
    if not total:
        return
    edges = np.repeat(np.arange(len(x)), counts)
    columns = first[edges] + np.arange(total) - (np.cumsum(counts) - counts)[edges]
    slopes = (to_y - y)[edges] / (to_x - x)[edges]
    heights = y[edges] + (columns + 0.5 - x[edges]) * slopes
    rows = np.clip(np.ceil(heights - 0.5), 0, height).astype(np.int64)
    # From each crossing on downward, what was outside is inside, and the other way round.
    left, top, bottom = int(columns.min()), int(rows.min()), int(rows.max())
    across = int(columns.max()) + 1 - left
    places = (rows - top) * across + columns - left
    crossings = np.bincount(places, minlength=(bottom - top + 1) * across) & 1
    parity = crossings.astype(np.uint8).reshape(-1, across)
    inside = np.bitwise_xor.accumulate(parity, axis=0)[: bottom - top]
    mask[top:bottom, left : left + across] |= inside


def of_run_lengths(counts: ArrayLike, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The mask that run lengths tell of.

    Args:
        counts: N whole numbers: so many pixels of 0, then of 1, of 0 …, down the first column,
            then down the next.
        size: (height, width) of the image.

    Returns:
        uint8, height×width, of 0 and 1.

    Raises:
        ValueError: they are not of as many pixels as the image has, or one is negative.
    """
    numbers = np.asarray(counts, np.int64)
    if numbers.size and numbers.min() < 0:
        raise ValueError(f"a run length is {numbers.min()}; none can be negative")
    height, width = size
    total = int(numbers.sum())
    if total != height * width:
        raise ValueError(
            f"the run lengths are of {total} pixels, the image of {height}×{width} has "
            f"{height * width}"
        )
    values = (np.arange(len(numbers)) & 1).astype(np.uint8)
    columns: NDArray[np.uint8] = np.repeat(values, numbers).reshape(width, height)
    return np.ascontiguousarray(columns.T)


def run_lengths(text: str | bytes) -> NDArray[np.int64]:
    """The run lengths of COCO's compressed form.

    Each character has 6 bits, and is their value plus 48. 5 of them are a part of a number, the
    lowest part first; the sixth, 32, says that the number goes on in the next character. Numbers
    are signed: 16 in the last character stands for ones in all bits above. From the fourth number
    on, each is the difference to the one before the last.

    Returns:
        N, for `of_run_lengths`.

    Raises:
        ValueError: it is no such text.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    parts = np.frombuffer(data, np.uint8).astype(np.int64) - _ZERO
    wrong = np.flatnonzero((parts < 0) | (parts >= 2 * _MORE))
    if len(wrong):
        raise ValueError(
            f"the compressed run lengths have {chr(data[wrong[0]])!r} at place {wrong[0]}; "
            f"characters are from '0' to 'o'"
        )
    ends = np.flatnonzero(parts < _MORE)
    if len(parts) and (not len(ends) or ends[-1] != len(parts) - 1):
        raise ValueError("the compressed run lengths end within a number: is the text cut off?")
    if not len(parts):
        return np.zeros(0, np.int64)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends + 1 - starts
    if lengths.max() > _LONGEST:
        raise ValueError(f"the compressed run lengths have a number of {lengths.max()} characters")
    shifts = _BITS * (np.arange(len(parts)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((parts & (_MORE - 1)) << shifts, starts)
    numbers -= np.where(parts[ends] & _SIGN, np.int64(1) << (_BITS * lengths), 0)
    # Sums of differences: those at odd places, and the even ones from 2 on.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def packed(segmentation: Any) -> bytes:
    """COCO's ``segmentation`` in few bytes, for `drawn`.

    Args:
        segmentation: ``[[x, y, x, y, …], …]``, polygons; or ``{"size": [height, width],
            "counts": …}``, with a list of run lengths or their compressed form.

    Raises:
        ValueError: it is none of these; says what is wrong.
    """
    if isinstance(segmentation, list):
        return _packed_polygons(segmentation)
    if not isinstance(segmentation, dict):
        raise ValueError(f"segmentation={shortened(segmentation)} must be polygons or run lengths")
    size, counts = segmentation.get("size"), segmentation.get("counts")
    try:
        height, width = size  # type: ignore[misc]
        head = _SIZE.pack(height, width)
    except (TypeError, ValueError, struct.error) as error:
        raise ValueError(
            f"size={shortened(size)} of run lengths must be [height, width]"
        ) from error
    if isinstance(counts, str):
        return _STRING + head + counts.encode("utf-8", "surrogatepass")
    try:
        return _COUNTS + head + array("I", counts).tobytes()  # type: ignore[arg-type]
    except (TypeError, OverflowError, ValueError) as error:
        raise ValueError(
            f"counts={shortened(counts)} must be a list of whole numbers from 0 to {_MOST}, or text"
        ) from error


def _packed_polygons(polygons: list[Any]) -> bytes:
    if not polygons:
        raise ValueError("its segmentation is empty")
    points = array("f")
    lengths = array("I")
    for polygon in polygons:
        before = len(points)
        try:
            points.extend(array("f", polygon))
        except (TypeError, OverflowError, ValueError) as error:
            what = f"the polygon {shortened(polygon)} is no list of numbers"
            raise ValueError(what) from error
        length = len(points) - before
        if length < 6 or length % 2:
            raise ValueError(
                f"the polygon {shortened(polygon)} has {length} numbers; it must be at least three "
                "points, x and y of each"
            )
        lengths.append(length // 2)
    if not all(map(math.isfinite, points)):
        raise ValueError("a polygon has a number that is not finite")
    return _POLYGONS + _COUNT.pack(len(lengths)) + lengths.tobytes() + points.tobytes()


def drawn(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The mask that was `packed`.

    Args:
        data: from there.
        size: (height, width) of the image that it is of.

    Returns:
        uint8, height×width, of 0 and 1.

    Raises:
        ValueError: its run lengths are none, or of an image of another size.
    """
    kind = data[:1]
    if kind == _POLYGONS:
        (count,) = _COUNT.unpack_from(data, 1)
        lengths = np.frombuffer(data, np.uint32, count, 5)
        points = np.frombuffer(data, np.float32, offset=5 + 4 * count).reshape(-1, 2)
        return filled(np.split(points, np.cumsum(lengths)[:-1]), size)
    height, width = _SIZE.unpack_from(data, 1)
    if (height, width) != size:
        raise ValueError(
            f"its run lengths are of an image of {height}×{width} pixels (height × width), "
            f"not of {size[0]}×{size[1]}"
        )
    rest = data[1 + _SIZE.size :]
    return of_run_lengths(
        run_lengths(rest) if kind == _STRING else np.frombuffer(rest, np.uint32), size
    )
