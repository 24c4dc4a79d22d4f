"""Colour, depth and light. Colours are in the order BGR, unless an image was converted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.errors import ConfigError
from dataflow.imgaug.pixels import as_type
from dataflow.imgaug.transforms import restore_channel
from dataflow.stream.graph import Node, known
from dataflow.stream.operation import op
from dataflow.stream.ops.arithmetic import affine
from dataflow.stream.ops.shape import one_of, pixels
from dataflow.stream.types import BOOL, FLOAT, INT, TEXT, Image, Type

__all__ = [
    *("blend", "brightness", "channel", "contrast", "convert", "depth", "grayscale", "invert"),
    *("merge", "normalize", "solarize", "threshold"),
]

_Pixels = NDArray[Any]

_CONVERSIONS = {
    "rgb": (cv2.COLOR_BGR2RGB, 3),
    "gray": (cv2.COLOR_BGR2GRAY, 1),
    "hsv": (cv2.COLOR_BGR2HSV, 3),
    "hls": (cv2.COLOR_BGR2HLS, 3),
    "lab": (cv2.COLOR_BGR2LAB, 3),
    "yuv": (cv2.COLOR_BGR2YUV, 3),
}
_BACK = {
    "rgb": cv2.COLOR_RGB2BGR,
    "gray": cv2.COLOR_GRAY2BGR,
    "hsv": cv2.COLOR_HSV2BGR,
    "hls": cv2.COLOR_HLS2BGR,
    "lab": cv2.COLOR_LAB2BGR,
    "yuv": cv2.COLOR_YUV2BGR,
}
_LARGEST = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0, "float64": 1.0, "bool": 1.0}


def white(dtype: Any) -> float:
    """The value of white at a depth."""
    return _LARGEST[np.dtype(dtype).name]


def _same(image: Node, *_: Node) -> Type:
    return pixels(image)


def _converted(image: Node, to: Node, back: Node) -> Type:
    one_of(to, "to", _CONVERSIONS)
    kind = pixels(image)
    wanted = _CONVERSIONS[known(to)][1] if known(back) else 3
    if kind.channels not in (wanted, None):
        raise ConfigError(f"it takes {wanted} channels, and {kind} has {kind.channels}")
    return replace(kind, channels=3 if known(back) else _CONVERSIONS[known(to)][1], mask=False)


@op(image=Image(), to=TEXT, back=BOOL, gives=_converted)
def convert(image: Any, to: str, back: bool = False) -> _Pixels:
    """An image of BGR in other colours.

    Args:
        image: the image.
        to: ``rgb``, ``gray``, ``hsv``, ``hls``, ``lab`` or ``yuv``.
        back: from these to BGR.
    """
    converted: _Pixels = cv2.cvtColor(image, _BACK[to] if back else _CONVERSIONS[to][0])
    return converted


@op(image=Image(), gives=lambda image: replace(pixels(image), channels=1))
def grayscale(image: Any) -> _Pixels:
    """The brightness of an image, H×W."""
    if image.ndim == 2:
        return np.asarray(image)
    grey: _Pixels = image[:, :, 0]
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.shape[2] == 3 else grey


def _one_channel(image: Node, number: Node) -> Type:
    kind, at = pixels(image), known(number)
    if kind.channels is not None and at is not None and not 0 <= at < kind.channels:
        raise ConfigError(f"number={at} of an image with {kind.channels} channels")
    return replace(kind, channels=1)


@op(image=Image(), number=INT, gives=_one_channel)
def channel(image: Any, number: int) -> _Pixels:
    """One channel of an image, H×W."""
    plane: _Pixels = image if image.ndim == 2 else cv2.extractChannel(image, number)
    return plane


@op(
    planes=Image(1),
    gives=lambda *planes: replace(pixels(planes[0]), channels=len(planes), mask=False),
)
def merge(*planes: Any) -> _Pixels:
    """Images of one channel as the channels of one image."""
    merged: _Pixels = cv2.merge(planes)
    return merged


def _of_depth(image: Node, to: Node) -> Type:
    one_of(to, "to", ("uint8", "uint16", "float32", "float64"))
    return replace(pixels(image), depth=known(to))


@op(image=Image(), to=TEXT, gives=_of_depth)
def depth(image: Any, to: str) -> _Pixels:
    """An image of another depth, from black to white: 0 to 255, 65535, or 1 for floats."""
    if image.dtype == to:
        return np.asarray(image)
    factor = white(to) / white(image.dtype)
    source = image.view(np.uint8) if image.dtype == np.bool_ else image
    return as_type(source.astype(np.float32 if to != "float64" else np.float64) * factor, to)


@op(
    image=Image(),
    value=FLOAT,
    gives=lambda image, value: replace(pixels(image), depth="uint8", mask=True),
)
def threshold(image: Any, value: float) -> _Pixels:
    """A mask: 255 where a pixel is above a value, 0 elsewhere."""
    inside: _Pixels = -(image > value).view(np.uint8)
    return inside


@op(image=Image(), gives=_same)
def invert(image: Any) -> _Pixels:
    """Black for white."""
    if image.dtype == np.bool_:
        inverse: _Pixels = np.logical_not(image)
        return inverse
    if image.dtype == np.uint8:
        return restore_channel(cv2.bitwise_not(image), image)
    return affine(image, -1, white(image.dtype))


@op(image=Image(), amount=FLOAT, gives=_same)
def brightness(image: Any, amount: float) -> _Pixels:
    """Each value plus an amount, clipped; of bytes from -255 to 255, of floats from -1 to 1."""
    result = affine(image, 1, amount)
    return result if image.dtype.kind == "u" else np.clip(result, 0, 1, out=result)


@op(image=Image(), factor=FLOAT, gives=_same)
def contrast(image: Any, factor: float) -> _Pixels:
    """Each value's distance from the middle between black and white times a factor, clipped."""
    middle = white(image.dtype) / 2
    result = affine(image, factor, middle - factor * middle)
    return result if image.dtype.kind == "u" else np.clip(result, 0, 1, out=result)


@op(image=Image(), value=FLOAT, gives=_same)
def solarize(image: Any, value: float) -> _Pixels:
    """Inverts what is above a value."""
    result: _Pixels = np.where(image > value, invert.function(image), image)
    return result


@op(first=Image(), second=Image(), part=FLOAT, gives=lambda first, second, part: pixels(first))
def blend(first: Any, second: Any, part: float) -> _Pixels:
    """`part` of the second image over the rest of the first, of the same size and depth."""
    return restore_channel(cv2.addWeighted(first, 1 - part, second, part, 0), first)


@op(image=Image(), gives=_same)
def normalize(image: Any) -> _Pixels:
    """Spreads the values, so that the least one is black and the largest white.

    An image of one single value stays as it is.
    """
    low, high = float(image.min()), float(image.max())
    if low == high:
        kept: _Pixels = image
        return kept
    scaled = (image.astype(np.float64) - low) * (white(image.dtype) / (high - low))
    return as_type(scaled, image.dtype)
