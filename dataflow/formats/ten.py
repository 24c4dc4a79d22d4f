"""Tensorcom's ``.ten`` files as a source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from dataflow.codec.tenbin import check_components, file_entries, read_array
from dataflow.errors import CodecError, MissingData
from dataflow.sources.columns import Columns
from dataflow.sources.keyed import KeyedSource
from dataflow.utils.patterns import Paths, find_files

__all__ = ["TenData"]


class TenData(KeyedSource):
    """The arrays of ``.ten`` files, in the order of the files and in them.

    A datapoint is all the arrays of a file, as tensorcom saves them; or `components` arrays, for
    files to which datapoint after datapoint was appended (`dataflow.codec.tenbin.Writer`). Then
    only the places of the arrays are read here, 16 bytes of memory a datapoint, so files may be
    larger than memory. Workers read the arrays, into memory of their own.

    Args:
        path: a file, a pattern (``train/*.ten``, ``train-{000..099}.ten``), or a list of these. The
            files of a pattern with ``*`` come in the order of their names.
        components: arrays of a datapoint; by default all those of its file.
        shuffle: a new random order each epoch.

    Raises:
        MissingData: there is no such file.
        CodecError: with `components`: a file is broken, or has arrays left over. Without, this is
            found when it is read.
    """

    _consumer_only = ("_keys_of",)

    def __init__(
        self,
        path: Paths,
        components: int | None = None,
        shuffle: bool = False,
    ) -> None:
        check_components(components)
        self.paths = find_files(path)
        self.components = components
        self.shuffle = bool(shuffle)
        self._keys_of = self._places()

    def keys(self) -> Sequence[Any]:
        return self._keys_of

    def loader(self) -> Callable[[Any], list[np.ndarray]]:
        return _Reader(self.paths, self.components)

    def _places(self) -> Sequence[Any]:
        """[number of the file, where its datapoint begins] for each datapoint."""
        files = range(len(self.paths))
        if self.components is None:
            return Columns(np.array(files, np.int64), np.zeros(len(files), np.int64))
        starts = [_starts(path, self.components) for path in self.paths]
        return Columns(np.repeat(files, [len(one) for one in starts]), np.concatenate(starts))


def _starts(path: str, components: int) -> np.ndarray:
    """Where the datapoints of a file begin, int64."""
    places, behind = [], 0
    with open(path, "rb", buffering=0) as file:
        try:
            for one in file_entries(file.fileno()):
                places.append(behind)
                behind = one.end
        except CodecError as error:
            raise _told(path, error) from None
    if len(places) % components:
        what = f"{path} has {len(places)} arrays, no multiple of components={components}"
        raise CodecError(what, reason="truncated", url=path)
    return np.array(places[::components], np.int64)


class _Reader:
    """Number of a file and a place in it → datapoint."""

    def __init__(self, paths: list[str], components: int | None) -> None:
        self._paths = paths
        self._components = components

    def __call__(self, key: Sequence[int]) -> list[np.ndarray]:
        number, place = key
        path = self._paths[number]
        try:
            with open(path, "rb", buffering=0) as file:
                fd = file.fileno()
                found = islice(file_entries(fd, place), self._components)
                arrays = [read_array(fd, one) for one in found]
        except FileNotFoundError:
            raise MissingData(f"{path} is not there any more") from None
        except CodecError as error:
            raise _told(path, error) from None
        if self._components not in (None, len(arrays)):
            what = f"{path} became shorter: no {self._components} arrays at byte {place}"
            raise CodecError(what, reason="truncated", url=path)
        return arrays


def _told(path: str, error: CodecError) -> CodecError:
    return CodecError(f"{path}: {error}", reason=error.reason, url=path)
