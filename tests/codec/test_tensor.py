"""Datapoints as frames: what goes in comes out, and hostile bytes raise `CodecError` only."""

from __future__ import annotations

import datetime
import enum
import pickle
import re
from collections import OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import dataflow
from dataflow.codec import wire
from dataflow.codec.plain_msgpack import plain_msgpack
from dataflow.codec.tensor import INLINE, MAX_BODY, MAX_KEYS, MAX_TUPLES, Encoder, decode, size_of
from dataflow.errors import CodecError

LIMIT = 1 << 30
msgpack = plain_msgpack()


def encoded(*datapoints: Any, copy: bool = False) -> tuple[int, list[Any], list[Any]]:
    """Count, table and frames, as a reader gets them."""
    encoder = Encoder(LIMIT, copy=copy)
    for datapoint in datapoints:
        encoder.add(datapoint)
    size = encoder.size
    payload = encoder.take()
    assert payload.size == size + 5, "the body's own head"
    table = msgpack.unpackb(msgpack.Packer().pack(payload.table))
    return payload.count, table, [bytearray(frame) for frame in payload.frames]


def through(*datapoints: Any) -> list[Any]:
    return decode(*encoded(*datapoints))


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        right = type(other) is np.ndarray and one.dtype == other.dtype and one.shape == other.shape
        return right and one.tobytes() == other.tobytes()
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if type(one) is float:
        return type(other) is float and (one == other or one != one)
    return type(one) is type(other) and bool(one == other)


dtypes = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    hnp.complex_number_dtypes(endianness="?", sizes=(64, 128)),
    hnp.byte_string_dtypes(endianness="?", min_len=1, max_len=5),
    hnp.unicode_string_dtypes(endianness="?", min_len=1, max_len=5),
)
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(),
    st.text(),
    st.binary(max_size=50),
)
values = st.recursive(
    st.one_of(plain, arrays),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=5), st.integers(0, 99)), inner, max_size=3),
    ),
    max_leaves=8,
)


@settings(max_examples=50)
@given(st.lists(values, min_size=1, max_size=4))
def test_what_goes_in_comes_out(datapoints: list[Any]) -> None:
    assert same(datapoints, through(*datapoints))


@pytest.mark.parametrize("size", [INLINE - 1, INLINE, INLINE + 1])
def test_large_arrays_have_frames_of_their_own(size: int) -> None:
    array = np.arange(size).astype(np.uint8)
    count, table, frames = encoded([array, 1, array[:3]], [array, 2, array[:3]])
    assert len(frames) == (2 if size < INLINE else 4)
    found = decode(count, table, frames)
    assert same([[array, 1, array[:3]], [array, 2, array[:3]]], found)
    found[0][0][:] = 7  # both are writable, and nobody else's
    found[0][2][:] = 9
    assert same([array, 2, array[:3]], found[1])
    assert not size >= INLINE or frames[2][0] == 7, "a view"


def test_nothing_is_copied_unless_asked() -> None:
    array = np.zeros((100, 100, 3), np.uint8)
    for copy in (False, True):
        encoder = Encoder(LIMIT, copy=copy)
        encoder.add([array])
        (large,) = encoder.take().frames[1:]
        assert np.shares_memory(large, array) is not copy
        assert size_of(large) == array.nbytes


def test_arrays_of_all_layouts() -> None:
    array = np.arange(60000, dtype=np.float32).reshape(200, 100, 3)
    odd = [
        array[::2],
        array.T,
        np.asfortranarray(array),
        array[..., ::-1],
        np.broadcast_to(array[:1], (9, 100, 3)),
    ]
    odd += [np.array(5.0), np.empty((0, 3)), np.array(["ab", ""])]
    read_only = array.copy()
    read_only.flags.writeable = False
    found = through([*odd, read_only])[0]
    for one, other in zip([*odd, read_only], found, strict=True):
        np.testing.assert_array_equal(one, other)
        assert type(other) is np.ndarray and other.flags.writeable and other.flags.aligned
        assert other.shape == one.shape and other.dtype == one.dtype


def test_read_only_frames_are_copied() -> None:
    array = np.arange(INLINE, dtype=np.uint8)
    count, table, frames = encoded([array])
    (found,) = decode(count, table, [bytes(frame) for frame in frames])[0]
    assert found.flags.writeable and same(array, found)


class Colour(enum.IntEnum):
    RED = 3


def test_relatives_of_plain_types() -> None:
    point = namedtuple("point", "x y")(1, 2)
    value = [point, (3, (4,)), OrderedDict(a=1), Colour.RED, bytearray(b"x"), memoryview(b"y")]
    assert through(value) == [[[1, 2], [3, [4]], {"a": 1}, 3, b"x", b"y"]]
    scalars = [np.int64(-5), np.float64(0.5), np.float16(2), np.bool_(True), np.complex64(1j)]
    found = through(scalars)[0]
    assert same(scalars, found)
    assert through([np.str_("é"), np.bytes_(b"b")]) == [["é", b"b"]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.array([object()]), "dtype object cannot be sent; objects would have to be pickled"),
        (np.zeros(2, "i4,f4"), "cannot be sent"),
        (np.zeros(2, "M8[s]"), "dtype datetime64"),
        (np.datetime64("2020-01-01"), "NumPy scalar of dtype datetime64"),
        (np.zeros(2, np.longdouble), "cannot be sent"),
        (np.ma.masked_array([1, 2], [True, False]), "masked array"),
        ({1, 2}, "a set cannot be sent; make it arrays, numbers or text"),
        (datetime.datetime(2020, 1, 1), "a datetime cannot be sent"),
        (1 << 64, "needs more than 64 bits"),
        (1j, "a complex"),
        ("\ud800", "surrogates"),
        (len, "builtin_function"),
    ],
)
def test_what_has_no_form_is_refused(value: Any, text: str) -> None:
    encoder = Encoder(LIMIT)
    encoder.add([np.ones(3), 1])
    for datapoint, where in (
        ([0, value], "component 1"),
        ({"a": 0, "b": [value]}, "component 'b'"),
    ):
        with pytest.raises(CodecError, match=re.escape(text)) as caught:
            encoder.add(datapoint)
        assert str(caught.value).startswith(where + ": ")
        assert isinstance(caught.value, ValueError)
    # What was there before is still good.
    payload = encoder.take()
    table = [[name, list(shape)] for name, shape in payload.table]
    assert same([[np.ones(3), 1]], decode(payload.count, table, payload.frames))


def test_nesting_without_end_is_refused() -> None:
    deep: list[Any] = []
    deep.append(deep)
    with pytest.raises(CodecError):
        Encoder(LIMIT).add(deep)


def test_sizes_are_limited() -> None:
    encoder = Encoder(1000)
    with pytest.raises(CodecError, match="more than 1000") as caught:
        encoder.add([np.zeros(2000, np.uint8)])
    assert caught.value.reason == "size"
    assert encoder.count == encoder.size == 0
    with pytest.raises(CodecError, match="beside arrays"):
        Encoder(LIMIT).add([bytes(MAX_BODY)])


GOOD = encoded([np.arange(6, dtype="<i2").reshape(2, 3), 7], [np.zeros(INLINE, "?"), {"a": "b"}])


@pytest.mark.parametrize(
    ("reason", "count", "table", "frames"),
    [
        ("length", 0, [], []),
        ("count", 2, [], [b"\x91\x01"]),
        ("count", 1, [], [b"\x81\x01\x02"]),
        ("count", 1, [], [b"\x91\xc7\x00\x01"]),  # an array that is not in the table
        ("count", 1, [["|u1", [0]]], [b"\x91\x01"]),  # one that nobody uses
        ("body", 1, [], [b""]),
        ("body", 1, [], [b"\xc1"]),
        ("body", 1, [], [b"\x91"]),
        ("body", 1, [], [b"\x91\x01\x01"]),
        ("body", 1, [], [b"\xdd\xff\xff\xff\xff"]),
        ("body", 1, [], [b"\xc6\xff\xff\xff\xff"]),
        ("body", 1, [], [b"\x91" * 5000]),  # deep
        ("body", 1, [], [b"\x91\xa1\xff"]),  # not UTF-8
        ("body", 1, [], [b"\x91\x81\x91\x01\x02"]),  # a list as a key
        ("body", 1, [], [b"\x91\xd4\x05\x00"]),  # an unknown ext type
        ("body", 1, [], [b"\x91\xd4\xff\x00"]),  # a timestamp of a byte
        ("body", 1, [["|u1", [1]]], [b"\x91\xd4\x01\x00", b"x"]),  # an array with content
        ("body", 1, [], [b"\x91\xc7\x00\x02"]),  # a scalar of nothing
        ("body", 1, [], [b"\x91\xc7\x05\x02\x03<i8\x00"]),  # one that is cut
        ("body", 1, [], [b"\x91\xc7\x03\x02\x02|O"]),
        ("value", 1, [], [b"\x91\xc7\x05\x02\x03|b1\x02"]),
        ("header", 1, [None], [b"\x91\x01"]),
        ("header", 1, [["|u1"]], [b"\x91\x01"]),
        ("header", 1, [[b"|u1", [1]]], [b"\x91\x01"]),
        ("dtype", 1, [["|O", [1]]], [b"\x91\xc7\x00\x01", bytes(8)]),
        ("dtype", 1, [["i4,O", [1]]], [b"\x91\xc7\x00\x01", bytes(8)]),
        ("dtype", 1, [["|V8", [1]]], [b"\x91\xc7\x00\x01", bytes(8)]),
        ("dtype", 1, [["<U0", [1]]], [b"\x91\xc7\x00\x01", b""]),
        ("dtype", 1, [["|S99999999", [1]]], [b"\x91\xc7\x00\x01", b""]),
        ("dtype", 1, [["|u1\n", [1]]], [b"\x91\xc7\x00\x01", b"x"]),
        ("shape", 1, [["|u1", [-1]]], [b"\x91\xc7\x00\x01", b""]),
        ("shape", 1, [["|u1", [True]]], [b"\x91\xc7\x00\x01", b"x"]),
        ("shape", 1, [["|u1", [1.0]]], [b"\x91\xc7\x00\x01", b"x"]),
        ("shape", 1, [["|u1", [1] * 33]], [b"\x91\xc7\x00\x01", b"x"]),
        ("shape", 1, [["<f8", [1 << 39, 1 << 39]]], [b"\x91\xc7\x00\x01", b"x"]),
        ("shape", 1, [["<f8", [0, 1 << 39, 1 << 39]]], [b"\x91\xc7\x00\x01"]),
        ("shape", 1, [["<f8", [1 << 62]]], [b"\x91\xc7\x00\x01", b"x"]),
        ("length", 1, [["<f8", [1 << 30]]], [b"\x91\xc7\x00\x01", b"x"]),
        ("length", 1, [["<f8", [2]]], [b"\x91\xc7\x00\x01", bytes(15)]),
        ("length", 1, [["<f8", [2]]], [b"\x91\xc7\x00\x01", bytes(17)]),
        ("length", 1, [["<f8", [2]]], [b"\x91\xc7\x00\x01"]),
        ("length", 1, [["<f8", [2]]], [b"\x91\xc7\x00\x01", bytes(16), b""]),
        ("length", 1, [["|u1", [INLINE]]], [b"\x91\xc7\x00\x01", b"", bytes(INLINE)]),
        ("value", 1, [["|b1", [2]]], [b"\x91\xc7\x00\x01", b"\x01\x02"]),
        ("value", 1, [["<U1", [1]]], [b"\x91\xc7\x00\x01", b"\xff\xff\xff\xff"]),
        ("value", 1, [[">U1", [1]]], [b"\x91\xc7\x00\x01", b"\x00\x11\x00\x00"]),
    ],
)
def test_malformed_frames(reason: str, count: int, table: Any, frames: list[bytes]) -> None:
    with pytest.raises(CodecError) as caught:
        decode(count, table, frames)
    assert caught.value.reason == reason


def test_a_pickle_is_never_read() -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return pytest.fail, ("executed",)

    bomb = pickle.dumps(Bomb())
    for table, body in (
        ([["|O", [1]]], b"\x91\xc7\x00\x01"),
        ([], bomb),
        ([], b"\x91\xc7\x00\x01"),
    ):
        with pytest.raises(CodecError):
            decode(1, table, [body, bomb])


def swallowed(count: int, table: Any, frames: list[Any]) -> None:
    """Whatever the bytes are: datapoints, or `CodecError`; and datapoints that can be looked at."""
    try:
        found = decode(count, table, frames)
    except CodecError:
        return
    repr(found)


@settings(max_examples=150)
@given(st.data())
def test_mutated_bytes(data: st.DataObject) -> None:
    count, table, frames = GOOD
    frames = [bytearray(frame) for frame in frames]
    for _ in range(data.draw(st.integers(1, 3))):
        frame = frames[data.draw(st.sampled_from([0, 0, 0, 1, 2]))]
        at = data.draw(st.integers(0, min(len(frame), 60)))
        match data.draw(st.integers(0, 2)):
            case 0:
                frame[at : at + 1] = data.draw(st.binary(min_size=1, max_size=2))
            case 1:
                del frame[at:]
            case _:
                frame[at:at] = data.draw(st.binary(max_size=4))
    packed = bytearray(msgpack.Packer().pack(table))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.sampled_from([0, 0, 1, 0x80, 0xFF]))
    try:
        table = msgpack.unpackb(packed, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException):
        return  # not this decoder's
    if type(table) is list:
        swallowed(count, table, frames)


@settings(max_examples=150)
@given(
    st.integers(0, 3), st.lists(st.lists(values, max_size=3), max_size=2), st.binary(max_size=60)
)
def test_random_bytes(count: int, table: Any, body: bytes) -> None:
    swallowed(count, table, [body])
    swallowed(1, [["|u1", [1]]], [b"\x91" + body, b"x"])


def test_the_example_in_the_documentation() -> None:
    page = Path(dataflow.__file__).parents[1] / "docs" / "wire.md"
    blocks = re.findall(r"```\n(.*?)```", page.read_text(), re.DOTALL)
    head, body, block, grant = (
        b"".join(bytes.fromhex(line.partition(";")[0]) for line in lines.splitlines())
        for lines in blocks
    )
    count, table, frames = encoded([np.array([1, 2], "<i2"), 7])
    fields = {"stream": bytes(16), "seq": 0, "count": 1, "skip": 0, "epoch": 0, "position": 0}
    assert head == wire.pack(wire.Kind.DATA, **fields, arrays=table)
    assert [body, block] == frames
    assert same([[np.array([1, 2], "<i2"), 7]], decode(count, table, [body, block]))
    told = {"next": 0, "acked": 0, "limit": 64 << 20}
    assert grant == wire.pack(wire.Kind.GRANT, stream=bytes(16), **told)


def test_keys_of_maps() -> None:
    """Text, bytes and numbers; of numbers not so many that their hashes could be chosen."""
    for value in ({1: 2, 0.5: "x", b"k": None}, {"a": {7: [np.int8(3)]}}):
        assert same(value, through(value)[0])
    many = {number: number for number in range(MAX_KEYS + 1)}
    assert through({str(key): key for key in many}) == [{str(key): key for key in many}]
    for value in (many, {1j: 0}, {np.complex64(1j): 0}):
        with pytest.raises(CodecError, match=r"keys that are no text|as a key|cannot be sent"):
            through(value)


def test_lists_longer_than_they_may_claim_unseen() -> None:
    value = [[np.arange(3), list(range(3000))], {5: [np.int64(1)] * 2000}]
    assert same(value, through(*value))


def test_timestamps_of_msgpack_are_numbers() -> None:
    assert decode(1, [], [b"\x91\xd6\xff\x00\x00\x00\x01"]) == [1.0]


def test_tuples_within_tuples_have_an_end() -> None:
    """Read without a limit they would overflow the stack, and end the process."""
    deep: Any = ()
    for _ in range(MAX_TUPLES - 1):
        deep = (deep, {1: 0})
    encoder = Encoder(LIMIT, tuples=True)
    encoder.add([deep])
    payload = encoder.take()
    assert decode(1, [], payload.frames, tuples=True) == [[deep]]
    with pytest.raises(CodecError, match="tuples within each other"):
        encoder.add([(deep,)])
    body = b"\x90"
    for _ in range(2000):
        body = b"\x92\xc9" + len(body).to_bytes(4, "big") + b"\x03" + body + b"\x81\x01\x00"
    with pytest.raises(CodecError, match="tuples within each other"):
        decode(1, [], [b"\x91" + body], tuples=True)
