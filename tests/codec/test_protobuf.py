"""The wire format of protocol buffers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.codec.protobuf import fields, numbers
from dataflow.errors import CodecError


def varint(number: int) -> bytes:
    groups = [number >> shift & 0x7F for shift in range(0, max(1, number.bit_length()), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


@given(st.lists(st.tuples(st.integers(1, 1 << 28), st.integers(0, (1 << 64) - 1) | st.binary())))
def test_what_was_written_is_read(pairs: list[tuple[int, int | bytes]]) -> None:
    message = b"".join(
        varint(field << 3) + varint(value)
        if isinstance(value, int)
        else varint(field << 3 | 2) + varint(len(value)) + value
        for field, value in pairs
    )
    assert list(fields(message)) == pairs


def test_fixed_widths_are_bytes() -> None:
    assert list(fields(b"\x0dabcd\x11efghijkl")) == [(1, b"abcd"), (2, b"efghijkl")]


@given(st.lists(st.integers(0, (1 << 64) - 1)))
def test_packed_numbers(values: list[int]) -> None:
    assert numbers(b"".join(map(varint, values))) == values


@given(st.binary())
def test_hostile_bytes(message: bytes) -> None:
    for read in (fields, numbers):
        try:
            list(read(message))
        except CodecError as error:
            assert error.reason in ("truncated", "corrupt")


@pytest.mark.parametrize("message", [b"\x80" * 11, b"\x0b", b"\x0a\x05abc", b"\x0dabc"])
def test_what_is_refused(message: bytes) -> None:
    with pytest.raises(CodecError):
        list(fields(message))
