"""What augmentors of pixel values have in common: channels and types."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.imgaug.scale import described

__all__ = ["Image", "as_float", "as_type", "as_value", "channels", "on_colour", "require_colour"]

Image: TypeAlias = NDArray[Any]
"""H×W or H×W×C."""

_CONVERTIBLE = 2.0**31
"""From here on OpenCV's conversion to integers gives 0, not the largest one."""


def channels(img: Image) -> int:
    """How many channels an image has."""
    return 1 if img.ndim == 2 else img.shape[2]


def require_colour(img: Image, what: str) -> None:
    """Raise unless `img` has three channels, or four."""
    if channels(img) not in (3, 4):
        raise ValueError(f"{what} needs a colour image, of 3 or 4 channels, not {described(img)}")


def on_colour(img: Image, change: Callable[[Image], Image]) -> Image:
    """`change` of the first three channels; a fourth one stays as it is."""
    if channels(img) != 4:
        return change(img)
    return np.concatenate([change(img[:, :, :3]), img[:, :, 3:]], axis=2)


def as_float(img: Image) -> Image:
    """`img` itself where it is float32 or float64, otherwise as float32."""
    return img if img.dtype in (np.float32, np.float64) else img.astype(np.float32)


def as_type(values: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """`values` in a narrower type: for integers rounded, and clipped to its range."""
    if values.dtype == dtype:
        return values
    if not np.issubdtype(dtype, np.integer):
        converted: NDArray[Any] = values.astype(dtype, copy=False)
        return converted
    if (
        dtype == np.uint8
        and values.ndim > 1
        and values.size
        and values.dtype in (np.float32, np.float64)
        and cv2.norm(values, cv2.NORM_INF) < _CONVERTIBLE
    ):  # in a third of the time
        return cv2.addWeighted(values, 1, values, 0, 0, dtype=cv2.CV_8U).reshape(values.shape)
    limits = np.iinfo(dtype)
    rounded: NDArray[Any] = np.clip(np.rint(values), limits.min, limits.max)
    return rounded.astype(dtype)


@functools.lru_cache(maxsize=256)
def as_value(value: float | tuple[float, ...], dtype: Any, step: float = 1) -> NDArray[Any]:
    """`step` times a pixel's value, one or one for each channel, in another type by `as_type`."""
    return as_type(np.array(value, np.float64) * step, dtype)
