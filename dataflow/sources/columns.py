"""Datapoints as columns instead of a Python object for each component."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, overload

import numpy as np
import numpy.typing as npt

from dataflow.errors import ConfigError
from dataflow.sources.arrow import ArrowColumn, is_arrow, is_table
from dataflow.sources.stored import StoredColumn
from dataflow.sources.text import Text

__all__ = ["Columns", "Packer", "Records", "as_rows", "pick"]

_BLOCK = 1024
_INTEGERS = (np.int8, np.int16, np.int32, np.int64)
_SCALARS = (np.number, np.bool_, np.str_)

_Indices = npt.NDArray[np.int64]


class _Column(Protocol):
    """One component of all datapoints."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> Any: ...

    def take(self, indices: _Indices) -> list[Any]:
        """The plain Python values at these places."""


class Columns(Sequence[Any]):
    """A sequence of datapoints that is held column by column.

    It takes about the memory of the text itself: ten million datapoints of a URL and a label need
    2 GB as a list of lists, 0.7 GB as columns. Reading gives plain lists, as from a list::

        datapoints = df.Columns(urls, labels)       # two NumPy arrays, lists or Arrow columns
        datapoints = df.Columns.from_rows(rows)     # any iterable of [url, label], read once
        datapoints[0]                               # ["https://host/1.jpg", 0]

    Slices are views: ``datapoints[1::8]`` costs nothing.

    Args:
        *columns: one a component, all of one length. NumPy arrays and Arrow columns are used as
            they are; byte strings in an array are UTF-8 text. Any other iterable is packed:
            strings into one block, numbers into an array, what is neither stays Python objects.
            Of an array with more axes each datapoint gets the part at its place, an array. One
            DataFrame, Arrow table or dict of columns stands for all columns that it has;
            `read_table` picks some, and knows files.

    Attributes:
        names: of the columns, where they have some.

    Raises:
        ConfigError: there are no columns, or their lengths differ.
    """

    names: tuple[str, ...] | None = None

    def __init__(self, *columns: Any) -> None:
        if len(columns) == 1:
            columns = _columns_of(columns[0])
        self._columns: tuple[_Column, ...] = tuple(map(_as_column, columns))
        lengths = [len(column) for column in self._columns]
        if len(set(lengths)) != 1:
            raise ConfigError(f"columns must be of one length, not of {lengths or 'none'}")
        self._rows = range(lengths[0])

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[Any]]) -> Columns:
        """Pack datapoints, which are read one block at a time: a generator needs no list.

        Raises:
            ConfigError: a datapoint has not as many components as the first.
        """
        iterator = iter(rows)
        packers: list[Packer] | None = None
        while block := list(itertools.islice(iterator, _BLOCK)):
            packers = packers if packers is not None else [Packer() for _ in block[0]]
            if wrong := next((row for row in block if len(row) != len(packers)), None):
                raise ConfigError(f"{wrong!r} has not {len(packers)} components, as the first")
            for packer, values in zip(packers, zip(*block, strict=True), strict=True):
                packer.add(values)
        return cls(*(packer.column() for packer in packers or [Packer()]))

    def take(self, indices: _Indices) -> list[Any]:
        """The datapoints at these places, none of them negative; cheaper than one by one."""
        return list(map(list, self._values_at(indices)))

    def _values_at(self, indices: _Indices) -> Iterator[tuple[Any, ...]]:
        rows = self._rows
        places = indices * rows.step + rows.start
        return zip(*(column.take(places) for column in self._columns), strict=True)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> list[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Columns: ...
    def __getitem__(self, index: int | slice) -> list[Any] | Columns:
        rows = self._rows[index]
        if isinstance(rows, range):
            view = copy.copy(self)
            view._rows = rows
            return view
        return [column[rows] for column in self._columns]

    def __iter__(self) -> Iterator[list[Any]]:
        return pick(self, range(len(self)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} datapoints of {len(self._columns)} components>"


class Records(Columns):
    """`Columns` whose datapoints are dicts.

    Args:
        names: of the columns.
        columns: as of `Columns`.
    """

    def __init__(self, names: Sequence[str], columns: Sequence[Any]) -> None:
        super().__init__(*map(_as_column, columns))
        self.names = tuple(names)

    def take(self, indices: _Indices) -> list[Any]:
        """As of `Columns`."""
        return [
            dict(zip((self.names or ()), values, strict=True))
            for values in self._values_at(indices)
        ]

    def renamed(self, names: Mapping[str, str]) -> Records:
        """The same rows, with other names for some columns."""
        other = copy.copy(self)
        other.names = tuple(names.get(name, name) for name in self.names or ())
        return other

    def numbered(self, name: str) -> Records:
        """The same rows with the number of each, as the last of its columns."""
        whole = [*self._columns, range(len(self._columns[0]))]
        other = Records((*(self.names or ()), name), whole)
        other._rows = self._rows
        return other

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return (
            dict(zip((self.names or ()), found, strict=True)) if isinstance(found, list) else found
        )


def as_rows(datapoints: Any) -> Sequence[Any]:
    """The datapoints of a tuple of NumPy arrays or of an Arrow table; any other sequence as is."""
    if is_table(datapoints):
        return Columns(*datapoints.columns)
    arrays = isinstance(datapoints, tuple) and all(isinstance(c, np.ndarray) for c in datapoints)
    if arrays and datapoints:
        return Columns(*datapoints)
    rows: Sequence[Any] = datapoints
    return rows


def pick(rows: Sequence[Any], order: Iterable[int]) -> Iterator[Any]:
    """``rows[i]`` for each i of `order`; of columns a block at a time."""
    return _taken(rows, order) if isinstance(rows, Columns) else map(rows.__getitem__, order)


def _taken(rows: Columns, order: Iterable[int]) -> Iterator[Any]:
    places = iter(order)
    while block := list(itertools.islice(places, _BLOCK)):
        yield from rows.take(np.array(block, np.int64))


class _Array:
    """A column that is a NumPy array."""

    def __init__(self, values: npt.NDArray[Any]) -> None:
        if not values.ndim:
            raise ConfigError(f"{values!r} is one value, not a column")
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, place: int) -> Any:
        return self.take(slice(place, place + 1))[0]

    def take(self, indices: _Indices | slice) -> list[Any]:
        part = np.asarray(self.values[indices])
        if part.ndim > 1 or part.dtype.kind in "mM":  # of a time, tolist() may make a number
            return list(part)
        values: list[Any] = part.tolist()
        if part.dtype.kind == "S":
            return [value.decode("utf-8", "surrogatepass") for value in values]
        return values


class _Numbers:
    """A column that is a range."""

    def __init__(self, numbers: range) -> None:
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: int) -> int:
        return self._numbers[place]

    def take(self, indices: _Indices) -> list[Any]:
        found: list[Any] = (indices * self._numbers.step + self._numbers.start).tolist()
        return found


class Packer:
    """Takes in the values of a column, and keeps them as small as they can be."""

    def __init__(self) -> None:
        self._text = Text()
        self._parts: list[npt.NDArray[Any]] = []

    def add(self, values: Sequence[Any]) -> None:
        if all(issubclass(kind, _SCALARS) for kind in set(map(type, values))):
            values = [value.item() for value in values]
        if not self._parts and set(map(type, values)) == {str}:
            self._text.extend(values)
            return
        if len(self._text):  # the column is not of strings alone
            self._parts.append(np.fromiter(self._text, object, len(self._text)))
            self._text = Text()
        self._parts.append(_array_of(values))

    def column(self) -> _Column:
        if not self._parts:
            return self._text
        if len({part.dtype.kind for part in self._parts}) > 1:
            self._parts = [part.astype(object) for part in self._parts]
        return _Array(np.concatenate(self._parts))


def _array_of(values: Sequence[Any]) -> npt.NDArray[Any]:
    """The values as the smallest array that gives back each as it was."""
    kinds = set(map(type, values))
    if kinds == {bool}:
        return np.array(values, bool)
    if kinds == {float}:
        return np.array(values, np.float64)
    if kinds == {int}:
        least, most = min(values), max(values)
        for kind in _INTEGERS:
            if np.iinfo(kind).min <= least and most <= np.iinfo(kind).max:
                return np.array(values, kind)
    return np.fromiter(values, object, len(values))


def _columns_of(table: Any) -> tuple[Any, ...]:
    """The columns of a table, of a frame or of a dict; anything else is one column."""
    if is_table(table):
        return tuple(table.columns)
    if isinstance(table, Mapping):
        return tuple(table.values())
    if hasattr(table, "to_arrow") and hasattr(table, "columns"):  # of polars
        return tuple(table.to_arrow().columns)
    if hasattr(table, "iloc") and hasattr(table, "columns"):  # of pandas
        frame = table.astype(object).where(table.notna(), None)
        return tuple(frame.iloc[:, place].tolist() for place in range(frame.shape[1]))
    return (table,)


def _as_column(values: Any) -> _Column:
    if isinstance(values, (Text, _Array, _Numbers, ArrowColumn, StoredColumn)):
        return values
    if isinstance(values, range):
        return _Numbers(values)
    if isinstance(values, np.ndarray):
        return _Array(values)
    if is_arrow(values):
        return ArrowColumn(values)
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ConfigError(f"{values!r} is no column: an array or a list of values is")
    packer, iterator = Packer(), iter(values)
    while block := list(itertools.islice(iterator, _BLOCK)):
        packer.add(block)
    return packer.column()
