"""Moving pixels of any type and any number of channels; OpenCV's functions do some of each."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from dataflow.imgaug.pixels import Image, as_type
from dataflow.imgaug.scale import described

__all__ = ["interpolated", "is_known", "require_movable"]

_KNOWN = frozenset(np.dtype(kind) for kind in (np.uint8, np.uint16, np.float32, np.float64))
_THROUGH: dict[Any, Any] = {
    np.dtype(np.bool_): np.dtype(np.uint8),
    np.dtype(np.int8): np.dtype(np.float32),
    np.dtype(np.int16): np.dtype(np.float32),
    np.dtype(np.float16): np.dtype(np.float32),
}
"""Types that OpenCV does not interpolate, with one that holds all of their values."""

_EXACT = 1 << 53
"""Up to here double precision has every integer."""

_CHANNELS = 4
"""More than these OpenCV does in some cases, and then with other roundings."""


def is_known(img: Image) -> bool:
    """Whether OpenCV keeps the type (it makes int32 of int64), and any of its functions does it."""
    return img.dtype in _KNOWN and (img.ndim == 2 or img.shape[2] <= _CHANNELS)


def require_movable(img: Image, what: str, interp: int = cv2.INTER_LINEAR) -> None:
    """Raise unless `interpolated` takes the image.

    Args:
        img: the image.
        what: the augmentor's or the transform's name, for the message.
        interp: an OpenCV interpolation. To the nearest every number is taken.

    Raises:
        TypeError: it does not.
    """
    nearest = interp & cv2.INTER_MAX in (cv2.INTER_NEAREST, cv2.INTER_NEAREST_EXACT)
    if img.dtype in _KNOWN or img.dtype in _THROUGH or (nearest and img.dtype.kind in "iu"):
        return
    raise TypeError(
        f"{what} interpolates images of bool, integers of 8 or 16 bits and floats of 16 to 64, "
        f"not {described(img)}: convert it, or, if it holds labels, take cv2.INTER_NEAREST or the "
        "transform's apply_mask()"
    )


def interpolated(
    change: Callable[[Image, int], Image], img: Image, what: str, interp: int = cv2.INTER_LINEAR
) -> Image:
    """A change of pixels' places that interpolates between them.

    Args:
        change: of an image of a type and of channels that OpenCV takes, the first of which is
            channel i of the whole.
        img: the image.
        what: the augmentor's or the transform's name, for messages.
        interp: an OpenCV interpolation.

    Returns:
        An image of the same type and the same channels.
    """
    if img.dtype not in _KNOWN:
        require_movable(img, what, interp)
        wide = img.astype(_THROUGH.get(img.dtype, np.float64))
        if img.dtype.itemsize == 8 and max(-int(img.min()), int(img.max())) > _EXACT:
            raise ValueError(
                f"{what} moves integers of up to 53 bits, and {described(img)} has larger ones: "
                "number the labels anew"
            )
        moved = interpolated(change, wide, what)
        return moved != 0 if img.dtype == np.bool_ else as_type(moved, img.dtype)
    if img.ndim == 2 or img.shape[2] <= _CHANNELS:
        moved = change(img, 0)
        return moved if moved.ndim == img.ndim else moved[:, :, np.newaxis]
    parts = [
        np.atleast_3d(change(np.ascontiguousarray(img[:, :, start:stop]), start))
        for start, stop in _groups(img.shape[2])
    ]
    return np.concatenate(parts, axis=2)


def _groups(count: int) -> list[tuple[int, int]]:
    """Channels by fours, and the rest; never two, for which OpenCV is coarser."""
    rest = count % _CHANNELS
    ends = [*range(0, count - rest + 1, _CHANNELS), *([count - 1] if rest == 2 else [])]
    ends += [count] if rest else []
    return list(itertools.pairwise(ends))
