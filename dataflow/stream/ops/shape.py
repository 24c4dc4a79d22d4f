"""Size and geometry of images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.errors import ConfigError
from dataflow.imgaug.transforms import restore_channel
from dataflow.stream.graph import Node, constant, known
from dataflow.stream.operation import macro, op
from dataflow.stream.ops.choices import conditional
from dataflow.stream.ops.numbers import ceil, less, maximum, round, to_float
from dataflow.stream.types import BOOL, INT, RECTANGLE, TEXT, Image, Type

__all__ = [
    *("channels", "crop", "cut", "ensure_size", "flip", "height", "image", "mask", "rescale"),
    *("resize", "rotate90", "safe_crop", "transpose", "width"),
]

_Pixels = NDArray[Any]

INTERPOLATIONS = {
    "linear": cv2.INTER_LINEAR,
    "nearest": cv2.INTER_NEAREST,
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}
BORDERS = {
    "zero": cv2.BORDER_CONSTANT,
    "replicate": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT,
    "wrap": cv2.BORDER_WRAP,
}


def one_of(node: Node, name: str, choices: Any) -> None:
    """Raise unless a constant is one of some names."""
    value = known(node)
    if value not in choices:
        raise ConfigError(f"{name}={value!r} must be one of {', '.join(choices)}")


def pixels(node: Node) -> Image:
    """The type of an image's node, whatever it is called."""
    if isinstance(node.type, Image):
        return node.type
    found = Image()
    shape = getattr(node.type, "shape", None)
    if shape is not None:
        height, width, *rest = shape
        found = Image(rest[0] if rest else 1, getattr(node.type, "dtype", None), width, height)
    return found


def inside(mask: Any) -> NDArray[np.uint8]:
    """Where a mask is not 0, as OpenCV has it: bytes, 1 there."""
    found: NDArray[np.uint8] = np.ascontiguousarray(mask != 0).view(np.uint8)
    return found


def positive(**sizes: Node) -> None:
    """Raise where a constant size is none."""
    for name, node in sizes.items():
        value = known(node)
        if value is not None and value < 1:
            raise ConfigError(f"{name}={value!r} must be at least 1 pixel")


# -- what an image is ------------------------------------------------------------------------------


@op("height", image=Image(), gives=INT)
def _height(image: Any) -> int:
    return int(image.shape[0])


@op("width", image=Image(), gives=INT)
def _width(image: Any) -> int:
    return int(image.shape[1])


@op("channels", image=Image(), gives=INT)
def _channels(image: Any) -> int:
    return 1 if image.ndim == 2 else int(image.shape[2])


@macro
def height(image: Any) -> Node:
    """An image's height in pixels."""
    node = constant(image)
    known_one = pixels(node).height
    return _height(node) if known_one is None else constant(known_one)


@macro
def width(image: Any) -> Node:
    """An image's width in pixels."""
    node = constant(image)
    known_one = pixels(node).width
    return _width(node) if known_one is None else constant(known_one)


@macro
def channels(image: Any) -> Node:
    """How many channels an image has."""
    node = constant(image)
    known_one = pixels(node).channels
    return _channels(node) if known_one is None else constant(known_one)


@op(pixels=Image(), gives=lambda node: pixels(node))
def image(pixels: Any) -> _Pixels:
    """An array as an image: sums are clipped, and views interpolate."""
    array: _Pixels = np.asarray(pixels)
    return array


@op(pixels=Image(1), gives=lambda node: replace(pixels(node), mask=True))
def mask(pixels: Any) -> _Pixels:
    """An image as a mask: views take the nearest pixel, with 0 outside."""
    array: _Pixels = np.asarray(pixels)
    return array


# -- size ------------------------------------------------------------------------------------------


def _resized(image: Node, width: Node, height: Node, interpolation: Node) -> Type:
    one_of(interpolation, "interpolation", INTERPOLATIONS)
    positive(width=width, height=height)
    return pixels(image).sized(known(width), known(height))


@op("resize", image=Image(), width=INT, height=INT, interpolation=TEXT, gives=_resized)
def _resize(image: Any, width: int, height: int, interpolation: str) -> _Pixels:
    size = (width, height)
    return restore_channel(
        cv2.resize(image, size, None, 0, 0, INTERPOLATIONS[interpolation]), image
    )


@macro
def resize(image: Any, width: Any, height: Any, interpolation: str | None = None) -> Node:
    """An image in another size.

    Args:
        image: the image.
        width, height: in pixels.
        interpolation: ``linear``, ``nearest``, ``area``, ``cubic`` or ``lanczos``; by default
            linear, of masks nearest.
    """
    node = constant(image)
    return _resize(node, width, height, interpolation or natural(node))


@macro
def rescale(image: Any, factor: Any, interpolation: str | None = None) -> Node:
    """An image, larger or smaller by a factor."""
    node = constant(image)
    return resize(node, round(node.width * factor), round(node.height * factor), interpolation)


@macro
def ensure_size(image: Any, width: Any, height: Any, interpolation: str | None = None) -> Node:
    """An image, made larger where it is less wide or high than this; its proportions stay."""
    node = constant(image)
    factor = maximum(width / to_float(node.width), height / to_float(node.height))
    small = less(1.0, factor)
    wide = conditional(small, ceil(node.width * factor), node.width)
    high = conditional(small, ceil(node.height * factor), node.height)
    return resize(node, wide, high, interpolation)


def natural(node: Node) -> str:
    """The interpolation for an image or a mask."""
    return "nearest" if isinstance(node.type, Image) and node.type.mask else "linear"


# -- parts -----------------------------------------------------------------------------------------


def _cropped(image: Node, region: Node, *_: Node) -> Type:
    value = known(region)
    if value is None:
        return pixels(image).sized(None, None)
    left, top, right, bottom = (int(np.rint(side)) for side in value)
    if right <= left or bottom <= top:
        raise ConfigError(f"region={value} is empty")
    return pixels(image).sized(right - left, bottom - top)


@op(image=Image(), region=RECTANGLE, gives=_cropped)
def crop(image: Any, region: Any) -> _Pixels:
    """The part of an image in a rectangle, rounded to pixels; it must lie inside.

    Raises:
        ValueError: where it runs: it does not.
    """
    left, top, right, bottom = (int(side) for side in np.rint(region))
    height, width = image.shape[:2]
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ValueError(
            f"crop(): {left}, {top} to {right}, {bottom} is not in an image of {width}×{height}; "
            "safe_crop() fills what is outside"
        )
    part: _Pixels = image[top:bottom, left:right]
    return part


@op(image=Image(), region=RECTANGLE, border=TEXT, gives=_cropped)
def safe_crop(image: Any, region: Any, border: str = "zero") -> _Pixels:
    """The part of an image in a rectangle, rounded to pixels; what lies outside is filled.

    Args:
        image: the image.
        region: the rectangle.
        border: ``zero``, ``replicate``, ``reflect`` or ``wrap``.
    """
    left, top, right, bottom = (int(side) for side in np.rint(region))
    height, width = image.shape[:2]
    if right <= left or bottom <= top:
        raise ValueError(f"safe_crop(): the rectangle {region} is empty")
    inner: _Pixels = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if inner.shape[:2] == (bottom - top, right - left):
        return inner
    if border == "zero" or not inner.size:
        whole = np.zeros((bottom - top, right - left, *image.shape[2:]), image.dtype)
        y, x = max(-top, 0), max(-left, 0)
        whole[y : y + inner.shape[0], x : x + inner.shape[1]] = inner
        return whole
    sides = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
    return restore_channel(cv2.copyMakeBorder(inner, *sides, BORDERS[border]), image)


@op(image=Image(), region=RECTANGLE, gives=lambda image, _: pixels(image))
def cut(image: Any, region: Any) -> _Pixels:
    """An image, black in a rectangle, which is rounded to pixels and may reach beyond it."""
    left, top, right, bottom = (max(int(side), 0) for side in np.rint(region))
    without: _Pixels = image.copy()
    without[top:bottom, left:right] = 0
    return without


@op(image=Image(), horizontal=BOOL, vertical=BOOL, gives=lambda image, *_: pixels(image))
def flip(image: Any, horizontal: bool = True, vertical: bool = False) -> _Pixels:
    """An image mirrored left to right, top to bottom, or both."""
    if not (horizontal or vertical):
        pixels: _Pixels = image
        return pixels
    code = -1 if horizontal and vertical else 1 if horizontal else 0
    return restore_channel(cv2.flip(image, code), image)


_TURNS = (None, cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_COUNTERCLOCKWISE)


def _turned(image: Node, turns: Node) -> Type:
    kind, count = pixels(image), known(turns)
    if count is None:
        return kind.sized(None, None)
    return kind.sized(kind.height, kind.width) if count % 2 else kind


@op(image=Image(), turns=INT, gives=_turned)
def rotate90(image: Any, turns: int = 1) -> _Pixels:
    """An image turned clockwise by so many right angles."""
    code = _TURNS[turns % 4]
    return image if code is None else restore_channel(cv2.rotate(image, code), image)


@op(
    image=Image(),
    gives=lambda image: pixels(image).sized(pixels(image).height, pixels(image).width),
)
def transpose(image: Any) -> _Pixels:
    """An image with rows for columns."""
    return restore_channel(cv2.transpose(image), image)
