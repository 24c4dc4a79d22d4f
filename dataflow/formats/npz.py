"""NumPy's own archives, with a whole dataflow in one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dataflow.epoch import Datapoint
from dataflow.errors import CodecError, MissingData
from dataflow.flow import DataFlow
from dataflow.formats.records import Decoder, encoder
from dataflow.formats.saving import datapoints
from dataflow.sources.keyed import KeyedSource
from dataflow.sources.lists import DataFromList
from dataflow.utils.draft import draft

__all__ = ["NumpySerializer"]


class NumpySerializer:
    """Dataflows as ``.npz`` files. All of one is in memory, when it is written and when it is read.

    The archive has two arrays: ``records``, uint8, with one msgpack record a datapoint one after
    the other, and ``ends``, int64, where each ends. As a pickle, the way of tensorpack, it has one
    array of objects, ``buffer``.
    """

    @staticmethod
    def save(df: Any, path: str | os.PathLike[str], *, format: str = "msgpack") -> None:
        """Write one epoch, replacing the file when it is finished.

        Args:
            df: the dataflow.
            path: the file; ``.npz`` is added where it lacks it.
            format: ``"msgpack"``, or ``"pickle"``, which alone tensorpack can read.

        Raises:
            CodecError: a datapoint cannot be encoded.
        """
        encode = encoder(format)
        name = os.fspath(path)
        name = name if name.endswith(".npz") else f"{name}.npz"
        with draft(name) as place, datapoints(df) as points, open(place, "wb") as file:
            if format == "pickle":
                held = list(points)
                # Of one dimension, whatever the datapoints are.
                buffer = np.fromiter(held, object, len(held))
                np.savez_compressed(file, buffer=buffer)
                return
            records, ends = bytearray(), []
            for datapoint in points:
                records += encode(datapoint)
                ends.append(len(records))
            np.savez_compressed(
                file,
                records=np.frombuffer(records, np.uint8),
                ends=np.array(ends, np.int64),
            )

    @staticmethod
    def load(
        path: str | os.PathLike[str], shuffle: bool = True, *, allow_pickle: bool = False
    ) -> DataFlow:
        """The datapoints of a file that `save`, or tensorpack's, has written.

        Args:
            path: the file.
            shuffle: a new random order each epoch.
            allow_pickle: load it where it is a pickle.

        Raises:
            MissingData: there is no such file.
            CodecError: it is none of those, or not whole, or pickled without `allow_pickle`.
        """
        import zipfile

        name = os.fspath(path)
        if not os.path.exists(name):
            raise MissingData(f"{name} is not there")
        if not zipfile.is_zipfile(name):
            what = f"{name} is no .npz file, or its end is missing"
            raise CodecError(what, reason="foreign", url=name)
        arrays = _arrays(name, allow_pickle=allow_pickle)
        if "buffer" in arrays:
            return DataFromList(list(map(_datapoint, arrays["buffer"])), shuffle)
        if arrays.keys() != {"records", "ends"}:
            what = f"{name} has the arrays {', '.join(arrays) or 'none'}, not those of a dataflow"
            raise CodecError(what, reason="foreign", url=name)
        return _NumpyRecords(name, _Records(name, **arrays), shuffle)


class _NumpyRecords(KeyedSource):
    """The datapoints of an archive; a key is a record, decoded where the loading runs."""

    _consumer_only = ("_records",)

    def __init__(self, path: str, records: _Records, shuffle: bool) -> None:
        self._records = records
        self.shuffle = bool(shuffle)
        self._decoder = Decoder(path)

    def keys(self) -> Sequence[list[bytes]]:
        return self._records

    def loader(self) -> Callable[[list[bytes]], Datapoint]:
        return self._decoder


class _Records(Sequence[list[bytes]]):
    """Records that lie one after the other."""

    def __init__(self, path: str, records: np.ndarray, ends: np.ndarray) -> None:
        ordered = ends.ndim == 1 and ends.dtype == np.int64 and bool((np.diff(ends) >= 0).all())
        last = int(ends[-1]) if ordered and len(ends) else 0
        if not ordered or records.dtype != np.uint8 or records.shape != (last,) or (ends < 0).any():
            what = f"{path}: the arrays 'records' and 'ends' do not fit each other"
            raise CodecError(what, reason="corrupt", url=path)
        self._records = records
        self._ends = ends

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[i] for i in range(len(self))[place]]
        place = range(len(self))[place]
        start = int(self._ends[place - 1]) if place else 0
        return [self._records[start : self._ends[place]].tobytes()]


def _arrays(path: str, *, allow_pickle: bool) -> dict[str, np.ndarray]:
    import zipfile
    import zlib

    damaged = (EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)
    try:
        # Opened here: NumPy leaves it open where the archive is damaged.
        with open(path, "rb") as file, np.load(file, allow_pickle=allow_pickle) as archive:
            names = ("buffer",) if "buffer" in archive.files else archive.files
            return {name: archive[name] for name in names}
    except (*damaged, OSError, ValueError) as error:
        if "allow_pickle" in str(error):
            what = (
                f"{path} is a pickle, which can run any code when it is loaded: give "
                "allow_pickle=True where you trust the file"
            )
            raise CodecError(what, reason="pickle", url=path) from None
        what = f"{path} cannot be read: {error}"
        raise CodecError(what, reason="corrupt", url=path) from error


def _datapoint(held: Any) -> Datapoint:
    """A datapoint as it was, where NumPy has made a row of an array of objects of it."""
    if not isinstance(held, np.ndarray):
        return held
    return [
        np.array(value.tolist())
        if isinstance(value, np.ndarray) and value.dtype == object
        else value
        for value in held
    ]
