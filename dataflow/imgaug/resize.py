"""Scaling to a size."""

from __future__ import annotations

import warnings
from typing import Any

import cv2

from dataflow.errors import ConfigError
from dataflow.imgaug.arguments import interval, number, shape_2d, side
from dataflow.imgaug.augmentor import Effect, ImageAugmentor
from dataflow.imgaug.planes import require_movable
from dataflow.imgaug.transforms import Image, ResizeTransform, Transform

__all__ = ["RandomResize", "Resize", "ResizeShortestEdge"]

_ATTEMPTS = 51


class Resize(ImageAugmentor):
    """Scale to a given size, whatever the aspect ratio. Draws nothing.

    Takes bool, integers of 8 and 16 bits and floats of 16 to 64, in any range and of any number of
    channels; with ``cv2.INTER_NEAREST`` integers of any size.

    Args:
        shape: (height, width), or one int for a square.
        interp: an OpenCV interpolation.
    """

    _effect = Effect.FRESH

    def __init__(self, shape: Any, interp: int = cv2.INTER_LINEAR) -> None:
        super().__init__()
        self.shape = shape_2d("shape", shape)
        self.interp = interp

    def get_transform(self, img: Image) -> Transform:
        require_movable(img, type(self).__name__, self.interp)
        return ResizeTransform(img.shape[0], img.shape[1], *self.shape, self.interp)


class ResizeShortestEdge(ImageAugmentor):
    """Scale so that the shorter edge gets a given length; the aspect ratio stays. Draws nothing.

    Takes bool, integers of 8 and 16 bits and floats of 16 to 64, in any range and of any number of
    channels; with ``cv2.INTER_NEAREST`` integers of any size.

    Args:
        size: the shorter edge, in pixels.
        interp: an OpenCV interpolation.
    """

    _effect = Effect.FRESH

    def __init__(self, size: int, interp: int = cv2.INTER_LINEAR) -> None:
        super().__init__()
        self.size = side("size", size)
        self.interp = interp

    def get_transform(self, img: Image) -> ResizeTransform:
        require_movable(img, type(self).__name__, self.interp)
        height, width = img.shape[:2]
        scale = self.size / min(height, width)
        if height < width:
            target = self.size, int(scale * width + 0.5)
        else:
            target = int(scale * height + 0.5), self.size
        return ResizeTransform(height, width, *target, self.interp)


class RandomResize(ImageAugmentor):
    """Scale to a random width and height.

    An image for which 51 attempts find nothing that keeps its aspect ratio well enough stays as
    it is, with a RuntimeWarning.

    Takes bool, integers of 8 and 16 bits and floats of 16 to 64, in any range and of any number of
    channels; with ``cv2.INTER_NEAREST`` integers of any size.

    Draws: two uniform numbers an attempt: for x and for y, whether or not y counts.

    Args:
        xrange: smallest and largest width: a factor where one of them is a float, otherwise in
            pixels.
        yrange: the same for the height, of the same kind; None where `aspect_ratio_thres` is 0.
        minimum: smallest width and height of the result, in pixels.
        aspect_ratio_thres: the largest change of the aspect ratio, as a part of it; 0 keeps it, so
            that `xrange` decides alone.
        interp: an OpenCV interpolation.
    """

    _effect = Effect.FRESH

    def __init__(
        self,
        xrange: Any,
        yrange: Any = None,
        minimum: tuple[int, int] = (0, 0),
        aspect_ratio_thres: float = 0.15,
        interp: int = cv2.INTER_LINEAR,
    ) -> None:
        super().__init__()
        # As they came: whether they are floats says what they mean.
        self.xrange = _lengths("xrange", xrange)
        self.yrange = None if yrange is None else _lengths("yrange", yrange)
        if not isinstance(minimum, list | tuple) or len(minimum) != 2:
            raise ConfigError(f"minimum={minimum!r} must be a pair (width, height)")
        self.minimum = (number("minimum", minimum[0], 0), number("minimum", minimum[1], 0))
        self.aspect_ratio_thres = number("aspect_ratio_thres", aspect_ratio_thres, 0)
        self.interp = interp
        self._factors = _are_factors(xrange)
        if yrange is not None and _are_factors(yrange) != self._factors:
            raise ConfigError(
                f"xrange={xrange!r}, yrange={yrange!r}: both must be factors (with floats), or "
                "both pixels (integers)"
            )
        if self.aspect_ratio_thres and yrange is None:
            raise ConfigError(f"yrange=None needs aspect_ratio_thres=0, not {aspect_ratio_thres!r}")
        if not self.aspect_ratio_thres and self.yrange not in (None, self.xrange):
            unused = f"yrange={yrange!r} does not count where aspect_ratio_thres=0: leave it out"
            if self._factors:
                raise ConfigError(unused)
            warnings.warn(unused, stacklevel=2)

    def get_transform(self, img: Image) -> Transform:
        require_movable(img, type(self).__name__, self.interp)
        height, width = img.shape[:2]
        for _ in range(_ATTEMPTS):
            new_w, new_h = self._size(width, height, *self.rng.random_sample(2).tolist())
            change = abs(new_w / new_h * height / width - 1)
            if not self.aspect_ratio_thres or change < self.aspect_ratio_thres + 1e-5:
                return ResizeTransform(height, width, new_h, new_w, self.interp)
        warnings.warn(
            f"{self!r} found no size for an image of {height}×{width}", RuntimeWarning, stacklevel=2
        )
        return ResizeTransform(height, width, height, width, self.interp)

    def _size(self, width: int, height: int, x: float, y: float) -> tuple[int, int]:
        """New width and height, by two numbers from [0, 1)."""
        new_w = self.xrange[0] + (self.xrange[1] - self.xrange[0]) * x
        if self._factors:
            new_w *= width
        if self.yrange is None or not self.aspect_ratio_thres:
            new_h = new_w / width * height
        else:
            new_h = self.yrange[0] + (self.yrange[1] - self.yrange[0]) * y
            if self._factors:
                new_h *= height
        wide, high = self.minimum
        return max(int(max(new_w, wide) + 0.5), 1), max(int(max(new_h, high) + 0.5), 1)


def _lengths(name: str, value: Any) -> tuple[float, float]:
    if interval(name, value)[0] <= 0:
        raise ConfigError(f"{name}={value!r} must be positive")
    low, high = value
    return low, high


def _are_factors(ends: Any) -> bool:
    return any(isinstance(end, float) for end in ends)
