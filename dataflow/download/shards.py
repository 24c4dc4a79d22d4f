"""Shards on their way to the disk: each is there with all of its rows, or not at all."""

from __future__ import annotations

import json
import math
import os
import shutil
import tarfile
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflow.utils.draft import draft
from dataflow.utils.extras import need

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["WRITERS", "ShardWriter"]

_BUFFER = 1 << 18  # bytes that are written at a time
_GROUP = 256  # rows of a table with images that are written at a time
_IMAGE_COLUMN = "image"  # of tables with the images in them


class ShardWriter(ABC):
    """Takes the rows of one shard, and puts it in its place at the end.

    Beside what a subclass writes there are ``NAME.parquet``, a table with a line for each row, also
    of those that failed, and ``NAME_stats.json`` with their counts, as img2dataset writes them. The
    table is the last: where it is, all of the shard is.

    Args:
        folder: where to.
        number: of the shard.
        types: of the table's columns.
    """

    def __init__(self, folder: Path, number: int, types: Mapping[str, Any]) -> None:
        self.name = f"{number:05d}"
        self.rows: list[dict[str, Any]] = []
        self._types = types
        self._base = folder / self.name
        self._stack = ExitStack()

    def add(self, row: dict[str, Any], image: Any, suffix: str, caption: str | None) -> None:
        """Take a row; `image` is the file's bytes, or None where there is none."""
        if image is not None:
            self._add(row, image, suffix, caption)
        self.rows.append(row)

    def finish(self) -> None:
        """Put the shard in its place."""
        self._close()
        self._stack.close()
        with draft(f"{self._base}_stats.json") as place:
            Path(place).write_text(json.dumps(_counts(self.rows), indent=1) + "\n")
        self._write_table(self._table())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> None:
        """Leave nothing of a shard that was not finished."""
        self._stack.__exit__(*raised)

    @abstractmethod
    def _add(self, row: dict[str, Any], image: Any, suffix: str, caption: str | None) -> None:
        """Write the files of a row."""

    def _close(self) -> None:  # noqa: B027 - most have nothing to do
        """After the last row."""

    def _table(self) -> Any:
        arrow = need("pyarrow")
        names = dict.fromkeys([*self._types, *(name for row in self.rows for name in row)])
        columns = {}
        for name in names:
            values = _of_any_type([row.get(name) for row in self.rows])
            with suppress(arrow.ArrowInvalid, arrow.ArrowNotImplementedError, KeyError):
                values = values.cast(self._types[name])  # never what would lose something
            columns[name] = values
        return arrow.table(columns)

    def _write_table(self, table: Any) -> None:
        with draft(f"{self._base}.parquet") as place:
            need("pyarrow.parquet").write_table(table, place)


class _Tar(ShardWriter):
    """A tar archive, as WebDataset has them."""

    def __init__(self, folder: Path, number: int, types: Mapping[str, Any]) -> None:
        super().__init__(folder, number, types)
        place = self._stack.enter_context(draft(f"{self._base}.tar"))
        file = open(place, "wb", buffering=_BUFFER)  # noqa: SIM115 - the stack closes it
        self._file = self._stack.enter_context(file)

    def _add(self, row: dict[str, Any], image: Any, suffix: str, caption: str | None) -> None:
        # As `tarfile` would, which copies each file twice on its way.
        write = self._file.write
        for ending, data in _files(row, image, suffix, caption):
            info = tarfile.TarInfo(f"{row['key']}.{ending}")
            info.size = len(data)
            write(info.tobuf(tarfile.USTAR_FORMAT))
            write(data)
            write(bytes(-len(data) % tarfile.BLOCKSIZE))

    def _close(self) -> None:
        self._file.write(bytes(2 * tarfile.BLOCKSIZE))
        self._file.write(bytes(-self._file.tell() % tarfile.RECORDSIZE))


class _Folder(ShardWriter):
    """A folder of files."""

    def __init__(self, folder: Path, number: int, types: Mapping[str, Any]) -> None:
        super().__init__(folder, number, types)
        self._draft = folder / f".{self.name}.draft"
        shutil.rmtree(self._draft, ignore_errors=True)
        self._draft.mkdir()
        self._stack.callback(shutil.rmtree, self._draft, ignore_errors=True)

    def _add(self, row: dict[str, Any], image: Any, suffix: str, caption: str | None) -> None:
        for ending, data in _files(row, image, suffix, caption):
            (self._draft / f"{row['key']}.{ending}").write_bytes(data)

    def _close(self) -> None:
        if self._base.exists():  # of a run that was killed before it had written down what it did
            shutil.rmtree(self._base)
        os.replace(self._draft, self._base)


class _Parquet(ShardWriter):
    """A table that has the images, in its last column.

    The images wait in a file: what the columns are is known when all rows are there.
    """

    def __init__(self, folder: Path, number: int, types: Mapping[str, Any]) -> None:
        super().__init__(folder, number, types)
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the stack closes it
        self._waiting = self._stack.enter_context(file)
        self._sizes: dict[int, int] = {}  # of the images, by row

    def finish(self) -> None:
        with self._stack.pop_all():  # the file is needed to the end
            super().finish()

    def _add(self, row: dict[str, Any], image: Any, suffix: str, caption: str | None) -> None:
        self._waiting.write(image)
        self._sizes[len(self.rows)] = len(image)

    def _write_table(self, table: Any) -> None:
        arrow, parquet = need("pyarrow"), need("pyarrow.parquet")
        names = table.schema.names
        schema = table.schema.append(arrow.field(_IMAGE_COLUMN, arrow.large_binary()))
        # Images do not become smaller by being packed once more.
        packed = dict.fromkeys(names, "snappy") | {_IMAGE_COLUMN: "none"}
        self._waiting.seek(0)
        with (
            draft(f"{self._base}.parquet") as place,
            parquet.ParquetWriter(
                place, schema, compression=packed, use_dictionary=names
            ) as writer,
        ):
            for begin in range(0, len(self.rows), _GROUP):
                part = table.slice(begin, _GROUP)
                images = [
                    None if (size := self._sizes.get(row)) is None else self._waiting.read(size)
                    for row in range(begin, begin + len(part))
                ]
                column = arrow.array(images, arrow.large_binary())
                writer.write_table(part.append_column(schema.field(_IMAGE_COLUMN), column))


WRITERS: dict[str, type[ShardWriter]] = {
    "webdataset": _Tar,
    "folder": _Folder,
    "parquet": _Parquet,
}
"""What writes shards, by their format."""


def _files(
    row: Mapping[str, Any], image: Any, suffix: str, caption: str | None
) -> list[tuple[str, Any]]:
    """Suffixes and contents of what belongs to an image."""
    files = [(suffix, image)]
    if caption is not None:
        files.append(("txt", caption.encode()))
    files.append(("json", _json(row).encode("utf-8", "replace")))
    return files


def _json(row: Mapping[str, Any]) -> str:
    """A row as JSON, which has no NaN and no infinity: they become null."""
    try:
        return json.dumps(row, default=str, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(row), default=str, ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, (list, tuple)) else value


def _counts(rows: list[dict[str, Any]]) -> dict[str, Any]:
    status = Counter(row["status"] for row in rows)
    reasons = Counter(row["reason"] for row in rows if row["reason"] is not None)
    return {
        "count": len(rows),
        "successes": status["success"],
        "failed_to_download": status["failed_to_download"],
        "failed_to_resize": status["failed_to_resize"],
        "status_dict": dict(reasons.most_common()),
    }


def _of_any_type(values: list[Any]) -> Any:
    """A column of what has no type in common: as Arrow sees it, or as text."""
    arrow = need("pyarrow")
    try:
        return arrow.array(values)
    except (arrow.ArrowInvalid, arrow.ArrowTypeError, OverflowError):
        return arrow.array([None if value is None else str(value) for value in values])
