"""msgpack with arrays, as msgpack-numpy writes it; and bytes that mean no good."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from optional import library
from patience import patient

import dataflow as df
from dataflow.codec.msgpack_numpy import decode, encode

DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.complex_number_dtypes(endianness="?"),
    hnp.byte_string_dtypes(min_len=1, max_len=5),
    hnp.unicode_string_dtypes(endianness="?", min_len=1, max_len=5),
)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
ARRAYS = hnp.arrays(DTYPES, SHAPES)
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.text(max_size=5),
    st.binary(max_size=5),
)
KEYS = st.one_of(st.text(max_size=3), st.binary(max_size=3), st.integers(-(1 << 59), 1 << 59))
VALUES = st.recursive(
    st.one_of(PLAIN, ARRAYS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=6,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, (np.ndarray, np.generic)):
        return (
            type(one) is type(other)
            and one.dtype == other.dtype
            and one.shape == other.shape
            and one.tobytes() == other.tobytes()
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and one == other


@settings(max_examples=60)
@given(VALUES)
def test_every_value_comes_back(value: Any) -> None:
    assert same(value, decode(encode(value)))


@settings(max_examples=60)
@given(VALUES)
def test_msgpack_numpy_writes_the_same_bytes(value: Any) -> None:
    theirs = library("msgpack_numpy")
    packed = theirs.packb(value, use_bin_type=True)
    assert encode(value) == packed
    assert same(value, decode(packed))


SCALARS = [np.float32(1.5), np.int8(-3), np.bool_(True), np.uint64(1 << 63), np.complex64(1 + 2j)]


@pytest.mark.parametrize("scalar", SCALARS, ids=lambda scalar: type(scalar).__name__)
def test_scalars_stay_scalars(scalar: Any) -> None:
    assert same(decode(encode(scalar)), scalar)
    assert same(decode(library("msgpack_numpy").packb(scalar)), scalar)


def test_what_msgpack_makes_of_some_types() -> None:
    assert decode(encode((1, (2, 3)))) == [1, [2, 3]]
    assert type(decode(encode(np.float64(2.5)))) is float  # it is a float to msgpack
    assert decode(encode(np.str_("x"))) == "x"


@pytest.mark.parametrize(
    "make", [np.ascontiguousarray, np.asfortranarray, lambda a: a[:, ::2], lambda a: a.T]
)
def test_arrays_of_any_layout_come_back_writable(make: Any) -> None:
    array = make(np.random.default_rng(0).random((6, 8)))
    found = decode(encode([array]))[0]
    np.testing.assert_array_equal(found, array)
    found[:] = 0


def test_records_of_fields() -> None:
    dtype = np.dtype([("box", "<f4", (4,)), ("inner", [("label", "<i2"), ("name", "<U5")])])
    array = np.zeros(3, dtype)
    array["box"], array["inner"]["name"] = np.arange(12).reshape(3, 4), ["a", "b", "cdefg"]
    assert same(decode(encode(array)), array)
    theirs = library("msgpack_numpy")
    assert same(theirs.unpackb(encode(array)), array)
    assert same(decode(theirs.packb(array)), array)


def test_keys_of_the_map_may_be_text() -> None:
    array = np.arange(6, dtype="<i2").reshape(2, 3)
    parts = {"type": "<i2", "kind": "", "shape": [2, 3], "data": array.tobytes()}
    assert same(decode(msgpack.packb({"nd": True, **parts})), array)
    del parts["kind"]  # older versions have none
    assert same(decode(msgpack.packb({b"nd": True, **parts})), array)
    assert decode(msgpack.packb({"nd": False, "type": b"<i2", "data": b"\1\0"})) == np.int16(1)
    assert decode(msgpack.packb({"complex": True, "data": "(1-2j)"})) == 1 - 2j


@pytest.mark.parametrize(
    "value", [{"nd": True}, {"nd": 3, "type": 1, "data": 2}, {"complex": False, "data": 0}]
)
def test_dicts_with_such_keys_are_dicts(value: dict[str, Any]) -> None:
    assert decode(encode(value)) == value


class Unknown:
    pass


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (np.array([{}, []], dtype=object), "dtype object.*format='pickle'"),
        (np.zeros(2, [("a", "O")]), "dtype"),
        (np.ma.masked_array([1, 2], [0, 1]), "save its data and its mask; format='pickle' takes"),
        (np.zeros(2, np.dtype("i1,i4", align=True)), "dtype"),
        (np.array(["2020-01-01"], "M8[D]"), "dtype datetime64"),
        (np.datetime64("2020-01-01"), "datetime64"),
        ([1, {"a": Unknown()}], "Unknown"),
        ({1, 2}, "builtins.set"),
        (1 << 64, "[iI]nteger|int"),
        ("\ud800", "surrogate"),
        ({(1, 2): 3}, r"keys of dicts .* a tuple of 2"),
        ([{1 << 60: 0}], "keys of dicts"),
        ({None: 0}, "keys of dicts"),
        (LOOP, "deep"),
    ],
)
def test_what_cannot_be_written(value: Any, match: str) -> None:
    with pytest.raises(df.CodecError, match=match) as caught:
        encode(value)
    assert caught.value.reason == "unsupported"
    assert isinstance(caught.value, ValueError)


def test_deep_but_finite_lists_are_refused_or_come_back() -> None:
    for depth in (100, 600, 5000):
        value: list[Any] = []
        for _ in range(depth):
            value = [value]
        try:
            packed = encode(value)
        except df.CodecError:
            continue
        assert decode(packed) == value


# -- bytes from anybody ------------------------------------------------------------------------


class Bomb:
    """Leaves a trace where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


def array_map(**changes: Any) -> bytes:
    parts = {"nd": True, "type": "<i4", "kind": b"", "shape": [2], "data": bytes(8)}
    return msgpack.packb(parts | changes)


@pytest.mark.parametrize(
    ("data", "reason", "match"),
    [
        (b"", "corrupt", "no msgpack"),
        (b"\x93\x01", "corrupt", "incomplete input"),
        (b"\xc1", "corrupt", "no msgpack"),
        (b"\x01\x01", "corrupt", "extra"),
        (b"\x80\x05.", "corrupt", "extra"),
        (b"\xa1\xff", "corrupt", "utf-8"),
        (b"\x91" * 100_000, "corrupt", "no msgpack"),
        (b"\xdd\xff\xff\xff\xff", "corrupt", "no msgpack"),
        (b"\xdf\xff\xff\xff\xff", "corrupt", "no msgpack"),
        (b"\xc6\xff\xff\xff\xff", "corrupt", "no msgpack"),
        (b"\xd4\x05\x00", "unsupported", "extension type 5"),
        (b"\x81\x91\x01\x02", "unsupported", "keys of dicts"),
        (b"\x81\xcf" + b"\xff" * 8 + b"\x02", "unsupported", "keys of dicts"),
        (array_map(kind=b"O", data=pickle.dumps(Bomb())), "unsupported", "unpickled"),
        (array_map(kind="O", data=pickle.dumps(Bomb())), "unsupported", "unpickled"),
        (array_map(type="|O", data=bytes(16)), "unsupported", "O"),
        (array_map(type="O"), "unsupported", "'O'"),
        (array_map(type="i4,O"), "unsupported", "'i4,O'"),
        (array_map(type="<M8[s]"), "unsupported", "M8"),
        (array_map(type="|V4"), "unsupported", "V4"),
        (array_map(kind=b"V", type=[["a", "|O"]], shape=[1]), "unsupported", "O"),
        (array_map(kind=b"V", type=[["a", "<i4"], ["a", "<i4"]], shape=[1]), "corrupt", "a"),
        (array_map(kind=b"V", type=[["a", "<i4", [-1]]]), "corrupt", "no shape"),
        (array_map(kind=b"V", type=[[1, "<i4"]]), "corrupt", "no dtype"),
        (array_map(kind=b"V"), "corrupt", "kind 'V'"),
        (array_map(kind=b"Q"), "unsupported", "kind='Q'"),
        (array_map(kind=7), "corrupt", "7 is no text"),
        (array_map(type="<f3"), "corrupt", "f3"),
        (array_map(type=None), "corrupt", "None is no dtype"),
        (array_map(shape=[3]), "corrupt", r"takes 12 bytes, not 8 bytes"),
        (array_map(shape=[1 << 62, 1 << 62]), "corrupt", "takes"),
        (array_map(shape=[-2]), "corrupt", "no shape"),
        (array_map(shape=[2.0]), "corrupt", "no shape"),
        (array_map(shape=[True, 2]), "corrupt", "no shape"),
        (array_map(shape=2), "corrupt", "no shape"),
        (array_map(shape=[1] * 33, data=bytes(4)), "corrupt", "no shape"),
        (array_map(data="text"), "corrupt", "not str"),
        (array_map(type="<U0", data=b"", shape=[1 << 60]), "unsupported", "no size"),
        (array_map(type="|b1", data=b"\x01\x07"), "corrupt", "bool of 7"),
        (array_map(type="<U1", data=b"\xff" * 8), "corrupt", "character"),
        (msgpack.packb({"nd": False, "type": "<i4", "data": b"1"}), "corrupt", "takes 4 bytes"),
        (msgpack.packb({"complex": True, "data": "one"}), "corrupt", "complex"),
        (msgpack.packb({"complex": True, "data": 1}), "corrupt", "no text"),
        (pickle.dumps([1, 2]), "corrupt", "no msgpack"),
    ],
)
def test_hostile_bytes(
    data: bytes, reason: str, match: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(df.CodecError, match=match) as caught:
        decode(data)
    assert caught.value.reason == reason
    assert not os.listdir(tmp_path), "nothing was unpickled"


def check_hostile(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            value = decode(data)
        except df.CodecError as error:
            assert error.reason in ("corrupt", "unsupported") and str(error)
            return
    repr(value)  # what comes out can be looked at, down to its last element


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_random_bytes(data: bytes) -> None:
    check_hostile(data)


@settings(max_examples=200)
@given(VALUES, st.data())
def test_mutated_bytes(value: Any, draw: st.DataObject) -> None:
    data = bytearray(encode(value))
    for _ in range(draw.draw(st.integers(1, 3))):
        place = draw.draw(st.integers(0, len(data)))
        how = draw.draw(st.sampled_from(["flip", "cut", "insert"]))
        if how == "flip" and place < len(data):
            data[place] = draw.draw(st.integers(0, 255))
        elif how == "cut":
            del data[place : place + draw.draw(st.integers(1, 4))]
        else:
            data[place:place] = draw.draw(st.binary(min_size=1, max_size=4))
    check_hostile(bytes(data))


def test_lists_that_claim_to_be_long_take_no_memory() -> None:
    """A thousand nested lists that each claim as many elements as there are bytes."""
    library("resource")
    script = (
        "import resource; from dataflow.codec.msgpack_numpy import decode; import dataflow\n"
        "resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"
        "data = b'\\xdd\\x00\\x7f\\xff\\xff' * 900 + bytes(1 << 23)\n"
        "try: decode(data)\n"
        "except dataflow.CodecError as error: print(error.__cause__.__class__.__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=patient(60),
    )
    assert done.stdout.strip() == "OutOfData", done.stderr


def test_long_lists_are_read() -> None:
    value = list(range(100_000))
    assert decode(encode(value)) == value


@pytest.mark.parametrize("pure", ["0", "1"])
def test_tensorpacks_patch_of_msgpack_changes_nothing_here(pure: str, tmp_path: Any) -> None:
    """It replaces msgpack's functions by ones that unpickle; with and without compiled msgpack."""
    script = (
        "import sys, os\n"
        "if sys.argv[1] == '1': sys.modules['msgpack._cmsgpack'] = None\n"
        "import msgpack_numpy; msgpack_numpy.patch()\n"
        "import msgpack, pickle, numpy as np\n"
        "from dataflow.codec.msgpack_numpy import decode, encode\n"
        "class Bomb:\n"
        "    def __reduce__(self): return os.mkdir, ('exploded',)\n"
        "bad = msgpack.packb(np.array([Bomb()], dtype=object))\n"
        "try: decode(bad)\n"
        "except ValueError as error: print(error.reason)\n"
        "print(decode(encode(np.arange(3))).tolist())\n"
        "try: decode(encode([1, 2]) + b'x')\n"
        "except ValueError as error: print(error.reason)\n"
        "try: decode(encode([1, 2])[:-1])\n"
        "except ValueError as error: print(error.reason)\n"
    )
    library("msgpack_numpy")
    done = subprocess.run(
        [sys.executable, "-c", script, pure],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=patient(60),
    )
    assert done.stdout.split("\n") == ["unsupported", "[0, 1, 2]", "corrupt", "corrupt", ""], (
        done.stderr
    )
    assert not os.listdir(tmp_path)


def test_any_buffer_is_read() -> None:
    packed = encode([1, b"x"])
    for data in (packed, bytearray(packed), memoryview(packed)):
        assert decode(data) == [1, b"x"]


def test_fields_may_have_any_name() -> None:
    value = np.zeros(2, [("a:b", "<i4"), ("{", "?", (2,))])
    found = decode(encode(value))
    assert found.dtype == value.dtype and found.tobytes() == value.tobytes()
