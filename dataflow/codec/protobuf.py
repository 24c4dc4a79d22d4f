"""The wire format of protocol buffers, as far as Caffe's files need it.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator

from dataflow.errors import CodecError

__all__ = ["fields", "numbers"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field: an int, or the bytes of anything else.

    Raises:
        CodecError: it is no such message, or its end is missing.
    """
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        field, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield field, value
            continue
        if kind == _BYTES:
            length, place = _varint(message, place)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise CodecError(f"wire type {kind} is none of protobuf's", reason="corrupt")
        if place + length > len(message):
            raise CodecError(f"it ends within field {field}", reason="truncated")
        yield field, message[place : place + length]
        place += length


def numbers(packed: bytes) -> list[int]:
    """The numbers of a packed field."""
    found, place = [], 0
    while place < len(packed):
        number, place = _varint(packed, place)
        found.append(number)
    return found


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and the place behind it."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise CodecError("it ends within a number", reason="truncated")
        byte = message[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
    raise CodecError("a number of more than ten bytes", reason="corrupt")
