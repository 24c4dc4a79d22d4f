"""tensorpack's own readers and writers of the same files, in both of its serialisations."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import pickle
import subprocess
import sys
import types
import unittest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from optional import library
from patience import patient

import dataflow as df

from .conftest import check

library("tensorpack")

SIZE = 12
PATHS = ["number", "group/array", "label"]


def points() -> list[list[Any]]:
    rng = np.random.default_rng(1)
    return [[i, rng.random((2, 3)), np.float32(i / 2)] for i in range(SIZE)]


def flow() -> df.DataFlow:
    return df.DataFromList(points(), shuffle=False)


# What runs beside tensorpack: it writes the same datapoints, and reads what we wrote.
SCRIPT = """
import logging, os, pickle, sys
import numpy as np
from tensorpack.dataflow import (
    DataFromList, HDF5Data, HDF5Serializer, LMDBData, LMDBSerializer, NumpySerializer)

folder, paths = sys.argv[1], ["number", "group/array", "label"]
path = lambda name: os.path.join(folder, name)
with open(path("points"), "rb") as file:
    points = pickle.load(file)
flow = DataFromList(points, shuffle=False)
LMDBSerializer.save(flow, path("theirs.lmdb"), write_frequency=5)
os.mkdir(path("theirs"))
LMDBSerializer.save(flow, path("theirs"))
HDF5Serializer.save(flow, path("theirs.h5"), paths)
# NumpySerializer.save says `np.object`, which NumPy no longer has; this is the rest of it.
np.savez_compressed(path("theirs.npz"), buffer=np.asarray(points, dtype=object))
# Datapoints of equal arrays become one array of objects with four axes.
equal = [[p[1], p[1] + 1] for p in points]
np.savez_compressed(path("equal.npz"), buffer=np.asarray(equal, dtype=object))

found = {
    "lmdb": LMDBSerializer.load(path("ours.lmdb"), shuffle=False),
    "shuffled": LMDBSerializer.load(path("ours.lmdb"), shuffle=True),
    "folder": LMDBSerializer.load(path("ours"), shuffle=False),
    "h5": HDF5Serializer.load(path("ours.h5"), paths, shuffle=False),
}
if os.path.exists(path("ours.npz")):
    found["npz"] = NumpySerializer.load(path("ours.npz"), shuffle=False)
for name, ds in found.items():
    ds.reset_state()
    found[name] = [list(dp) for dp in ds]
try:
    import tensorflow
except ImportError:
    pass
else:
    from tensorpack.dataflow import TFRecordSerializer
    TFRecordSerializer.save(flow, path("theirs.tfrecord"))
    ds = TFRecordSerializer.load(path("ours.tfrecord"), size=len(points))
    ds.reset_state()
    found["tfrecord"] = list(ds)
with open(path("found"), "wb") as file:
    pickle.dump(found, file)
"""


class Exchange(NamedTuple):
    """A folder with files of both, and what tensorpack found in ours."""

    serialisation: str
    folder: Path
    found: dict[str, list[Any]]

    def path(self, name: str) -> str:
        return str(self.folder / name)

    @property
    def allowed(self) -> dict[str, bool]:
        return {"allow_pickle": True} if self.serialisation == "pickle" else {}


@pytest.fixture(scope="module", params=["pickle", "msgpack"])
def exchange(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Exchange:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "points").write_bytes(pickle.dumps(points()))
    (folder / "ours").mkdir()
    for name in ("ours.lmdb", "ours"):
        df.LMDBSerializer.save(flow(), folder / name, 5, format=request.param)
    df.HDF5Serializer.save(flow(), folder / "ours.h5", PATHS)
    df.TFRecordSerializer.save(flow(), folder / "ours.tfrecord", format=request.param)
    if request.param == "pickle":
        df.NumpySerializer.save(flow(), folder / "ours.npz", format="pickle")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)],
        env=os.environ | {"TENSORPACK_SERIALIZE": request.param},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=patient(100),
    )
    assert done.returncode == 0, done.stderr
    found = pickle.loads((folder / "found").read_bytes())
    return Exchange(request.param, folder, found)


def test_tensorpack_reads_what_we_write(exchange: Exchange) -> None:
    found = exchange.found
    expected = {"lmdb", "shuffled", "folder", "h5"}
    expected |= {"npz"} if exchange.serialisation == "pickle" else set()
    assert expected <= found.keys()
    found = found | {"shuffled": sorted(found["shuffled"], key=lambda dp: dp[0])}
    for datapoints in found.values():
        check(datapoints, points())


@pytest.mark.parametrize("name", ["theirs.lmdb", "theirs"])
def test_we_read_its_databases(name: str, exchange: Exchange) -> None:
    path = exchange.path(name)
    check(df.LMDBSerializer.load(path, shuffle=False, **exchange.allowed), points())
    shuffled = list(df.LMDBSerializer.load(path, **exchange.allowed).seed(0))
    assert [dp[0] for dp in shuffled] != list(range(SIZE))
    check(sorted(shuffled, key=lambda dp: dp[0]), points())
    raw = df.LMDBData(path, shuffle=False)
    assert len(raw) == SIZE and isinstance(raw.keys(), range)
    if exchange.serialisation == "pickle":
        with pytest.raises(df.CodecError, match="allow_pickle=True"):
            df.LMDBSerializer.load(path)


def test_we_read_its_other_files(exchange: Exchange) -> None:
    check(df.HDF5Serializer.load(exchange.path("theirs.h5"), PATHS, shuffle=False), points())
    path = exchange.path("theirs.npz")
    with pytest.raises(df.CodecError, match=f"{path}.*allow_pickle=True"):
        df.NumpySerializer.load(path)
    check(df.NumpySerializer.load(path, shuffle=False, allow_pickle=True), points())
    equal = df.NumpySerializer.load(exchange.path("equal.npz"), False, allow_pickle=True)
    check(equal, [[p[1], p[1] + 1] for p in points()])


def test_tfrecord_files_in_both_directions(exchange: Exchange) -> None:
    if "tfrecord" not in exchange.found:
        pytest.skip("tensorpack needs TensorFlow for these")
    path = exchange.path("theirs.tfrecord")
    check(df.TFRecordSerializer.load(path, **exchange.allowed), points())
    if exchange.serialisation == "msgpack":
        assert Path(path).read_bytes() == Path(exchange.path("ours.tfrecord")).read_bytes()


def test_its_databases_without_a_list_are_told_from_whole_ones(exchange: Exchange) -> None:
    """What a writer of tensorpack's leaves that was killed before its end."""
    lmdb = library("lmdb")
    path = exchange.path("half.lmdb")
    Path(path).write_bytes(Path(exchange.path("theirs.lmdb")).read_bytes())
    with lmdb.open(path, subdir=False, lock=False) as env, env.begin(write=True) as txn:
        txn.delete(b"__keys__")
    with pytest.raises(df.CodecError, match=f"{path} has no list of keys") as caught:
        df.LMDBSerializer.load(path)
    assert caught.value.reason == "truncated"
    assert len(list(df.LMDBData(path))) == SIZE, "the records can still be had"


def test_its_own_tests_pass() -> None:
    """The file of tests in the installed package, on our serializers."""
    spec = importlib.util.find_spec("tensorpack")
    assert spec is not None and spec.submodule_search_locations
    file = Path(spec.submodule_search_locations[0], "dataflow", "serialize_test.py")
    source = file.read_text("utf-8")
    assert source.count("from tensorpack.dataflow") == 2
    source = source.replace("from tensorpack.dataflow.flow", "from dataflow")
    source = source.replace("from tensorpack.dataflow", "from dataflow")
    module = types.ModuleType("its_tests")
    exec(compile(source, str(file), "exec"), module.__dict__)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        result = unittest.TextTestRunner(stream=io.StringIO()).run(suite)
    assert result.testsRun == 4 and result.wasSuccessful(), result.failures + result.errors
    assert "Skip" not in out.getvalue(), "it takes a missing library for a success"
