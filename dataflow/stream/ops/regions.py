"""What masks say: morphology, components, distances, moments; and masks of outlines."""

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
from dataflow.stream.ops.shape import inside, pixels
from dataflow.stream.types import FLOAT, INT, POINTS, TEXT, Array, Image, Type

__all__ = [
    *("components", "dilate", "distance_transform", "erode", "moments", "morphology"),
    *("points_mask", "polygon_mask"),
]

_Pixels = NDArray[Any]
_OPERATIONS = {
    "erode": cv2.MORPH_ERODE,
    "dilate": cv2.MORPH_DILATE,
    "open": cv2.MORPH_OPEN,
    "close": cv2.MORPH_CLOSE,
    "gradient": cv2.MORPH_GRADIENT,
    "tophat": cv2.MORPH_TOPHAT,
    "blackhat": cv2.MORPH_BLACKHAT,
}


def _changed(image: Node, how: Node, size: Node) -> Type:
    name, side = known(how), known(size)
    if name not in _OPERATIONS:
        raise ConfigError(f"how={name!r} must be one of {', '.join(_OPERATIONS)}")
    return _sized(image, size) if side is not None else pixels(image)


def _sized(image: Node, size: Node) -> Type:
    side = known(size)
    if side is not None and side < 1:
        raise ConfigError(f"size={side!r} must be at least 1 pixel")
    return pixels(image)


@op(image=Image(), how=TEXT, size=INT, gives=_changed)
def morphology(image: Any, how: str, size: int = 3) -> _Pixels:
    """Changes bright and dark regions, with a disc as the structuring element.

    Args:
        image: a mask or an image.
        how: ``erode``, ``dilate``, ``open``, ``close``, ``gradient``, ``tophat`` or ``blackhat``.
        size: the disc's diameter in pixels.
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return restore_channel(cv2.morphologyEx(image, _OPERATIONS[how], disc), image)


@op(image=Image(), size=INT, gives=_sized)
def erode(image: Any, size: int = 3) -> _Pixels:
    """Bright regions become smaller."""
    return morphology.function(image, "erode", size)  # type: ignore[no-any-return]


@op(image=Image(), size=INT, gives=_sized)
def dilate(image: Any, size: int = 3) -> _Pixels:
    """Bright regions become larger."""
    return morphology.function(image, "dilate", size)  # type: ignore[no-any-return]


@op(mask=Image(1), gives=Array("float64", (10,)))
def moments(mask: Any) -> _Pixels:
    """The moments of a mask: m00, m10, m01, m20, m11, m02, m30, m21, m12, m03.

    ``m10 / m00`` and ``m01 / m00`` are the centroid, counted from the first pixel's centre.
    """
    found = cv2.moments(inside(mask), True)
    names = ("m00", "m10", "m01", "m20", "m11", "m02", "m30", "m21", "m12", "m03")
    return np.array([found[name] for name in names])


@op(mask=Image(1), gives=lambda mask: replace(pixels(mask), depth="int32", mask=True))
def components(mask: Any) -> _Pixels:
    """The number of each pixel's connected region, from 1 on; 0 outside. int32."""
    return cv2.connectedComponents(inside(mask))[1]


@op(mask=Image(1), gives=lambda mask: replace(pixels(mask), depth="float32", mask=False))
def distance_transform(mask: Any) -> _Pixels:
    """How far each pixel of a mask is from the nearest one that is 0, in pixels; float32."""
    return cv2.distanceTransform(inside(mask), cv2.DIST_L2, 5)


def _drawn(points: Node, width: Node, height: Node, *_: Node) -> Type:
    return Image(1, "uint8", known(width), known(height), mask=True)


@op(points=POINTS, width=INT, height=INT, thickness=INT, gives=_drawn)
def polygon_mask(points: Any, width: int, height: int, thickness: int = 0) -> _Pixels:
    """A mask: 255 at the pixels whose centres are inside of the polygon with these corners.

    Inside is what a line from the left crosses an odd number of edges to get to. With a
    `thickness`, in pixels, it is the outline instead.
    """
    if thickness > 0:
        outline = np.zeros((height, width), np.uint8)
        # From the first pixel's centre, in 256ths of a pixel, as OpenCV counts.
        ends = np.rint((np.asarray(points, np.float64) - 0.5) * 256).astype(np.int32)
        if len(ends):
            cv2.polylines(outline, [ends], True, 255, thickness, cv2.LINE_8, 8)
        return outline
    # Not by cv2.fillPoly, which draws the outline, too: half a pixel more on each side.
    crossed = np.zeros((height, width + 1), np.uint8)
    corners = np.asarray(points, np.float64).tolist()
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        top, bottom = (int(np.clip(np.ceil(y - 0.5), 0, height)) for y in sorted((y0, y1)))
        if top < bottom:
            rows = np.arange(top, bottom)
            x = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
            crossed[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)] ^= 255
    filled: _Pixels = np.bitwise_xor.accumulate(crossed[:, :width], axis=1)
    return filled


@op(points=POINTS, width=INT, height=INT, radius=FLOAT, gives=_drawn)
def points_mask(points: Any, width: int, height: int, radius: float = 1.0) -> _Pixels:
    """A mask: 255 at the pixels whose centres are in a disc around each point."""
    mask = np.zeros((height, width), np.uint8)
    for x, y in np.asarray(points, np.float64).tolist():
        left, top = max(int(x - radius - 1), 0), max(int(y - radius - 1), 0)
        part = mask[top : max(int(y + radius + 1), 0), left : max(int(x + radius + 1), 0)]
        down = (np.arange(part.shape[0]) + top + 0.5 - y)[:, np.newaxis]
        across = np.arange(part.shape[1]) + left + 0.5 - x
        part[down**2 + across**2 <= radius**2] = 255
    return mask
