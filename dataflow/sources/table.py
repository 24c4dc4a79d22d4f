"""Tables as sources: files, frames, Arrow, lists of dicts, lists of URLs."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, Literal, TypeAlias

from dataflow.errors import ConfigError
from dataflow.sources.arrow import is_table
from dataflow.sources.columns import Columns, Records
from dataflow.sources.table_files import Known, Layout, format_of, open_files
from dataflow.utils.arguments import shortened

__all__ = ["read_table"]

Rows: TypeAlias = Literal["list", "dict"]

_FIRST_GUESSES = ("url", "image_url", "imageurl", "img_url", "uri", "link", "image", "path", "file")


def read_table(
    table: Any,
    url: str | None = None,
    columns: Sequence[str] | None = None,
    *,
    rows: Rows = "list",
    names: Sequence[str] | None = None,
    delimiter: str | None = None,
    quoted: bool | None = None,
) -> Columns:
    """The rows of a table as datapoints, to be shuffled, counted and picked from like a list.

    ::

        rows = df.read_table("laion-*.parquet", url="URL", columns=["TEXT"])
        rows[0]                          # ["https://host/1.jpg", "a cat on a mat"]
        ds = df.dataset.NetworkImages(shuffle=True)
        ds.datapoints = rows             # or NetworkImages(table="laion-*.parquet", url="URL", …)

    Only the columns that are asked for are read. Up to 256 MB are held in memory. Of larger tables
    in Parquet, groups of rows are read when they are needed; where rows are asked for in a random
    order, and always of CSV and Arrow's files, the columns are copied once into the cache folder
    (`DATAFLOW_CACHE`), where each row is at hand. So memory does not grow with the table, other
    than with JSON Lines, which are held packed. Files may have different columns.

    What is null is None. Columns of CSV files are ints, floats or truth values where all of their
    values are, and None where such a value is empty or ``NA``; all others are text.

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
        delimiter: between the columns of CSV files; None: a tab in ``.tsv``, a comma in ``.csv``.
        quoted: whether their fields may stand in double quotes, with line ends in them; None: they
            may in ``.csv``, not in ``.tsv``.

    Raises:
        ConfigError: there is no such column, the addresses are no text, `table` is nothing of the
            kind, or a file cannot be read as what its name says.
        MissingData: there is no such file.
        MissingExtra: files are read by pyarrow, which is not installed.
    """
    if rows not in ("list", "dict"):
        raise ConfigError(f'rows={rows!r} must be "list" or "dict"')
    layout = Layout(None if names is None else tuple(names), delimiter, quoted)
    known, read, where = _opened(table, layout)
    if not known:
        raise ConfigError(f"{where} has no rows")
    first = _column_of_urls(known, url, where)
    others = _others(known, first, columns, where)
    found = read([first, *others])
    _check_urls(found[first], first, where)
    ordered = [found[name] for name in (first, *others)]
    made = Columns(*ordered) if rows == "list" else Records((first, *others), ordered)
    made.names = (first, *others)
    return made


def _opened(table: Any, layout: Layout) -> Known:
    """The names of all columns, what reads some of them, and where they are from."""
    kind = type(table).__name__
    module = type(table).__module__.partition(".")[0]
    if module == "polars":
        return _opened_polars(table)
    if hasattr(table, "iloc"):
        if not hasattr(table, "columns"):  # a Series
            return _opened_list(table.tolist(), layout)
        names = [*map(str, table.columns)]
        return names, lambda wanted: _of_pandas(table, names, wanted), f"the {kind}"
    if is_table(table):
        names = list(table.schema.names)
        return names, lambda wanted: _of_arrow(table, names, wanted), "the table"
    if module == "datasets":
        return _opened_hugging_face(table)
    if isinstance(table, (str, os.PathLike)):
        return open_files(table, layout)
    if isinstance(table, Mapping):
        columns = {str(name): column for name, column in table.items()}
        return list(columns), lambda wanted: {name: columns[name] for name in wanted}, "the dict"
    if isinstance(table, (list, tuple)) and table:
        return _opened_list(table, layout)
    raise ConfigError(
        f"table={shortened(table)} is of type {kind}: a path, a DataFrame, a pyarrow table, a list "
        "of dicts or a list of URLs is a table"
    )


def _opened_list(table: Sequence[Any], layout: Layout) -> Known:
    first = table[0]
    if isinstance(first, os.PathLike) or (isinstance(first, str) and format_of(first) is not None):
        return open_files(table, layout)
    kind = Mapping if isinstance(first, Mapping) else str
    odd = next((i for i, row in enumerate(table) if not isinstance(row, (kind, NoneType))), None)
    if odd is not None:
        raise ConfigError(
            f"table[{odd}] is {shortened(table[odd])}: a table as a list has dicts, URLs or paths "
            "of files, all alike. For lists of [url, label] set datapoints to it, as it is"
        )
    if kind is str:
        return ["url"], lambda wanted: {"url": table}, "the list"
    rows = [
        {} if row is None else {str(name): value for name, value in row.items()} for row in table
    ]
    known = list(dict.fromkeys(name for row in rows for name in row))
    return known, lambda wanted: {n: [row.get(n) for row in rows] for n in wanted}, "the dicts"


def _opened_polars(table: Any) -> Known:
    if hasattr(table, "collect"):
        raise ConfigError("table is a LazyFrame of polars, which has no rows yet: table.collect()")
    if not hasattr(table, "columns"):  # a Series
        return _opened_list(table.to_list(), Layout())

    def read(wanted: list[str]) -> Mapping[str, Any]:
        # To Arrow, an object is where it lies in memory.
        return {
            name: column.to_list() if str(column.dtype) == "Object" else column.to_arrow()
            for name, column in ((name, table.get_column(name)) for name in wanted)
        }

    return list(table.columns), read, "the DataFrame"


def _opened_hugging_face(table: Any) -> Known:
    kind = type(table).__name__
    if isinstance(table, Mapping):
        splits = ", ".join(f"table[{name!r}]" for name in table)
        raise ConfigError(f"table is a {kind} of several sets: give one of them, {splits}")
    if not hasattr(table, "select_columns") or not hasattr(table, "__len__"):
        raise ConfigError(
            f"table is a {kind}, which is read from its beginning only: df.DataFromIterable is for "
            "those, or load the set without streaming=True"
        )

    def read(wanted: list[str]) -> Mapping[str, Any]:
        part = table.select_columns(wanted).with_format("arrow")[:]
        return {name: part.column(name) for name in wanted}

    return list(table.column_names), read, "the Dataset"


def _of_arrow(table: Any, names: list[str], wanted: list[str]) -> dict[str, Any]:
    return {name: table.column(_only(names, name, "the table")) for name in wanted}


def _of_pandas(frame: Any, names: list[str], wanted: list[str]) -> dict[str, Any]:
    found = {}
    for name in wanted:
        column = frame.iloc[:, _only(names, name, "the DataFrame")]
        found[name] = column.astype(object).where(column.notna(), None).tolist()
    return found


def _only(names: list[str], name: str, where: str) -> int:
    """The place of a name that is there once."""
    if names.count(name) > 1:
        raise ConfigError(f"{where} has {names.count(name)} columns {name!r}")
    return names.index(name)


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
        return list(dict.fromkeys(name for name in known if name != first))
    if isinstance(columns, str):
        raise ConfigError(f"columns={columns!r} must be a list of names, [{columns!r}]")
    named = [_known(known, name, "columns", where) for name in columns]
    if twice := [name for name in named if named.count(name) > 1]:
        raise ConfigError(f"columns has {twice[0]!r} more than once")
    return [name for name in named if name != first]  # which comes before them anyway


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
