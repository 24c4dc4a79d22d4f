"""``tf.train.Example``: what is in it, and what cannot be."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataflow as df
from dataflow.formats import decode_example, tfrecord

# Written by Google's protobuf 7.36 with the messages of TensorFlow's example.proto.
THEIRS = bytes.fromhex(
    "0ac6010a190a05626f7865731210120e0a0c0000003f0000a0bfe6b1617f0a2e0a0369647312271a250a2300"
    "017f8001ac0280808080808080804080808080808080808001ffffffffffffffff7f0a1d0a0d696d6167652f"
    "656e636f646564120c0a0a0a08ffd82062797465730a170a056c6162656c120e1a0c0a0afdffffffffffffff"
    "ff010a140a056e616d6573120b0a090a01610a000a02c3a90a0a0a046e6f6e6512021a000a0b0a076e6f7468"
    "696e6712000a120a06776569676874120812060a04cdcccc3d"
)
INTS = [0, 1, 127, 128, 300, 2**62, -(2**63), 2**63 - 1]


def varint(number: int) -> bytes:
    number %= 1 << 64
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def example(**features: tuple[int, bytes]) -> bytes:
    entries = [
        field(1, field(1, name.encode()) + field(2, field(kind, values)))
        for name, (kind, values) in features.items()
    ]
    return field(1, b"".join(entries))


def framed(*records: bytes) -> bytes:
    out = b""
    for record in records:
        length = struct.pack("<Q", len(record))
        out += length + struct.pack("<I", tfrecord._masked(length))
        out += record + struct.pack("<I", tfrecord._masked(record))
    return out


def test_what_protobuf_wrote() -> None:
    found = decode_example(THEIRS)
    assert found["image/encoded"] == [b"\xff\xd8 bytes"]
    assert found["names"] == [b"a", b"", "é".encode()]
    assert found["label"].tolist() == [-3] and found["label"].dtype == np.int64
    assert found["ids"].tolist() == INTS
    assert found["boxes"].dtype == np.float32
    np.testing.assert_array_equal(found["boxes"], np.float32([0.5, -1.25, 3e38]))
    assert len(found["none"]) == len(found["nothing"]) == 0
    assert len(found) == 8


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.booleans())
def test_all_numbers(numbers: list[int], packed: bool) -> None:
    """Packed into one field, or each in its own, as older writers have them."""
    if packed:
        values = field(1, b"".join(map(varint, numbers)))
    else:
        values = b"".join(varint(1 << 3) + varint(number) for number in numbers)
    assert decode_example(example(x=(3, values)))["x"].tolist() == numbers


@given(st.binary(max_size=200))
def test_whatever_comes_it_is_an_example_or_an_error(record: bytes) -> None:
    try:
        found = decode_example(record)
    except df.CodecError as error:
        assert "tf.train.Example" in str(error)
    else:
        assert isinstance(found, dict)


@given(st.integers(0, len(THEIRS) - 1), st.integers(1, 255))
def test_a_damaged_one(place: int, flip: int) -> None:
    damaged = bytearray(THEIRS)
    damaged[place] ^= flip
    with contextlib.suppress(df.CodecError):
        decode_example(bytes(damaged))


@pytest.mark.parametrize(
    ("features", "datapoint"),
    [
        (["image/encoded", "label"], [b"\xff\xd8 bytes", -3]),
        (["names[]", "gone?", "none?"], [[b"a", b"", "é".encode()], None, None]),
        (("weight",), [np.float32(0.1).item()]),
    ],
)
def test_features_are_picked(tmp_path: Path, features: Any, datapoint: list[Any]) -> None:
    path = tmp_path / "a"
    path.write_bytes(framed(THEIRS, THEIRS))
    with df.PrefetchDataZMQ(df.TFRecordData(path, features=features), 1) as ds:
        assert list(ds) == [datapoint, datapoint]


def test_all_features(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(framed(THEIRS))
    (found,) = df.TFRecordData(path, features="all")
    assert found["ids"].tolist() == INTS


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (["missing"], "has no feature 'missing', but 'boxes', 'ids'"),
        (["ids"], r"the feature 'ids' has 8 values: for all of them ask for 'ids\[\]'"),
        (["none"], "the feature 'none' has 0 values"),
    ],
)
def test_features_that_are_not_there(tmp_path: Path, features: Any, message: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(framed(THEIRS))
    with pytest.raises(df.DatapointError, match=f"{path}: the record at byte 0: .*{message}"):
        list(df.TFRecordData(path, features=features))


def test_records_that_are_no_examples(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(framed(b"plain text"))
    with pytest.raises(df.CodecError, match=r"no tf\.train\.Example"):
        list(df.TFRecordData(path, features="all"))
    for wrong in ("label", [], [""]):
        with pytest.raises(df.ConfigError, match="features="):
            df.TFRecordData(path, features=wrong)  # type: ignore[arg-type]
