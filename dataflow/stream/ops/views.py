"""Images through views and maps; masks and points alike."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.imgaug.transforms import restore_channel
from dataflow.stream.draws import generator
from dataflow.stream.graph import Node, constant, known
from dataflow.stream.inference import rank
from dataflow.stream.operation import macro, op
from dataflow.stream.ops.geometry import view_points
from dataflow.stream.ops.numbers import array
from dataflow.stream.ops.shape import BORDERS, INTERPOLATIONS, natural, one_of, pixels, positive
from dataflow.stream.types import FLOAT, INT, POINTS, TEXT, VIEW, Array, Image, List, Record, Type

__all__ = ["piecewise_affine", "remap", "view", "view_image"]

_Pixels = NDArray[Any]


def _viewed(
    image: Node, view: Node, width: Node, height: Node, interpolation: Node, border: Node
) -> Type:
    one_of(interpolation, "interpolation", INTERPOLATIONS)
    one_of(border, "border", BORDERS)
    positive(width=width, height=height)
    return pixels(image).sized(known(width), known(height))


@op(
    "view_image",
    image=Image(),
    view=VIEW,
    width=INT,
    height=INT,
    interpolation=TEXT,
    border=TEXT,
    gives=_viewed,
)
def _view(
    image: Any, view: Any, width: int, height: int, interpolation: str, border: str
) -> _Pixels:
    matrix = np.array(view[:2], np.float64)
    # OpenCV counts from the first pixel's centre, views from its corner.
    matrix[:, 2] += 0.5 * (matrix[:, 0] + matrix[:, 1]) - 0.5
    source = image.view(np.uint8) if image.dtype == np.bool_ else image
    warped = cv2.warpAffine(
        source,
        matrix,
        (width, height),
        flags=INTERPOLATIONS[interpolation],
        borderMode=BORDERS[border],
    )
    return restore_channel(warped, image).view(image.dtype)


@macro
def view_image(
    image: Any,
    view: Any,
    width: Any,
    height: Any,
    interpolation: str | None = None,
    border: str = "zero",
) -> Node:
    """What an output of a size shows of an image through a view.

    Args:
        image: the image, or a mask.
        view: takes points of the image to points of the output.
        width, height: of the output, in pixels.
        interpolation: as of `resize`.
        border: what is outside of the image: ``zero``, ``replicate``, ``reflect`` or ``wrap``.
    """
    node = constant(image)
    return _view(node, view, width, height, interpolation or natural(node), border)


@macro
def view(things: Any, view: Any, width: Any, height: Any, border: str = "zero") -> Any:
    """Images, masks and points through one view, so that they stay aligned.

    Args:
        things: an image, a mask (see `mask`), points N×2, a record, or a list or dict of such. What
            is none of these stays as it is.
        view: takes points of the image to points of the output.
        width, height: of the output, in pixels.
        border: around images; around masks it is 0.

    Returns:
        A node; of a list a list of them, of a record or dict a dict.
    """
    if isinstance(things, dict):
        return {
            name: _through(thing, view, width, height, border) for name, thing in things.items()
        }
    if isinstance(things, (list, tuple)):
        return [_through(thing, view, width, height, border) for thing in things]
    node = constant(things)
    if isinstance(node.type, Record):
        names = [name for name, _ in node.type.fields]
        return {name: _through(node[name], view, width, height, border) for name in names}
    return _through(node, view, width, height, border)


def _through(thing: Any, view: Any, width: Any, height: Any, border: str) -> Node:
    node = constant(thing)
    if isinstance(node.type, Image):
        return view_image(node, view, width, height, None, "zero" if node.type.mask else border)
    pairs = array(node) if isinstance(node.type, List) and rank(node.type) == 2 else node
    shape = pairs.type.shape if isinstance(pairs.type, Array) else None
    return view_points(pairs, view) if shape is not None and POINTS.accepts(pairs.type) else node


def _remapped(image: Node, x: Node, y: Node, interpolation: Node, border: Node) -> Type:
    one_of(interpolation, "interpolation", INTERPOLATIONS)
    one_of(border, "border", BORDERS)
    return pixels(image).sized(pixels(x).width, pixels(x).height)


@op(image=Image(), x=Image(1), y=Image(1), interpolation=TEXT, border=TEXT, gives=_remapped)
def remap(
    image: Any, x: Any, y: Any, interpolation: str = "linear", border: str = "replicate"
) -> _Pixels:
    """An image whose pixels come from elsewhere.

    Args:
        image: the image.
        x, y: for each pixel of the result its column and row in the image, H×W; 0 is the centre of
            the first.
        interpolation: as of `resize`.
        border: as of `view_image`.
    """
    maps = np.asarray(x, np.float32), np.asarray(y, np.float32)
    how = INTERPOLATIONS[interpolation]
    return restore_channel(cv2.remap(image, *maps, how, borderMode=BORDERS[border]), image)


@op(draws=True, image=Image(), amount=FLOAT, parts=INT, gives=lambda image, *_: pixels(image))
def piecewise_affine(bits: int, image: Any, amount: float, parts: int = 4) -> _Pixels:
    """An image pulled about at the points of a grid, linearly in between.

    Args:
        image: the image.
        amount: the deviation of each pull, in pixels.
        parts: how many cells the grid has in each direction, at least 1.
    """
    height, width = image.shape[:2]
    pulls = generator(bits).standard_normal((2, parts + 1, parts + 1), np.float32) * amount
    x, y = (cv2.resize(pull, (width, height)) for pull in pulls)
    x += np.arange(width, dtype=np.float32)
    y += np.arange(height, dtype=np.float32)[:, np.newaxis]
    moved = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return restore_channel(moved, image)
