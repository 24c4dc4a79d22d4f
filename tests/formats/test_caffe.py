"""caffe.Datum, written by protobuf itself."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optional import library

import dataflow as df
from dataflow.formats import caffe

FIELDS = ("channels", "height", "width", "data", "label", "float_data", "encoded")


@pytest.fixture(scope="module")
def datum() -> Any:
    """The message class, from its definition in Caffe: all fields are optional."""
    library("google.protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="datum.proto", package="caffe", syntax="proto2")
    message = file.message_type.add(name="Datum")
    kind = descriptor_pb2.FieldDescriptorProto
    kinds = {"data": kind.TYPE_BYTES, "float_data": kind.TYPE_FLOAT, "encoded": kind.TYPE_BOOL}
    for number, name in enumerate(FIELDS, 1):
        message.field.add(
            name=name,
            number=number,
            type=kinds.get(name, kind.TYPE_INT32),
            label=kind.LABEL_REPEATED if name == "float_data" else kind.LABEL_OPTIONAL,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.Datum"))


IMAGE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
PLANES = np.ascontiguousarray(IMAGE.transpose(2, 0, 1))
SHAPE = {"channels": 3, "height": 5, "width": 7}


def save(path: Path, records: list[bytes]) -> str:
    with lmdb.open(str(path), subdir=False, lock=False) as env, env.begin(write=True) as txn:
        for number, record in enumerate(records):
            txn.put(b"%08d" % number, record)
    return str(path)


def test_pixels_floats_and_encoded_images(datum: Any, tmp_path: Path) -> None:
    floats = PLANES.astype(np.float32) / 3
    png = cv2.imencode(".png", IMAGE)[1].tobytes()
    records = [
        datum(**SHAPE, data=PLANES.tobytes(), label=1000),
        datum(**SHAPE, float_data=floats.reshape(-1).tolist(), label=-7),
        datum(data=png, encoded=True, label=2),
        datum(**SHAPE, data=PLANES.tobytes()),
    ]
    path = save(tmp_path / "a", [record.SerializeToString() for record in records])
    with df.CaffeLMDB(path, shuffle=False) as ds:
        found = list(ds)
    assert [label for _, label in found] == [1000, -7, 2, 0]
    for image, expected in zip(
        [image for image, _ in found],
        [IMAGE, IMAGE.astype(np.float32) / 3, IMAGE, IMAGE],
        strict=True,
    ):
        np.testing.assert_array_equal(image, expected)
        assert image.dtype == expected.dtype
        assert image.flags.c_contiguous and image.flags.writeable
    with df.CaffeLMDB(path, True, "{:0>8d}") as ds:
        assert sorted(label for _, label in ds) == [-7, 0, 2, 1000]


def test_packed_floats(datum: Any) -> None:
    """As a newer definition would have them: all in one field."""
    floats = PLANES.astype("<f4").tobytes()
    head = datum(**SHAPE).SerializeToString()
    record = head + bytes([6 << 3 | 2]) + b"\xa4\x03" + floats
    image, label = caffe._datapoint(record)
    np.testing.assert_array_equal(image, IMAGE.astype(np.float32))
    assert label == 0


def test_what_is_no_image_is_dropped_with_one_warning(
    datum: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = datum(**SHAPE, data=PLANES.tobytes(), label=4).SerializeToString()
    bad = [
        b"",
        b"\xff" * 20,
        good[:-40],
        b"\x0f",
        datum(channels=3, height=5, width=8, data=PLANES.tobytes()).SerializeToString(),
        datum(channels=1 << 30, height=1 << 30, width=1 << 30).SerializeToString(),
        datum(channels=-3, height=-5, width=7, data=PLANES.tobytes()).SerializeToString(),
        datum(data=b"no image", encoded=True).SerializeToString(),
    ]
    path = save(tmp_path / "a", [*bad, good])
    with caplog.at_level(logging.WARNING), df.CaffeLMDB(path, shuffle=False) as ds:
        assert [label for _, label in ds] == [4]
    assert len(caplog.records) == 1 and "00000000" in caplog.text


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_any_bytes_are_an_image_or_none(record: bytes) -> None:
    datapoint = caffe._Decoder()(b"key", record)
    assert datapoint is None or isinstance(datapoint[0], np.ndarray)
