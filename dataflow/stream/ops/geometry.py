"""Points, rectangles, and views: affine maps of the plane.

Coordinates are x and y in pixels from the upper left corner of the image, so the first pixel's
centre is ½, ½ and the image ends at its width and height. A view is a 3×3 matrix that takes
(x, y, 1) of a point to where it will be; ``st.chain(a, b)`` does b first, as matrices do.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.errors import ConfigError
from dataflow.stream.draws import generator
from dataflow.stream.graph import Node, constant, known
from dataflow.stream.operation import macro, op
from dataflow.stream.ops.sampling import seed as _seed
from dataflow.stream.ops.sampling import uniform
from dataflow.stream.ops.shape import inside
from dataflow.stream.types import (
    ANYTHING,
    BOOL,
    FLOAT,
    INT,
    POINTS,
    RECTANGLE,
    VIEW,
    Array,
    Image,
    List,
    Type,
)

__all__ = [
    *("affine_view", "area", "bounds", "center", "center_view", "centroid", "chain", "corners"),
    *("flip_view", "focus_view", "identity_view", "invert_view", "mask_bounds", "patch_view"),
    *("points", "random_points", "rectangle", "resize_rectangle", "rotate", "scale"),
    *("translate", "view_points"),
]

_Matrix = NDArray[np.float64]
_RECTANGLE = Array("float64", (4,))
_VIEW = Array("float64", (3, 3))


# -- points and rectangles ---------------------------------------------------------------------


def _as_points(values: Node) -> Type:
    count = len(values) if isinstance(values.type, List) and values.type.length else None
    if isinstance(values.type, Array) and values.type.shape:
        count = values.type.shape[0]
    points = known(values)
    if points is not None and np.shape(points)[1:] != (2,):
        raise ConfigError(f"points are pairs [x, y], not of shape {np.shape(points)}")
    return Array("float64", (count, 2))


@op(values=ANYTHING, gives=_as_points)
def points(values: Any) -> _Matrix:
    """Points as an array N×2, of a list of pairs [x, y]."""
    return np.asarray(values, np.float64).reshape(-1, 2)


@op(left=FLOAT, top=FLOAT, right=FLOAT, bottom=FLOAT, gives=_RECTANGLE)
def rectangle(left: float, top: float, right: float, bottom: float) -> _Matrix:
    """A rectangle: left, top, right, bottom."""
    return np.array((left, top, right, bottom), np.float64)


@op(region=RECTANGLE, gives=Array("float64", (4, 2)))
def corners(region: Any) -> _Matrix:
    """The corners of a rectangle, clockwise from the upper left one."""
    left, top, right, bottom = region
    return np.array(((left, top), (right, top), (right, bottom), (left, bottom)), np.float64)


@op(points=POINTS, gives=_RECTANGLE)
def bounds(points: Any) -> _Matrix:
    """The smallest rectangle around points."""
    if not len(points):
        raise ValueError("bounds(): there are no points")
    return np.concatenate([points.min(axis=0), points.max(axis=0)]).astype(np.float64)


@op(points=POINTS, gives=Array("float64", (2,)))
def centroid(points: Any) -> _Matrix:
    """The mean of points: x and y."""
    if not len(points):
        raise ValueError("centroid(): there are no points")
    mean: _Matrix = np.mean(points, axis=0, dtype=np.float64)
    return mean


@op(mask=Image(1), gives=_RECTANGLE)
def mask_bounds(mask: Any) -> _Matrix:
    """The smallest rectangle around the pixels that are not 0; of an empty mask all 0."""
    left, top, width, height = cv2.boundingRect(inside(mask))
    return np.array((left, top, left + width, top + height), np.float64)


@op(region=RECTANGLE, gives=Array("float64", (2,)))
def center(region: Any) -> _Matrix:
    """The middle of a rectangle: x and y."""
    return np.array(((region[0] + region[2]) / 2, (region[1] + region[3]) / 2), np.float64)


@op(region=RECTANGLE, factor=FLOAT, gives=_RECTANGLE)
def resize_rectangle(region: Any, factor: float) -> _Matrix:
    """A rectangle with the same middle, and sides longer by a factor."""
    middle, half = (region[:2] + region[2:]) / 2, (region[2:] - region[:2]) * (factor / 2)
    return np.concatenate([middle - half, middle + half])


@op(region=RECTANGLE, gives=FLOAT)
def area(region: Any) -> float:
    """The area of a rectangle."""
    return float((region[2] - region[0]) * (region[3] - region[1]))


@op(draws=True, count=INT, gives=lambda count: Array("float64", (known(count), 2)))
def random_points(bits: int, count: int) -> _Matrix:
    """Points in the square from (0, 0) to (1, 1), each place as likely."""
    return generator(bits).random((count, 2))


# -- views ---------------------------------------------------------------------------------------


@op(gives=_VIEW)
def identity_view() -> _Matrix:
    """The view that leaves everything where it is."""
    return np.eye(3)


@op(x=FLOAT, y=FLOAT, gives=_VIEW)
def translate(x: float = 0.0, y: float = 0.0) -> _Matrix:
    """Moves right and down by so many pixels."""
    return np.array(((1, 0, x), (0, 1, y), (0, 0, 1)), np.float64)


@op(angle=FLOAT, gives=_VIEW)
def rotate(angle: float = 0.0) -> _Matrix:
    """Turns around the origin by an angle in radians, clockwise as one sees it."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array(((c, -s, 0), (s, c, 0), (0, 0, 1)), np.float64)


@op("scale", x=FLOAT, y=FLOAT, gives=_VIEW)
def _scale(x: float, y: float) -> _Matrix:
    return np.array(((x, 0, 0), (0, y, 0), (0, 0, 1)), np.float64)


@macro
def scale(x: Any, y: Any = None) -> Node:
    """Stretches by factors in x and y; by default the same."""
    return _scale(x, x if y is None else y)


@op(views=VIEW, gives=_VIEW)
def chain(*views: Any) -> _Matrix:
    """Several views as one; the last one is done first."""
    whole: _Matrix = np.eye(3) if not views else views[0]
    for view in views[1:]:
        whole = whole @ view
    return whole


@macro
def affine_view(
    x: Any = 0.0, y: Any = 0.0, angle: Any = 0.0, sx: Any = 1.0, sy: Any = None
) -> Node:
    """Stretches by sx and sy, turns by an angle in radians, then moves by x and y."""
    return chain(translate(x, y), rotate(angle), scale(sx, sy))


@op(view=VIEW, gives=_VIEW)
def invert_view(view: Any) -> _Matrix:
    """The view that takes everything back."""
    inverse: _Matrix = np.linalg.inv(view)
    return inverse


@op(width=FLOAT, height=FLOAT, horizontal=BOOL, vertical=BOOL, gives=_VIEW)
def flip_view(
    width: float, height: float, horizontal: bool = True, vertical: bool = False
) -> _Matrix:
    """Mirrors an image of a size, left to right, top to bottom, or both."""
    sx, sy = -1 if horizontal else 1, -1 if vertical else 1
    return np.array(
        ((sx, 0, width if horizontal else 0), (0, sy, height if vertical else 0), (0, 0, 1)),
        np.float64,
    )


@op(region=RECTANGLE, gives=_VIEW)
def center_view(region: Any) -> _Matrix:
    """Moves the middle of a rectangle to the origin."""
    x, y = (region[0] + region[2]) / 2, (region[1] + region[3]) / 2
    return np.array(((1, 0, -x), (0, 1, -y), (0, 0, 1)), np.float64)


@op(region=RECTANGLE, width=FLOAT, height=FLOAT, part=FLOAT, gives=_VIEW)
def focus_view(region: Any, width: float, height: float, part: float = 1.0) -> _Matrix:
    """Brings a rectangle into the middle of an output, at its own proportions.

    Args:
        region: the rectangle.
        width, height: of the output, in pixels.
        part: how much of it the rectangle takes in the direction in which it takes more.
    """
    left, top, right, bottom = region
    if right <= left or bottom <= top:
        raise ValueError(f"focus_view(): the rectangle {region} is empty")
    s = part * min(width / (right - left), height / (bottom - top))
    x, y = width / 2 - s * (left + right) / 2, height / 2 - s * (top + bottom) / 2
    return np.array(((s, 0, x), (0, s, y), (0, 0, 1)), np.float64)


@macro
def patch_view(image: Any, width: Any, height: Any, padding: Any = 0.0, seed: Any = None) -> Node:
    """Moves a random part of an image, of this size, to the origin.

    Args:
        image: the image.
        width, height: of the part, in pixels.
        padding: how far the part may reach beyond the image's edges.
        seed: shared with others that should take the same part.
    """
    node = constant(image)
    own = _seed(seed)
    x = uniform(0.0, 1.0, seed=_seed(own, 0)) * (node.width - width + 2 * padding) - padding
    y = uniform(0.0, 1.0, seed=_seed(own, 1)) * (node.height - height + 2 * padding) - padding
    return translate(-x, -y)


@op(points=POINTS, view=VIEW, gives=lambda points, view: points.type)
def view_points(points: Any, view: Any) -> Any:
    """Where a view takes points."""
    return points @ view[:2, :2].T + view[:2, 2]
