"""Tasks that failed for a reason that may pass, and go out once more."""

from __future__ import annotations

import random
from collections import deque

from dataflow.engine.isolation import Entry

__all__ = ["Postponed"]

# What waits is bounded in number, and in how far the rest of the epoch is ahead of it: a state has
# to tell what was delivered beyond it.
_MOST = 10_000
_SPAN = 50_000
# Where nothing worked so far, waiting for the end would only delay the news.
_MOST_WITHOUT_SUCCESS = 128


class Postponed:
    """Each task waits for the end of the epoch, or until too many or too old ones wait.

    Attributes:
        hopeful: some datapoint of the epoch was made.
    """

    def __init__(self) -> None:
        self.hopeful = False
        self._later: deque[Entry] = deque()
        self._due: deque[Entry] = deque()

    def __len__(self) -> int:
        return len(self._later) + len(self._due)

    def add(self, entry: Entry) -> bool:
        """A task failed at its first chance; returns whether it waits here for the other."""
        if not self.hopeful and len(self) >= _MOST_WITHOUT_SUCCESS:
            return False
        self._later.append(entry)
        return True

    def give_back(self, entry: Entry) -> None:
        """A task had its last chance and did not use it."""
        self._due.appendleft(entry)

    def take(self, most: int, *, issued: int, over: bool) -> list[Entry]:
        """Up to so many tasks whose time has come.

        Args:
            most: how many.
            issued: how many tasks of the epoch went out.
            over: that is all of them, and all came back.
        """
        later, due = self._later, self._due
        if over and later:
            # Those of one host that hang may lie together, and all would be judged by them.
            random.shuffle(later)
        while later and (over or len(later) > _MOST or issued - later[0].place > _SPAN):
            due.append(later.popleft())
        return [due.popleft() for _ in range(min(most, len(due)))]
