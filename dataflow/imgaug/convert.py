"""Other colour spaces and other types of numbers."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from dataflow.errors import ConfigError
from dataflow.imgaug.augmentor import Effect, PhotometricAugmentor
from dataflow.imgaug.pixels import as_float, as_type
from dataflow.imgaug.scale import Takes, described, unit
from dataflow.imgaug.transforms import Image, restore_channel

__all__ = ["ColorSpace", "Grayscale", "ToFloat32", "ToUint8"]


_OF_UNIT_RANGE = frozenset(
    getattr(cv2, f"COLOR_{source}2{target}")
    for source in ("BGR", "RGB", "LBGR", "LRGB")
    for target in ("Lab", "Luv", "HLS", "HLS_FULL")
    if hasattr(cv2, f"COLOR_{source}2{target}")
)
"""Conversions of which OpenCV makes nonsense for floats in [0, 255]: it cuts them off at 1."""


class ColorSpace(PhotometricAugmentor):
    """Convert to another colour space. Draws nothing.

    Takes uint8, float16, float32 and float64, and uint16 where OpenCV does. Images come and go as
    OpenCV has them, also in `InRange`: for floats hues are angles up to 360, saturations in
    [0, 1], and so on. To Lab, Luv and HLS it converts only floats in [0, 1]; larger ones raise
    ValueError. The result has as many channels as OpenCV makes.

    Args:
        mode: OpenCV's conversion, such as ``cv2.COLOR_BGR2HSV``. Images that it does not take
            raise ValueError.
        keepdims: results of one channel are H×W×1 where the image has three dimensions; otherwise
            H×W.
    """

    _effect = Effect.FRESH
    _takes = Takes.SCALED

    def __init__(self, mode: int, keepdims: bool = True) -> None:
        super().__init__()
        self.mode = mode
        self.keepdims = keepdims

    def _augment(self, img: Image, params: Any) -> Image:
        if self.mode in _OF_UNIT_RANGE and img.dtype.kind == "f" and img.max() > 2:
            raise ValueError(
                f"{self!r} takes floats in [0, 1], and {described(img)} has values up to "
                f"{float(img.max()):.4g}: divide it by 255"
            )
        wide = img if img.dtype in (np.uint8, np.uint16, np.float32) else img.astype(np.float32)
        try:
            converted: Image = cv2.cvtColor(wide, self.mode)
        except cv2.error as error:
            raise ValueError(f"{self!r} does not take {described(img)}") from error
        converted = as_type(converted, img.dtype)
        return restore_channel(converted, img) if self.keepdims else converted


class Grayscale(ColorSpace):
    """Make a colour image grey. Draws nothing.

    Takes uint8, uint16, float16, float32 and float64, in any range, of 3 or 4 channels.

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
    """Round to integers, clipped to [0, 255]: a quarter of the bytes of float32. Draws nothing.

    Takes uint8, and float16, float32 and float64 in [0, 255]; other floats, and uint16, in
    `InRange`, where white becomes 255. Any number of channels.
    """

    _effect = Effect.KEPT
    _takes = Takes.COUNTED

    def _augment(self, img: Image, params: Any) -> Image:
        if img.dtype == np.uint8:
            return img
        step = unit(img.dtype)
        return as_type(img if step == 1 else as_float(img) / step, np.uint8)


class ToFloat32(PhotometricAugmentor):
    """Convert to float32, so that augmentors after it need not round. Draws nothing.

    Takes numbers of any type, and leaves their values; only in `InRange` it makes white, there,
    of the 255 of uint8 images. Any number of channels.
    """

    _effect = Effect.KEPT
    _takes = Takes.ANY

    def _augment(self, img: Image, params: Any) -> Image:
        step = unit(np.float32)
        if img.dtype == np.uint8 and step != 1:
            scaled: Image = img * np.float32(step)
            return scaled
        return img.astype(np.float32, copy=False)
