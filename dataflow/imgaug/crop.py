"""Cutting out a part."""

from __future__ import annotations

import math
from typing import Any

import cv2

from dataflow.errors import ConfigError
from dataflow.imgaug.arguments import interval, shape_2d, side
from dataflow.imgaug.base import Effect, ImageAugmentor
from dataflow.imgaug.resize import ResizeShortestEdge
from dataflow.imgaug.transform import (
    CropTransform,
    Image,
    ResizeTransform,
    Transform,
    TransformList,
)

__all__ = ["CenterCrop", "GoogleNetRandomCropAndResize", "RandomCrop"]


class CenterCrop(ImageAugmentor):
    """Cut out the middle. Draws nothing; the result is a view.

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


class GoogleNetRandomCropAndResize(ImageAugmentor):
    """Cut out a part of random area and aspect ratio, and scale it to a square.

    The augmentation of "Going Deeper with Convolutions" (Szegedy et al., CVPR 2015, section 6), in
    the form that fb.resnet.torch gave it. Where ten attempts find no part that fits into the
    image, the whole image is scaled and its middle cut out.

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


def _margins(img: Image, shape: tuple[int, int]) -> tuple[int, int]:
    """How much higher and wider the image is than the part to cut out."""
    below, right = img.shape[0] - shape[0], img.shape[1] - shape[1]
    if below < 0 or right < 0:
        raise ValueError(
            f"cannot cut {shape[0]}×{shape[1]} out of an image of {img.shape[0]}×{img.shape[1]}"
        )
    return below, right
