"""HDF5: datasets side by side as a source, and a dataflow as such datasets."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dataflow.errors import CodecError, ConfigError, DataFlowError
from dataflow.formats.handle import Handle
from dataflow.formats.saving import datapoints
from dataflow.sources.keyed import KeyedSource
from dataflow.utils.draft import draft
from dataflow.utils.extras import need

__all__ = ["HDF5Data", "HDF5Serializer"]

_CACHE = 1 << 25  # bytes of chunks that HDF5 keeps decompressed, for each dataset
_BLOCK = 1 << 22  # bytes of a component that wait to be written
_CHUNK = 1 << 18  # bytes of a chunk that is written
_BROKEN = (OSError, RuntimeError, ValueError)  # what h5py raises for damaged files
_KIND = "dataflow"  # an attribute: what a dataset's values were: "bytes" or "text"


class HDF5Data(KeyedSource):
    """Datasets of an HDF5 file side by side: datapoint i has row i of each.

    Rows are read when they are needed, where the loading runs. Of one-dimensional datasets they
    are NumPy scalars, of strings bytes, otherwise arrays. In a compressed file the rows of a chunk
    are decompressed together, so it is read fastest unshuffled.

    Args:
        filename: the file.
        data_paths: the datasets' paths in it, such as ``["images", "labels"]``.
        shuffle: a new random order each epoch.

    Raises:
        MissingData: there is no such file.
        CodecError: it is no HDF5 file, or its end is missing.
        ConfigError: it lacks one of the datasets, or they have different lengths.
    """

    def __init__(
        self,
        filename: str | os.PathLike[str],
        data_paths: Sequence[str],
        shuffle: bool = True,
    ) -> None:
        self.path = os.fspath(filename)
        self.data_paths = _checked(data_paths)
        self.shuffle = bool(shuffle)
        self._handle = Handle(_Columns, self.path, tuple(self.data_paths))
        with self._handle.once() as columns:
            self._size: int = columns.size

    def keys(self) -> range:
        return range(self._size)

    def loader(self) -> Callable[[int], list[Any]]:
        return _Reader(self._handle, self.path)

    def close(self) -> None:
        super().close()
        self._handle.close()


class HDF5Serializer:
    """Dataflows as HDF5 files, with one dataset a component.

    Components must be numbers, or arrays of one shape, or text, or bytes. Text and bytes come back
    as they were; to other readers bytes are arrays of uint8.
    """

    @staticmethod
    def save(
        df: Any,
        path: str | os.PathLike[str],
        data_paths: Sequence[str],
        *,
        format: str = "hdf5",
    ) -> None:
        """Write one epoch, replacing the file when it is finished.

        Args:
            df: the dataflow.
            path: the file.
            data_paths: a path in it for each component.
            format: as the other serializers have it. The components are arrays of HDF5 and no
                records, so there is only ``"hdf5"``.

        Raises:
            ConfigError: `format` is another one; a datapoint has another number of components
                than there are paths, or a component is of a type or shape that does not fit those
                before it.
        """
        if format != "hdf5":
            what = f'format={format!r} must be "hdf5", as each component becomes an array of it'
            raise ConfigError(f"{what}. LMDBSerializer and TFRecordSerializer write records")
        paths = _checked(data_paths)
        h5py = need("h5py")
        with draft(path) as place, datapoints(df) as points, h5py.File(place, "w") as file:
            columns = [_Column(file, path) for path in paths]
            for datapoint in points:
                if isinstance(datapoint, dict) or len(datapoint) != len(columns):
                    what = f"a datapoint of {len(datapoint)} components"
                    raise ConfigError(f"data_paths={paths!r} do not fit {what}, a list is needed")
                for column, value in zip(columns, datapoint, strict=True):
                    column.add(value)
            for column in columns:
                column.end()

    @staticmethod
    def load(
        path: str | os.PathLike[str], data_paths: Sequence[str], shuffle: bool = True
    ) -> HDF5Data:
        """`HDF5Data` of the same arguments."""
        return HDF5Data(path, data_paths, shuffle)


def _checked(data_paths: Sequence[str]) -> list[str]:
    paths = [data_paths] if isinstance(data_paths, str) else list(data_paths)
    if isinstance(data_paths, str) or not paths or not all(isinstance(p, str) for p in paths):
        raise ConfigError(f"data_paths={data_paths!r} must be a list of paths in the file")
    if len(set(paths)) != len(paths):
        raise ConfigError(f"data_paths={data_paths!r} has a path twice")
    return paths


# -- reading -----------------------------------------------------------------------------------


class _Reader:
    """Row number → datapoint."""

    def __init__(self, handle: Handle, path: str) -> None:
        self._handle = handle
        self._path = path

    def __call__(self, row: int) -> list[Any]:
        with self._handle.use() as columns:
            try:
                datapoint: list[Any] = columns.row(row)
            except _BROKEN as error:
                what = f"{self._path}: row {row} cannot be read: {error}"
                raise CodecError(what, reason="corrupt", url=self._path) from error
        return datapoint


class _Columns:
    """The open datasets."""

    def __init__(self, path: str, data_paths: tuple[str, ...]) -> None:
        self._file = _opened(path, _CACHE)
        try:
            datasets = [_dataset(self._file, path, name) for name in data_paths]
            largest = max(map(_chunk_bytes, datasets))
            if largest > _CACHE:  # a chunk that the cache cannot hold is decompressed for each row
                self._file.close()
                self._file = _opened(path, largest)
                datasets = [_dataset(self._file, path, name) for name in data_paths]
            self._kinds = [rows.attrs.get(_KIND) for rows in datasets]
            lengths = {name: len(rows) for name, rows in zip(data_paths, datasets, strict=True)}
            if len(set(lengths.values())) != 1:
                raise ConfigError(f"{path} has datasets of different lengths: {lengths}")
        except BaseException as error:
            self._file.close()
            if isinstance(error, _BROKEN) and not isinstance(error, DataFlowError):
                what = f"{path} cannot be read: {error}"
                raise CodecError(what, reason="corrupt", url=path) from error
            raise
        self.size = len(datasets[0])
        self._datasets = datasets

    def row(self, number: int) -> list[Any]:
        return [
            _restored(rows[number], kind)
            for rows, kind in zip(self._datasets, self._kinds, strict=True)
        ]

    def close(self) -> None:
        self._file.close()


def _opened(path: str, cache: int) -> Any:
    h5py = need("h5py")
    try:
        return h5py.File(path, "r", rdcc_nbytes=cache)
    except OSError as error:
        if error.errno is not None:  # the system refused, not HDF5
            raise
        reason = "truncated" if "truncated" in str(error) else "foreign"
        what = f"{path} is no whole HDF5 file: {error}"
        raise CodecError(what, reason=reason, url=path) from error


def _dataset(file: Any, path: str, name: str) -> Any:
    h5py = need("h5py")
    try:
        found = file[name]
    except KeyError:
        there = ", ".join(sorted(map(str, file))[:20]) or "nothing"
        raise ConfigError(f"data_paths: {path} has no {name!r}; it has {there}") from None
    if not isinstance(found, h5py.Dataset) or not found.shape:
        raise ConfigError(f"data_paths: {name!r} in {path} is no dataset with rows")
    return found


def _chunk_bytes(dataset: Any) -> int:
    return math.prod(dataset.chunks or (0,)) * int(dataset.dtype.itemsize)


def _restored(value: Any, kind: str | None) -> Any:
    if kind == "text" and isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if kind == "bytes" and isinstance(value, np.ndarray):
        return value.tobytes()
    return value


# -- writing -----------------------------------------------------------------------------------


class _Column:
    """A component of all datapoints on its way into the file.

    Args:
        file: the open file.
        path: the dataset's.
    """

    def __init__(self, file: Any, path: str) -> None:
        self._file = file
        self._path = path
        self._pending: list[Any] = []
        self._bytes = 0
        self._kind: str | None = None
        self._dataset: Any = None

    def add(self, value: Any) -> None:
        self._pending.append(value)
        self._bytes += value.nbytes if isinstance(value, np.ndarray) else 8
        if isinstance(value, (str, bytes)):
            self._bytes += len(value)
        if self._bytes >= _BLOCK:
            self._flush(more=True)

    def end(self) -> None:
        if self._pending or self._dataset is None:
            self._flush(more=False)

    def _flush(self, *, more: bool) -> None:
        rows, kind = self._stacked()
        if self._dataset is None:
            self._kind = kind
            self._dataset = self._made(self._path, rows.shape, rows.dtype, more=more)
            self._put(rows, 0)
        else:
            self._append(rows, kind)
        self._pending, self._bytes = [], 0

    def _stacked(self) -> tuple[np.ndarray, str | None]:
        """What is pending as an array, and its kind."""
        h5py = need("h5py")
        values = self._pending
        for kind, of in (("text", str), ("bytes", bytes)):
            if values and all(isinstance(value, of) for value in values):
                # h5py takes bytes, but none with a zero among them.
                given = values if of is str else [np.frombuffer(v, np.uint8) for v in values]
                rows = np.fromiter(given, _type_of(h5py, kind), len(values))
                return rows, kind
        if any(isinstance(value, np.ma.MaskedArray) for value in values):
            raise ConfigError(
                f"{self._path!r} has masked arrays, which HDF5 has not: save data and mask"
            )
        try:
            rows = np.asarray(values)
        except ValueError as error:
            shapes = sorted({np.shape(value) for value in values})[:4]
            what = f"{self._path!r} has components of different shapes: {shapes}"
            raise ConfigError(what) from error
        if rows.dtype.kind not in "biufc":
            kinds = sorted({type(value).__name__ for value in values})
            what = f"{self._path!r}: a dataset cannot hold dtype {rows.dtype}"
            raise ConfigError(f"{what}, of {', '.join(kinds)}")
        return rows, None

    def _made(self, path: str, shape: Any, dtype: Any, *, more: bool) -> Any:
        item = shape[1:]
        options: dict[str, Any] = {}
        if more:  # it must be able to grow
            bytes_of_row = max(1, math.prod(item) * dtype.itemsize)
            at_once = min(max(1, _CHUNK // bytes_of_row), shape[0])
            options = {"maxshape": (None, *item), "chunks": (at_once, *(max(n, 1) for n in item))}
        dataset = self._file.create_dataset(path, shape=shape, dtype=dtype, **options)
        if self._kind is not None:
            dataset.attrs[_KIND] = self._kind
        return dataset

    def _append(self, rows: np.ndarray, kind: str | None) -> None:
        dataset = self._dataset
        if kind != self._kind or rows.shape[1:] != dataset.shape[1:]:
            raise ConfigError(
                f"{self._path!r} has components of {kind or rows.dtype} and shape "
                f"{rows.shape[1:]} after {self._kind or dataset.dtype} and {dataset.shape[1:]}"
            )
        if kind is None and np.result_type(rows, dataset.dtype) != dataset.dtype:
            dataset = self._dataset = self._widened(np.result_type(rows, dataset.dtype))
        before = len(dataset)
        dataset.resize(before + len(rows), axis=0)
        self._put(rows, before)

    def _put(self, rows: np.ndarray, start: int) -> None:
        if len(rows):
            # Not by assignment, which takes arrays of bytes that are equally long for a table.
            self._dataset.write_direct(rows, dest_sel=np.s_[start : start + len(rows)])

    def _widened(self, dtype: Any) -> Any:
        """The dataset anew, with a dtype that holds what comes, too."""
        old = self._dataset
        new = self._made(f"{self._path}.wider", old.shape, dtype, more=True)
        for start in range(0, len(old), old.chunks[0]):
            new[start : start + old.chunks[0]] = old[start : start + old.chunks[0]]
        del self._file[self._path]
        self._file.move(new.name, self._path)
        return self._file[self._path]


def _type_of(h5py: Any, kind: str) -> Any:
    return h5py.string_dtype() if kind == "text" else h5py.vlen_dtype(np.uint8)
