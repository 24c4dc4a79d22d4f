"""Databases: LMDB, and LevelDB where it is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optional import how_to_get
from patience import patient

import dataflow as df
from dataflow.highway import (
    FlowSource,
    ImageFileReader,
    LevelDBSink,
    LevelDBSource,
    LMDBSink,
    LMDBSource,
    Noise,
    Pipeline,
)

from .conftest import SIZE

HAS_PLYVEL = importlib.util.find_spec("plyvel") is not None
level = pytest.mark.skipif(not HAS_PLYVEL, reason=how_to_get("plyvel"))

KINDS: Any = pytest.mark.parametrize(
    ("sink", "source"),
    [(LMDBSink, LMDBSource), pytest.param(LevelDBSink, LevelDBSource, marks=level)],
)


@KINDS
def test_there_and_back(sink: Any, source: Any, photos: Path, tmp_path: Path) -> None:
    place = tmp_path / "db"
    reader = ImageFileReader(photos, 5, (12, 16), shuffle=False, once=True, n_worker=0)
    with Pipeline([reader]) as p:
        before = list(p)
    reader = ImageFileReader(photos, 5, (12, 16), shuffle=False, once=True, n_worker=0)
    with Pipeline([reader, sink(place)]) as p:
        assert p.wait()
    with Pipeline([source(place, 5, once=True, n_worker=0)]) as p:
        after = list(p)
    assert [len(batch["keys"]) for batch in after] == [5, 5, 2]
    for one, other in zip(before, after, strict=True):
        assert one.keys() == other.keys()
        for name in one.keys():  # noqa: SIM118 - iterating gives the values
            assert one[name].dtype == other[name].dtype
            assert np.array_equal(one[name], other[name])
    with Pipeline([source(place, 5, n_worker=0)]) as p:
        keys = [key for _ in range(5) for key in p.dequeue()["keys"].tolist()]
    assert keys[: SIZE + 1] == [*(k for b in before for k in b["keys"].tolist()), keys[0]]
    with pytest.raises(df.ConfigError, match="already"):
        Pipeline([Noise(), sink(place)])


@KINDS
def test_what_was_written_before_stop_is_there(sink: Any, source: Any, tmp_path: Path) -> None:
    with Pipeline([Noise((2, 2), n_tensors=7, n_worker=0)]) as p:
        p.flow.seed(1)
        expected = p.dequeue()["images"]
    p = Pipeline([_Slowed(seed=1), sink(tmp_path / "db")])
    assert _Slowed.begun.wait(patient(30))
    p.stop()
    with Pipeline([source(tmp_path / "db", 7, once=True, n_worker=0)]) as p:
        assert np.array_equal(p.dequeue()["images"], expected)


@KINDS
def test_what_is_none(sink: Any, source: Any, tmp_path: Path) -> None:
    with pytest.raises(df.MissingData):
        source(tmp_path / "none")
    bad = df.DataFromList([{"images": np.zeros((2, 1)), "keys": ["a"]}])
    with (
        Pipeline([FlowSource(bad, once=True), sink(tmp_path / "db")]) as p,
        pytest.raises(df.CodecError, match="lengths"),
    ):
        p.wait()


def test_an_lmdb_database_is_the_serializers(photos: Path, tmp_path: Path) -> None:
    reader = ImageFileReader(photos, 5, (12, 16), once=True, n_worker=0)
    with Pipeline([reader, LMDBSink(tmp_path / "db")]) as p:
        assert p.wait()
    ds = df.LMDBSerializer.load(tmp_path / "db", shuffle=False)
    assert len(ds) == SIZE and ds[3]["images"].shape == (12, 16, 3)


@pytest.mark.skipif(HAS_PLYVEL, reason="plyvel is installed")
def test_leveldb_says_what_to_install(tmp_path: Path) -> None:
    for make in (LevelDBSink, LevelDBSource):
        with pytest.raises(df.MissingExtra, match=r"pip install plyvel"):
            make(tmp_path / "db")


@level
def test_leveldb_is_for_one(tmp_path: Path) -> None:
    with Pipeline([FlowSource(df.DataFromList([]), once=True), LevelDBSink(tmp_path / "db")]) as p:
        assert p.wait()
    with Pipeline([LevelDBSource(tmp_path / "db", once=True, n_worker=0)]) as p:
        assert list(p) == []
    import plyvel

    held = plyvel.DB(str(tmp_path / "db"))
    try:
        with (
            Pipeline([LevelDBSource(tmp_path / "db", once=True, n_worker=0)]) as p,
            pytest.raises(df.DataFlowError, match="cannot be opened"),
        ):
            p.dequeue()
    finally:
        held.close()


class _Slowed(Noise):
    """Noise that tells when a second batch is asked for: then the first one is written."""

    import threading

    begun = threading.Event()

    def __init__(self, seed: int) -> None:
        super().__init__((2, 2), n_tensors=7, n_worker=0)
        self.begun.clear()
        self._seed = seed

    def flow(self) -> Any:
        flow = super().flow()
        flow.seed(self._seed)
        return df.MapData(flow, self._tell)

    def _tell(self, batch: dict[str, Any]) -> dict[str, Any]:
        self._count = getattr(self, "_count", 0) + 1
        if self._count == 3:
            self.begun.set()
        return batch
