"""Records: rows of a table, and tables of arrays, files and dataflows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dataflow.dataset.folders import (
    SUFFIXES,
    class_names,
    images_below,
    is_image,
    is_system,
    told_of_empty,
)
from dataflow.errors import ConfigError, FetchError, MissingData
from dataflow.image.decode import decode_image as decoded
from dataflow.stream.graph import Node, constant, known
from dataflow.stream.operation import macro, op
from dataflow.stream.ops.sampling import integer
from dataflow.stream.tables import Columns, Files, Source, Table, read
from dataflow.stream.types import ANYTHING, INT, TEXT, Array, Image, List, Record, Records, Type

__all__ = [
    *("classes", "column", "decode_image", "field", "images", "random_segment", "read_file"),
    *("read_image", "record", "records", "segment", "segments", "source"),
]


@macro
def records(**fields: Any) -> Node:
    """A table of records.

    Args:
        **fields: an array, whose first axis counts the records, or a list; one for each field.

    Raises:
        ConfigError: they differ in length, or are empty.
    """
    return constant(Table(Columns(fields)))


@macro
def images(folder: str | os.PathLike[str], pattern: str = "*") -> Node:
    """The images of a folder, in the order of their names: records of ``image`` and ``name``.

    An image is read where it is used: BGR, uint8.

    Args:
        folder: the folder.
        pattern: which files; ``**/*`` for those of all folders below, too.

    Raises:
        MissingData: there is no image.
    """
    root, names = _listed(folder, pattern)
    return constant(Table(Columns({"image": Files(root, names), "name": names})))


@op(path=TEXT, gives=Image(3, "uint8"), foldable=False)
def read_image(path: str) -> Any:
    """The image in a file: BGR, uint8."""
    return read(path)


@op(path=TEXT, gives=Array("uint8", (None,)), foldable=False)
def read_file(path: str) -> Any:
    """The bytes of a file, as an array of uint8.

    Raises:
        FetchError: (where it runs) it cannot be read.
    """
    try:
        return np.fromfile(path, np.uint8)
    except OSError as error:
        raise FetchError(f"{path}: {error.strerror}", url=path, reason="unreadable") from error


@op(data=Array("uint8", (None,)), gives=Image(3, "uint8"))
def decode_image(data: Any) -> Any:
    """The image in the bytes of a file: BGR, uint8.

    Raises:
        DecodeError: (where it runs) it is none, or not a whole one.
    """
    return decoded(memoryview(data).tobytes())


@macro
def classes(folder: str | os.PathLike[str]) -> Node:
    """The images of a folder with one sub-folder a class.

    Records of ``image``, ``name``, ``label``, a place in the sorted names of the sub-folders, and
    ``class_name``, that name.

    Raises:
        MissingData: there is no image in a sub-folder.
    """
    root, names = _listed(folder, "*/**/*")
    of_each = [name.split("/", 1)[0] for name in names]
    all_names = class_names(root)
    known_ones = {name: label for label, name in enumerate(all_names)}
    labels = [known_ones[name] for name in of_each]
    told_of_empty(root, all_names, set(labels))
    files = Files(root, names)
    fields = {"image": files, "name": names, "label": labels, "class_name": of_each}
    return constant(Table(Columns(fields)))


def _listed(folder: str | os.PathLike[str], pattern: str) -> tuple[str, list[str]]:
    root = Path(folder)
    if pattern in ("**/*", "*/**/*"):  # all of them, or those in sub-folders
        found = [path.relative_to(root) for path in images_below(root)]
        found = [path for path in found if len(path.parts) > (pattern != "**/*")]
    else:
        found = [path.relative_to(root) for path in root.glob(pattern) if path.is_file()]
        found = [path for path in found if not any(map(is_system, path.parts))]
    names = sorted(path.as_posix() for path in found if is_image(path.name))
    if not names:
        raise MissingData(f"{root} has no images called {pattern} ({', '.join(sorted(SUFFIXES))})")
    return str(root), names


@macro
def source(flow: Any, names: Sequence[str], name: str | None = None) -> Node:
    """The datapoints of a dataflow as records; each is loaded once where its fields are used.

    Args:
        flow: a dataflow with a length and random access, such as a source of `dataflow.dataset`.
        names: of its components, in order.
        name: needed to save the stream: who loads it gives the dataflow again.

    Raises:
        ConfigError: it has no random access, or another number of components.
    """
    try:
        return constant(Table(Source(flow, names, name)))
    except (TypeError, IndexError) as error:
        raise ConfigError(f"{type(flow).__name__} cannot be looked up by index: {error}") from error


@macro
def segments(table: Any, lengths: Sequence[int]) -> Node:
    """The same records, in segments one behind the other, such as sequences of frames.

    Args:
        table: records that are constant.
        lengths: how many records each segment has; together all of them.
    """
    node = constant(table)
    if not isinstance(known(node), Table):
        raise ConfigError(f"table must be constant records, and is {node!r}")
    return constant(Table(node.value.fields, node.value.rows, lengths))


@op(table=Records(), index=INT, gives=lambda table, index: Records(table.type.fields))
def segment(table: Table, index: int) -> Table:
    """The records of one segment."""
    return table.segment(index)


@macro
def random_segment(table: Any, seed: Any = None) -> Node:
    """The records of a random segment, each segment as likely."""
    node = constant(table)
    count = node.type.segments if isinstance(node.type, Records) else None
    if count is None:
        raise ConfigError(f"{node!r} has no segments: st.segments(records, lengths) makes them")
    return segment(node, integer(0, count, seed=seed))


def _field(record: Node, name: Node) -> Type:
    if not isinstance(record.type, Record):
        if type(record.type) is Type:
            return ANYTHING
        raise ConfigError(f"{record.type} has no fields")
    return record.type.field(known(name))


@op(record=ANYTHING, name=TEXT, gives=_field, foldable=False)
def field(record: Any, name: str) -> Any:
    """A field of a record."""
    return record[name]


def _column(table: Node, name: Node) -> Type:
    kind = _field(table, name)
    if isinstance(kind, Image):
        raise ConfigError(f"the field {known(name)!r} is an image: images are taken one by one")
    length = table.type.length if isinstance(table.type, Records) else None
    inner = {"bool": "bool", "int": "int64", "float": "float64"}.get(getattr(kind, "kind", ""))
    if inner is not None:
        return Array(inner, (length,))
    return List(kind, length) if kind == TEXT else ANYTHING


@op(table=Records(), name=TEXT, gives=_column)
def column(table: Table, name: str) -> Any:
    """A field of all records: an array of numbers, or a list of texts."""
    return table.column(name)


def _recorded(names: Node, *values: Node) -> Type:
    return Record(tuple(zip(known(names), (value.type for value in values), strict=True)))


@op("make_record", names=List(TEXT), values=ANYTHING, gives=_recorded)
def _made(names: list[str], *values: Any) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))


@macro
def record(**fields: Any) -> Node:
    """A record of these values; as an output it is a dict."""
    if not fields:
        raise ConfigError("a record needs at least one field")
    return _made(list(fields), *fields.values())
