"""Caffe's databases of images: LMDB with a ``caffe.Datum`` in each record."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from dataflow.codec.protobuf import fields
from dataflow.errors import CodecError, DataFlowError
from dataflow.formats.lmdb import LMDBData, LMDBDataDecoder
from dataflow.image.decode import decode_image

__all__ = ["CaffeLMDB"]

logger = logging.getLogger(__name__)

# The fields of caffe.Datum, by number.
_CHANNELS, _HEIGHT, _WIDTH, _DATA, _LABEL, _FLOATS, _ENCODED = range(1, 8)


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
    for field, value in fields(record):
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
