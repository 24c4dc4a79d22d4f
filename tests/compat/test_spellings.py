"""Arguments and names of tensorpack's older releases."""

from __future__ import annotations

import queue
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optional import library

import dataflow as df
from dataflow.imgaug.transforms import CropTransform, ResizeTransform
from dataflow.utils import spelling


@pytest.fixture(autouse=True)
def _nothing_told_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spelling, "_told", set())


def numbers(count: int = 4) -> df.DataFromList:
    return df.DataFromList([[n] for n in range(count)], shuffle=False)


def test_nr_of_repetitions() -> None:
    with pytest.warns(DeprecationWarning, match="nr is the older spelling of num"):
        ds = df.RepeatedData(numbers(), nr=2)
    assert len(ds) == 8 and len([*ds]) == 8
    assert [*df.RepeatedDataPoint(numbers(2), nr=2)] == [[0], [0], [1], [1]]
    with pytest.raises(df.ConfigError, match=r"nr=2 .*num=3"):
        df.RepeatedData(numbers(), 3, nr=2)  # type: ignore[call-arg]


def test_nr_reuse() -> None:
    with pytest.warns(DeprecationWarning, match="nr_reuse is the older spelling of num_reuse"):
        ds = df.LocallyShuffleData(numbers(), 2, nr_reuse=2)
    assert sorted(n for (n,) in ds) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_label(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(DeprecationWarning, match="label is the older spelling of name"):
        assert len([*df.PrintData(numbers(), label="train")]) == 4
    assert "train" in capsys.readouterr().err


def test_start_test(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(DeprecationWarning, match="start_test is the older spelling of start"):
        df.TestDataSpeed(numbers(), size=3).start_test()
    assert "3/3" in capsys.readouterr().err


def test_size_of_a_generator() -> None:
    ds = df.DataFromGenerator(lambda: ([n] for n in range(3)), size=3)
    assert len(ds) == 3 and [*ds] == [[0], [1], [2]]
    with pytest.raises(df.ConfigError, match="size='3'"):
        df.DataFromGenerator(lambda: iter(()), size="3")  # type: ignore[arg-type]


def test_transforms() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(4, 6)
    with pytest.warns(DeprecationWarning):
        crop = CropTransform(h0=1, w0=2, h=2, w=3)
    assert np.array_equal(crop.apply_image(image), image[1:3, 2:5])
    with pytest.warns(DeprecationWarning):
        resize = ResizeTransform(4, 6, newh=2, neww=3, interp=1)
    assert resize.apply_image(image).shape == (2, 3)


def test_an_augmentor_whose_parameters_are_a_transform() -> None:
    from dataflow.compat.imgaug.transform import TransformAugmentorBase

    class Corner(TransformAugmentorBase):
        def _get_augment_params(self, img: Any) -> CropTransform:
            return CropTransform(0, 0, 2, 2)

    image = np.zeros((4, 4, 3), np.uint8)
    assert Corner().augment(image).shape == (2, 2, 3)


def test_threads() -> None:
    assert df.ThreadedMapData is df.MultiThreadMapData
    ds = df.ThreadedMapData(numbers(), nr_thread=2, map_func=lambda dp: [dp[0] * 2])
    assert sorted(n for (n,) in ds) == [0, 2, 4, 6]


def test_databases(tmp_path: Path) -> None:
    library("lmdb")
    place = str(tmp_path / "data.lmdb")
    with pytest.warns(DeprecationWarning, match="dump_dataflow_to_lmdb"):
        df.dump_dataflow_to_lmdb(numbers(), place)
    with pytest.warns(DeprecationWarning, match="LMDBDataPoint"):
        ds = df.LMDBDataPoint(place, shuffle=False)
    assert [*ds] == [[0], [1], [2], [3]]
    assert [*df.LMDBDataPoint(df.LMDBData(place, shuffle=False))] == [[0], [1], [2], [3]]
    with pytest.raises(df.ConfigError, match="a dataflow, or arguments"):
        df.LMDBDataPoint(df.LMDBData(place), shuffle=False)

    pickled = str(tmp_path / "pickled.lmdb")
    df.LMDBSerializer.save(numbers(), pickled, format="pickle")
    with pytest.raises(df.CodecError, match="allow_pickle"):
        [*df.LMDBDataPoint(pickled, shuffle=False)]
    assert len([*df.LMDBDataPoint(pickled, shuffle=False, allow_pickle=True)]) == 4

    raw = df.LMDBData(place, shuffle=False)
    assert [*df.MapData(raw, df.LMDBSerializer._deserialize_lmdb)] == [[0], [1], [2], [3]]
    assert [*raw.map(lambda dp: df.formats.decode_record(dp[1]))] == [[0], [1], [2], [3]]  # type: ignore[attr-defined]


def test_records_are_not_unpickled_without_leave() -> None:
    import pickle

    from dataflow.formats import decode_record

    record = pickle.dumps([1, 2])
    with pytest.raises(df.CodecError, match="allow_pickle=True"):
        decode_record(record)
    assert decode_record(record, allow_pickle=True) == [1, 2]
    with pytest.raises(df.CodecError, match="cannot be decoded"):
        decode_record(b"\xc1")


def test_tfrecords(tmp_path: Path) -> None:
    library("crc32c")
    place = tmp_path / "data.tfrecord"
    with pytest.warns(DeprecationWarning, match="dump_dataflow_to_tfrecord"):
        df.dump_dataflow_to_tfrecord(numbers(), place)
    assert [*df.TFRecordSerializer.load(str(place), size=4)] == [[0], [1], [2], [3]]


def test_the_format_of_hdf5(tmp_path: Path) -> None:
    library("h5py")
    place = tmp_path / "data.h5"
    df.HDF5Serializer.save(numbers(), place, ["n"], format="hdf5")
    assert [n for (n,) in df.HDF5Serializer.load(place, ["n"], shuffle=False)] == [0, 1, 2, 3]
    with pytest.raises(df.ConfigError, match="format='pickle' must be \"hdf5\""):
        df.HDF5Serializer.save(numbers(), place, ["n"], format="pickle")


def test_a_queue_that_a_process_fills() -> None:
    from dataflow.remote.process_queue import DIE

    filled, process = df.dump_dataflow_to_process_queue(numbers(3), 10, nr_consumer=2)
    process.start()
    try:
        items = [filled.get(timeout=60) for _ in range(5)]
        with pytest.raises(queue.Empty):
            filled.get_nowait()
    finally:
        process.join()
        filled.close()
        filled.join_thread()
    assert items == [(0, [0]), (1, [1]), (2, [2]), (DIE, None), (DIE, None)]
