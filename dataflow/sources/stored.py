"""Columns of tables that stay in their files until their rows are asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.sources.arrow import ArrowColumn
from dataflow.utils.draft import draft
from dataflow.utils.extras import need
from dataflow.utils.folders import kept_file

__all__ = ["StoredColumn", "TableStore"]

_Indices = npt.NDArray[np.int64]

_KEPT = 4  # groups
_JUMPS = 16  # from a group to another than the next, until reading is taken for one at random
_BATCH = 1 << 20  # rows in a piece of the copy


class TableStore:
    """Some columns of a table in groups of rows, each of which is read when it is needed.

    In order, one group after the other is read. Rows at random would need a whole group for each:
    when they are asked for, the columns are copied once to a file in the cache folder, uncompressed
    and mapped into memory, where every row is at hand. It stays for the next time, and a table that
    has changed gets a new one.

    Args:
        sizes: the rows of each group.
        names: of the columns.
        read: makes an Arrow table of these columns of a group.
        identity: of the table and its version, for the name of the copy.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        names: Sequence[str],
        read: Callable[[int], Any],
        identity: tuple[str, str],
    ) -> None:
        self._ends = np.cumsum(np.array(sizes, np.int64))
        self._sizes = list(sizes)
        self._names = list(names)
        self._read = read
        self._identity = identity
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, dict[str, ArrowColumn]] = OrderedDict()
        self._last = -1
        self._jumps = 0
        self._copy: dict[str, ArrowColumn] | None = None

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def take(self, name: str, indices: _Indices) -> list[Any]:
        """The values of a column at these places, none of them negative."""
        with self._lock:
            if self._copy is None:
                owners = np.searchsorted(self._ends, indices, side="right")
                groups = np.unique(owners).tolist()
                in_order = len(groups) <= _KEPT or bool((np.diff(indices) >= 0).all())
                if in_order and self._jumps < _JUMPS:
                    return self._from_groups(name, indices, owners, groups)
                self._copy = self._copied()
            return self._copy[name].take(indices)

    def _from_groups(
        self, name: str, indices: _Indices, owners: _Indices, groups: list[int]
    ) -> list[Any]:
        taken: list[Any] = [None] * len(indices)
        for group in groups:
            places = np.flatnonzero(owners == group)
            inside = indices[places] - (self._ends[group] - self._sizes[group])
            values = self._group(group, len(groups))[name].take(inside)
            for place, value in zip(places.tolist(), values, strict=True):
                taken[place] = value
        return taken

    def _group(self, number: int, wanted: int) -> dict[str, ArrowColumn]:
        """A group; as many are kept as are asked for at once, as one column comes after another."""
        kept = self._kept
        if number not in kept:
            while len(kept) >= max(_KEPT, wanted):
                kept.popitem(last=False)
            self._jumps += number != self._last + 1
            self._last = number
            kept[number] = self._columns(self._read(number))
        kept.move_to_end(number)
        return kept[number]

    def _columns(self, table: Any) -> dict[str, ArrowColumn]:
        return {name: ArrowColumn(table.column(name)) for name in self._names}

    def _copied(self) -> dict[str, ArrowColumn]:
        """All groups, in a file of their own."""
        self._kept.clear()
        what, version = self._identity
        groups = (self._read(group) for group in range(len(self._sizes)))
        return self._columns(copied(groups, len(self), what, version))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_lock": None, "_kept": OrderedDict(), "_copy": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


class StoredColumn:
    """One column of a `TableStore`.

    Args:
        store: which.
        name: of the column.
    """

    def __init__(self, store: TableStore, name: str) -> None:
        self._store = store
        self._name = name

    def __len__(self) -> int:
        return len(self._store)

    def __getitem__(self, place: int) -> Any:
        return self.take(np.array([place], np.int64))[0]

    def take(self, indices: _Indices) -> list[Any]:
        """The plain Python values at these places, none of them negative."""
        return self._store.take(self._name, indices)


def copied(tables: Iterable[Any], rows: int | None, what: str, version: str) -> Any:
    """A table of Arrow's that is mapped from a file, with what other tables have together.

    Args:
        tables: those, one after the other, of one schema.
        rows: how many there are in all, where that is known.
        what: names the source of the tables.
        version: differs where their contents do.
    """
    ipc, arrow = need("pyarrow.ipc"), need("pyarrow")
    path = kept_file("tables", what, version, ".arrow")
    if not path.exists():
        with draft(path) as place:
            _write(place, tables, rows)
    return ipc.open_file(arrow.memory_map(str(path))).read_all()


def _write(path: str, tables: Iterable[Any], rows: int | None) -> None:
    from tqdm import tqdm

    ipc = need("pyarrow.ipc")
    writer = None
    # It is silent where it takes no time.
    with tqdm(total=rows, unit=" rows", unit_scale=True, desc="reading the table", delay=2) as bar:
        try:
            for table in tables:
                writer = writer or ipc.new_file(path, table.schema)
                for batch in table.combine_chunks().to_batches(max_chunksize=_BATCH):
                    writer.write_batch(batch)
                bar.update(table.num_rows)
        finally:
            if writer is not None:
                writer.close()
