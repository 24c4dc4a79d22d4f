"""Datapoints as records: what the serializers put into files, one a datapoint."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dataflow.codec import msgpack_numpy
from dataflow.epoch import Datapoint
from dataflow.errors import CodecError, ConfigError

__all__ = ["Decoder", "check_record", "decode_record", "encoder", "is_pickle"]


def encoder(format: str) -> Callable[[Any], bytes]:
    """How to make records.

    Args:
        format: ``"msgpack"``, see `dataflow.codec.msgpack_numpy`; or ``"pickle"``.

    Raises:
        ConfigError: for any other.
    """
    if format == "msgpack":
        return msgpack_numpy.encode
    if format == "pickle":
        return _pickled
    raise ConfigError(f'format={format!r} must be "msgpack" or "pickle"')


def _pickled(value: Any) -> bytes:
    return pickle.dumps(value, protocol=-1)


def is_pickle(record: bytes | memoryview) -> bool:
    """Whether the bytes are a pickle of protocol 2 or later.

    In msgpack the first of them alone is an empty map, and nothing may follow it.
    """
    return record[:1] == b"\x80" and len(record) > 1


def check_record(record: bytes, path: str, *, allow_pickle: bool) -> None:
    """Refuse pickles, unless they are allowed.

    Raises:
        CodecError: with the reason ``pickle``; says what to do.
    """
    if is_pickle(record) and not allow_pickle:
        raise CodecError(
            f"{path} has pickled records, which can run any code when they are loaded: give "
            "allow_pickle=True where you trust the file",
            reason="pickle",
            url=path,
        )


@dataclass(frozen=True)
class Decoder:
    """Makes a datapoint of its record, the last component of what a source of records gives.

    Attributes:
        path: the file, for messages.
        allow_pickle: unpickle what is pickled.

    Raises:
        CodecError: when called: the record cannot be decoded, or must not be.
    """

    path: str
    allow_pickle: bool = False

    def __call__(self, found: list[Any]) -> Datapoint:
        check_record(found[-1], self.path, allow_pickle=self.allow_pickle)
        try:
            record = found[-1]
            return pickle.loads(record) if is_pickle(record) else msgpack_numpy.decode(record)
        except Exception as error:  # a broken pickle raises anything
            reason = error.reason if isinstance(error, CodecError) else "corrupt"
            what = f"{self.path}: a record cannot be decoded: {error}"
            raise CodecError(what, reason=reason, url=self.path) from error


def decode_record(record: bytes, *, allow_pickle: bool = False) -> Datapoint:
    """The datapoint in one record of a serializer's file, for those who read the file themselves.

    ::

        ds = df.LMDBData("train.lmdb", keys=my_keys)
        ds = ds.map(lambda dp: df.formats.decode_record(dp[1]))

    Args:
        record: as `LMDBSerializer`, `TFRecordSerializer` or `NumpySerializer` write it, or
            tensorpack's.
        allow_pickle: unpickle it where it is pickled; that can run any code.

    Raises:
        CodecError: it cannot be decoded, or is pickled without `allow_pickle`.
    """
    return Decoder("the data", allow_pickle)([record])
