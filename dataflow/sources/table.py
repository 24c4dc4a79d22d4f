"""Tables as sources: files, frames, Arrow, lists of dicts, lists of URLs."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from dataflow.errors import ConfigError, MissingData
from dataflow.sources.arrow import ArrowColumn, is_table
from dataflow.sources.columns import Columns, Records
from dataflow.sources.stored import StoredColumn, TableStore, copied
from dataflow.utils.arguments import shortened
from dataflow.utils.extras import need
from dataflow.utils.patterns import find_files

__all__ = ["read_table"]

Rows: TypeAlias = Literal["list", "dict"]

# What is smaller in memory is read at once.
_SMALL_BYTES = 256 << 20
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
_FIRST_GUESSES = ("url", "image_url", "imageurl", "img_url", "uri", "link", "image", "path", "file")


def read_table(
    table: Any,
    url: str | None = None,
    columns: Sequence[str] | None = None,
    *,
    rows: Rows = "list",
    names: Sequence[str] | None = None,
) -> Columns:
    """The rows of a table as datapoints, to be shuffled, counted and picked from like a list.

    ::

        rows = df.read_table("laion-*.parquet", url="URL", columns=["TEXT"])
        rows[0]                          # ["https://host/1.jpg", "a cat on a mat"]
        ds = df.dataset.NetworkImages(shuffle=True)
        ds.datapoints = rows             # or NetworkImages(table="laion-*.parquet", url="URL", …)

    Only the columns that are asked for are read. Up to 256 MB are held in memory. Of larger tables
    in Parquet or Arrow's format, groups of rows are read when they are needed; where rows are asked
    for in a random order, and always of CSV and JSON, the columns are copied once into the cache
    folder (`DATAFLOW_CACHE`), where each row is at hand. In both cases memory does not grow with
    the table. What is null is None.

    Args:
        table: a path, a pattern (``part-*.parquet``, ``part-{00..31}.csv.gz``) or several of them,
            of Parquet, Arrow's (Feather) files, CSV, TSV, JSON Lines, or text with a URL a line;
            a URL of an object store (``s3://bucket/part-*.parquet``, with pyarrow or fsspec); a
            DataFrame of pandas or polars, a pyarrow table, a Dataset of Hugging Face; a list of
            dicts; or a list of URLs.
        url: the column that comes first, the address; None: the one that is called so.
        columns: the others that are wanted, in this order; None: all.
        rows: ``"list"``: ``[url, …]``; ``"dict"``: ``{"URL": …, "TEXT": …}``.
        names: of the columns, for CSV files without a line that names them.

    Raises:
        ConfigError: there is no such column, the addresses are no text, `table` is nothing of the
            kind, or a file cannot be read as what its name says.
        MissingData: there is no such file.
        MissingExtra: files are read by pyarrow, which is not installed.
    """
    if rows not in ("list", "dict"):
        raise ConfigError(f'rows={rows!r} must be "list" or "dict"')
    known, read, where = _opened(table, names)
    first = _column_of_urls(known, url, where)
    others = _others(known, first, columns, where)
    found = read([first, *others])
    _check_urls(found[first], first, where)
    ordered = [found[name] for name in (first, *others)]
    return Columns(*ordered) if rows == "list" else Records((first, *others), ordered)


Reader: TypeAlias = Callable[[list[str]], Mapping[str, Any]]
"""Gives the columns of these names."""


def _opened(table: Any, names: Sequence[str] | None) -> tuple[list[str], Reader, str]:
    """The names of all columns, what reads some of them, and where they are from."""
    kind = type(table).__name__
    module = type(table).__module__.partition(".")[0]
    if hasattr(table, "collect") and module == "polars":
        raise ConfigError("table is a LazyFrame of polars, which has no rows yet: table.collect()")
    if module == "polars":
        return _opened_arrow(table.to_arrow(), "the DataFrame")
    if hasattr(table, "iloc"):
        return [*map(str, table.columns)], lambda wanted: _of_pandas(table, wanted), f"the {kind}"
    if is_table(table):
        return _opened_arrow(table, "the table")
    if module == "datasets" and hasattr(table, "with_format"):
        where = "the Dataset"
        return list(table.column_names), lambda wanted: _of_hugging_face(table, wanted), where
    if isinstance(table, (str, os.PathLike)):
        return _opened_files(table, names)
    if isinstance(table, Mapping):
        return list(table), lambda wanted: {name: table[name] for name in wanted}, "the dict"
    if isinstance(table, (list, tuple)) and table:
        return _opened_list(table, names)
    raise ConfigError(
        f"table={shortened(table)} is of type {kind}: a path, a DataFrame, a pyarrow table, a list "
        "of dicts or a list of URLs is a table"
    )


def _opened_arrow(table: Any, where: str) -> tuple[list[str], Reader, str]:
    names = list(table.schema.names)
    return names, lambda wanted: {name: table.column(name) for name in wanted}, where


def _opened_list(
    table: Sequence[Any], names: Sequence[str] | None
) -> tuple[list[str], Reader, str]:
    first = table[0]
    if isinstance(first, Mapping):
        known = list(dict.fromkeys(name for row in table for name in row))
        return (
            known,
            lambda wanted: {name: [row.get(name) for row in table] for name in wanted},
            ("the dicts"),
        )
    if isinstance(first, os.PathLike) or (isinstance(first, str) and _is_file_of_rows(first)):
        return _opened_files(table, names)
    if isinstance(first, str):
        return ["url"], lambda wanted: {"url": table}, "the list"
    raise ConfigError(
        f"table[0] is {shortened(first)}: a table as a list has dicts, URLs or paths of files. For "
        "lists of [url, label] set datapoints to it, as it is"
    )


def _of_pandas(frame: Any, wanted: list[str]) -> dict[str, Any]:
    found = {}
    for name in wanted:
        column = frame[next(one for one in frame.columns if str(one) == name)]
        found[name] = column.astype(object).where(column.notna(), None).tolist()
    return found


def _of_hugging_face(dataset: Any, wanted: list[str]) -> dict[str, Any]:
    table = dataset.select_columns(wanted).with_format("arrow")[:]
    return {name: table.column(name) for name in wanted}


# -- files ------------------------------------------------------------------------------------


def _is_file_of_rows(path: str) -> bool:
    return _format_of(path) is not None


def _format_of(path: str) -> str | None:
    bare = path.lower().partition("?")[0]
    for ending in _PACKED:
        bare = bare.removesuffix(ending)
    return _ENDINGS.get(os.path.splitext(bare)[1])


def _opened_files(table: Any, names: Sequence[str] | None) -> tuple[list[str], Reader, str]:
    paths, system = _files(table)
    formats = {_format_of(path) for path in paths}
    where = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more files"
    if len(formats) > 1 or None in formats:
        odd = next((path for path in paths if _format_of(path) is None), where)
        raise ConfigError(
            f"{odd}: what is in it is told by its name, which must end in one of "
            f"{', '.join(_ENDINGS)} (and {', '.join(_PACKED)}), all files in the same"
        )
    (form,) = formats
    if names is not None and form != "csv":
        raise ConfigError(f"names={list(names)!r} is for CSV files, and {where} has names")
    source = need("pyarrow.dataset")
    try:
        dataset = source.dataset(paths, filesystem=system, format=_reader(form, paths[0], names))
        known = list(dataset.schema.names)
    except (OSError, ValueError, need("pyarrow").ArrowException) as error:
        raise _unreadable(where, error) from error
    if form == "csv" and any("://" in name for name in known):
        raise ConfigError(
            f"{where}: its first line has a URL, {shortened(known[0])}, and should have the names "
            'of the columns: give names=["url", …]'
        )
    version = _version(paths, system)
    return known, lambda wanted: _read(dataset, form, paths, version, wanted, where), where


def _files(table: Any) -> tuple[list[str], Any]:
    """The paths, and the file system of pyarrow's that they are of; None for this machine's."""
    given = [table] if isinstance(table, (str, os.PathLike)) else list(table)
    texts = [os.fspath(one) for one in given]
    scheme = texts[0].partition("://")[0] if "://" in texts[0] else ""
    if not scheme:
        for text in texts:
            if os.path.isdir(text):
                raise ConfigError(f"{text} is a folder: name its files, {text}/*.parquet")
        return find_files(texts), None
    try:
        import fsspec
    except ImportError:
        systems = need("pyarrow.fs")
        paths = []
        for text in texts:
            try:
                system, path = systems.FileSystem.from_uri(text)
            except (ValueError, OSError, NotImplementedError) as error:
                raise ConfigError(
                    f"{text} cannot be opened: {error}. pip install fsspec, and what it needs for "
                    f"{scheme}, may know it"
                ) from error
            paths.append(path)
        return paths, system
    systems = need("pyarrow.fs")
    try:
        opened = fsspec.filesystem(scheme)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"{texts[0]} cannot be opened: {error}") from error
    paths = []
    for text in texts:
        bare = opened._strip_protocol(text)
        found = sorted(opened.glob(bare)) if "*" in bare else [bare] * opened.exists(bare)
        if not found:
            raise MissingData(f"{text} is not there")
        paths += found
    return paths, systems.PyFileSystem(systems.FSSpecHandler(opened))


def _reader(form: str | None, path: str, names: Sequence[str] | None) -> Any:
    """How pyarrow reads a format."""
    source = need("pyarrow.dataset")
    if form not in ("csv", "lines"):
        return form
    csv = need("pyarrow.csv")
    if form == "lines":
        # A URL a line; nothing separates, as no line has this character.
        parse = csv.ParseOptions(delimiter="\x1f", quote_char=False)
        read, convert = csv.ReadOptions(column_names=["url"]), csv.ConvertOptions()
        convert.column_types = {"url": need("pyarrow").string()}
        return source.CsvFileFormat(parse, convert_options=convert, read_options=read)
    tabs = ".tsv" in path.lower()
    # Captions have line ends in them.
    parse = csv.ParseOptions(delimiter="\t" if tabs else ",", newlines_in_values=True)
    read = csv.ReadOptions(column_names=None if names is None else list(names))
    return source.CsvFileFormat(parse, read_options=read)


def _version(paths: list[str], system: Any) -> str:
    """Differs where the files do."""
    if system is not None:
        return repr([(info.path, info.size, info.mtime) for info in system.get_file_info(paths)])
    stats = map(os.stat, paths)
    return repr([(path, s.st_size, s.st_mtime_ns) for path, s in zip(paths, stats, strict=True)])


def _read(
    dataset: Any, form: str | None, paths: list[str], version: str, wanted: list[str], where: str
) -> Mapping[str, Any]:
    arrow = need("pyarrow")
    try:
        if form == "parquet":
            return _by_groups(dataset, paths, version, wanted)
        scanner = dataset.scanner(columns=wanted)
        batches = scanner.to_batches()
        held, size = [], 0
        for batch in batches:
            held.append(batch)
            size += batch.nbytes
            if size > _SMALL_BYTES:
                break
        schema = scanner.projected_schema
        if size <= _SMALL_BYTES:
            table = arrow.Table.from_batches(held, schema)
        else:
            every = (arrow.Table.from_batches([batch], schema) for batch in _chained(held, batches))
            names = repr((os.path.abspath(paths[0]), len(paths), wanted))
            table = copied(every, None, names, version)
    except (OSError, ValueError, arrow.ArrowException) as error:
        raise _unreadable(where, error) from error
    return {name: table.column(name) for name in wanted}


def _chained(held: list[Any], rest: Iterable[Any]) -> Iterable[Any]:
    held.reverse()
    while held:
        yield held.pop()
    yield from rest


def _by_groups(
    dataset: Any, paths: list[str], version: str, wanted: list[str]
) -> Mapping[str, Any]:
    groups = [part for file in dataset.get_fragments() for part in file.split_by_row_group()]
    infos = [part.row_groups[0] for part in groups]
    if sum(info.total_byte_size for info in infos) <= _SMALL_BYTES:
        table = dataset.to_table(columns=wanted)
        return {name: ArrowColumn(table.column(name)) for name in wanted}
    what = repr((os.path.abspath(paths[0]), len(paths), wanted))
    read = _Groups(groups, wanted, dataset.schema)
    store = TableStore([info.num_rows for info in infos], wanted, read, (what, version))
    return {name: StoredColumn(store, name) for name in wanted}


@dataclass(frozen=True)
class _Groups:
    """Reads some columns of groups of rows."""

    groups: list[Any]
    columns: list[str]
    schema: Any

    def __call__(self, number: int) -> Any:
        return self.groups[number].to_table(columns=self.columns, schema=self.schema)


def _unreadable(where: str, error: Exception) -> Exception:
    return ConfigError(f"{where} cannot be read as what its name says: {error}")


# -- columns ----------------------------------------------------------------------------------


def _column_of_urls(known: list[str], url: str | None, where: str) -> str:
    if url is not None:
        return _known(known, url, "url", where)
    if len(known) == 1:
        return known[0]
    lower = {name.lower(): name for name in reversed(known)}
    for guess in _FIRST_GUESSES:
        if guess in lower:
            return lower[guess]
    raise ConfigError(f"which column of {where} has the addresses? url= one of {_list(known)}")


def _others(known: list[str], first: str, columns: Sequence[str] | None, where: str) -> list[str]:
    if columns is None:
        return [name for name in known if name != first]
    if isinstance(columns, str):
        raise ConfigError(f"columns={columns!r} must be a list of names, [{columns!r}]")
    return [_known(known, name, "columns", where) for name in columns]


def _known(known: list[str], name: Any, argument: str, where: str) -> str:
    if name in known:
        return str(name)
    near = difflib.get_close_matches(str(name).lower(), [one.lower() for one in known], 1)
    meant = [one for one in known if near and one.lower() == near[0]]
    hint = f", such as {meant[0]!r}" if meant else ""
    raise ConfigError(f"{argument}: {where} has no column {name!r}; it has {_list(known)}{hint}")


def _list(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:20]))
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"


def _check_urls(column: Any, name: str, where: str) -> None:
    size = len(column)
    if not size:
        raise ConfigError(f"{where} has no rows")
    for place in range(min(size, 100)):
        value = column[place]
        value = value.as_py() if hasattr(value, "as_py") else value
        if value is None:
            continue
        if isinstance(value, str):
            return
        raise ConfigError(
            f"url: {name!r} of {where} has {shortened(value)}, of type {type(value).__name__}, and "
            "should have addresses as text"
        )
