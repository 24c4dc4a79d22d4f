"""A small dataflow, and the ways to keep it in files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import dataflow as df

SIZE = 40
PATHS = ["number", "group/array", "name"]


def points(size: int = SIZE) -> list[list[Any]]:
    rng = np.random.default_rng(0)
    return [[i, rng.random((3, 4), np.float32), f"näme {i}"] for i in range(size)]


def flow(size: int = SIZE) -> df.DataFlow:
    return df.DataFromList(points(size), shuffle=False)


class Format(NamedTuple):
    """One way.

    Attributes:
        suffix: of the file.
        save: dataflow, path.
        load: path, shuffle.
    """

    suffix: str
    save: Callable[..., None]
    load: Callable[..., df.DataFlow]


FORMATS = {
    "lmdb": Format(".lmdb", df.LMDBSerializer.save, df.LMDBSerializer.load),
    "npz": Format(".npz", df.NumpySerializer.save, df.NumpySerializer.load),
    "tfrecord": Format(
        ".tfrecord",
        df.TFRecordSerializer.save,
        lambda path, shuffle=False, **options: df.TFRecordSerializer.load(
            path, shuffle=shuffle, **options
        ),
    ),
    "hdf5": Format(
        ".h5",
        lambda ds, path: df.HDF5Serializer.save(ds, path, PATHS),
        lambda path, shuffle=False: df.HDF5Serializer.load(path, PATHS, shuffle),
    ),
}


@pytest.fixture(params=FORMATS)
def format(request: pytest.FixtureRequest) -> Format:
    return FORMATS[request.param]


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Format], str]:
    """The path of `flow()` in a format, to be read only."""
    folder = tmp_path_factory.mktemp("saved")

    def path_of(format: Format) -> str:
        path = folder / f"file{format.suffix}"
        if not path.exists():
            format.save(flow(), str(path))
        return str(path)

    return path_of


def check(found: Any, expected: Any) -> None:
    """The datapoints are the same."""
    found, expected = list(found), list(expected)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert np.shape(a) == np.shape(b) and np.all(a == b)
            assert getattr(a, "dtype", None) == getattr(b, "dtype", None) or np.isscalar(b)


def open_files(path: str | Path) -> int:
    """How many descriptors of this process are of the file, or of one in the folder."""
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{fd}").startswith(os.path.realpath(path))
        except OSError:
            continue
    return count


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """For processes of this Python with this package."""
    import sys

    yield os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
