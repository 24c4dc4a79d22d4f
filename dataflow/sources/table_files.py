"""Tables in files: which columns they have together, and how some of them are read."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from dataflow.errors import ConfigError, MissingData
from dataflow.sources.arrow import ArrowColumn
from dataflow.sources.columns import Packer
from dataflow.sources.parsed import ParsedColumn
from dataflow.sources.stored import StoredColumn, TableStore, copied
from dataflow.utils.arguments import shortened
from dataflow.utils.extras import need
from dataflow.utils.patterns import find_files

__all__ = ["Known", "Layout", "format_of", "open_files"]

logger = logging.getLogger(__name__)

SMALL_BYTES = 256 << 20
"""What is smaller in memory is read at once."""

_ENDINGS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".feather": "feather",
    ".arrow": "feather",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".txt": "lines",
}
_PACKED = (".gz", ".bz2", ".zst")
_LONG = 1 << 16  # characters of a field that hardly any caption has
_PIECE = 1 << 20


class Layout(NamedTuple):
    """How text files are laid out, as far as their names do not tell.

    Attributes:
        names: of the columns, of files without a line that names them.
        delimiter: between columns; None: tabs in ``.tsv``, commas in ``.csv``.
        quoted: fields may stand in double quotes, with delimiters and line ends in them; None: they
            may in ``.csv``, not in ``.tsv``.
    """

    names: tuple[str, ...] | None = None
    delimiter: str | None = None
    quoted: bool | None = None


Known: TypeAlias = "tuple[list[str], Callable[[list[str]], Mapping[str, Any]], str]"
"""The names of all columns, what reads some of them, and where they are from."""


def format_of(path: str) -> str | None:
    """What is in a file, by its name."""
    bare = path.lower().partition("?")[0]
    for ending in _PACKED:
        bare = bare.removesuffix(ending)
    return _ENDINGS.get(os.path.splitext(bare)[1])


def open_files(table: Any, layout: Layout) -> Known:
    """Look into files.

    Args:
        table: a path, pattern or URL, or several.
        layout: of text files.

    Raises:
        ConfigError: they are not of one kind, or cannot be read as that.
        MissingData: there are none.
    """
    paths, system = _files(table)
    formats = {format_of(path) for path in paths}
    where = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more files"
    if len(formats) > 1 or None in formats:
        odd = next((path for path in paths if format_of(path) is None), where)
        raise ConfigError(
            f"{odd}: what is in it is told by its name, which must end in one of "
            f"{', '.join(_ENDINGS)} (and {', '.join(_PACKED)}), all files in the same"
        )
    (form,) = formats
    if form != "csv" and layout != Layout():
        raise ConfigError(f"names, delimiter and quoted are for CSV and TSV, not for {where}")
    files = _Files(paths, system, where)
    if form == "json":
        return _open_json(files)
    if form == "lines":
        return _open_csv(files, Layout(("url",), "\x1f", False))
    return _open_csv(files, layout) if form == "csv" else _open_arrow(files, str(form))


@dataclass(frozen=True)
class _Files:
    """Some files of one kind.

    Attributes:
        paths: of them.
        system: the file system of pyarrow's that they are in; None: this machine's.
        where: what they are called together.
    """

    paths: list[str]
    system: Any
    where: str

    @contextmanager
    def reading(self, path: str) -> Iterator[Any]:
        """While one of them is read: what is wrong is told with its name."""
        try:
            yield
        except ConfigError:
            raise
        except (OSError, ValueError, TypeError, need("pyarrow").ArrowException) as error:
            raise ConfigError(f"{path} cannot be read as what its name says: {error}") from error

    def open(self, path: str) -> Any:
        """Its bytes, unpacked."""
        system = self.system or need("pyarrow.fs").LocalFileSystem()
        return system.open_input_stream(path)

    @property
    def identity(self) -> tuple[str, str]:
        """Names them, and their contents."""
        paths = [path if self.system else os.path.abspath(path) for path in self.paths]
        system = self.system or need("pyarrow.fs").LocalFileSystem()
        infos = system.get_file_info(paths)
        version = [(info.path, info.size, info.mtime_ns) for info in infos]
        return repr((paths[0], len(paths))), repr(version)


def _files(table: Any) -> tuple[list[str], Any]:
    """The paths, and the file system of pyarrow's that they are in; None for this machine's."""
    given = [table] if isinstance(table, (str, os.PathLike)) else list(table)
    texts = [os.fspath(one) for one in given]
    scheme = texts[0].partition("://")[0] if "://" in texts[0] else ""
    if not scheme:
        texts = [os.path.expanduser(text) for text in texts]
        for text in texts:
            if os.path.isdir(text):
                raise ConfigError(f"{text} is a folder: name its files, {text}/*.parquet")
        return find_files(texts), None
    systems = need("pyarrow.fs")
    try:
        import fsspec
    except ImportError:
        return _files_of_arrow(texts, scheme)
    try:
        opened = fsspec.filesystem(scheme)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"{texts[0]} cannot be opened: {error}") from error
    paths = []
    for text in texts:
        bare = opened._strip_protocol(text)
        found = [bare] if opened.exists(bare) else sorted(opened.glob(bare))
        if not found:
            raise MissingData(f"{text} is not there")
        paths += found
    return paths, systems.PyFileSystem(systems.FSSpecHandler(opened))


def _files_of_arrow(texts: list[str], scheme: str) -> tuple[list[str], Any]:
    """The same without fsspec: what pyarrow itself knows, and no patterns."""
    systems = need("pyarrow.fs")
    paths, system = [], None
    for text in texts:
        try:
            system, path = systems.FileSystem.from_uri(text)
        except (ValueError, OSError, NotImplementedError) as error:
            what = f"pip install fsspec, and what it needs for {scheme}, may know it"
            raise ConfigError(f"{text} cannot be opened: {error}. {what}") from error
        paths.append(path)
    return paths, system


# -- Parquet and Arrow's own ------------------------------------------------------------------


def _open_arrow(files: _Files, form: str) -> Known:
    arrow, source = need("pyarrow"), need("pyarrow.dataset")
    schema: Any = None
    fragments: list[Any] = []
    for path in files.paths:
        with files.reading(path):
            try:
                dataset = source.dataset([path], filesystem=files.system, format=form)
            except arrow.ArrowInvalid:
                if form != "feather":
                    raise
                with files.open(path) as stream:  # the other of Arrow's formats
                    dataset = source.dataset(need("pyarrow.ipc").open_stream(stream).read_all())
            plain = _plain_schema(dataset.schema)
            schema = (
                plain
                if schema is None
                else arrow.unify_schemas([schema, plain], promote_options="permissive")
            )
            fragments += dataset.get_fragments()

    def read(wanted: list[str]) -> Mapping[str, Any]:
        fields = arrow.schema([schema.field(name) for name in wanted])
        with files.reading(files.where):
            return _read_arrow(files, fragments, fields)

    return list(schema.names), read, files.where


def _read_arrow(files: _Files, fragments: list[Any], fields: Any) -> Mapping[str, Any]:
    what, version = files.identity
    names = list(fields.names)
    if all(hasattr(fragment, "split_by_row_group") for fragment in fragments):
        groups = [part for one in fragments for part in one.split_by_row_group()]
        infos = [part.row_groups[0] for part in groups]
        read = _Groups(groups, fields)
        if sum(info.total_byte_size for info in infos) > SMALL_BYTES:
            sizes = [info.num_rows for info in infos]
            store = TableStore(sizes, names, read, (repr((what, names)), version))
            return {name: StoredColumn(store, name) for name in names}
        tables: Iterator[Any] = map(read, range(len(groups)))
    else:
        tables = (
            _fitting(need("pyarrow").Table.from_batches([batch]), fields)
            for one in fragments
            for batch in one.to_batches(columns=_have(one, fields))
        )
    table = _held_or_copied(tables, fields, (repr((what, names)), version))
    return {name: ArrowColumn(table.column(name)) for name in names}


@dataclass(frozen=True)
class _Groups:
    """Reads some columns of groups of rows."""

    groups: list[Any]
    fields: Any

    def __call__(self, number: int) -> Any:
        group = self.groups[number]
        return _fitting(group.to_table(columns=_have(group, self.fields)), self.fields)


def _have(fragment: Any, fields: Any) -> list[str]:
    there = set(fragment.physical_schema.names)
    return [name for name in fields.names if name in there]


def _fitting(table: Any, fields: Any) -> Any:
    """A table with just these columns: nulls for those that it lacks, and their types."""
    arrow = need("pyarrow")
    columns = []
    for field in fields:
        if field.name in table.column_names:
            columns.append(table.column(field.name).cast(field.type))
        else:
            columns.append(arrow.nulls(table.num_rows, field.type))
    return arrow.table(columns, schema=fields)


def _plain_schema(schema: Any) -> Any:
    """Without dictionaries, of which each file has its own, and kinds of text that few know."""
    arrow = need("pyarrow")
    views = {"string_view": arrow.string(), "binary_view": arrow.binary()}
    fields = []
    for field in schema:
        kind = field.type
        if arrow.types.is_dictionary(kind):
            kind = kind.value_type
        fields.append(arrow.field(field.name, views.get(str(kind), kind)))
    return arrow.schema(fields)


def _held_or_copied(tables: Iterable[Any], fields: Any, identity: tuple[str, str]) -> Any:
    """Tables as one: in memory, or mapped from a copy where they are too large for that."""
    arrow = need("pyarrow")
    tables = iter(tables)
    held: list[Any] = []
    for table in tables:
        held.append(table)
        if sum(one.nbytes for one in held) > SMALL_BYTES:
            return copied(chain(held, tables), None, *identity)
    return arrow.concat_tables(held) if held else fields.empty_table()


# -- CSV and TSV ------------------------------------------------------------------------------


def _open_csv(files: _Files, layout: Layout) -> Known:
    csv = need("pyarrow.csv")
    names_of: dict[str, list[str]] = {}
    for path in files.paths:
        with files.reading(path), files.open(path) as stream:
            first = stream.read(_PIECE)
            if not first:
                continue  # a file without anything
        with files.reading(path), files.open(path) as stream:
            reading, parse = _options(path, layout)
            names_of[path] = csv.open_csv(stream, reading, parse).schema.names
        if layout.names is None:
            _check_names(path, names_of[path], parse.delimiter)
    known = list(dict.fromkeys(name for names in names_of.values() for name in names))

    def tables(wanted: list[str]) -> Iterator[Any]:
        arrow = need("pyarrow")
        convert = csv.ConvertOptions(
            column_types=dict.fromkeys(wanted, arrow.binary()),
            include_columns=wanted,
            include_missing_columns=True,
        )
        for path in names_of:
            with files.reading(path), files.open(path) as stream:
                for batch in csv.open_csv(stream, *_options(path, layout), convert):
                    yield arrow.Table.from_batches([batch])

    def read(wanted: list[str]) -> Mapping[str, Any]:
        arrow = need("pyarrow")
        for path, names in names_of.items():
            for name in wanted:
                if names.count(name) > 1:
                    raise ConfigError(f"{path} has {names.count(name)} columns {name!r}")
        fields = arrow.schema([(name, arrow.binary()) for name in wanted])
        what, version = files.identity
        identity = repr((what, wanted, layout)), version
        table = _held_or_copied(tables(wanted), fields, identity)
        columns = {name: ParsedColumn(table.column(name)) for name in wanted}
        _warn_of_quotes(table, files.where)
        return columns

    return known, read, files.where


def _options(path: str, layout: Layout) -> tuple[Any, Any]:
    """How pyarrow reads a CSV file."""
    csv = need("pyarrow.csv")
    tabs = ".tsv" in path.lower()
    quoted = not tabs if layout.quoted is None else layout.quoted
    parse = csv.ParseOptions(
        delimiter=layout.delimiter or ("\t" if tabs else ","),
        quote_char='"' if quoted else False,
        newlines_in_values=quoted,  # captions have line ends in them
    )
    names = None if layout.names is None else list(layout.names)
    return csv.ReadOptions(column_names=names, block_size=8 << 20), parse


def _check_names(path: str, names: Sequence[str], delimiter: str) -> None:
    """Look whether the first line of a file is one of names, and was taken apart.

    Raises:
        ConfigError: it is not.
    """
    if any("://" in name for name in names):
        raise ConfigError(
            f"{path}: its first line has a URL, {shortened(names[0])}, and should have the names "
            'of the columns: give names=["url", …]'
        )
    other = next((one for one in "\t;|," if one in names[0]), None) if len(names) == 1 else None
    if other is not None:
        raise ConfigError(
            f"{path}: its first line, {shortened(names[0])}, has no {delimiter!r}: if {other!r} "
            f"stands between the columns, give delimiter={other!r}"
        )


def _warn_of_quotes(table: Any, where: str) -> None:
    compute = need("pyarrow.compute")
    for name in table.column_names:
        longest = compute.max(compute.binary_length(table.column(name))).as_py() or 0
        if longest > _LONG:
            logger.warning(
                "%s: %r has a value of %s bytes. If a double quote was left open there, the rows "
                "after it are in that value: quoted=False takes quotes as they are",
                *(where, name, f"{longest:,}"),
            )


# -- JSON -------------------------------------------------------------------------------------


def _open_json(files: _Files) -> Known:
    packers: dict[str, Packer] = {}
    rows = 0
    for path in files.paths:
        with files.reading(path):
            for block in _blocks(_objects(files, path)):
                for name in dict.fromkeys(name for row in block for name in row):
                    if name not in packers:
                        packers[name] = Packer()
                        packers[name].add([None] * rows)
                for name, packer in packers.items():
                    packer.add([row.get(name) for row in block])
                rows += len(block)
    columns = {name: packer.column() for name, packer in packers.items()}
    return list(columns), lambda wanted: {name: columns[name] for name in wanted}, files.where


def _blocks(rows: Iterator[Any]) -> Iterator[list[Any]]:
    from itertools import islice

    while block := list(islice(rows, 1024)):
        yield block


def _objects(files: _Files, path: str) -> Iterator[dict[str, Any]]:
    """The objects of a file: one a line, or all in a list."""
    import json

    with files.open(path) as stream:
        lines = _lines(stream)
        first = next((line for line in lines if line.strip()), b"").removeprefix(b"\xef\xbb\xbf")
        if first.lstrip()[:1] == b"[":
            found: Any = enumerate(json.loads(b"\n".join([first, *lines])))
        else:
            found = ((number, line) for number, line in enumerate(chain([first], lines), 1))
        for number, one in found:
            if isinstance(one, bytes):
                if not one.strip():
                    continue
                try:
                    one = json.loads(one)
                except ValueError as error:
                    raise ConfigError(f"{path}:{number}: this is no JSON: {error}") from error
            if not isinstance(one, dict):
                raise ConfigError(f"{path}:{number}: {shortened(one)} is no object with names")
            yield one


def _lines(stream: Any) -> Iterator[bytes]:
    rest = b""
    while piece := stream.read(_PIECE):
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest
