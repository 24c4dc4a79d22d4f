"""Streams in files: the graph and its constants as plain values, without pickle and without code.

A file is msgpack (see `dataflow.codec.msgpack_numpy`), a map of

=========== ================================================================================
stream      version of this format
name        of the stream
seed        its seed, or None
optimize    whether it is compiled with all passes
given       values of inputs, by name
nodes       in the order in which they were made. A constant is ``{"value": …}`` or
            ``{"table": …}``, any other ``{"op": name, "args": [numbers], "seed": number}``
            with the ``"module"`` that the operation is of; both tell the ``"line"``
outputs     numbers of nodes
=========== ================================================================================

Reading one looks up operations by name among those that are there, and infers all types anew.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from dataflow.codec.msgpack_numpy import decode, encode
from dataflow.errors import CodecError, ConfigError
from dataflow.stream.flow import Stream
from dataflow.stream.graph import Node, constant, operations, reachable
from dataflow.stream.operation import Op
from dataflow.stream.tables import Columns, Files, Source, Table

__all__ = ["load", "save"]

_VERSION = 1
# What values of other types or of other lengths lead to.
_FAULTS = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


def save(stream: Stream, path: str | os.PathLike[str]) -> None:
    """Write a stream with its constants, its seed and what its inputs were given.

    Of images in files the folder and the names are kept, not the images; of a dataflow in
    `st.source` its name.

    Raises:
        ConfigError: a dataflow in it has no name, or it is no stream.
    """
    if not isinstance(stream, Stream):
        raise ConfigError(f"stream={stream!r} must be a stream, as @st.stream makes it")
    nodes = reachable(stream.outputs)
    numbers = {id(node): number for number, node in enumerate(nodes)}
    content = {
        "stream": _VERSION,
        "name": stream.name,
        "seed": stream.given_seed,
        "optimize": stream.optimize,
        "given": stream.values,
        "nodes": [_plain(node, numbers) for node in nodes],
        "outputs": [numbers[id(node)] for node in stream.outputs],
    }
    try:
        data = encode(content)
    except CodecError as error:
        raise ConfigError(f"a constant of {stream.name} cannot be kept: {error}") from error
    Path(path).write_bytes(data)


def load(
    path: str | os.PathLike[str],
    *,
    sources: Mapping[str, Any] | None = None,
    folders: Mapping[str, str | os.PathLike[str]] | None = None,
) -> Stream:
    """Read a stream that `save` wrote.

    The file may come from anybody: nothing in it is run, or compiled. But a stream is a program,
    and its first sample may take any time and memory, and read any image that this process can.

    Args:
        path: the file.
        sources: the dataflows of `st.source`, by the names that they were given.
        folders: other places of folders of images, by their places when the stream was saved.

    Raises:
        ConfigError: it is no such file, of another version, or needs a source or an operation that
            is not there: importing the module that makes it registers it.
    """
    try:
        content = decode(Path(path).read_bytes())
    except CodecError as error:
        raise ConfigError(f"{path} is no saved stream: {error}") from error
    if not isinstance(content, dict) or "stream" not in content:
        raise ConfigError(f"{path} is no saved stream")
    if content["stream"] != _VERSION:
        raise ConfigError(f"{path} has format {content['stream']!r}, this version reads {_VERSION}")
    try:
        return _stream(content, sources or {}, folders or {})
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except _FAULTS as error:
        raise ConfigError(f"{path} is broken: {type(error).__name__}: {error}") from error


# -- writing ---------------------------------------------------------------------------------------


def _plain(node: Node, numbers: Mapping[int, int]) -> dict[str, Any]:
    line = [os.path.basename(node.where[0]), node.where[1]]
    if node.op is not None:
        plain: dict[str, Any] = {
            "op": node.op.name,
            "args": [numbers[id(one)] for one in node.args],
            "line": line,
        }
        if node.seed is not None:
            plain["seed"] = numbers[id(node.seed)]
        return {**plain, "module": node.op.__module__} if node.op.own else plain
    if isinstance(node.value, Table):
        return {"table": _plain_table(node.value), "line": line}
    return {"value": node.value, "line": line}


def _plain_table(table: Table) -> dict[str, Any]:
    fields = table.fields
    plain: dict[str, Any] = {"rows": table.rows, "segments": table.segments}
    if isinstance(fields, Columns):
        columns = {name: _plain_column(values) for name, values in fields.columns.items()}
        return {**plain, "columns": columns}
    if isinstance(fields, Source) and fields.name is not None:
        return {**plain, "source": fields.name, "names": list(fields.names)}
    flow = type(getattr(fields, "flow", fields)).__name__
    raise ConfigError(f"the dataflow {flow} needs a name to be kept: st.source(…, name='photos')")


def _plain_column(values: Any) -> dict[str, Any]:
    if isinstance(values, Files):
        return {"folder": values.root, "files": list(values.names)}
    return {"values": values}


# -- reading ---------------------------------------------------------------------------------------


def _stream(content: Any, sources: Mapping[str, Any], folders: Mapping[str, Any]) -> Stream:
    nodes: list[Node] = []
    for number, plain in enumerate(content["nodes"]):
        try:
            node = _node(plain, nodes, sources, folders)
        except ConfigError as error:
            raise ConfigError(f"node {number}: {error}") from None
        name, line = plain["line"]
        node.where = str(name), int(line)
        nodes.append(node)
    outputs = [nodes[_number(number, nodes)] for number in content["outputs"]]
    made = Stream.uncompiled(outputs, str(content["name"]), bool(content["optimize"]))
    made = made.given(**content["given"]) if content["given"] else made
    return made if content["seed"] is None else made.seed(int(content["seed"]))


def _node(plain: Any, nodes: list[Node], sources: Any, folders: Any) -> Node:
    if "table" in plain:
        return constant(_table(plain["table"], sources, folders))
    if "op" not in plain:
        return constant(plain["value"])
    operation = operations.get(plain["op"])
    if not isinstance(operation, Op):
        where = f"; it was made by the module {plain['module']}" if "module" in plain else ""
        raise ConfigError(
            f"there is no operation {plain['op']!r}{where}: import what makes it before loading"
        )
    args = [nodes[_number(number, nodes)] for number in plain["args"]]
    options = {"seed": nodes[_number(plain["seed"], nodes)]} if "seed" in plain else {}
    return operation(*args, **options)


def _number(number: Any, nodes: list[Node]) -> int:
    if type(number) is not int or not 0 <= number < len(nodes):
        raise ConfigError(f"there is no node {number!r} before it")
    return number


def _table(plain: Any, sources: Mapping[str, Any], folders: Mapping[str, Any]) -> Table:
    rows = plain["rows"]
    fields: Columns | Source
    if "source" in plain:
        if plain["source"] not in sources:
            raise ConfigError(
                f"it needs the dataflow {plain['source']!r}: "
                f"st.load(…, sources={{{plain['source']!r}: …}})"
            )
        fields = Source(sources[plain["source"]], plain["names"], plain["source"])
    else:
        columns = {name: _column(one, folders) for name, one in plain["columns"].items()}
        fields = Columns(columns)
    if rows is not None:
        rows = np.asarray(rows, np.int64)
        if rows.ndim != 1 or (len(rows) and not 0 <= rows.min() <= rows.max() < len(fields)):
            raise ConfigError(f"its rows are not among {len(fields)} records")
    return Table(fields, rows, plain["segments"])


def _column(plain: Any, folders: Mapping[str, Any]) -> Any:
    if "files" not in plain:
        return plain["values"]
    for name in plain["files"]:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise ConfigError(f"the file {name!r} is not within its folder")
    return Files(folders.get(plain["folder"], plain["folder"]), plain["files"])
