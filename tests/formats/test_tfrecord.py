"""TFRecord: frames, checksums, and the index of both."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflow as df
from dataflow.formats import tfrecord

from .conftest import SIZE, check, flow, open_files, points

# Written by tensorpack 0.11's serializer with TensorFlow 2.21, TENSORPACK_SERIALIZE=msgpack.
THEIRS = bytes.fromhex(
    "3b000000000000001a23ac5c930085c4026e64c3c40474797065a33c6634c4046b696e64c400c4057368617065"
    "920102c40464617461c408000000000000803fa66e616d652030314bc5f53f0000000000000051657661930185"
    "c4026e64c3c40474797065a33c6634c4046b696e64c400c4057368617065920103c40464617461c40c00000000"
    "0000803f00000040a66e616d652031bd3c81e4"
)
THEIR_POINTS = [
    [i, np.arange(i + 2, dtype=np.float32).reshape(1, -1), f"name {i}"] for i in range(2)
]


def test_tensorflow_wrote_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "theirs"
    path.write_bytes(THEIRS)
    check(df.TFRecordSerializer.load(path), THEIR_POINTS)
    ours = tmp_path / "ours"
    df.TFRecordSerializer.save(df.DataFromList(THEIR_POINTS, shuffle=False), ours)
    assert ours.read_bytes() == THEIRS


def test_the_checksum_of_the_specification() -> None:
    """CRC-32C of "123456789" is 0xE3069283 (RFC 3720 has further ones), here masked."""
    crc = 0xE3069283
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % (1 << 32)
    assert tfrecord._masked(b"123456789") == masked


def test_raw_records(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(THEIRS)
    records = list(df.TFRecordData(path))
    assert [len(record) for (record,) in records] == [59, 63]
    assert sorted(df.TFRecordData(path, shuffle=True)) == sorted(records)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tfrecord") / "file"
    df.TFRecordSerializer.save(flow(), path)
    return path


def test_a_given_size_is_the_length_without_a_look(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the first records come before the heads of the last are read."""
    monkeypatch.setattr(tfrecord, "_AHEAD", 4)
    damaged = tmp_path / "damaged"
    data = bytearray(path.read_bytes())
    place = 0
    for _ in range(20):
        place += 16 + struct.unpack_from("<Q", data, place)[0]
    data[place] ^= 1
    damaged.write_bytes(data)
    ds = df.TFRecordSerializer.load(damaged, SIZE)
    assert len(ds) == SIZE
    iterator = iter(ds)
    check([next(iterator) for _ in range(10)], points()[:10])
    with pytest.raises(df.CodecError, match=f"{damaged}: no record begins at byte {place}"):
        list(iterator)
    with pytest.raises(df.CodecError, match="no record begins"):
        len(df.TFRecordSerializer.load(damaged))


def test_sizes_that_are_not_the_files(path: Path) -> None:
    for _ in range(2):
        check(df.TFRecordSerializer.load(path, 7), points()[:7])
    ds = df.TFRecordSerializer.load(path, SIZE + 1)
    with pytest.raises(
        df.CodecError, match=f"there are {SIZE} records, fewer than size={SIZE + 1}"
    ):
        list(ds)
    for size in (-1, "7", 2.0):
        with pytest.raises(df.ConfigError, match="size="):
            df.TFRecordData(path, size)  # type: ignore[arg-type]


@settings(max_examples=60)
@given(st.data())
def test_every_damage_is_noticed(path: Path, data: st.DataObject) -> None:
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[place] ^= data.draw(st.integers(1, 255))
    damaged = path.with_name("damaged")
    damaged.write_bytes(flipped)
    with pytest.raises(df.CodecError, match=str(damaged)):
        list(df.TFRecordSerializer.load(damaged))


def test_a_length_beyond_the_end_takes_no_memory(tmp_path: Path) -> None:
    length = struct.pack("<Q", 1 << 60)
    path = tmp_path / "a"
    path.write_bytes(length + struct.pack("<I", tfrecord._masked(length)) + b"x" * 100)
    with pytest.raises(df.CodecError, match="the file ends at byte 112") as caught:
        df.TFRecordData(path)
    assert caught.value.reason == "truncated"


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_packed_files(path: Path, tmp_path: Path, pack: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("DATAFLOW_CACHE", str(tmp_path / "cache"))
    packed = tmp_path / "a"
    packed.write_bytes(pack(path.read_bytes()))
    with df.PrefetchDataZMQ(df.TFRecordSerializer.load(packed, shuffle=True), 2) as ds:
        check(sorted(ds, key=lambda dp: dp[0]), points())
    (copy,) = (tmp_path / "cache" / "unpacked").iterdir()
    assert copy.read_bytes() == path.read_bytes()
    df.TFRecordSerializer.save(df.DataFromList(points()[:2], shuffle=False), tmp_path / "b")
    packed.write_bytes(pack((tmp_path / "b").read_bytes()))
    check(df.TFRecordSerializer.load(packed), points()[:2])
    assert len([*(tmp_path / "cache" / "unpacked").iterdir()]) == 1, "the older copy is gone"


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_packed_files_that_are_damaged(
    path: Path, tmp_path: Path, pack: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("DATAFLOW_CACHE", str(tmp_path / "cache"))
    whole = pack(path.read_bytes())
    packed = tmp_path / "a"
    packed.write_bytes(whole[:-20])
    with pytest.raises(df.CodecError, match=f"{packed} ends within") as caught:
        df.TFRecordData(packed)
    assert caught.value.reason == "truncated"
    packed.write_bytes(whole[:50] + bytes(20) + whole[70:])
    with pytest.raises(df.CodecError, match=f"{packed} cannot be unpacked"):
        df.TFRecordData(packed)
    packed.write_bytes(pack(b"something else, of some length"))
    with pytest.raises(df.CodecError, match="no TFRecord file"):
        df.TFRecordData(packed)
    assert not [*(tmp_path / "cache" / "unpacked").glob(".*")]


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(df.MissingData, match=r"is a folder: name its files, .*/\*\.tfrecord"):
        df.TFRecordData(tmp_path)


def test_several_files_are_one_source(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("dataflow.formats.handle.Handles.OPEN", 2)
    sizes = (3, 0, 5, 1, 4)
    at = 0
    for number, size in enumerate(sizes):
        part = df.DataFromList(points()[at : at + size], shuffle=False)
        df.TFRecordSerializer.save(part, tmp_path / f"part-{number}.tfrecord")
        at += size
    pattern = str(tmp_path / "part-*.tfrecord")
    check(df.TFRecordSerializer.load(pattern), points()[:at])
    paths = [tmp_path / f"part-{number}.tfrecord" for number in (2, 0)]
    check(df.TFRecordSerializer.load(paths), points()[3:8] + points()[:3])
    with df.PrefetchDataZMQ(df.TFRecordSerializer.load(pattern, shuffle=True), 2) as ds:
        check(sorted(ds, key=lambda dp: dp[0]), points()[:at])
    ds = df.TFRecordSerializer.load(pattern, 7)
    assert len(ds) == 7
    check(ds, points()[:7])
    ds = df.TFRecordSerializer.load(pattern, at + 1)
    with pytest.raises(df.CodecError, match=f"and 4 more: there are {at} records, fewer than"):
        list(ds)
    ds.close()
    assert not any(open_files(path) for path in tmp_path.iterdir())


def test_the_index_is_eight_bytes_a_record(path: Path) -> None:
    ds = df.TFRecordData(path)
    offsets = ds.keys()
    assert len(offsets) == SIZE and offsets._known.itemsize == 8  # type: ignore[attr-defined]
    assert offsets[:3] == [offsets[0], offsets[1], offsets[2]] and offsets[-1] == offsets[SIZE - 1]
    with pytest.raises(IndexError):
        offsets[SIZE]
    assert not open_files(path)
