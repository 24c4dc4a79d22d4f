"""Which arrays are images, and what a person can see of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pictures", "pictures_in"]

_CHANNELS = (1, 3, 4)
_SIDE = 8  # pixels; what has fewer on a side is no image
_OVERSHOOT = 0.05  # of the range from 0 to 1, that interpolation may leave behind
_DARK = 32  # a range of 0 to 255 that ends below this would be black


class Pictures(NamedTuple):
    """The images of an array.

    Attributes:
        images: N×H×W×C, uint8, with 1, 3 or 4 channels in the order that they had.
        note: how values became brightness, where they were not 0 to 255.
    """

    images: NDArray[np.uint8]
    note: str


def pictures_in(array: NDArray[Any], *, batch: bool) -> Pictures | None:
    """The images in an array of numbers, or None where it has none.

    Channels may be the last axis or the first one, or missing. One scale is used for the whole
    array, so that images can be compared. Floats from 0 to 1 and numbers from 0 to 255 are
    brightness as it is; any other range, such as that of normalised images or of the classes of
    a mask, is stretched from black to white.

    Args:
        array: N×H×W, N×H×W×C or N×C×H×W; without a `batch`, the same without N.
        batch: whether the first axis counts images.
    """
    if array.dtype.kind not in "biuf":
        return None
    if not batch:
        array = array[np.newaxis]
    if array.ndim == 3:
        array = array[..., np.newaxis]
    if array.ndim != 4 or not array.size:
        return None
    if array.shape[3] not in _CHANNELS or min(array.shape[1:3]) < _SIDE:
        if array.shape[1] not in _CHANNELS:
            return None
        array = np.moveaxis(array, 1, 3)
    if min(array.shape[1:3]) < _SIDE:
        return None
    return Pictures(*_as_bytes(array))


def _as_bytes(array: NDArray[Any]) -> tuple[NDArray[np.uint8], str]:
    """Values as brightness, and how."""
    grey = array.shape[3] == 1
    if array.dtype == np.uint8 and not (grey and array.max() < _DARK):
        return array, ""
    values = array.astype(np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(array.shape, np.uint8), "no finite numbers: black"
    low, high = float(values[finite].min()), float(values[finite].max())
    floating, note = array.dtype.kind == "f", ""
    if array.dtype.kind == "b" or (floating and low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT):
        first, last, note = 0.0, 1.0, "0 to 1: white is 1"
    elif low >= 0 and _DARK <= high <= 255:
        first, last = 0.0, 255.0
    else:
        first, last = low, high
        note = f"stretched: black is {low:.4g}, white is {high:.4g}"
    if not finite.all():
        note = f"{note}; NaN and -inf black, inf white".lstrip("; ")
        values = np.nan_to_num(values, nan=first, posinf=last, neginf=first)
    scaled = (values - first) * (255 / ((last - first) or 1))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8), note
