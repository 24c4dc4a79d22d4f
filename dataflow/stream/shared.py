"""Values that several have: constants and records, which nobody may write into."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

__all__ = ["clamped", "kept", "own", "read_only"]


def own(value: Any) -> Any:
    """The value as one that its receiver may write into, copied where others share its memory.

    Constants and records cannot be written into, nor can views of them. Parts of larger arrays are
    copied, too: they would keep the whole.
    """
    if isinstance(value, np.ndarray):
        flags = value.flags
        return value if flags.writeable and flags.c_contiguous else value.copy()
    if isinstance(value, list):
        return list(map(own, value))
    if type(value) is tuple:
        return tuple(map(own, value))
    if callable(fields := getattr(value, "as_dict", None)):
        value = fields()
    if isinstance(value, dict):
        return {name: own(one) for name, one in value.items()}
    return value


def read_only(value: Any) -> Any:
    """The value; of an array a view that cannot be written into, also in a list."""
    if isinstance(value, list):
        return list(map(read_only, value))
    if type(value) is tuple:
        return tuple(map(read_only, value))
    if isinstance(value, np.ndarray):
        value = value.view()
        value.flags.writeable = False
    return value


def kept(value: Any) -> Any:
    """The value as one that stays as it is: arrays are copied where anybody can write into them."""
    if isinstance(value, list):
        return list(map(kept, value))
    if type(value) is tuple:
        return tuple(map(kept, value))
    if isinstance(value, np.ndarray) and not _frozen(value):
        value = value.copy()
    return read_only(value)


def _frozen(array: Any) -> bool:
    """Whether an array and all that its memory belongs to are read-only, as of a file's pages."""
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    if isinstance(array, mmap.mmap):
        return memoryview(array).readonly
    return array is None or isinstance(array, bytes)


def clamped(index: Any, length: int) -> int:
    """The nearest of the places 0 to `length` - 1."""
    return min(max(int(index), 0), length - 1)
