"""Values as msgpack, with arrays the way that the package msgpack-numpy writes them.

An array is a map ``{b"nd": True, b"type": b"kind": b"shape": b"data":}``, a NumPy scalar
``{b"nd": False, b"type": b"data":}``, a complex number ``{b"complex": True, b"data": "(1+2j)"}``;
``type`` is what `numpy.dtype.str` says, or `numpy.dtype.descr` where ``kind`` is ``b"V"``. The
keys may be text, too. Tuples come back as lists.

msgpack-numpy itself unpickles arrays of objects. Here there is no way to anything but plain values
and arrays of numbers, booleans and strings of fixed size, so the bytes may come from anybody.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dataflow.codec import careful
from dataflow.codec.careful import brief
from dataflow.codec.plain_msgpack import plain_msgpack
from dataflow.errors import CodecError

__all__ = ["decode", "encode"]

_RANKS = 32
_SIMPLE = re.compile(r"[<>|=][biufcSU][0-9]{1,9}")
_ARRAYS = ({"nd", "type", "kind", "shape", "data"}, {"nd", "type", "shape", "data"})
_SCALAR = {"nd", "type", "data"}
_COMPLEX = {"complex", "data"}
_LARGEST = 1 << 60  # of integer keys: below this each has a hash of its own


def encode(value: Any) -> bytes:
    """The bytes of a value: None, bool, int, float, complex, str, bytes, lists, dicts, arrays.

    Raises:
        CodecError: there is something else in it, such as an array of objects.
    """
    try:
        _check_keys(value)
        packed: bytes = plain_msgpack().Packer(default=_described, use_bin_type=True).pack(value)
    except CodecError:
        raise
    except RecursionError as error:
        raise CodecError("the value is nested too deeply", reason="unsupported") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise CodecError(f"msgpack cannot hold this: {error}", reason="unsupported") from error
    return packed


def decode(data: Any) -> Any:
    """The value of bytes that `encode`, or anybody, has written. Arrays are new and writable.

    Args:
        data: any buffer of them.

    Raises:
        CodecError: for whatever is not right with them. There is no other exception.
    """
    try:
        return careful.unpack(data, lambda: _refused, _restored, always=True)
    except CodecError:
        raise
    except Exception as error:  # msgpack and NumPy have many, for what bytes can be made to say
        what = str(error) or type(error).__name__
        raise CodecError(f"these bytes are no msgpack: {what}", reason="corrupt") from error


# -- writing -----------------------------------------------------------------------------------


def _check_keys(value: Any) -> None:
    if isinstance(value, dict):
        for key in value:
            _check_key(key)
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return
    for item in value:
        if isinstance(item, (dict, list, tuple)):
            _check_keys(item)


def _check_key(key: Any) -> None:
    if isinstance(key, int):
        if abs(key) < _LARGEST:
            return
    elif isinstance(key, (str, bytes)):
        return
    what = "keys of dicts must be str, bytes or integers below 2**60"
    raise CodecError(f"{what}, not {brief(key)}", reason="unsupported")


def _described(value: Any) -> dict[bytes, Any]:
    """The map that stands for what msgpack does not know."""
    if isinstance(value, np.ma.MaskedArray):
        what = "a masked array has no form in msgpack: save its data and its mask"
        raise CodecError(f"{what}; format='pickle' takes it", reason="unsupported")
    if isinstance(value, np.ndarray):
        dtype = value.dtype
        described, kind = (dtype.descr, b"V") if dtype.names else (dtype.str, b"")
        if not _survives(dtype, described):
            what = f"an array of dtype {dtype} (numbers, bool and fixed-size strings go"
            raise CodecError(f"{what}; format='pickle' takes the rest)", reason="unsupported")
        return {
            b"nd": True,
            b"type": described,
            b"kind": kind,
            b"shape": _shape(value.shape),
            # (Buffers cannot have every name of a field.)
            b"data": value.data if value.flags.c_contiguous and not kind else value.tobytes(),
        }
    if isinstance(value, (np.bool_, np.number)) and _SIMPLE.fullmatch(value.dtype.str):
        return {b"nd": False, b"type": value.dtype.str, b"data": value.tobytes()}
    if isinstance(value, complex):
        return {b"complex": True, b"data": repr(value)}
    kind_of = f"{type(value).__module__}.{type(value).__qualname__}"
    raise CodecError(f"msgpack has nothing for a {kind_of}", reason="unsupported")


def _survives(dtype: np.dtype[Any], described: Any) -> bool:
    try:
        return _dtype(described) == dtype
    except CodecError:
        return False


# -- reading -----------------------------------------------------------------------------------


def _refused(code: int, data: bytes) -> Any:
    raise CodecError(f"extension type {code} of msgpack has no meaning here", reason="unsupported")


def _restored(found: Iterable[tuple[Any, Any]]) -> Any:
    """What a map stands for; itself, where it stands for nothing else."""
    # msgpack without its extension module gives a generator, before version 1.1.
    pairs = found if isinstance(found, list) else list(found)
    if len(pairs) <= 5:
        fields = {_text(key): item for key, item in pairs if isinstance(key, (str, bytes))}
        names = fields.keys()
        if names in _ARRAYS and fields["nd"] is True:
            return _array(fields)
        if names == _SCALAR and fields["nd"] is False:
            return _filled((), _dtype(fields["type"]), fields["data"])[()]
        if names == _COMPLEX and fields["complex"] is True:
            return complex(_text(fields["data"])[:100])
    for key, _ in pairs:
        if type(key) is not str:
            _check_key(key)
    return dict(pairs)


def _array(fields: Mapping[str, Any]) -> np.ndarray:
    kind = _text(fields.get("kind", ""))
    if kind not in ("", "V"):
        what = "an array of objects, which would have to be unpickled"
        raise CodecError(what if kind == "O" else f"kind={kind[:20]!r}", reason="unsupported")
    dtype = _dtype(fields["type"])
    if (kind == "V") != (dtype.names is not None):
        raise CodecError(f"dtype {dtype} of kind {kind!r}", reason="corrupt")
    return _filled(_shape(fields["shape"]), dtype, fields["data"])


def _filled(shape: tuple[int, ...], dtype: np.dtype[Any], data: Any) -> np.ndarray:
    expected = math.prod(shape) * dtype.itemsize
    if not isinstance(data, bytes) or len(data) != expected:
        has = f"{len(data)} bytes" if isinstance(data, bytes) else type(data).__name__
        what = f"an array of shape {shape} and dtype {dtype} takes {expected} bytes, not {has}"
        raise CodecError(what, reason="corrupt")
    array = np.ndarray(shape, dtype, buffer=data).copy() if data else np.empty(shape, dtype)
    _check_values(array)
    return array


def _check_values(array: np.ndarray) -> None:
    """Some bytes are no value: NumPy calculates wrongly with a bool of 7."""
    for name in array.dtype.names or ():
        _check_values(array[name])
    if array.dtype.kind == "b":
        most = array.view(np.uint8).max(initial=0)
        if most > 1:
            raise CodecError(f"a bool of {most}", reason="corrupt")
    if array.dtype.kind == "U" and array.size:
        order = array.dtype.byteorder
        points = (
            np.ascontiguousarray(array).reshape(-1).view(np.dtype(np.uint32).newbyteorder(order))
        )
        if points.max() > 0x10FFFF:
            raise CodecError(f"a character of number {points.max()}", reason="corrupt")


def _dtype(described: Any) -> np.dtype[Any]:
    if isinstance(described, (str, bytes)):
        text = _text(described)
        if not _SIMPLE.fullmatch(text):
            raise CodecError(f"dtype {brief(text)} is not taken", reason="unsupported")
        dtype = np.dtype(text)
    elif isinstance(described, (list, tuple)) and all(map(_is_field, described)):
        fields = [(_text(name), _dtype(of), *map(_shape, rest)) for name, of, *rest in described]
        dtype = np.dtype(fields)
    else:
        raise CodecError(f"{brief(described)} is no dtype", reason="corrupt")
    if not dtype.itemsize:
        raise CodecError(f"dtype {dtype} has no size", reason="unsupported")
    return dtype


def _is_field(field: Any) -> bool:
    return (
        isinstance(field, (list, tuple))
        and len(field) in (2, 3)
        and isinstance(field[0], (str, bytes))
    )


def _shape(lengths: Any) -> tuple[int, ...]:
    if (
        not isinstance(lengths, (list, tuple))
        or len(lengths) > _RANKS
        or not all(type(n) is int and n >= 0 for n in lengths)
    ):
        raise CodecError(f"{brief(lengths)} is no shape", reason="corrupt")
    return tuple(lengths)


def _text(name: Any) -> str:
    if isinstance(name, bytes):
        return name.decode("utf-8", "replace")
    if isinstance(name, str):
        return name
    raise CodecError(f"{brief(name)} is no text", reason="corrupt")
