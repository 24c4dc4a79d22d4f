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
from typing import Any, Literal

from dataflow.errors import CodecError, ConfigError, DatapointError, MissingData
from dataflow.formats.example import Features
from dataflow.formats.handle import Handles
from dataflow.formats.records import Decoder, check_record, encoder
from dataflow.formats.saving import datapoints
from dataflow.sources.keyed import KeyedSource
from dataflow.stages.map import MapData
from dataflow.stores import local_files
from dataflow.utils.arguments import shortened
from dataflow.utils.draft import draft
from dataflow.utils.extras import need
from dataflow.utils.patterns import Paths
from dataflow.utils.unpacked import packing_of, unpacked

__all__ = ["TFRecordData", "TFRecordSerializer"]

_AHEAD = 1024  # heads that are read at a time

# A key is the number of a file and a place in it.
_OFFSET_BITS = 48
_OFFSETS = (1 << _OFFSET_BITS) - 1
_MOST_FILES = 1 << 15
_PACKED = ("gzip", "zlib")  # as TensorFlow writes them

_HEAD = struct.Struct("<QI")
_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")


class TFRecordData(KeyedSource):
    """The records of TFRecord files as datapoints ``[record]``, of bytes, or of what is in them.

    ::

        ds = df.TFRecordData("train-*.tfrecord", features=["image/encoded", "label"], shuffle=True)
        ds = ds.map(lambda dp: [df.image.decode_image(dp[0]), dp[1]])

    Where each record is, is read from the frames' heads, 12 bytes each: of all at once, or where
    `size` is given and nothing is shuffled, as far as the records are asked for. Files that are
    packed, with gzip or zlib, are unpacked into the cache folder first, once.

    Args:
        path: a file, a pattern (``train-*.tfrecord``, ``train-{000..099}``), or several; those of
            object stores (``s3://…``) are copied into the cache folder first.
        size: how many records there are, to know without looking; where there are more, only so
            many of the first are used.
        shuffle: a new random order each epoch, over all files.
        features: the records are of the kind ``tf.train.Example``, and a datapoint has these of
            their features: ``"label"`` for the only value of one, bytes, int or float;
            ``"boxes[]"`` for all values, a list of bytes or an array of int64 or float32;
            ``"text?"`` for None where there is none. ``"all"``: dicts of all features, each with
            all values.

    Raises:
        MissingData: there is no such file.
        CodecError: one is no TFRecord file. While it is read: a part of it is missing or damaged,
            there are fewer records than `size`, or a record is no example.
    """

    _consumer_only = ("_offsets",)

    def __init__(
        self,
        path: Paths,
        size: int | None = None,
        shuffle: bool = False,
        *,
        features: Sequence[str] | Literal["all"] | None = None,
    ) -> None:
        if size is not None and (not isinstance(size, int) or size < 0):
            raise ConfigError(f"size={size!r} must be a number of records")
        self.files = local_files(path)
        if len(self.files) >= _MOST_FILES:
            raise ConfigError(f"path={shortened(path)} names {len(self.files)} files")
        self.filename = self.files[0]
        self.shuffle = bool(shuffle)
        need("crc32c")
        self._handles = Handles(_File, self.files)
        self._features = None if features is None else Features(features)
        self._offsets = _Offsets(Handles(_File, self.files), size)
        for number in range(len(self.files)):
            with self._offsets.handles.once(number) as file:
                if file.size:
                    file.length(0)  # whether it is one at all

    def keys(self) -> Sequence[int]:
        return self._offsets

    def loader(self) -> Callable[[int], Any]:
        return _Reader(self._handles, self._features)

    def close(self) -> None:
        super().close()
        self._handles.close()


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
        path: Paths,
        size: int | None = None,
        *,
        shuffle: bool = False,
        allow_pickle: bool = False,
    ) -> MapData:
        """The datapoints of a file that `save`, or tensorpack's, has written.

        Args:
            path: the file, or several.
            size: how many there are, see `TFRecordData`.
            shuffle: a new random order each epoch.
            allow_pickle: unpickle the records where they are pickled.

        Raises:
            MissingData: there is no such file.
            CodecError: it is none, or pickled without `allow_pickle`.
        """
        source = TFRecordData(path, size, shuffle)
        with source._handles.once(0) as file:
            if file.size:
                check_record(file.record(0), source.filename, allow_pickle=allow_pickle)
        return MapData(source, Decoder(source.filename, allow_pickle))


class _File:
    """An open file; of a packed one, its unpacked copy."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            with open(path, "rb") as file:
                head = file.read(_HEAD.size)
        except IsADirectoryError:
            what = f"{path} is a folder: name its files, {path}/*.tfrecord"
            raise MissingData(what) from None
        kind = None if _is_head(head) else packing_of(head)
        place = path if kind not in _PACKED else unpacked(path, kind)
        self._file = open(place, "rb", buffering=0)  # noqa: SIM115 - the handle closes it
        self.size = os.fstat(self._file.fileno()).st_size

    def length(self, offset: int) -> int:
        """The length of the record whose frame begins at `offset`."""
        head = self._read(_HEAD.size, offset)
        if not _is_head(head):
            if offset:
                raise self._error("corrupt", f"no record begins at byte {offset}")
            known = packing_of(head) or "some other format"
            raise self._error("foreign", f"this is no TFRecord file, but {known}")
        length = int(_HEAD.unpack(head)[0])
        if offset + _HEAD.size + length + _CHECKSUM.size > self.size:
            raise self._truncated(offset)
        return length

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
    """Number of a file and offset of a record's frame, as one number → datapoint."""

    def __init__(self, handles: Handles, features: Features | None) -> None:
        self._handles = handles
        self._features = features

    def __call__(self, place: int) -> Any:
        number, offset = place >> _OFFSET_BITS, place & _OFFSETS
        with self._handles.use(number) as file:
            record = file.record(offset)
        if self._features is None:
            return [record]
        try:
            return self._features(record)
        except DatapointError as error:
            path = self._handles.paths[number]
            what = f"{path}: the record at byte {offset}: {error}"
            raise type(error)(what, reason=error.reason, url=path) from error


class _Offsets(Sequence[int]):
    """Where the frames begin, 8 bytes each; read as far as somebody asked.

    Args:
        handles: of the files.
        size: how many to tell of; None for all that there are.
    """

    def __init__(self, handles: Handles, size: int | None) -> None:
        self.handles = handles
        self._size = size
        self._known = array("Q")
        self._file = self._next = 0
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
        with self._lock:
            enough = math.inf if wanted is None else wanted + _AHEAD
            while self._file < len(self.handles.paths):
                self._look_into(self._file, enough)
                if len(known) >= enough:
                    break
                self._file, self._next = self._file + 1, 0
            if wanted is not None and len(known) < wanted:
                paths = self.handles.paths
                where = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
                what = f"{where}: there are {len(known)} records, fewer than size={self._size}"
                raise CodecError(what, reason="truncated", url=paths[-1])
        return len(known)

    def _look_into(self, number: int, enough: float) -> None:
        known, base = self._known, number << _OFFSET_BITS
        with self.handles.once(number) as file:
            while len(known) < enough and self._next < file.size:
                length = file.length(self._next)
                known.append(base | self._next)
                self._next += _HEAD.size + length + _CHECKSUM.size

    def __getstate__(self) -> tuple[Handles, int | None]:
        return self.handles, self._size

    def __setstate__(self, state: tuple[Handles, int | None]) -> None:
        self.__init__(*state)  # type: ignore[misc]


def _is_head(head: bytes) -> bool:
    """Whether a frame begins so."""
    if len(head) < _HEAD.size:
        return False
    return bool(_masked(head[: _LENGTH.size]) == _CHECKSUM.unpack_from(head, _LENGTH.size)[0])


def _masked(data: bytes) -> int:
    """The checksum of the format: CRC-32C, rotated right by 15 bits, plus a constant."""
    crc = need("crc32c").crc32c(data)
    return int(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
