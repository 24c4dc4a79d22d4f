"""What images' values mean: which types augmentors take, and what is white in each.

Numbers in augmentors' arguments count from 0, black, to 255, white. So do the values of uint8
images, and, as in tensorpack, those of floating point ones, unless `InRange` says otherwise.
"""

from __future__ import annotations

import enum
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Takes", "described", "require_taken", "unit", "white", "white_is"]

WHITE = 255

_WIDE = frozenset(np.dtype(kind) for kind in (np.float16, np.float32, np.float64))
_UINT16 = np.dtype(np.uint16)
_EVERY = 17
"""Of so many rows and columns one is looked at first: enough to see that an image is not dark."""

_stated = threading.local()
_warned: set[str] = set()


class Takes(enum.Enum):
    """Which images an augmentor of values takes, beside uint8 ones."""

    COUNTED = "floating point ones, and uint16 where it is said what is white"
    SCALED = "floating point and uint16 ones: whatever is white, the result is in proportion"
    ANY = "those of any numbers"


@contextmanager
def white_is(value: float) -> Iterator[None]:
    """Within: what is white in images other than uint8 ones, in this thread."""
    before = getattr(_stated, "white", None)
    _stated.white = value
    try:
        yield
    finally:
        _stated.white = before


def white(dtype: Any) -> float:
    """What is white in an image of `dtype`."""
    return unit(dtype) * WHITE


def unit(dtype: Any) -> float:
    """What a difference of one, as arguments count it, is in an image of `dtype`."""
    stated = None if dtype == np.uint8 else getattr(_stated, "white", None)
    return 1.0 if stated is None else stated / WHITE


def require_taken(img: NDArray[Any], what: str, takes: Takes) -> None:
    """Raise unless an augmentor of values takes this image, which is not uint8.

    Warns, once in a process, where floats that look like those in [0, 1] would be taken for such
    in [0, 255]. It is no error, because a dark image in [0, 255] looks the same.

    Args:
        img: the image.
        what: the augmentor's name.
        takes: what it takes.

    Raises:
        TypeError: it does not.
    """
    if takes is Takes.ANY:
        return
    stated = getattr(_stated, "white", None)
    if img.dtype == _UINT16:
        if takes is Takes.SCALED or stated is not None:
            return
        raise TypeError(
            f"{what} counts in [0, 255], and what is white in {described(img)} is not known: "
            f"say it by imgaug.InRange([imgaug.{what}(...)], 65535) (or 4095 for 12 bits), or "
            "convert the image"
        )
    if img.dtype not in _WIDE:
        raise TypeError(
            f"{what} takes images of uint8, float16, float32 or float64, not {described(img)}: "
            "convert it, for example by img.astype(np.float32)"
        )
    if takes is Takes.COUNTED and stated is None and "range" not in _warned and _looks_dark(img):
        _warned.add("range")
        warnings.warn(
            f"{what} got {described(img)} with no value above {float(img.max()):.3g}, and takes "
            f"its white to be 255. If it is 1, say so: imgaug.InRange([imgaug.{what}(...)], 1). "
            "If the image is just dark, imgaug.InRange([...], 255) silences this, which is said "
            "once.",
            RuntimeWarning,
            stacklevel=2,
        )


def described(img: NDArray[Any]) -> str:
    """An image, for people."""
    return f"an image of {img.dtype} and shape {img.shape}"


def _looks_dark(img: NDArray[Any]) -> bool:
    """Whether the values are in [0, 1], and not all 0."""
    if not img.size or img[::_EVERY, ::_EVERY].max() > 1:
        return False
    return bool(0 < img.max() <= 1 and img.min() >= 0)
