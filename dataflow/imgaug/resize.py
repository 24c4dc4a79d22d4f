"""Scaling to a size."""

from __future__ import annotations

from typing import Any

import cv2

from dataflow.imgaug.arguments import shape_2d, side
from dataflow.imgaug.base import Effect, ImageAugmentor
from dataflow.imgaug.transform import Image, ResizeTransform, Transform

__all__ = ["Resize", "ResizeShortestEdge"]


class Resize(ImageAugmentor):
    """Scale to a given size, whatever the aspect ratio. Draws nothing.

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
        return ResizeTransform(img.shape[0], img.shape[1], *self.shape, self.interp)


class ResizeShortestEdge(ImageAugmentor):
    """Scale so that the shorter edge gets a given length; the aspect ratio stays. Draws nothing.

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
        height, width = img.shape[:2]
        scale = self.size / min(height, width)
        if height < width:
            target = self.size, int(scale * width + 0.5)
        else:
            target = int(scale * height + 0.5), self.size
        return ResizeTransform(height, width, *target, self.interp)
