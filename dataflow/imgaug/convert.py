"""Other colour spaces and other types of numbers."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from dataflow.errors import ConfigError
from dataflow.imgaug.augmentor import Effect, PhotometricAugmentor
from dataflow.imgaug.pixels import as_type
from dataflow.imgaug.transforms import Image, restore_channel

__all__ = ["ColorSpace", "Grayscale", "ToFloat32", "ToUint8"]


class ColorSpace(PhotometricAugmentor):
    """Convert to another colour space. Draws nothing.

    The result has as many channels as OpenCV makes. For some of its conversions, such as to Lab,
    floating point values must be in [0, 1].

    Args:
        mode: OpenCV's conversion, such as ``cv2.COLOR_BGR2HSV``. Images that it does not take
            raise ValueError.
        keepdims: results of one channel are H×W×1 where the image has three dimensions; otherwise
            H×W.
    """

    _effect = Effect.FRESH

    def __init__(self, mode: int, keepdims: bool = True) -> None:
        super().__init__()
        self.mode = mode
        self.keepdims = keepdims

    def _augment(self, img: Image, params: Any) -> Image:
        wide = img if img.dtype in (np.uint8, np.uint16, np.float32) else img.astype(np.float32)
        try:
            converted: Image = cv2.cvtColor(wide, self.mode)
        except cv2.error as error:
            raise ValueError(
                f"{self!r} does not take an image of {img.dtype} and shape {img.shape}"
            ) from error
        converted = as_type(converted, img.dtype)
        return restore_channel(converted, img) if self.keepdims else converted


class Grayscale(ColorSpace):
    """Make a colour image grey. Draws nothing.

    Args:
        keepdims: the result is H×W×1; otherwise H×W.
        rgb: the channels' order is RGB; False for BGR.
        keepshape: the result has three equal channels (and the fourth of the image, if any).
    """

    _effect = Effect.FRESH

    def __init__(self, keepdims: bool = True, rgb: bool = False, keepshape: bool = False) -> None:
        if keepshape and not keepdims:
            raise ConfigError(f"keepdims={keepdims!r}, keepshape=True: the shape has 3 dimensions")
        super().__init__(cv2.COLOR_RGB2GRAY if rgb else cv2.COLOR_BGR2GRAY, keepdims)
        self.rgb = bool(rgb)
        self.keepshape = keepshape

    def _augment(self, img: Image, params: Any) -> Image:
        grey = super()._augment(img, params)
        if not self.keepshape:
            return grey
        return cv2.merge([grey, grey, grey, *([img[:, :, 3]] if img.shape[2] == 4 else [])])


class ToUint8(PhotometricAugmentor):
    """Round to integers, clipped to [0, 255]: a quarter of the bytes of float32. Draws nothing."""

    _effect = Effect.KEPT

    def _augment(self, img: Image, params: Any) -> Image:
        return img if img.dtype == np.uint8 else as_type(img, np.uint8)


class ToFloat32(PhotometricAugmentor):
    """Convert to float32, so that augmentors after it need not round. Draws nothing."""

    _effect = Effect.KEPT

    def _augment(self, img: Image, params: Any) -> Image:
        return img.astype(np.float32, copy=False)
