"""Affine maps of the plane: shifts, rotations, and both with scale and shear."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from dataflow.errors import ConfigError
from dataflow.imgaug.arguments import interval, number
from dataflow.imgaug.augmentor import Effect, ImageAugmentor
from dataflow.imgaug.planes import require_movable
from dataflow.imgaug.transforms import Image, Transform, WarpAffineTransform

__all__ = ["Affine", "Rotation", "RotationAndCropValid", "Shift"]


class Shift(ImageAugmentor):
    """Move the image by whole pixels.

    Takes bool, integers and floats, in any range and of any number of channels.

    Draws: two uniform numbers, for x and for y.

    Args:
        horiz_frac: the most that it moves to either side, as a part of the width, below 1.
        vert_frac: the same up and down, as a part of the height.
        border: an OpenCV border, for what comes into view.
        border_value: the value there for ``cv2.BORDER_CONSTANT``, one or one for each channel; in
            `InRange` it counts in [0, 255].
    """

    _effect = Effect.FRESH

    def __init__(
        self,
        horiz_frac: float = 0,
        vert_frac: float = 0,
        border: int = cv2.BORDER_REPLICATE,
        border_value: Any = 0,
    ) -> None:
        super().__init__()
        self.horiz_frac = number("horiz_frac", horiz_frac, 0, below=1)
        self.vert_frac = number("vert_frac", vert_frac, 0, below=1)
        self.border = border
        self.border_value = border_value

    def get_transform(self, img: Image) -> Transform:
        x, y = self.rng.random_sample(2).tolist()
        dx = _whole(x, self.horiz_frac * img.shape[1])
        dy = _whole(y, self.vert_frac * img.shape[0])
        matrix = np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])
        # Nothing lies between pixels: labels of any type may be shifted.
        return WarpAffineTransform(
            matrix, img.shape[1::-1], cv2.INTER_NEAREST, self.border, self.border_value
        )


class Rotation(ImageAugmentor):
    """Rotate about a random point; the image's size stays.

    Takes bool, integers of 8 and 16 bits and floats of 16 to 64, in any range and of any number of
    channels; with ``cv2.INTER_NEAREST`` integers of any size.

    Draws: three uniform numbers, for the point's x and y and for the angle.

    Args:
        max_deg: the largest angle to either side, in degrees; positive ones are anticlockwise.
        center_range: where the point may lie, as a part of the width and of the height.
        interp: an OpenCV interpolation.
        border: an OpenCV border, for what comes into view.
        step_deg: only multiples of this angle, which must divide 180; `max_deg` must be 180 then.
        border_value: the value there for ``cv2.BORDER_CONSTANT``, one or one for each channel; in
            `InRange` it counts in [0, 255].
    """

    _effect = Effect.FRESH

    def __init__(
        self,
        max_deg: float,
        center_range: tuple[float, float] = (0, 1),
        interp: int = cv2.INTER_LINEAR,
        border: int = cv2.BORDER_REPLICATE,
        step_deg: float | None = None,
        border_value: Any = 0,
    ) -> None:
        super().__init__()
        self.max_deg = number("max_deg", max_deg, 0)
        self.center_range = interval("center_range", center_range)
        self.interp = interp
        self.border = border
        self.step_deg = _step(step_deg, max_deg)
        self.border_value = border_value

    def get_transform(self, img: Image) -> Transform:
        require_movable(img, type(self).__name__, self.interp)
        height, width = img.shape[:2]
        x, y, angle = self.rng.random_sample(3).tolist()
        low, high = self.center_range
        # Half a pixel less: the matrix counts from the first pixel's centre.
        centre = (
            width * (low + (high - low) * x) - 0.5,
            height * (low + (high - low) * y) - 0.5,
        )
        matrix = cv2.getRotationMatrix2D(centre, _degrees(angle, self.max_deg, self.step_deg), 1)
        return WarpAffineTransform(
            matrix, (width, height), self.interp, self.border, self.border_value
        )


class RotationAndCropValid(ImageAugmentor):
    """Rotate about the centre, and cut out the largest upright rectangle that the image covers.

    The results have different sizes. What the rectangle takes in beyond the image, where its sides
    are rounded to whole pixels, repeats the image's edge.

    Takes bool, integers of 8 and 16 bits and floats of 16 to 64, in any range and of any number of
    channels; with ``cv2.INTER_NEAREST`` integers of any size.

    Draws: one uniform number, for the angle.

    Args:
        max_deg, interp, step_deg: as for `Rotation`.
    """

    _effect = Effect.FRESH

    def __init__(
        self, max_deg: float, interp: int = cv2.INTER_LINEAR, step_deg: float | None = None
    ) -> None:
        super().__init__()
        self.max_deg = number("max_deg", max_deg, 0)
        self.interp = interp
        self.step_deg = _step(step_deg, max_deg)

    def get_transform(self, img: Image) -> Transform:
        require_movable(img, type(self).__name__, self.interp)
        height, width = img.shape[:2]
        degrees = _degrees(self.rng.random_sample(), self.max_deg, self.step_deg)
        matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), degrees, 1)
        w, h = self.largest_rotated_rect(width, height, degrees)
        w, h = min(max(w, 1), width), min(max(h, 1), height)
        matrix[:, 2] -= (width - w) // 2, (height - h) // 2
        return WarpAffineTransform(matrix, (w, h), self.interp, borderMode=cv2.BORDER_REPLICATE)

    @staticmethod
    def largest_rotated_rect(w: float, h: float, angle: float) -> tuple[int, int]:
        """The largest upright rectangle in a rotated one.

        Args:
            w, h: width and height of the rotated rectangle.
            angle: in degrees.

        Returns:
            Its width and height, rounded.
        """
        if w <= 0 or h <= 0:
            return 0, 0
        sine, cosine = abs(math.sin(math.radians(angle))), abs(math.cos(math.radians(angle)))
        if min(w, h) <= 2 * sine * cosine * max(w, h):
            # Only the shorter side limits it, as width · sine + height · cosine (or the other way
            # round): of all whose sum is that side, the one of equal addends is largest.
            half = min(w, h) / 2
            width, height = (half / sine, half / cosine) if w >= h else (half / cosine, half / sine)
        else:
            # Both sides do: w = width · cosine + height · sine, h = width · sine + height · cosine.
            determinant = cosine**2 - sine**2
            width = (w * cosine - h * sine) / determinant
            height = (h * cosine - w * sine) / determinant
        return round(width), round(height)


class Affine(ImageAugmentor):
    """Scale, shear and rotate about the centre, then move by whole pixels; the size stays.

    Takes bool, integers of 8 and 16 bits and floats of 16 to 64, in any range and of any number of
    channels; with ``cv2.INTER_NEAREST`` integers of any size.

    Draws: five uniform numbers, for scale, x, y, shear and angle, whichever of them count.

    Args:
        scale: smallest and largest factor; None for 1.
        translate_frac: the most that the image moves to either side and up or down, as parts of
            its width and height; None for 0.
        rotate_max_deg: the largest angle to either side, in degrees.
        shear: the largest angle by which upright lines lean, in degrees.
        interp: an OpenCV interpolation.
        border: an OpenCV border, for what comes into view.
        border_value: the value there for ``cv2.BORDER_CONSTANT``, one or one for each channel; in
            `InRange` it counts in [0, 255].
    """

    _effect = Effect.FRESH

    def __init__(
        self,
        scale: tuple[float, float] | None = None,
        translate_frac: tuple[float, float] | None = None,
        rotate_max_deg: float = 0.0,
        shear: float = 0.0,
        interp: int = cv2.INTER_LINEAR,
        border: int = cv2.BORDER_REPLICATE,
        border_value: Any = 0,
    ) -> None:
        super().__init__()
        self.scale = None if scale is None else interval("scale", scale)
        if self.scale is not None and self.scale[0] <= 0:
            raise ConfigError(f"scale={scale!r} must be positive")
        self.translate_frac = translate_frac
        if translate_frac is not None:
            if not isinstance(translate_frac, list | tuple) or len(translate_frac) != 2:
                raise ConfigError(f"translate_frac={translate_frac!r} must be a pair (x, y)")
            for part in translate_frac:
                number("translate_frac", part, 0)
        self.rotate_max_deg = number("rotate_max_deg", rotate_max_deg, 0)
        self.shear = number("shear", shear, 0, below=180)
        self.interp = interp
        self.border = border
        self.border_value = border_value

    def get_transform(self, img: Image) -> Transform:
        require_movable(img, type(self).__name__, self.interp)
        height, width = img.shape[:2]
        scale, x, y, shear, angle = self.rng.random_sample(5).tolist()
        smallest, largest = self.scale or (1.0, 1.0)
        wide, high = self.translate_frac or (0.0, 0.0)
        matrix = _affine(
            ((width - 1) / 2, (height - 1) / 2),
            scale=smallest + (largest - smallest) * scale,
            shift=(_whole(x, wide * width), _whole(y, high * height)),
            shear=_degrees(shear, self.shear),
            angle=_degrees(angle, self.rotate_max_deg),
        )
        return WarpAffineTransform(
            matrix, (width, height), self.interp, self.border, self.border_value
        )


def _affine(
    centre: tuple[float, float],
    *,
    scale: float,
    shift: tuple[float, float],
    shear: float,
    angle: float,
) -> Any:
    """The 2×3 matrix that shears, scales and rotates about `centre`, and then moves."""
    matrix = cv2.getRotationMatrix2D(centre, angle, scale)
    linear = matrix[:, :2]
    lean = math.radians(shear)
    linear[:, 1] = linear @ (math.sin(lean), math.cos(lean))
    matrix[:, 2] = np.add(centre, shift) - linear @ centre  # the centre stays, but for the shift
    return matrix


def _whole(drawn: float, most: float) -> float:
    """`drawn` from [0, 1) to whole pixels from -most to most."""
    return float(round(most * (2 * drawn - 1)))


def _degrees(drawn: float, most: float, step: float | None = None) -> float:
    """`drawn` from [0, 1) to an angle from -most to most."""
    angle = most * (2 * drawn - 1)
    return angle if step is None else angle // step * step


def _step(step_deg: float | None, max_deg: float) -> float | None:
    if step_deg is None:
        return None
    step = number("step_deg", step_deg, 0)
    if step == 0 or 180 % step or max_deg != 180:
        raise ConfigError(
            f"step_deg={step_deg!r}, max_deg={max_deg!r}: the step must divide 180, "
            "and max_deg must be 180 with a step"
        )
    return step
