"""Datapoints as frames of bytes that another host, and another language, can read.

A run of datapoints becomes a table of its arrays and some frames (see ``docs/wire.md``):

- the *body*, a msgpack array of the datapoints in which ext type 1 stands for the next array,
- the *block*, the bytes of all small arrays one behind another, where there are any,
- one frame for each array of at least `INLINE` bytes: its own memory, uncopied.

Nothing in them can make the reader run code, and every size is checked against the bytes that
are there before anything is allocated. Arrays are C-contiguous; their dtypes are bool, integers,
floats and complex numbers of either byte order, and strings of fixed length (S, U).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from dataflow.codec import careful
from dataflow.codec.plain_msgpack import plain_msgpack
from dataflow.errors import CodecError

__all__ = ["INLINE", "MAX_BODY", "MAX_KEYS", "MAX_TUPLES", "Encoder", "Payload", "bad", "decode"]

INLINE = 16384
"""Bytes from which on an array has a frame of its own. Part of the format."""

MAX_BODY = 64 << 20
"""Bytes of a body, at most: a byte of msgpack can become an object of 64."""

MAX_RANK = 32

MAX_KEYS = 8192
"""Keys of a map that are neither text nor bytes, at most: numbers can be chosen so that each one
is looked for where all others are."""

MAX_TUPLES = 32
"""Tuples within tuples: each level takes 50 kB of the stack while it is read."""

_ARRAY, _SCALAR, _TUPLE = 1, 2, 3  # ext types of msgpack

_NUMBERS = ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
_DTYPES = {
    name: np.dtype(name)
    for name in ("|b1", "|i1", "|u1", *(order + number for order in "<>" for number in _NUMBERS))
}
_STRINGS = re.compile(r"\|S[1-9]\d{0,6}|[<>]U[1-9]\d{0,6}", re.ASCII)
_LAST_CHARACTER = 0x10FFFF

# What the packer and unpacker themselves raise on a value or on bytes that they cannot handle.
_FAULTS = (ValueError, TypeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Payload:
    """A run of datapoints.

    Attributes:
        count: how many.
        table: dtype and shape of each array, in order of appearance.
        frames: body, block if there is one, large arrays.
    """

    count: int
    table: list[Any]
    frames: list[Any]

    @property
    def size(self) -> int:
        """Bytes of the frames."""
        return sum(map(size_of, self.frames))


class Encoder:
    """Collects datapoints until they are enough for a message.

    Args:
        limit: bytes of a message, at most.
        copy: copy large arrays, too, for flows that write into them again later.
        tuples: they arrive as tuples; otherwise as lists.

    Attributes:
        count: datapoints so far.
        size: bytes of frames so far.
    """

    def __init__(self, limit: int, *, copy: bool = False, tuples: bool = False) -> None:
        self._limit = limit
        self._copy = copy
        self._tuples = tuples
        # One for each tuple in a tuple: a packer cannot be interrupted.
        self._packs = [self._packer()]
        self._depth = 0
        self._clear()

    def _packer(self) -> Callable[[Any], bytes]:
        pack: Callable[[Any], bytes]
        pack = plain_msgpack().Packer(default=self._other, strict_types=True).pack
        return pack

    def _clear(self) -> None:
        self._points: list[bytes] = []
        self._table: list[Any] = []
        self._small: list[bytes] = []
        self._large: list[Any] = []
        self.count = self.size = 0

    def add(self, datapoint: Any) -> None:
        """Take one more datapoint.

        Raises:
            CodecError: where a part of it has no form in this format, or it is too large; the
                datapoints before it stay.
        """
        marks = len(self._table), len(self._small), len(self._large), self.size
        try:
            packed = self._packs[0](datapoint)
            self.size += len(packed)
            if len(packed) > MAX_BODY - 5:
                bad("size", f"{len(packed)} bytes beside arrays, more than {MAX_BODY}")
            if self.size - marks[3] > self._limit:
                size = self.size - marks[3]
                bad("size", f"{size} bytes, more than {self._limit} (see max_message_bytes)")
        except _FAULTS as error:
            del self._table[marks[0] :], self._small[marks[1] :], self._large[marks[2] :]
            self.size = marks[3]
            self._blame(datapoint, error)
        self._points.append(packed)
        self.count += 1

    def take(self) -> Payload:
        """All that was collected; the encoder is empty again."""
        body = b"".join([b"\xdd", self.count.to_bytes(4, "big"), *self._points])
        block = [b"".join(self._small)] if self._small else []
        payload = Payload(self.count, self._table, [body, *block, *self._large])
        self._clear()
        return payload

    def _other(self, value: Any) -> Any:
        """What msgpack has no type for."""
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, np.generic):
            return _plain_string(value) if value.dtype.kind in "SU" else _scalar(value)
        if type(value) is int:
            bad("range", f"the integer {str(value)[:30]} needs more than 64 bits")
        # Subclasses, and tuples: as what they are made of.
        if isinstance(value, Mapping):
            return dict(value)
        if self._tuples and type(value) is tuple:
            if self._depth == MAX_TUPLES:
                bad("type", f"more than {MAX_TUPLES} tuples within each other")
            self._depth += 1
            if self._depth == len(self._packs):
                self._packs.append(self._packer())
            try:
                return plain_msgpack().ExtType(_TUPLE, self._packs[self._depth](list(value)))
            finally:
                self._depth -= 1
        if isinstance(value, (list, tuple)):
            return list(value)
        if isinstance(value, (int, float)):
            return int(value) if isinstance(value, int) else float(value)
        if isinstance(value, bytes):
            return bytes(value)
        if isinstance(value, str):
            return str.__str__(value)
        bad("type", f"a {type(value).__name__} cannot be sent; make it arrays, numbers or text")

    def _array(self, array: np.ndarray) -> Any:
        name = array.dtype.str
        if isinstance(array, np.ma.MaskedArray):
            bad("dtype", "a masked array cannot be sent; send its data and mask")
        if _dtype(name) is None:
            hint = "; objects would have to be pickled" if array.dtype.hasobject else ""
            bad("dtype", f"an array of dtype {array.dtype} cannot be sent{hint}")
        if array.ndim > MAX_RANK:
            bad("shape", f"an array of {array.ndim} dimensions, more than {MAX_RANK}")
        if array.nbytes < INLINE:
            if array.nbytes:
                self._small.append(array.tobytes())
        elif self._copy or not array.flags.c_contiguous:
            self._large.append(_bytes_of(array.copy(order="C")))
        else:
            self._large.append(_bytes_of(array))
        self._table.append([name, array.shape])
        self.size += array.nbytes
        return plain_msgpack().ExtType(_ARRAY, b"")

    def _blame(self, datapoint: Any, error: Exception) -> NoReturn:
        """Say which component it was."""
        where = "the datapoint"
        if isinstance(datapoint, (list, tuple, Mapping)):
            keys = list(datapoint) if isinstance(datapoint, Mapping) else range(len(datapoint))
            probe = Encoder(self._limit, tuples=self._tuples)
            for key in keys:
                try:
                    probe._packs[0](datapoint[key])
                except _FAULTS:
                    where = f"component {key!r}"
                    break
        told = CodecError(f"{where}: {error}", reason=getattr(error, "reason", "type"))
        raise told from None


def decode(
    count: int, table: Sequence[Any], frames: Sequence[Any], *, tuples: bool = False
) -> list[Any]:
    """The datapoints of a message.

    Large arrays are views of their frames, which they keep alive, and writable where the frames
    are; small ones have memory of their own.

    Args:
        count: how many there should be.
        table: [dtype, shape] of each array.
        frames: body, block, large arrays.
        tuples: there may be some.

    Raises:
        CodecError: where they are anything else than what `Encoder` makes.
    """
    if not frames:
        bad("length", "no body")
    body = _view(frames[0])
    if len(body) > MAX_BODY:
        bad("size", f"a body of {len(body)} bytes, more than {MAX_BODY}")
    arrays = _arrays(table, frames[1:])
    place = depth = 0

    def extended(code: int, data: bytes) -> Any:
        nonlocal place, depth
        if code == _SCALAR:
            return _read_scalar(data)
        if tuples and code == _TUPLE:
            if depth == MAX_TUPLES:
                bad("body", f"more than {MAX_TUPLES} tuples within each other")
            depth += 1
            inside = unpack(data, once=True)
            depth -= 1
            return tuple(inside) if type(inside) is list else bad("body", "a tuple that is none")
        if code != _ARRAY or data:
            bad("body", f"ext type {code} with {len(data)} bytes")
        if place == len(arrays):
            bad("count", f"more than the {len(arrays)} arrays of the table")
        place += 1
        return arrays[place - 1]

    def unpack(data: Any, once: bool = False) -> Any:
        first, level = place, depth

        def begin() -> Callable[[int, bytes], Any]:
            nonlocal place, depth
            place, depth = first, level
            return extended

        return careful.unpack(data, begin, mapping, once=once)

    def mapping(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        return _mapping(pairs, (*_KEYS, tuple) if tuples else _KEYS)

    try:
        found = unpack(body)
    except CodecError:
        raise
    except (*_FAULTS, plain_msgpack().UnpackException) as error:
        bad("body", f"not msgpack: {type(error).__name__}: {error}")
    if type(found) is not list or len(found) != count:
        bad("count", f"not the {count} datapoints that were announced")
    if place < len(arrays):
        bad("count", f"fewer than the {len(arrays)} arrays of the table")
    return found


def bad(reason: str, text: str) -> NoReturn:
    """Raise a `CodecError` with its reason."""
    error = CodecError(text, reason=reason)
    raise error


def size_of(frame: Any) -> int:
    """Bytes of a frame, an array of bytes included."""
    return int(frame.nbytes) if isinstance(frame, (np.ndarray, memoryview)) else len(frame)


# -- arrays -----------------------------------------------------------------------------------


def _arrays(table: Sequence[Any], frames: Sequence[Any]) -> list[np.ndarray]:
    """Check the table against the frames, and only then make the arrays."""
    rows = [_row(row) for row in table]
    small = [size for _, _, size in rows if size < INLINE]
    large = [size for _, _, size in rows if size >= INLINE]
    sizes = ([sum(small)] if any(small) else []) + large
    if sizes != [len(_view(frame)) for frame in frames]:
        bad("length", f"{len(frames)} frames that do not have the sizes of the arrays")
    own = iter(frames[len(frames) - len(large) :])
    block = _view(frames[0]) if any(small) else b""
    arrays, offset = [], 0
    for dtype, shape, size in rows:
        if size >= INLINE:
            array = np.frombuffer(_view(next(own)), dtype)
            whole = array.flags.aligned and array.flags.writeable
            array = array if whole else array.copy()
        else:
            raw = block[offset : offset + size]
            array = np.frombuffer(raw, dtype).copy() if size else np.empty(0, dtype)
            offset += size
        _check_values(array)
        arrays.append(array.reshape(shape))
    return arrays


def _row(row: Any) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """dtype, shape and size of an array."""
    if (
        type(row) is not list
        or len(row) != 2
        or type(row[0]) is not str
        or type(row[1]) is not list
    ):
        bad("header", "a row of the table is not [dtype, shape]")
    name, shape = row
    dtype = _dtype(name)
    if dtype is None:
        bad("dtype", f"dtype {careful.brief(name)} is not one of those allowed")
    if len(shape) > MAX_RANK:
        bad("shape", f"{len(shape)} dimensions, more than {MAX_RANK}")
    if not all(type(extent) is int and 0 <= extent < 1 << 40 for extent in shape):
        bad("shape", f"shape [{', '.join(map(careful.brief, shape[:5]))}, …]")
    # NumPy multiplies the extents of empty arrays, too, zeros apart.
    if math.prod(extent or 1 for extent in shape) * dtype.itemsize >= 1 << 60:
        bad("shape", f"shape {str(shape)[:80]} is too large")
    return dtype, tuple(shape), math.prod(shape) * dtype.itemsize


def _dtype(name: str) -> np.dtype[Any] | None:
    """The dtype of that name, if it is allowed."""
    found = _DTYPES.get(name)
    if found is None and _STRINGS.fullmatch(name):
        return np.dtype(name)
    return found


def _check_values(array: np.ndarray) -> None:
    """Bools and characters, unlike numbers, cannot be any bytes."""
    if array.dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
        bad("value", "a bool that is neither 0 nor 1")
    if array.dtype.kind == "U" and array.size:
        codes = array.view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
        if codes.max() > _LAST_CHARACTER:
            bad("value", "text with a character that does not exist")


def _bytes_of(array: np.ndarray) -> np.ndarray:
    """The memory of a contiguous array."""
    flat: np.ndarray = array.reshape(-1).view(np.ndarray).view(np.uint8)
    return flat


def _view(frame: Any) -> memoryview:
    """The bytes of a frame, whatever holds them."""
    view = memoryview(getattr(frame, "buffer", frame))
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


_KEYS = (int, float, np.bool_, np.integer, np.floating, type(None))


def _mapping(pairs: list[tuple[Any, Any]], kinds: tuple[type, ...]) -> dict[Any, Any]:
    """A map that has keys of other kinds than text."""
    others = [key for key, _ in pairs if type(key) is not str and type(key) is not bytes]
    if len(others) > MAX_KEYS:
        bad("body", f"a map with {len(others)} keys that are no text, more than {MAX_KEYS}")
    for key in others:
        if not isinstance(key, kinds):
            bad("body", f"{careful.brief(key)} as a key")
    return dict(pairs)


# -- NumPy's scalars --------------------------------------------------------------------------


def _scalar(value: np.generic) -> Any:
    """Length of the dtype's name, the name, the bytes."""
    name = value.dtype.str
    if name not in _DTYPES:
        bad("dtype", f"a NumPy scalar of dtype {value.dtype} cannot be sent")
    return plain_msgpack().ExtType(_SCALAR, bytes([len(name)]) + name.encode() + value.tobytes())


def _read_scalar(data: bytes) -> Any:
    length = data[0] + 1 if data else 0
    dtype = _DTYPES.get(data[1:length].decode("ascii", "replace"))
    if dtype is None or len(data) - length != dtype.itemsize:
        bad("body", f"a scalar of {len(data)} bytes that is none")
    array = np.frombuffer(data, dtype, 1, length)
    _check_values(array)
    return array[0]


def _plain_string(value: Any) -> str | bytes:
    return bytes(value) if value.dtype.kind == "S" else str.__str__(value)
