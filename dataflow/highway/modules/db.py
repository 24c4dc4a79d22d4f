"""Batches in databases: LevelDB and LMDB, one record a sample.

A record is msgpack of the sample's dict, with arrays the way that the package msgpack-numpy writes
them, under the sample's number with eight digits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dataflow.codec import msgpack_numpy
from dataflow.errors import CodecError, ConfigError, DataFlowError, DataFlowTerminated, MissingData
from dataflow.formats.lmdb import LMDBSerializer
from dataflow.formats.records import Decoder
from dataflow.highway.batch import samples
from dataflow.highway.node import Sink, Source
from dataflow.sources.generator import DataFromGenerator
from dataflow.stages.batch import BatchData
from dataflow.stages.map import MapData
from dataflow.stages.repeat import RepeatedData
from dataflow.utils.extras import need

__all__ = ["LMDBSink", "LMDBSource", "LevelDBSink", "LevelDBSource"]


class LevelDBSource(Source):
    """The samples of a LevelDB database in the order of its keys; they need equal shapes.

    Records are read here, as LevelDB lets only one process have a database, and decoded and batched
    in the worker processes.

    Args:
        filename: the database, a folder.
        batch_size: samples in a batch.
        once: end after one epoch, with a smaller batch if need be. Otherwise the next epoch
            follows, without end, and batches go across.
        n_worker: processes.
        queue_size: batches that may wait.

    Raises:
        MissingData: there is no such database.
        MissingExtra: plyvel is not installed; says the command.
        DataFlowError: (from the pipeline) somebody else has the database open.
    """

    def __init__(
        self,
        filename: str | os.PathLike[str],
        batch_size: int = 32,
        once: bool = False,
        *,
        n_worker: int = 1,
        queue_size: int = 128,
    ) -> None:
        super().__init__(n_worker, queue_size)
        need("plyvel")
        self.filename = os.fspath(filename)
        if not (Path(filename) / "CURRENT").is_file():
            raise MissingData(f"{self.filename} is no LevelDB database")
        self.batch_size = batch_size
        self.once = once

    def flow(self) -> BatchData:
        ds = MapData(DataFromGenerator(self._records), Decoder(self.filename))
        return _batched(ds, self.batch_size, self.once)

    def _records(self) -> Iterator[list[bytes]]:
        db = _opened(self.filename, create_if_missing=False)
        try:
            with db.iterator(include_key=False) as records:
                for record in records:
                    yield [record]
        finally:
            db.close()


class LevelDBSink(Sink):
    """Writes each sample of the batches into a new LevelDB database.

    Args:
        filename: the database, a folder that is not there yet.

    Raises:
        ConfigError: it is there already.
        MissingExtra: plyvel is not installed; says the command.
    """

    def __init__(self, filename: str | os.PathLike[str]) -> None:
        super().__init__()
        need("plyvel")
        self.filename = os.fspath(filename)
        self._db: Any = None
        self._count = 0

    def open(self) -> None:
        _check_new(self.filename)
        self._db = _opened(self.filename, create_if_missing=True)

    def write(self, batch: dict[str, Any]) -> None:
        with self._db.write_batch(transaction=True) as records:  # all of it or nothing
            for sample in samples(batch):
                records.put(f"{self._count:08}".encode(), msgpack_numpy.encode(sample))
                self._count += 1

    def close(self) -> None:
        self._db.close()


class LMDBSource(Source):
    """The samples of an LMDB database that `LMDBSink` or `LMDBSerializer` has written.

    They need equal shapes. Records are read, decoded and batched in the worker processes.

    Args:
        filename: the database: a file, or a folder with a ``data.mdb``.
        batch_size: samples in a batch.
        once: as of `LevelDBSource`.
        shuffle: a new random order each epoch.
        n_worker: processes.
        queue_size: batches that may wait.

    Raises:
        MissingData: there is no such database.
        CodecError: it is none, or not a whole one, or pickled.
        MissingExtra: lmdb is not installed; says the command.
    """

    def __init__(
        self,
        filename: str | os.PathLike[str],
        batch_size: int = 32,
        once: bool = False,
        *,
        shuffle: bool = False,
        n_worker: int = 1,
        queue_size: int = 128,
    ) -> None:
        super().__init__(n_worker, queue_size)
        self.filename = os.fspath(filename)
        self.batch_size = batch_size
        self.once = once
        self._loaded = LMDBSerializer.load(filename, shuffle)

    def flow(self) -> BatchData:
        return _batched(self._loaded, self.batch_size, self.once)


class LMDBSink(Sink):
    """Writes each sample of the batches into a new LMDB database, as `LMDBSerializer` does.

    The database is there when the source has ended, or the pipeline was stopped, and not before.

    Args:
        filename: a file that is not there yet.

    Raises:
        ConfigError: it is there already.
        MissingExtra: lmdb is not installed; says the command.
    """

    def __init__(self, filename: str | os.PathLike[str]) -> None:
        super().__init__()
        need("lmdb")
        self.filename = os.fspath(filename)

    def open(self) -> None:
        _check_new(self.filename)

    def run(self, batches: Iterator[dict[str, Any]]) -> None:
        LMDBSerializer.save(DataFromGenerator(lambda: _until_stopped(batches)), self.filename)


def _until_stopped(batches: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The samples, up to where the pipeline was stopped: what came is worth keeping."""
    try:
        for batch in batches:
            yield from samples(batch)
    except DataFlowTerminated:
        return


def _batched(ds: Any, batch_size: int, once: bool) -> BatchData:
    ds = MapData(ds, _as_sample)
    return BatchData(ds if once else RepeatedData(ds, -1), batch_size, remainder=once)


def _as_sample(value: Any) -> dict[str, Any]:
    """A sample by name. Python 2 wrote names as bytes."""
    if not isinstance(value, dict):
        raise CodecError(f"a record has a {type(value).__name__}, no sample", reason="foreign")
    return {
        name.decode() if isinstance(name, bytes) else name: part for name, part in value.items()
    }


def _check_new(filename: str) -> None:
    if os.path.exists(filename):
        raise ConfigError(f"filename={filename!r}: there is something of this name already")


def _opened(filename: str, *, create_if_missing: bool) -> Any:
    plyvel = need("plyvel")
    try:
        return plyvel.DB(filename, create_if_missing=create_if_missing)
    except plyvel.Error as error:
        raise DataFlowError(f"{filename} cannot be opened: {error}") from error
