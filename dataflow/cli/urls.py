"""Files of URLs and labels: text, or tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataflow.errors import ConfigError
from dataflow.sources.columns import Columns
from dataflow.sources.table import read_table
from dataflow.sources.table_files import format_of

__all__ = ["read_points", "read_urls"]


def read_points(path: Path, url: str | None, label: str | None) -> Sequence[Sequence[Any]]:
    """URL and label of each image: of a table by `read_table`, of any other file by `read_urls`.

    Args:
        path: the file.
        url: the column of a table that has the URLs.
        label: the one with labels or captions; None: the number of the row.

    Raises:
        ConfigError: the file cannot be read, has no such column, or is text and has no columns.
    """
    if format_of(str(path)) in (None, "lines"):
        if url is not None or label is not None:
            raise ConfigError(
                f"{path} is read as text, a URL and an integer label a line, which has no columns: "
                "leave --url-col and --label-col out"
            )
        return read_urls(path)
    rows = read_table(path, url, [] if label is None else [label])
    if label is not None:
        return rows
    return Columns([row[0] for row in rows], range(len(rows)))


def read_urls(path: Path) -> list[tuple[str, int]]:
    """Read a file with a URL and an integer label a line; blank lines and # comments are ignored.

    Raises:
        ConfigError: where the file cannot be read, or a line is something else; the message names
            file and line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        broken = 1 + error.object.count(b"\n", 0, error.start)
        raise ConfigError(f"{path}:{broken}: not UTF-8 text") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    points = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line and not line.startswith("#"):
            points.append(_parse(line, f"{path}:{number}"))
    if not points:
        raise ConfigError(f"{path}: no URLs in it")
    return points


def _parse(line: str, place: str) -> tuple[str, int]:
    words = line.split()
    if len(words) != 2:
        raise ConfigError(f"{place}: expected 'URL LABEL', got {_short(line)}")
    url, label = words
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("http", "https") or not rest:
        raise ConfigError(f"{place}: expected an http or https URL, got {_short(url)}")
    try:
        return url, int(label)
    except ValueError:
        raise ConfigError(f"{place}: expected an integer label, got {_short(label)}") from None


def _short(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:97] + "...")
