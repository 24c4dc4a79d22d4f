"""Records at run time: tables whose fields are loaded where they are used.

A table is a constant of the graph: threads share it, worker processes get a copy when they start.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dataflow.errors import ConfigError, FetchError
from dataflow.image.decode import decode_image
from dataflow.sources.text import Text
from dataflow.stream.inference import array_type, type_of
from dataflow.stream.places import digest_of
from dataflow.stream.shared import read_only
from dataflow.stream.types import Array, Image, List, Record, Records, Type

__all__ = ["Columns", "Fields", "Files", "Row", "Source", "Table", "read"]


class Fields(Protocol):
    """Where a table's values come from."""

    def __len__(self) -> int: ...

    def types(self) -> dict[str, Type]:
        """The type of each field."""

    def load(self, row: Row, name: str) -> Any:
        """A field of a row; what belongs to the row as a whole is kept in it."""

    def digest(self) -> bytes:
        """What is in them, wherever it lies."""


class Row:
    """A record: its place in a table.

    Attributes:
        place: in the table's fields.
        loaded: what the fields keep of it.
    """

    __slots__ = ("fields", "loaded", "place")

    def __init__(self, fields: Fields, place: int) -> None:
        self.fields = fields
        self.place = place
        self.loaded: Any = None

    def __getitem__(self, name: str) -> Any:
        return self.fields.load(self, name)

    def as_dict(self) -> dict[str, Any]:
        """All fields, loaded."""
        return {name: self[name] for name in self.fields.types()}


class Table:
    """Some rows of fields, in some order.

    Args:
        fields: where the values come from.
        rows: which rows; None for all of them.
        segments: how many rows each segment has, one behind the other; None without segments.
    """

    def __init__(
        self,
        fields: Fields,
        rows: NDArray[np.int64] | None = None,
        segments: Sequence[int] | None = None,
    ) -> None:
        self.fields = fields
        self.rows = rows
        self.segments = None if segments is None else list(map(int, segments))
        if self.segments is not None and (
            min(self.segments, default=0) < 1 or sum(self.segments) != len(self)
        ):
            raise ConfigError(
                f"lengths of segments must be above 0 and {len(self)} together, the number of "
                f"records: they are {sum(self.segments)}"
            )

    def __len__(self) -> int:
        return len(self.fields) if self.rows is None else len(self.rows)

    def __getitem__(self, index: int) -> Row:
        size = len(self)
        if not -size <= index < size:
            raise IndexError(f"record {index} of {size}")
        index = index % size
        return Row(self.fields, index if self.rows is None else int(self.rows[index]))

    def take(self, places: Any) -> Table:
        """The rows at these places, in this order."""
        rows = np.asarray(places, np.int64)
        return Table(self.fields, rows if self.rows is None else self.rows[rows])

    def segment(self, index: int) -> Table:
        """The rows of one segment."""
        if self.segments is None:
            raise ConfigError("the records have no segments: st.segments(records, lengths)")
        if not 0 <= index < len(self.segments):
            raise IndexError(f"segment {index} of {len(self.segments)}")
        start = sum(self.segments[:index])
        return self.take(np.arange(start, start + self.segments[index]))

    def column(self, name: str) -> Any:
        """A field of all rows: numbers as an array, anything else as a list."""
        values = [self[index][name] for index in range(len(self))]
        return np.array(values) if isinstance(values[0], (bool, int, float)) else values

    @property
    def stream_type(self) -> Records:
        """The type as of a constant."""
        kinds = tuple(self.fields.types().items())
        return Records(kinds, len(self), None if self.segments is None else len(self.segments))

    def digest(self) -> bytes:
        """What is in it."""
        return digest_of([self.fields.digest(), self.rows, self.segments])


class Columns:
    """Fields in arrays and lists.

    Args:
        columns: arrays, lists or `Files`, by name; all of one length.
    """

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self.columns = {name: _column(name, values) for name, values in columns.items()}
        lengths = {name: len(values) for name, values in self.columns.items()}
        if len(set(lengths.values())) != 1:
            told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise ConfigError(f"fields must be of one length: {told or 'there are none'}")
        if not len(self):
            raise ConfigError(f"there are no records: {', '.join(lengths)} are empty")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def types(self) -> dict[str, Type]:
        return {name: _type_of_column(values) for name, values in self.columns.items()}

    def load(self, row: Row, name: str) -> Any:
        value = self.columns[name][row.place]
        return value.item() if isinstance(value, np.generic) else value

    def digest(self) -> bytes:
        return digest_of(self.columns)


class Files(Sequence[Any]):
    """Image files as a column: each is decoded where it is used, BGR.

    Args:
        root: their folder.
        names: of the files, relative to it.
    """

    stream_type = Image(3, "uint8")

    def __init__(self, root: str | os.PathLike[str], names: Sequence[str]) -> None:
        self.root = os.fspath(root)
        self.names = Text()
        self.names.extend(list(names))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Any) -> Any:
        return read(os.path.join(self.root, self.names[index]))

    def digest(self) -> bytes:
        """Of the names: the same folder elsewhere makes the same draws."""
        return digest_of(list(self.names))


class Source:
    """Fields of a keyed source: a record is a datapoint.

    Args:
        flow: a dataflow with random access.
        names: of its components.
        name: what a saved stream calls it.
    """

    def __init__(self, flow: Any, names: Sequence[str], name: str | None) -> None:
        self.flow = flow
        self.names = tuple(names)
        self.name = name
        self._types = {
            key: _general(type_of(value))
            for key, value in zip(self.names, self._checked(flow[0]), strict=True)
        }

    def _checked(self, datapoint: Any) -> list[Any]:
        if not isinstance(datapoint, (list, tuple)) or len(datapoint) != len(self.names):
            have = len(datapoint) if isinstance(datapoint, (list, tuple)) else type(datapoint)
            raise ConfigError(
                f"names={list(self.names)} must name each component of a datapoint: it has {have}"
            )
        return list(datapoint)

    def __len__(self) -> int:
        return len(self.flow)

    def types(self) -> dict[str, Type]:
        return self._types

    def load(self, row: Row, name: str) -> Any:
        if row.loaded is None:
            row.loaded = dict(zip(self.names, self.flow[row.place], strict=True))
        value = row.loaded[name]  # which the source may keep, and give again
        return value.item() if isinstance(value, np.generic) else read_only(value)

    def digest(self) -> bytes:
        return digest_of([type(self.flow).__qualname__, list(self.names), len(self)])


def read(path: str) -> NDArray[np.uint8]:
    """The image in a file: BGR.

    Raises:
        FetchError: the file cannot be read.
        DecodeError: it is no whole image.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.readall()
    except OSError as error:
        reason = "not_found" if isinstance(error, FileNotFoundError) else "unreadable"
        raise FetchError(f"{path}: {error.strerror}", url=path, reason=reason) from error
    return decode_image(data, url=path)


def _column(name: str, values: Any) -> Any:
    if isinstance(values, np.ndarray) and values.ndim and values.dtype.kind in "biufSU":
        return read_only(values)
    if isinstance(values, Files):
        return values
    if isinstance(values, (list, tuple)):
        return [read_only(value) for value in values]
    raise ConfigError(f"the field {name!r} must be an array or a list, not {type(values).__name__}")


def _type_of_column(values: Any) -> Type:
    if isinstance(values, Files):
        return values.stream_type
    if isinstance(values, np.ndarray):
        return array_type(values.dtype, values.shape[1:])
    kind = type_of(values)
    return kind.element if isinstance(kind, List) else Type()


def _general(kind: Type) -> Type:
    """The type of one datapoint's component as that of all."""
    if isinstance(kind, Image):
        return replace(kind, width=None, height=None)
    if isinstance(kind, Array) and kind.shape is not None:
        return Array(kind.dtype, (None,) * len(kind.shape))
    if isinstance(kind, List):
        return List(_general(kind.element))
    return Record() if isinstance(kind, Record) else kind
