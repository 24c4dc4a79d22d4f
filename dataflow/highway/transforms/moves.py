"""Transforms that move pixels: flips, shifts, rotations, zooms."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from dataflow.errors import ConfigError
from dataflow.highway.transforms.base import Images, Transform
from dataflow.imgaug.arguments import number, probability
from dataflow.imgaug.transforms import WarpAffineTransform

__all__ = ["FlipX", "PadCrop", "Rotate", "Shift", "Zoom"]

_BORDERS = {
    "constant": cv2.BORDER_CONSTANT,
    "nearest": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT,
    "mirror": cv2.BORDER_REFLECT_101,
    "wrap": cv2.BORDER_WRAP,
}
_PADDINGS = ("constant", "edge", "reflect", "symmetric", "wrap")
_ORDERS = {0: cv2.INTER_NEAREST, 1: cv2.INTER_LINEAR, 3: cv2.INTER_CUBIC}


class FlipX(Transform):
    """Mirror some of the images: left becomes right.

    Deterministic: none of them. Draws: one uniform number for each image.

    Args:
        p: how often.
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability("p", p)

    def change(self, images: Images, rng: np.random.RandomState | None) -> Images:
        if rng is None:
            return images
        chosen = rng.random_sample(len(images)) < self.p
        flipped: Images = images.copy()
        flipped[chosen] = images[chosen, :, ::-1]
        return flipped


class PadCrop(Transform):
    """Pad each image on all sides, and cut a part of its old size out at a random place.

    Deterministic: the middle, which is the image itself. Draws: two uniform numbers for each
    image, for y and for x.

    Args:
        padsize: pixels on each side.
        mode: what is put there, as in `numpy.pad`: ``"constant"`` (black), ``"edge"``,
            ``"reflect"``, ``"symmetric"`` or ``"wrap"``.
    """

    def __init__(self, padsize: int = 4, mode: str = "constant") -> None:
        self.padsize = int(number("padsize", padsize, 0))
        self.mode = _known("mode", mode, _PADDINGS)

    def change(self, images: Images, rng: np.random.RandomState | None) -> Images:
        if rng is None:
            return images
        height, width = images.shape[1:3]
        side = (self.padsize, self.padsize)
        padding: Any = self.mode
        padded = np.pad(images, ((0, 0), side, side, (0, 0)), mode=padding)
        places = (rng.random_sample((len(images), 2)) * (2 * self.padsize + 1)).astype(int)
        cut = np.empty_like(images)
        for part, image, (y, x) in zip(cut, padded, places.tolist(), strict=True):
            part[:] = image[y : y + height, x : x + width]
        return cut


class Shift(Transform):
    """Move each image by whole pixels.

    Deterministic: not at all. Draws: two uniform numbers for each image, for y and for x.

    Args:
        shift: the most that it moves to each side, as a part of its height and width, below 1.
        mode: what comes into view: ``"constant"`` (black), ``"nearest"`` (the edge), ``"reflect"``,
            ``"mirror"`` (without the edge itself) or ``"wrap"``.
    """

    def __init__(self, shift: float, mode: str = "constant") -> None:
        self.shift = number("shift", shift, 0, below=1)
        self.mode = _known("mode", mode, _BORDERS)

    def change(self, images: Images, rng: np.random.RandomState | None) -> Images:
        if rng is None:
            return images
        height, width = images.shape[1:3]
        moves = np.rint(
            (2 * rng.random_sample((len(images), 2)) - 1) * self.shift * (height, width)
        )
        matrices = [np.array([[1.0, 0.0, x], [0.0, 1.0, y]]) for y, x in moves]
        return _warped(images, matrices, (width, height), 0, _BORDERS[self.mode])


class Rotate(Transform):
    """Rotate each image about its centre; black comes into view.

    Deterministic: not at all; with `reshape` still in the middle of the larger frame. Draws: one
    uniform number for each image.

    Args:
        angle: the largest angle to either side, in degrees.
        order: of the interpolation: 0, 1 or 3 (nearest, linear, cubic).
        reshape: make the frame as large as every angle up to `angle` needs it, so that all images
            of all batches keep one size and nothing is cut off.
    """

    def __init__(self, angle: float, order: int = 0, reshape: bool = False) -> None:
        self.angle = number("angle", angle, 0)
        self.order = _known("order", order, _ORDERS)
        self.reshape = bool(reshape)

    def change(self, images: Images, rng: np.random.RandomState | None) -> Images:
        height, width = images.shape[1:3]
        wide, high = self._frame(width, height)
        if rng is None and (wide, high) == (width, height):
            return images
        count = len(images)
        drawn = np.full(count, 0.5) if rng is None else rng.random_sample(count)
        centre = ((width - 1) / 2, (height - 1) / 2)
        matrices = []
        for degrees in (self.angle * (2 * drawn - 1)).tolist():
            matrix = cv2.getRotationMatrix2D(centre, degrees, 1)
            matrix[:, 2] += (wide - width) // 2, (high - height) // 2
            matrices.append(matrix)
        return _warped(images, matrices, (wide, high), self.order)

    def _frame(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the result."""
        if not self.reshape:
            return width, height
        most = math.radians(self.angle)

        def extent(side: int, other: int) -> int:
            # side·cos + other·sin is largest at the angle of the diagonal, or at the last one.
            turn = min(most, math.atan2(other, side))
            return math.ceil(side * math.cos(turn) + other * math.sin(turn) - 1e-9)

        return extent(width, height), extent(height, width)


class Zoom(Transform):
    """Scale each image; its frame stays.

    What becomes smaller lies at a random place on black, of what becomes larger a random part is
    seen. Deterministic: factor 1, the image itself. Draws: three uniform numbers for each image,
    for the factor and for the place in y and in x.

    Args:
        fac: the factor is from 1 - fac to 1 + fac, so this is below 1.
        order: of the interpolation: 0, 1 or 3 (nearest, linear, cubic).
    """

    def __init__(self, fac: float, order: int = 0) -> None:
        self.fac = number("fac", fac, 0, below=1)
        self.order = _known("order", order, _ORDERS)

    def change(self, images: Images, rng: np.random.RandomState | None) -> Images:
        if rng is None:
            return images
        height, width = images.shape[1:3]
        matrices = []
        for scale, y, x in rng.random_sample((len(images), 3)).tolist():
            factor = 1 + self.fac * (2 * scale - 1)
            # What is left of the frame, or what sticks out of it where this is negative.
            left, above = x * (1 - factor) * width, y * (1 - factor) * height
            half = (factor - 1) / 2  # matrices count from the first pixel's centre
            matrices.append(np.array([[factor, 0, left + half], [0, factor, above + half]]))
        return _warped(images, matrices, (width, height), self.order)


def _warped(
    images: Images,
    matrices: list[Any],
    size: tuple[int, int],
    order: int,
    border: int = cv2.BORDER_CONSTANT,
) -> Images:
    """Each image moved by a matrix of its own, into frames of (width, height)."""
    moved = np.empty((len(images), size[1], size[0], images.shape[3]), images.dtype)
    for frame, image, matrix in zip(moved, images, matrices, strict=True):
        frame[:] = WarpAffineTransform(matrix, size, _ORDERS[order], border).apply_image(image)
    return moved


def _known(name: str, value: Any, known: Any) -> Any:
    if value not in known:
        raise ConfigError(f"{name}={value!r} must be one of {', '.join(map(repr, known))}")
    return value
