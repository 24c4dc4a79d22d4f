"""Tasks that may have killed a worker: each runs alone until that is settled."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, NamedTuple

from dataflow.engine.messages import Loose
from dataflow.plan.tasks import Task, members_of

__all__ = ["Entry", "Isolation"]

# Deaths, with nothing else in the worker, that prove it.
_STRIKES = 2


class Entry(NamedTuple):
    """A task of the ledger.

    Attributes:
        place: counts them in the order of the epoch.
        task: the task.
        member: its number, where it is one of a task that is a whole batch.
    """

    place: int
    task: Task
    member: int | None = None


@dataclass
class _Split:
    """A task that is a whole batch, while its members run alone."""

    entry: Entry
    outcomes: list[Any]
    missing: int


class Isolation:
    """What was in progress as a worker died, to be leased with nothing else beside it."""

    def __init__(self) -> None:
        self._waiting: deque[Entry] = deque()
        self._split: dict[int, _Split] = {}
        self._strikes: Counter[tuple[int, int | None]] = Counter()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._split)

    def accuse(self, entry: Entry, *, certain: bool) -> bool:
        """A worker died over this task.

        Args:
            entry: the task.
            certain: it was this one, because there was no other, or it took too long.

        Returns:
            Whether that is proof. Otherwise it waits for another try.
        """
        if (members := members_of(entry.task)) is not None:
            # One of them it was: from now on they are tasks by themselves.
            self._split[entry.place] = _Split(entry, [None] * len(members), len(members))
            self._waiting += [Entry(entry.place, one, i) for i, one in enumerate(members)]
            return False
        self._strikes[entry.place, entry.member] += certain
        if self._strikes[entry.place, entry.member] >= _STRIKES:
            del self._strikes[entry.place, entry.member]
            return True
        self._waiting.append(entry)
        return False

    def joined(self, entry: Entry, outcome: Any) -> tuple[Entry, Any] | None:
        """Enter the outcome of a member; with the last one, the whole task and its outcome."""
        assert entry.member is not None, "the others are whole"
        split = self._split[entry.place]
        split.outcomes[entry.member] = outcome
        split.missing -= 1
        if split.missing:
            return None
        del self._split[entry.place]
        return split.entry, Loose(split.outcomes)

    def next(self) -> Entry | None:
        """The next to run alone."""
        return self._waiting.popleft() if self._waiting else None

    def again(self, entry: Entry) -> None:
        """It was not begun."""
        self._waiting.appendleft(entry)

    def acquit(self, entry: Entry) -> None:
        """It came through."""
        self._strikes.pop((entry.place, entry.member), None)
