"""Tasks that may have killed a worker: each runs alone until that is settled."""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

from dataflow.engine.messages import Task

__all__ = ["Entry", "Suspects"]

# Deaths, with nothing else in the worker, that prove it.
_STRIKES = 2


class Entry(NamedTuple):
    """A task of the ledger; `place` counts them in the order of the feed."""

    place: int
    task: Task


class Suspects:
    """What was in hand as a worker died, to be leased with nothing else beside it."""

    def __init__(self) -> None:
        self._waiting: deque[Entry] = deque()
        self._strikes: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def accuse(self, entry: Entry, *, certain: bool) -> bool:
        """A worker died over this task.

        Args:
            entry: the task.
            certain: it was this one, because there was no other, or it took too long.

        Returns:
            Whether that is proof. Otherwise it waits for another try.
        """
        self._strikes[entry.place] += certain
        if self._strikes[entry.place] >= _STRIKES:
            del self._strikes[entry.place]
            return True
        self._waiting.append(entry)
        return False

    def next(self) -> Entry | None:
        """The next to run alone."""
        return self._waiting.popleft() if self._waiting else None

    def acquit(self, entry: Entry) -> None:
        """It came through."""
        self._strikes.pop(entry.place, None)
