"""The text format of SVMlight and LIBSVM."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dataflow.errors import CodecError, MissingData
from dataflow.sources.keyed import KeyedSource
from dataflow.utils.extras import need

__all__ = ["SVMLightData"]


class SVMLightData(KeyedSource):
    """The rows of an SVMlight file as datapoints ``[features, label]``.

    The features are a dense array, float64, as wide as the largest index in the file. In memory
    the file is sparse; a row becomes dense where it is loaded.

    Args:
        filename: the file. Whether indices begin with 0 or 1 is told from it.
        shuffle: a new random order each epoch.

    Raises:
        MissingData: there is no such file.
        CodecError: it is in another format.
    """

    _consumer_only = ("_rows",)

    def __init__(self, filename: str | os.PathLike[str], shuffle: bool = True) -> None:
        path = os.fspath(filename)
        self.shuffle = bool(shuffle)
        datasets = need("sklearn.datasets")
        try:
            matrix, labels = datasets.load_svmlight_file(path)
        except FileNotFoundError:
            raise MissingData(f"{path} is not there") from None
        except (ValueError, EOFError) as error:
            what = f"{path} is no SVMlight file: {error}"
            raise CodecError(what, reason="foreign", url=path) from error
        self._rows = _Rows(matrix, labels)
        self._dense = _Dense(matrix.shape[1])

    def keys(self) -> Sequence[Any]:
        return self._rows

    def loader(self) -> Callable[[Any], list[Any]]:
        return self._dense


class _Rows(Sequence[Any]):
    """Rows of a sparse matrix: (columns, values, label)."""

    def __init__(self, matrix: Any, labels: np.ndarray) -> None:
        self._matrix = matrix  # compressed by rows
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[i] for i in range(len(self))[place]]
        place = range(len(self))[place]
        matrix = self._matrix
        inside = slice(matrix.indptr[place], matrix.indptr[place + 1])
        return matrix.indices[inside].copy(), matrix.data[inside].copy(), self._labels[place]


class _Dense:
    """Makes a datapoint of a sparse row."""

    def __init__(self, width: int) -> None:
        self._width = width

    def __call__(self, row: tuple[np.ndarray, np.ndarray, Any]) -> list[Any]:
        columns, values, label = row
        features = np.zeros(self._width, values.dtype)
        np.add.at(features, columns, values)  # as SciPy, where a column stands twice
        return [features, label]
