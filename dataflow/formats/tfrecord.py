"""TFRecord files, without TensorFlow.

A record is its length (uint64, little-endian), a checksum of those eight bytes, the data, and a
checksum of the data: the CRC-32C of them, rotated and with a constant added, uint32. See
https://www.tensorflow.org/tutorials/load_data/tfrecord.
"""

from __future__ import annotations

import math
import os
import struct
import threading
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from dataflow.errors import CodecError, ConfigError
from dataflow.formats.handle import Handle
from dataflow.formats.records import Decoder, check_record, encoder
from dataflow.formats.saving import datapoints
from dataflow.sources.keyed import KeyedSource
from dataflow.stages.map import MapData
from dataflow.utils.draft import draft
from dataflow.utils.extras import need

__all__ = ["TFRecordData", "TFRecordSerializer"]

_AHEAD = 1024  # heads that are read at a time

_HEAD = struct.Struct("<QI")
_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")


class TFRecordData(KeyedSource):
    """The records of a TFRecord file as datapoints ``[record]``, of bytes.

    Where each record is, is read from the frames' heads, 12 bytes each: of all at once, or where
    `size` is given and nothing is shuffled, as far as the records are asked for.

    Args:
        path: the file, not compressed.
        size: how many records it has, to know without looking; where it has more, only so many of
            the first are used.
        shuffle: a new random order each epoch.

    Raises:
        MissingData: there is no such file.
        CodecError: it is no TFRecord file. While it is read: a part of it is missing or damaged, or
            it has fewer records than `size`.
    """

    _consumer_only = ("_offsets",)

    def __init__(
        self, path: str | os.PathLike[str], size: int | None = None, shuffle: bool = False
    ) -> None:
        if size is not None and (not isinstance(size, int) or size < 0):
            raise ConfigError(f"size={size!r} must be a number of records")
        self.filename = os.fspath(path)
        self.shuffle = bool(shuffle)
        need("crc32c")
        self._handle = Handle(_File, self.filename)
        self._offsets = _Offsets(Handle(_File, self.filename), size)
        with self._handle.once() as file:
            if file.size:
                file.length(0)  # whether it is one at all

    def keys(self) -> Sequence[int]:
        return self._offsets

    def loader(self) -> Callable[[int], list[bytes]]:
        return _Reader(self._handle)

    def close(self) -> None:
        super().close()
        self._handle.close()


class TFRecordSerializer:
    """Dataflows as TFRecord files, with one record a datapoint."""

    @staticmethod
    def save(df: Any, path: str | os.PathLike[str], *, format: str = "msgpack") -> None:
        """Write one epoch, replacing the file when it is finished.

        Args:
            df: the dataflow.
            path: the file.
            format: of the records: ``"msgpack"`` or ``"pickle"``. tensorpack reads the first where
                the environment variable TENSORPACK_SERIALIZE is ``msgpack``, else the second.

        Raises:
            CodecError: a datapoint cannot be encoded.
        """
        encode = encoder(format)
        need("crc32c")
        with draft(path) as place, datapoints(df) as points, open(place, "wb") as file:
            for datapoint in points:
                record = encode(datapoint)
                length = _LENGTH.pack(len(record))
                file.write(length + _CHECKSUM.pack(_masked(length)))
                file.write(record)
                file.write(_CHECKSUM.pack(_masked(record)))

    @staticmethod
    def load(
        path: str | os.PathLike[str],
        size: int | None = None,
        *,
        shuffle: bool = False,
        allow_pickle: bool = False,
    ) -> MapData:
        """The datapoints of a file that `save`, or tensorpack's, has written.

        Args:
            path: the file.
            size: how many there are, see `TFRecordData`.
            shuffle: a new random order each epoch.
            allow_pickle: unpickle the records where they are pickled.

        Raises:
            MissingData: there is no such file.
            CodecError: it is none, or pickled without `allow_pickle`.
        """
        source = TFRecordData(path, size, shuffle)
        with source._handle.once() as file:
            if file.size:
                check_record(file.record(0), source.filename, allow_pickle=allow_pickle)
        return MapData(source, Decoder(source.filename, allow_pickle))


class _File:
    """An open file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - the handle closes it
        self.size = os.fstat(self._file.fileno()).st_size

    def length(self, offset: int) -> int:
        """The length of the record whose frame begins at `offset`."""
        head = self._read(_HEAD.size, offset)
        length, checksum = _HEAD.unpack(head)
        if _masked(head[: _LENGTH.size]) != checksum:
            if offset:
                raise self._error("corrupt", f"no record begins at byte {offset}")
            known = "gzip" if head.startswith(b"\x1f\x8b") else "some other format"
            raise self._error("foreign", f"this is no TFRecord file, but {known}")
        if offset + _HEAD.size + length + _CHECKSUM.size > self.size:
            raise self._truncated(offset)
        return int(length)

    def record(self, offset: int) -> bytes:
        """The record whose frame begins at `offset`."""
        length = self.length(offset)
        start = offset + _HEAD.size
        data = self._read(length + _CHECKSUM.size, start)
        record = data[:length]
        if _masked(record) != _CHECKSUM.unpack_from(data, length)[0]:
            raise self._error("corrupt", f"the record at byte {offset} has a wrong checksum")
        return record

    def _read(self, count: int, offset: int) -> bytes:
        data = os.pread(self._file.fileno(), count, offset)
        while len(data) < count:  # at most 2 GiB come at once
            more = os.pread(self._file.fileno(), count - len(data), offset + len(data))
            if not more:
                raise self._truncated(offset)
            data += more
        return data

    def _truncated(self, offset: int) -> CodecError:
        what = f"the file ends at byte {self.size}, within the record at byte {offset}"
        return self._error("truncated", what)

    def _error(self, reason: str, what: str) -> CodecError:
        return CodecError(f"{self._path}: {what}", reason=reason, url=self._path)

    def close(self) -> None:
        self._file.close()


class _Reader:
    """Offset of a record's frame → datapoint."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def __call__(self, offset: int) -> list[bytes]:
        with self._handle.use() as file:
            return [file.record(offset)]


class _Offsets(Sequence[int]):
    """Where the frames begin, 8 bytes each; read as far as somebody asked.

    Args:
        handle: of the file.
        size: how many to tell of; None for all that there are.
    """

    def __init__(self, handle: Handle, size: int | None) -> None:
        self._handle = handle
        self._size = size
        self._known = array("Q")
        self._next = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        if self._size is None:
            self._size = self._look(None)
        return self._size

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[i] for i in range(len(self))[place]]
        place = range(len(self))[place]
        if place >= len(self._known):
            self._look(place + 1)
        return self._known[place]

    def _look(self, wanted: int | None) -> int:
        """Read heads until so many are known, and some more; returns how many are."""
        known = self._known
        with self._lock, self._handle.once() as file:
            enough = math.inf if wanted is None else wanted + _AHEAD
            while len(known) < enough and self._next < file.size:
                length = file.length(self._next)
                known.append(self._next)
                self._next += _HEAD.size + length + _CHECKSUM.size
            if wanted is not None and len(known) < wanted:
                what = f"it has {len(known)} records, fewer than size={self._size}"
                raise file._error("truncated", what)
        return len(known)

    def __getstate__(self) -> tuple[Handle, int | None]:
        return self._handle, self._size

    def __setstate__(self, state: tuple[Handle, int | None]) -> None:
        self.__init__(*state)  # type: ignore[misc]


def _masked(data: bytes) -> int:
    """The checksum of the format: CRC-32C, rotated right by 15 bits, plus a constant."""
    crc = need("crc32c").crc32c(data)
    return int(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
