"""Calculating with images: each result has the image's depth, rounded and clipped to its range.

Of two images, or one and an array of its size, it is the first one's; booleans count as 0 and 1.
A number, or one for each channel, goes with every pixel; H×W goes with every channel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.imgaug.pixels import as_type

__all__ = [
    *("add", "affine", "divide", "floor_divide", "maximum", "minimum", "modulo", "multiply"),
    *("negative", "power", "subtract"),
]

_Pixels = NDArray[Any]
_LARGE = 2.0**30


def affine(image: _Pixels, factor: float, offset: float) -> _Pixels:
    """``factor * pixel + offset``, of every channel."""
    if image.dtype == np.bool_:
        image = image.view(np.uint8)
    # OpenCV goes by way of 32-bit integers, in which larger numbers become small ones.
    if image.dtype.kind in "iu" and (
        image.dtype.itemsize > 2 or not abs(factor) * 65535 + abs(offset) < _LARGE
    ):
        with np.errstate(over="ignore", invalid="ignore"):  # 0 times infinity
            return _clipped(image.astype(np.float64) * factor + offset, image.dtype)
    return cv2.addWeighted(image, factor, image, 0, offset).reshape(image.shape)


def add(x: Any, y: Any) -> _Pixels:
    """``x + y``"""
    if np.ndim(y) == 0:
        return affine(x, 1, float(y))
    if np.ndim(x) == 0:
        return affine(y, 1, float(x))
    return _alike(cv2.add, np.add, x, y)


def subtract(x: Any, y: Any) -> _Pixels:
    """``x - y``"""
    if np.ndim(y) == 0:
        return affine(x, 1, -float(y))
    if np.ndim(x) == 0:
        return affine(y, -1, float(x))
    return _alike(cv2.subtract, np.subtract, x, y)


def multiply(x: Any, y: Any) -> _Pixels:
    """``x * y``"""
    if np.ndim(y) == 0:
        return affine(x, float(y), 0)
    if np.ndim(x) == 0:
        return affine(y, float(x), 0)
    # Of which the largest product is none of OpenCV's integers.
    sixteen = np.shape(x) == np.shape(y) and x.dtype == y.dtype == np.uint16
    return _general(np.multiply, x, y) if sixteen else _alike(cv2.multiply, np.multiply, x, y)


def divide(x: Any, y: Any) -> _Pixels:
    """``x / y``"""
    if np.ndim(y) == 0:
        return affine(x, 1 / float(y), 0)
    return _general(np.divide, x, y)


def floor_divide(x: Any, y: Any) -> _Pixels:
    """``x // y``"""
    return _general(np.floor_divide, x, y)


def modulo(x: Any, y: Any) -> _Pixels:
    """``x % y``"""
    return _general(np.mod, x, y)


def power(x: Any, y: Any) -> _Pixels:
    """``x ** y``"""
    return _general(np.power, x, y)


def negative(x: Any) -> _Pixels:
    """``-x``"""
    return affine(x, -1, 0)


def minimum(x: Any, y: Any) -> _Pixels:
    """The smaller one of two, pixel by pixel."""
    return _alike(cv2.min, np.minimum, x, y)


def maximum(x: Any, y: Any) -> _Pixels:
    """The larger one of two, pixel by pixel."""
    return _alike(cv2.max, np.maximum, x, y)


def _alike(fast: Callable[..., Any], slow: Callable[..., Any], x: Any, y: Any) -> _Pixels:
    """By OpenCV where both are images of one shape and depth, in which it clips."""
    same = np.shape(x) == np.shape(y) and x.dtype == y.dtype and x.dtype != np.bool_
    if same and (x.dtype.kind == "f" or x.dtype.itemsize <= 2):
        result: _Pixels = fast(x, y).reshape(x.shape)
        return result
    return _general(slow, x, y)


def _general(function: Callable[..., Any], x: Any, y: Any) -> _Pixels:
    depth = next(
        (one.dtype for one in (x, y) if np.ndim(one) > 1 and one.dtype != np.bool_), np.uint8
    )
    if np.ndim(x) == 3 and np.ndim(y) == 2:
        y = y[:, :, np.newaxis]
    elif np.ndim(y) == 3 and np.ndim(x) == 2:
        x = x[:, :, np.newaxis]
    wide = np.float64 if np.dtype(depth).itemsize > 2 else np.float32
    with np.errstate(all="ignore"):  # as NumPy's own arrays, but that bytes have no infinity
        values = function(np.asarray(x, wide), np.asarray(y, wide))
    return _clipped(values, np.dtype(depth))


def _clipped(values: NDArray[Any], depth: np.dtype[Any]) -> _Pixels:
    """Numbers at an image's depth, of which those of integers have an end."""
    if depth.kind in "iu":
        ends = np.iinfo(depth)
        values = np.nan_to_num(values, posinf=ends.max, neginf=ends.min)
    return as_type(values, depth)
