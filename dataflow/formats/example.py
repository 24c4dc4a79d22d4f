"""Records of TensorFlow's: ``tf.train.Example``, read without TensorFlow.

An example is a message of protocol buffers: a map from names to features, each of which is a list
of bytes, of floats or of ints. See
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/example/feature.proto.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.codec.protobuf import fields
from dataflow.errors import CodecError, ConfigError, DatapointError

__all__ = ["Features", "decode_example"]

_FEATURES, _FEATURE, _KEY, _VALUE, _LIST = 1, 1, 1, 2, 1
_BYTES, _FLOATS, _INTS = 1, 2, 3
_LONGEST = 10  # bytes of a number


def decode_example(record: bytes) -> dict[str, Any]:
    """The features of a ``tf.train.Example`` by their names.

    Args:
        record: as `TFRecordData` has it.

    Returns:
        Lists of bytes, arrays of float32, arrays of int64, each with all values; an empty list
        for a feature that has none.

    Raises:
        CodecError: it is no such message.
    """
    found: dict[str, Any] = {}
    try:
        for entry in _parts(record, _FEATURES, _FEATURE):
            name, value = "", b""
            for number, part in fields(entry):
                if number == _KEY:
                    name = _bytes(part).decode()
                elif number == _VALUE:
                    value = _bytes(part)
            found[name] = _feature(value)
    except (CodecError, ValueError) as error:  # of names that are no UTF-8, floats of three bytes
        what = f"this record is no tf.train.Example: {error}"
        raise CodecError(what, reason=getattr(error, "reason", "corrupt")) from error
    return found


class Features:
    """Picks features of an example.

    Args:
        names: of those that are wanted: ``"label"`` for its only value, ``"boxes[]"`` for all of
            its values; with ``?`` at the end, None stands for one that is missing. ``"all"``: a
            dict of all, as of `decode_example`.

    Raises:
        ConfigError: they are no names.
    """

    def __init__(self, names: Sequence[str] | str) -> None:
        if names != "all" and (isinstance(names, str) or not all(map(str, names)) or not names):
            raise ConfigError(f'features={names!r} must be a list of names, or "all"')
        self._picks = None if names == "all" else [_pick(name) for name in names]

    def __call__(self, record: bytes) -> Any:
        example = decode_example(record)
        if self._picks is None:
            return example
        return [_picked(example, *pick) for pick in self._picks]


def _pick(text: str) -> tuple[str, bool, bool]:
    """Name, whether all values are wanted, and whether it may be missing."""
    bare = text.removesuffix("?")
    return bare.removesuffix("[]"), bare.endswith("[]"), bare != text


def _picked(example: dict[str, Any], name: str, whole: bool, optional: bool) -> Any:
    values = example.get(name)
    if values is None or not len(values):
        if optional:
            return None
        if values is None:
            has = ", ".join(map(repr, sorted(example))) or "none at all"
            what = f"the example has no feature {name!r}, but {has}"
            raise DatapointError(what, reason="missing")
    if whole:
        return values
    if len(values) != 1:
        what = f"the feature {name!r} has {len(values)} values: for all of them ask for '{name}[]'"
        raise DatapointError(what, reason="missing")
    only = values[0]
    return only if isinstance(only, bytes) else only.item()


def _parts(message: bytes, *path: int) -> list[bytes]:
    """All that is at the end of a path of fields."""
    found = [message]
    for wanted in path:
        found = [_bytes(part) for one in found for number, part in fields(one) if number == wanted]
    return found


def _feature(message: bytes) -> Any:
    values: Any = []
    for kind, part in fields(message):
        pieces = [piece for number, piece in fields(_bytes(part)) if number == _LIST]
        if kind == _BYTES:
            values = [_bytes(piece) for piece in pieces]
        elif kind == _FLOATS:  # packed, or one by one
            values = np.frombuffer(b"".join(map(_bytes, pieces)), "<f4").astype(np.float32)
        elif kind == _INTS:
            values = _numbers(pieces)
    return values


def _numbers(pieces: Sequence[int | bytes]) -> NDArray[np.int64]:
    """Numbers of either sign, packed or one by one."""
    single = [piece for piece in pieces if isinstance(piece, int)]
    if single:
        return np.array([number % (1 << 64) for number in single], np.uint64).view(np.int64)
    packed = np.frombuffer(b"".join(map(_bytes, pieces)), np.uint8)
    ends = np.flatnonzero(packed < 0x80)
    if len(packed) and (not len(ends) or ends[-1] != len(packed) - 1):
        raise CodecError("it ends within a number", reason="truncated")
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])[: len(ends)]
    lengths = ends - starts + 1
    if len(lengths) and lengths.max() > _LONGEST:
        raise CodecError("a number of more than ten bytes", reason="corrupt")
    found = np.zeros(len(ends), np.uint64)
    for place in range(int(lengths.max(initial=0))):  # seven bits of each, the lowest first
        has = lengths > place
        bits = (packed[starts[has] + place] & 0x7F).astype(np.uint64)
        found[has] |= bits << np.uint64(7 * place)
    return found.view(np.int64)


def _bytes(part: int | bytes) -> bytes:
    if isinstance(part, int):
        raise CodecError("a number where a message should be", reason="corrupt")
    return part
