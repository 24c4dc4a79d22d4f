"""``.ten`` files as a source."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dataflow as df
from dataflow.codec import tenbin


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Three files of ten datapoints of two arrays; `numbers` tells them apart."""
    for shard in range(3):
        with tenbin.Writer(tmp_path / f"train-{shard:03d}.ten", components=2) as writer:
            for number in range(shard * 10, shard * 10 + 10):
                writer.write([np.full((4, number % 5), number, "u1"), np.array(number, "i4")])
    return tmp_path


def numbers(datapoints: Any) -> list[int]:
    found = []
    for image, number in datapoints:
        assert image.shape == (4, number % 5) and (image == number).all()
        found.append(int(number))
    return found


def test_datapoints_of_many_files(files: Path) -> None:
    for path in (
        files / "train-*.ten",
        str(files / "train-{000..002}.ten"),
        [files / "train-000.ten", str(files / "train-{001,002}.ten")],
    ):
        ds = df.TenData(path, components=2)
        assert len(ds) == 30
        assert numbers(ds) == [*range(30)]
        assert numbers([ds[17], ds[3]]) == [17, 3]
    ds = df.TenData(files / "*.ten", 2, shuffle=True).seed(1)
    first, second = numbers(ds), numbers(ds)
    assert sorted(first) == sorted(second) == [*range(30)] != first != second


def test_a_file_is_a_datapoint(files: Path) -> None:
    ds = df.TenData(files / "*.ten")
    assert len(ds) == 3
    for shard, datapoint in enumerate(ds):
        assert len(datapoint) == 20
        assert numbers([datapoint[2:4]]) == [shard * 10 + 1]
        assert all(array.flags.writeable for array in datapoint)


def test_in_worker_processes(files: Path) -> None:
    ds = df.TenData(files / "*.ten", components=2, shuffle=True).seed(3)
    alone = numbers(ds)
    with df.PrefetchDataZMQ(df.TenData(files / "*.ten", 2, shuffle=True), 2).seed(3) as ds:
        assert numbers(ds) == alone


def test_resuming(files: Path) -> None:
    def chain() -> Any:
        source = df.TenData(files / "*.ten", components=2, shuffle=True)
        return df.PrefetchDataZMQ(source, 2).seed(5)

    with chain() as ds:
        iterator = iter(ds)
        begun = numbers(islice(iterator, 11))
        state = ds.state_dict()
        rest = numbers(iterator)
    with chain() as ds:
        ds.load_state_dict(state)
        assert numbers(ds) == rest
    assert sorted(begun + rest) == [*range(30)]
    os.unlink(files / "train-002.ten")
    with chain() as ds, pytest.raises(df.StateError):
        ds.load_state_dict(state)


def test_what_fails_in_threads_is_left_out(files: Path) -> None:
    def often(datapoint: Any) -> Any:
        if datapoint[1] == 7:
            raise ValueError("seven")
        return datapoint

    ds = df.MultiThreadMapData(df.TenData(files / "*.ten", components=2), 2, often, on_error="skip")
    with ds:
        assert sorted(numbers(ds)) == [i for i in range(30) if i != 7]


def test_what_is_wrong_is_told(files: Path) -> None:
    with pytest.raises(df.MissingData, match=r"none\.ten is not there"):
        df.TenData(files / "none.ten")
    with pytest.raises(df.MissingData, match=r"z\*\.ten is not there"):
        df.TenData(files / "z*.ten")
    with pytest.raises(df.MissingData, match="train-003"):
        df.TenData(files / "train-{000..003}.ten")
    for wrong in ([], [[]]):
        with pytest.raises((df.ConfigError, TypeError)):
            df.TenData(wrong)  # type: ignore[arg-type]
    with pytest.raises(df.ConfigError, match="components=0"):
        df.TenData(files / "*.ten", components=0)
    with pytest.raises(df.CodecError, match="20 arrays, no multiple of components=3"):
        df.TenData(files / "*.ten", components=3)


def test_broken_files(files: Path) -> None:
    path = files / "train-001.ten"
    block = path.read_bytes()
    whole = df.TenData(path, components=2)
    path.write_bytes(block[:-1])
    with pytest.raises(df.CodecError, match=r"train-001\.ten: .* go beyond the end") as caught:
        df.TenData(path, components=2)
    assert (caught.value.reason, caught.value.url) == ("truncated", str(path))
    ds = df.TenData(files / "*.ten")
    assert len(ds[0]) == 20
    with pytest.raises(df.CodecError, match=r"train-001\.ten: "):
        ds[1]
    # What changed since it was looked at.
    assert numbers([whole[8]]) == [18]
    with pytest.raises(df.CodecError, match=r"train-001\.ten: "):
        whole[9]
    path.write_bytes(block[: len(block) // 2])
    with pytest.raises(df.CodecError) as caught:
        whole[9]
    assert caught.value.reason == "truncated"
    path.unlink()
    with pytest.raises(df.MissingData, match="not there any more"):
        whole[0]


def test_broken_files_are_skipped_in_workers(files: Path) -> None:
    path = files / "train-001.ten"
    path.write_bytes(path.read_bytes()[:-1])
    ds = df.MultiThreadMapData(df.TenData(files / "*.ten"), 2, lambda dp: dp, on_error="skip")
    with ds:
        assert len(list(ds)) == 2
        assert ds.stats()["errors"] == {"truncated": 1}
