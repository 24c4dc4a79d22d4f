"""Memory that images lived in is kept for the next ones."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from typing import Any

import numpy as np

__all__ = ["keep_freed_memory", "keep_memory_of", "keep_message_memory", "size_of"]

# From malloc.h of the GNU C library.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3

_WORTH = 128 << 10  # what glibc maps by itself, and gives back
_LARGEST = 32 << 20  # for the threshold of mmap
_UNKNOWN = 1 << 20  # bytes of what cannot be looked into: it may well hold much


@functools.cache
def keep_freed_memory() -> None:
    """Ask glibc's allocator to keep up to 64 MB of freed memory instead of returning it at once.

    By default it gives a decoded image's pages back to the kernel as soon as the image is freed,
    and gets them back, zeroed, page fault by page fault, for the next one: about 0.1 ms of CPU an
    image. Whoever set the allocator's environment variables is left alone.
    """
    _tell_allocator({_M_TRIM_THRESHOLD: 64 << 20, _M_MMAP_THRESHOLD: _LARGEST})


@functools.cache
def keep_message_memory() -> None:
    """The same for messages that come over the network, in a thread of libzmq's.

    Such a thread has memory of its own, in pieces of 64 MB, of which glibc gives back each that is
    free for a moment, unless it is to have as much in reserve. Without this, half the time of
    receiving goes into page faults.
    """
    reserve = {_M_TOP_PAD: 64 << 20, _M_TRIM_THRESHOLD: 128 << 20}
    _tell_allocator({**reserve, _M_MMAP_THRESHOLD: _LARGEST})


def _tell_allocator(options: dict[int, int]) -> None:
    chosen = any(name.startswith("MALLOC_") for name in os.environ)
    if sys.platform != "linux" or chosen:
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt") and hasattr(library, "gnu_get_libc_version"):
        for option, value in options.items():
            library.mallopt(option, value)


def keep_memory_of(size: int) -> None:
    """`keep_freed_memory`, if datapoints of so many bytes are worth changing the allocator for."""
    if size >= _WORTH:
        keep_freed_memory()


def size_of(value: Any, depth: int = 8) -> int:
    """Bytes that a datapoint takes, about; many for what is not of NumPy's or Python's types.

    Args:
        value: the datapoint, or a part of it.
        depth: how far to look into lists and dicts, which may hold themselves.
    """
    match value:
        case list() | tuple() | dict() if depth:
            parts = value.values() if isinstance(value, dict) else value
            return sys.getsizeof(value) + sum(size_of(part, depth - 1) for part in parts)
        case np.ndarray() | np.generic():
            return _UNKNOWN if value.dtype.hasobject else value.nbytes
        case None | bool() | int() | float() | complex() | str() | bytes():
            return sys.getsizeof(value)
    return _UNKNOWN
