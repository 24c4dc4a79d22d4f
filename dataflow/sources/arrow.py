"""Columns of Apache Arrow, used where they are; pyarrow itself is never imported here."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ArrowColumn", "is_arrow", "is_table"]


def is_arrow(value: Any) -> bool:
    """Whether `value` is an object of pyarrow's."""
    return type(value).__module__.partition(".")[0] == "pyarrow"


def is_table(value: Any) -> bool:
    """Whether `value` is a table, or a record batch, of pyarrow's."""
    return is_arrow(value) and hasattr(value, "columns")


class ArrowColumn:
    """A column that is a pyarrow Array or ChunkedArray; nulls are None.

    Args:
        values: the column.
    """

    def __init__(self, values: Any) -> None:
        self._chunks: list[Any] = list(values.chunks) if hasattr(values, "chunks") else [values]
        self._ends = np.cumsum([len(chunk) for chunk in self._chunks], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, place: int) -> Any:
        owner = int(np.searchsorted(self._ends, place, side="right"))
        chunk = self._chunks[owner]
        return chunk[place - int(self._ends[owner]) + len(chunk)].as_py()

    def take(self, indices: npt.NDArray[np.int64]) -> list[Any]:
        """The plain Python values at these places, none of them negative."""
        # Chunk by chunk: some versions of Arrow join all chunks first, whatever is asked for.
        owners = np.searchsorted(self._ends, indices, side="right")
        taken: list[Any] = [None] * len(indices)
        for owner in np.unique(owners).tolist():
            chunk = self._chunks[owner]
            places = np.flatnonzero(owners == owner)
            inside = indices[places] - (self._ends[owner] - len(chunk))
            for place, value in zip(places.tolist(), chunk.take(inside).to_pylist(), strict=True):
                taken[place] = value
        return taken
