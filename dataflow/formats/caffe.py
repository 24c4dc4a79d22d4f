"""Caffe's databases of images: LMDB with a ``caffe.Datum`` in each record."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from dataflow.errors import CodecError, DataFlowError
from dataflow.formats.lmdb import LMDBData, LMDBDataDecoder
from dataflow.image.decode import decode_image

__all__ = ["CaffeLMDB"]

logger = logging.getLogger(__name__)

# The fields of caffe.Datum by number, and the wire types of protobuf
# (https://protobuf.dev/programming-guides/encoding).
_CHANNELS, _HEIGHT, _WIDTH, _DATA, _LABEL, _FLOATS, _ENCODED = range(1, 8)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def CaffeLMDB(  # noqa: N802 - the name that scripts use
    lmdb_path: str | os.PathLike[str],
    shuffle: bool = True,
    keys: str | Iterable[str | bytes] | None = None,
) -> LMDBDataDecoder:
    """A Caffe database as datapoints ``[image, label]``: H×W×C, and an int.

    The pixels are uint8, or float32 where the database has floats; encoded images come as BGR.
    A record that is no image is dropped; the first one is told in a warning.

    Args:
        lmdb_path: see `LMDBData`, as for the others.
        shuffle: a new random order each epoch.
        keys: the keys to read.
    """
    return LMDBDataDecoder(LMDBData(lmdb_path, shuffle, keys), _Decoder())


class _Decoder:
    """Key and record → datapoint, or None."""

    def __init__(self) -> None:
        self._warned = False

    def __call__(self, key: bytes, record: bytes) -> list[Any] | None:
        try:
            return _datapoint(record)
        except DataFlowError as error:
            if not self._warned:
                self._warned = True
                logger.warning(
                    "the record under the key %r is dropped, as further ones like it: %s",
                    key,
                    error,
                )
            return None


def _datapoint(record: bytes) -> list[Any]:
    numbers = {_CHANNELS: 0, _HEIGHT: 0, _WIDTH: 0, _LABEL: 0, _ENCODED: 0}
    data = b""
    floats: list[bytes] = []
    for field, value in _fields(record):
        if field in numbers and isinstance(value, int):
            numbers[field] = value
        elif field == _DATA and isinstance(value, bytes):
            data = value
        elif field == _FLOATS and isinstance(value, bytes):
            floats.append(value)  # one after the other, or packed
    label = numbers[_LABEL]
    label = (label & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)  # int32
    if numbers[_ENCODED]:
        return [decode_image(data), label]
    pixels = data or b"".join(floats)
    dtype = np.dtype(np.uint8 if data else "<f4")
    shape = numbers[_CHANNELS], numbers[_HEIGHT], numbers[_WIDTH]
    size = shape[0] * shape[1] * shape[2] * dtype.itemsize
    if not size or size != len(pixels):
        what = f"{len(pixels)} bytes of pixels for channels, height and width {shape}"
        raise CodecError(what, reason="corrupt")
    image = np.frombuffer(pixels, dtype).reshape(shape).transpose(1, 2, 0)
    return [np.array(image, order="C"), label]


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a protobuf message."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            length, place = _varint(message, place)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise CodecError(f"wire type {kind} is none of protobuf's", reason="corrupt")
        if place + length > len(message):
            raise CodecError("the record ends within a field", reason="truncated")
        yield tag >> 3, message[place : place + length]
        place += length


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and the place behind it."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise CodecError("the record ends within a number", reason="truncated")
        byte = message[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
    raise CodecError("a number of more than ten bytes", reason="corrupt")
