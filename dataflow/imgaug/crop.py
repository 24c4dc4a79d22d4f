"""Cutting out a part."""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any

import cv2
import numpy as np

from dataflow.errors import ConfigError
from dataflow.imgaug.arguments import integers, interval, pixel, shape_2d, side
from dataflow.imgaug.augmentor import Effect, ImageAugmentor
from dataflow.imgaug.pixels import as_value
from dataflow.imgaug.planes import require_movable
from dataflow.imgaug.resize import ResizeShortestEdge
from dataflow.imgaug.scale import unit
from dataflow.imgaug.transforms import (
    CropTransform,
    Image,
    PhotometricTransform,
    ResizeTransform,
    Transform,
    TransformList,
)

__all__ = [
    "CenterCrop",
    "GoogleNetRandomCropAndResize",
    "RandomCrop",
    "RandomCropRandomShape",
    "RandomCutout",
]


class CenterCrop(ImageAugmentor):
    """Cut out the middle. Draws nothing; the result is a view.

    Takes any type and any number of channels.

    Args:
        crop_shape: (height, width), or one int for a square. Smaller images raise ValueError.
    """

    _effect = Effect.KEPT

    def __init__(self, crop_shape: Any) -> None:
        super().__init__()
        self.crop_shape = shape_2d("crop_shape", crop_shape)

    def get_transform(self, img: Image) -> Transform:
        below, right = _margins(img, self.crop_shape)
        return CropTransform(below // 2, right // 2, *self.crop_shape)


class RandomCrop(ImageAugmentor):
    """Cut out a part at a random place; the result is a view.

    Takes any type and any number of channels.

    Draws: two uniform numbers, for y and for x.

    Args:
        crop_shape: (height, width), or one int for a square. Smaller images raise ValueError.
    """

    _effect = Effect.KEPT

    def __init__(self, crop_shape: Any) -> None:
        super().__init__()
        self.crop_shape = shape_2d("crop_shape", crop_shape)

    def get_transform(self, img: Image) -> Transform:
        below, right = _margins(img, self.crop_shape)
        y, x = self.rng.random_sample(2).tolist()
        return CropTransform(int(y * (below + 1)), int(x * (right + 1)), *self.crop_shape)


class RandomCropRandomShape(ImageAugmentor):
    """Cut out a part of random size at a random place; the result is a view.

    Takes any type and any number of channels.

    Draws: four uniform numbers, for height, width, y and x.

    Args:
        wmin, hmin: smallest width and height. Smaller images raise ValueError.
        wmax, hmax: largest width and height; None for the image's, beyond which they never are.
        max_aspect_ratio: has no effect.
    """

    _effect = Effect.KEPT

    def __init__(
        self,
        wmin: int,
        hmin: int,
        wmax: int | None = None,
        hmax: int | None = None,
        max_aspect_ratio: float | None = None,
    ) -> None:
        super().__init__()
        self.wmin, self.hmin = side("wmin", wmin), side("hmin", hmin)
        self.wmax = None if wmax is None else side("wmax", wmax)
        self.hmax = None if hmax is None else side("hmax", hmax)
        self.max_aspect_ratio = max_aspect_ratio
        if (self.wmax or self.wmin) < self.wmin or (self.hmax or self.hmin) < self.hmin:
            raise ConfigError(
                f"wmin={wmin!r}, hmin={hmin!r} must not be larger than wmax={wmax!r}, hmax={hmax!r}"
            )
        if max_aspect_ratio is not None:
            warnings.warn("max_aspect_ratio has no effect", DeprecationWarning, stacklevel=2)

    def get_transform(self, img: Image) -> Transform:
        _margins(img, (self.hmin, self.wmin))
        height, width = img.shape[:2]
        h, w, y, x = self.rng.random_sample(4).tolist()
        h = _between(self.hmin, min(self.hmax or height, height), h)
        w = _between(self.wmin, min(self.wmax or width, width), w)
        return CropTransform(_between(0, height - h, y), _between(0, width - w, x), h, w)


class RandomCutout(ImageAugmentor):
    """Cover a rectangle at a random place.

    From "Improved Regularization of Convolutional Neural Networks with Cutout" (DeVries and
    Taylor, 2017); here the rectangle always lies inside.

    Takes any type and any number of channels.

    Draws: four uniform numbers, for height, width, x and y, whichever of them count.

    Args:
        h_range: the height, or (low, high) for a height from low to high - 1. Smaller images raise
            ValueError.
        w_range: the same for the width.
        fill: the value there, one or one for each channel; in `InRange` it counts in [0, 255].
    """

    _effect = Effect.FRESH

    def __init__(self, h_range: Any, w_range: Any, fill: Any = 0.0) -> None:
        super().__init__()
        self.h_range = _sizes("h_range", h_range)
        self.w_range = _sizes("w_range", w_range)
        self.fill = pixel("fill", fill)

    def get_transform(self, img: Image) -> Transform:
        high, wide, x, y = self.rng.random_sample(4).tolist()
        h = _between(*_ends(self.h_range), high)
        w = _between(*_ends(self.w_range), wide)
        below, right = _margins(img, (h, w))
        x0, y0 = _between(0, right, x), _between(0, below, y)
        cover = functools.partial(_cover, rows=slice(y0, y0 + h), columns=slice(x0, x0 + w))
        return PhotometricTransform(functools.partial(cover, fill=self.fill), "RandomCutout")


class GoogleNetRandomCropAndResize(ImageAugmentor):
    """Cut out a part of random area and aspect ratio, and scale it to a square.

    The augmentation of "Going Deeper with Convolutions" (Szegedy et al., CVPR 2015, section 6), in
    the form that fb.resnet.torch gave it. Where ten attempts find no part that fits into the
    image, the whole image is scaled and its middle cut out.

    Takes bool, integers of 8 and 16 bits and floats of 16 to 64, in any range and of any number of
    channels; with ``cv2.INTER_NEAREST`` integers of any size.

    Draws: five uniform numbers an attempt: for the area, for the aspect ratio, whether to exchange
    width and height (below one half), and for x and y.

    Args:
        crop_area_fraction: smallest and largest area, as a part of the image's.
        aspect_ratio_range: smallest and largest width / height, before they may be exchanged.
        target_shape: the square's side, in pixels.
        interp: an OpenCV interpolation.
    """

    _effect = Effect.FRESH

    def __init__(
        self,
        crop_area_fraction: tuple[float, float] = (0.08, 1.0),
        aspect_ratio_range: tuple[float, float] = (0.75, 1.333),
        target_shape: int = 224,
        interp: int = cv2.INTER_LINEAR,
    ) -> None:
        super().__init__()
        self.crop_area_fraction = interval("crop_area_fraction", crop_area_fraction)
        self.aspect_ratio_range = interval("aspect_ratio_range", aspect_ratio_range)
        self.target_shape = side("target_shape", target_shape)
        self.interp = interp
        if self.crop_area_fraction[0] < 0:
            raise ConfigError(f"crop_area_fraction={crop_area_fraction!r} must not be negative")
        if self.aspect_ratio_range[0] <= 0:
            raise ConfigError(f"aspect_ratio_range={aspect_ratio_range!r} must be positive")

    def get_transform(self, img: Image) -> Transform:
        require_movable(img, type(self).__name__, self.interp)
        height, width = img.shape[:2]
        target = self.target_shape
        smallest, largest = self.crop_area_fraction
        narrowest, widest = self.aspect_ratio_range
        rng = self.rng
        for _ in range(10):
            # One call for all five: the calls cost more than the numbers.
            area, aspect, exchange, x, y = rng.random_sample(5).tolist()
            area = (smallest + (largest - smallest) * area) * (height * width)
            aspect = narrowest + (widest - narrowest) * aspect
            w = max(1, int(math.sqrt(area * aspect) + 0.5))
            h = max(1, int(math.sqrt(area / aspect) + 0.5))
            if exchange < 0.5:
                w, h = h, w
            if h <= height and w <= width:
                crop = CropTransform(int(y * (height - h + 1)), int(x * (width - w + 1)), h, w)
                return TransformList([crop, ResizeTransform(h, w, target, target, self.interp)])
        scale = ResizeShortestEdge(target, self.interp).get_transform(img)
        middle = CropTransform(
            (scale.new_h - target) // 2, (scale.new_w - target) // 2, target, target
        )
        return TransformList([scale, middle])


def _between(low: int, high: int, drawn: float) -> int:
    """`drawn` from [0, 1) to one of low, low + 1, …, high."""
    return low + int(drawn * (high - low + 1))


def _sizes(name: str, value: Any) -> int | tuple[int, int]:
    return side(name, value) if isinstance(value, int | np.integer) else integers(name, value, 1)


def _ends(sizes: int | tuple[int, int]) -> tuple[int, int]:
    return (sizes, sizes) if isinstance(sizes, int) else (sizes[0], sizes[1] - 1)


def _cover(img: Image, rows: slice, columns: slice, fill: Any) -> Image:
    covered: Image = img.copy()
    covered[rows, columns] = as_value(fill, img.dtype, unit(img.dtype))
    return covered


def _margins(img: Image, shape: tuple[int, int]) -> tuple[int, int]:
    """How much higher and wider the image is than the part to cut out."""
    below, right = img.shape[0] - shape[0], img.shape[1] - shape[1]
    if below < 0 or right < 0:
        raise ValueError(
            f"cannot cut {shape[0]}×{shape[1]} out of an image of {img.shape[0]}×{img.shape[1]}"
        )
    return below, right
