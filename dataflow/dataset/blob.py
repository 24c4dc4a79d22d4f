"""Arrays in Caffe's protocol buffers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["read_blob"]

# Fields of BlobProto (caffe.proto). `shape` has one field, `dim`.
_NUM, _CHANNELS, _HEIGHT, _WIDTH, _DATA, _SHAPE = 1, 2, 3, 4, 5, 7
# Wire types of protocol buffers (https://protobuf.dev/programming-guides/encoding/).
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_blob(message: bytes) -> npt.NDArray[np.float32]:
    """The array of a BlobProto, such as ``imagenet_mean.binaryproto``.

    Args:
        message: the serialised message; of shape (num, channels, height, width), or as it says.

    Raises:
        ValueError: it is no such message.
    """
    sizes: dict[int, int] = {}
    shape: list[int] = []
    data: list[bytes] = []
    for field, value in _fields(message):
        if field in (_NUM, _CHANNELS, _HEIGHT, _WIDTH) and isinstance(value, int):
            sizes[field] = value
        elif field == _DATA and isinstance(value, bytes):
            data.append(value)  # all of them at once, or one by one
        elif field == _SHAPE and isinstance(value, bytes):
            for _, dim in _fields(value):
                shape += [dim] if isinstance(dim, int) else _varints(dim)
    shape = shape or [sizes.get(field, 0) for field in (_NUM, _CHANNELS, _HEIGHT, _WIDTH)]
    octets = b"".join(data)
    if len(octets) != 4 * math.prod(shape):
        raise ValueError(f"{len(octets)} bytes of float32 do not fit the shape {shape}")
    return np.frombuffer(octets, "<f4").reshape(shape).astype(np.float32)


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field: an int, or the bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        field, kind = key >> 3, key & 7
        if kind == _VARINT:
            number, at = _varint(message, at)
            yield field, number
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
        if at + size > len(message):
            raise ValueError(f"it ends within field {field}")
        yield field, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("it ends within a number")
        value |= (message[at] & 0x7F) << shift
        at += 1
        if not message[at - 1] & 0x80:
            return value, at
    raise ValueError(f"a number of more than 64 bits before byte {at}")


def _varints(message: bytes) -> list[int]:
    found, at = [], 0
    while at < len(message):
        number, at = _varint(message, at)
        found.append(number)
    return found
