"""HDF5: rows from datasets of any kind, and components of any kind as datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import dataflow as df

from .conftest import check, open_files


def test_rows_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    """Of a dataset of 8 TB, of which nothing was ever written."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", shape=(1_000_000, 1000, 1000), chunks=(1, 1000, 1000), dtype="f8")
        file.create_dataset("y", data=np.arange(1_000_000))
    with df.HDF5Data(path, ["y", "x"]).seed(0) as ds:
        assert len(ds) == 1_000_000
        label, row = next(iter(ds))
        assert type(label) is np.int64 and row.shape == (1000, 1000) and not row.any()


@pytest.mark.parametrize("shuffle", [False, True])
def test_compressed_chunks_larger_than_the_cache(
    shuffle: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataflow.formats.hdf5._CACHE", 1000)
    rows = np.arange(60_000).reshape(300, 200)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=rows, chunks=(64, 200), compression="gzip")
    with df.HDF5Data(path, ["x"], shuffle) as ds:
        found = np.array([dp[0] for dp in ds])
        np.testing.assert_array_equal(np.sort(found, axis=0), rows)
        handle = ds._handle
        with handle.use() as columns:
            assert columns._file.id.get_access_plist().get_cache()[2] == 64 * 200 * 8


@pytest.mark.parametrize(
    ("paths", "match"),
    [
        (["x", "none"], r"no 'none'; it has group, short, x"),
        (["group"], "no dataset with rows"),
        (["x", "group/single"], "no dataset with rows"),
        (["x", "short"], r"different lengths: \{'x': 3, 'short': 2\}"),
        ("x", "must be a list of paths"),
        ([], "must be a list of paths"),
        ([1], "must be a list of paths"),
        (["x", "x"], "a path twice"),
    ],
)
def test_paths_that_do_not_fit(paths: Any, match: str, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"], file["short"], file["group/single"] = [1, 2, 3], [1, 2], 7
    with pytest.raises(df.ConfigError, match=match):
        df.HDF5Data(path, paths)
    assert not open_files(path)


def test_text_and_bytes_come_back(tmp_path: Path) -> None:
    points = [[f"näme {i}", bytes([i]) * i + b"\0", b"same\0", True, 1.5 * i, i] for i in range(20)]
    paths = ["text", "bytes", "same", "bool", "float", "int"]
    path = tmp_path / "a.h5"
    df.HDF5Serializer.save(df.DataFromList(points, shuffle=False), path, paths)
    found = list(df.HDF5Serializer.load(path, paths, shuffle=False))
    assert found == points
    assert [type(value) for value in found[0][:3]] == [str, bytes, bytes]
    with h5py.File(path) as file:  # to other readers
        assert file["text"][3] == "näme 3".encode()
        assert file["bytes"][3].tolist() == [3, 3, 3, 0] and file["bytes"][3].dtype == np.uint8


def test_datasets_grow_and_widen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written block by block, the first of which knows nothing of the last."""
    monkeypatch.setattr("dataflow.formats.hdf5._BLOCK", 100)
    points = [[i, np.full((2, 3), i, np.uint8), f"text {i}", b"bytes", i] for i in range(100)]
    points += [[0.5, np.full((2, 3), 1000 + i, np.int32), "x", b"", 1 << 40] for i in range(100)]
    paths = ["a/number", "a/array", "text", "bytes", "int"]
    path = tmp_path / "a.h5"
    df.HDF5Serializer.save(df.DataFromList(points, shuffle=False), path, paths)
    found = list(df.HDF5Data(path, paths, shuffle=False))
    for one, other in zip(found, points, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    with h5py.File(path) as file:
        assert file["a/number"].dtype == np.float64 and file["a/array"].dtype == np.int32
        assert set(file["a"]) == {"number", "array"} and "int" in file


@pytest.mark.parametrize(
    ("points", "match"),
    [
        ([[1, 2], [1]], "a datapoint of 1 components"),
        ([{"a": 1, "b": 2}], "a list is needed"),
        ([[1, np.zeros(2)], [1, np.zeros(3)]], r"'b' has components of different shapes"),
        ([[1, np.ma.masked_array([1, 2], [0, 1])]], "'b' has masked arrays, which HDF5 has not"),
        ([[1, {}]], "'b': a dataset cannot hold dtype object, of dict"),
        ([[1, "a"], [1, 2]], "cannot hold dtype <U"),
        ([[1, np.datetime64("2020-01-01")]], "cannot hold dtype datetime64"),
        ([[1, 1 << 70]], "cannot hold dtype object, of int"),
    ],
)
def test_datapoints_that_do_not_fit(points: Any, match: str, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with pytest.raises(df.ConfigError, match=match):
        df.HDF5Serializer.save(df.DataFromList(points, shuffle=False), path, ["a", "b"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("late", ["text", np.zeros(3), np.zeros((2, 2))])
def test_late_ones_that_do_not_fit(
    late: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataflow.formats.hdf5._BLOCK", 10)
    points = [[np.zeros(2)] for _ in range(10)] + [[late]]
    with pytest.raises(df.ConfigError, match=r"'a' has components of .* after float64"):
        df.HDF5Serializer.save(df.DataFromList(points, shuffle=False), tmp_path / "a", ["a"])
    assert not list(tmp_path.iterdir())


def test_damaged_structures_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    df.HDF5Serializer.save(df.DataFromList([[1]], shuffle=False), path, ["x"])
    path.write_bytes(path.read_bytes().replace(b"TREE", b"XXXX"))
    with pytest.raises(df.CodecError, match=f"{path} cannot be read") as caught:
        df.HDF5Data(path, ["x"])
    assert caught.value.reason == "corrupt"
    assert not open_files(path)


def test_a_damaged_chunk_is_the_rows_own_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    rows = np.random.default_rng(0).integers(0, 256, (4, 1000), np.uint8)
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", data=rows, chunks=(1, 1000), fletcher32=True)
        place = dataset.id.get_chunk_info(2).byte_offset
    with path.open("r+b") as file:
        file.seek(place + 10)
        file.write(b"damage")
    with df.HDF5Data(path, ["x"], shuffle=False) as ds:
        check([ds[i] for i in (0, 1, 3)], [[rows[i]] for i in (0, 1, 3)])
        with pytest.raises(df.CodecError, match=f"{path}: row 2 cannot be read") as caught:
            ds[2]
        assert caught.value.reason == "corrupt"
