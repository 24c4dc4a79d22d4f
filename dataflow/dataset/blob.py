"""Arrays in Caffe's protocol buffers."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dataflow.codec.protobuf import fields, numbers

__all__ = ["read_blob"]

# Fields of BlobProto (caffe.proto). `shape` has one field, `dim`.
_NUM, _CHANNELS, _HEIGHT, _WIDTH, _DATA, _SHAPE = 1, 2, 3, 4, 5, 7


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
    for field, value in fields(message):
        if field in (_NUM, _CHANNELS, _HEIGHT, _WIDTH) and isinstance(value, int):
            sizes[field] = value
        elif field == _DATA and isinstance(value, bytes):
            data.append(value)  # all of them at once, or one by one
        elif field == _SHAPE and isinstance(value, bytes):
            for _, dim in fields(value):
                shape += [dim] if isinstance(dim, int) else numbers(dim)
    shape = shape or [sizes.get(field, 0) for field in (_NUM, _CHANNELS, _HEIGHT, _WIDTH)]
    octets = b"".join(data)
    if len(octets) != 4 * math.prod(shape):
        raise ValueError(f"{len(octets)} bytes of float32 do not fit the shape {shape}")
    return np.frombuffer(octets, "<f4").reshape(shape).astype(np.float32)
