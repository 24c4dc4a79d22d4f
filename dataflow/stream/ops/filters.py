"""Blur and other filters; at the border the edge is repeated or reflected, as OpenCV does it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.errors import ConfigError
from dataflow.imgaug.transforms import restore_channel
from dataflow.stream.graph import Node, known
from dataflow.stream.operation import op
from dataflow.stream.ops.shape import pixels
from dataflow.stream.types import FLOAT, INT, Array, Image, Type

__all__ = [
    *("bilateral_filter", "blur", "convolve", "edges", "gaussian_blur", "laplacian"),
    *("median_blur", "sobel"),
]

_Pixels = NDArray[Any]


def _same(image: Node, *_: Node) -> Type:
    return pixels(image)


def _blurred(image: Node, sigma: Node) -> Type:
    if (value := known(sigma)) is not None and value < 0:
        raise ConfigError(f"sigma={value!r} must not be negative")
    return pixels(image)


def _odd(image: Node, size: Node) -> Type:
    value = known(size)
    if value is not None and (value < 1 or value % 2 == 0):
        raise ConfigError(f"size={value!r} must be odd")
    return pixels(image)


def _float(image: Node, *_: Node) -> Type:
    return replace(pixels(image), depth="float32", mask=False)


@op(image=Image(), size=INT, gives=_same)
def blur(image: Any, size: int) -> _Pixels:
    """The mean of a window of so many pixels."""
    return restore_channel(cv2.blur(image, (size, size)), image)


@op(image=Image(), sigma=FLOAT, gives=_blurred)
def gaussian_blur(image: Any, sigma: float) -> _Pixels:
    """Blurred with a Gaussian of a deviation in pixels; 0 and less leave the image as it is."""
    if sigma <= 0:
        return np.asarray(image)
    return restore_channel(cv2.GaussianBlur(image, (0, 0), sigma), image)


@op(image=Image(), size=INT, gives=_odd)
def median_blur(image: Any, size: int) -> _Pixels:
    """The median of a window of an odd number of pixels."""
    return restore_channel(cv2.medianBlur(image, size), image)


@op(image=Image(), size=INT, colour=FLOAT, space=FLOAT, gives=_same)
def bilateral_filter(image: Any, size: int, colour: float, space: float) -> _Pixels:
    """Blurs surfaces and leaves edges.

    Args:
        image: of one or three channels.
        size: of the window, in pixels.
        colour: how far values may lie apart.
        space: how far pixels may.
    """
    return restore_channel(cv2.bilateralFilter(image, size, colour, space), image)


@op(image=Image(), kernel=Array(None, (None, None)), gives=_same)
def convolve(image: Any, kernel: Any) -> _Pixels:
    """Each pixel's neighbours, weighted by a kernel around its middle (a correlation)."""
    return restore_channel(cv2.filter2D(image, -1, np.asarray(kernel, np.float64)), image)


@op(image=Image(), x=INT, y=INT, gives=_float)
def sobel(image: Any, x: int = 1, y: int = 0) -> _Pixels:
    """The derivative of order x and y, float32."""
    return restore_channel(cv2.Sobel(image, cv2.CV_32F, x, y), image)


@op(image=Image(), gives=_float)
def laplacian(image: Any) -> _Pixels:
    """The sum of second derivatives, float32."""
    return restore_channel(cv2.Laplacian(image, cv2.CV_32F), image)


@op(
    image=Image(None, "uint8"),
    low=FLOAT,
    high=FLOAT,
    gives=lambda image, *_: replace(pixels(image), channels=1, mask=True),
)
def edges(image: Any, low: float = 100.0, high: float = 200.0) -> _Pixels:
    """A mask of edges, after Canny: 255 or 0.

    Args:
        image: uint8.
        low, high: gradients from `high` on begin an edge, those from `low` on continue one.
    """
    return cv2.Canny(np.ascontiguousarray(image), low, high)
