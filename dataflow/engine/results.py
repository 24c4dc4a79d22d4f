"""What a thread of a worker has finished, and nobody has reported."""

from __future__ import annotations

from collections import deque
from typing import Any

from dataflow.engine.messages import Outcomes

__all__ = ["Results"]


class Results:
    """Runs of outcomes.

    The thread adds to the last run, for which a deque needs no lock; whoever gathers takes from the
    front, one thread at a time.

    Attributes:
        outcomes: the last run's. The thread may append to it itself, see `added`.
    """

    __slots__ = ("_following", "_lease", "_runs", "outcomes")

    def __init__(self) -> None:
        self._runs: deque[_Run] = deque()
        self._lease = self._following = -1
        self.outcomes: deque[Any] = deque()

    def __bool__(self) -> bool:
        return any(run.outcomes for run in tuple(self._runs))

    def __len__(self) -> int:
        return sum(len(run.outcomes) for run in tuple(self._runs))

    def add(self, lease: int, index: int, outcome: Any) -> None:
        """Enter the outcome of a task."""
        if index != self.following(lease):
            self._lease, self._following = lease, index
            self.outcomes = deque()
            self._runs.append(_Run(lease, index, self.outcomes))
        self.outcomes.append(outcome)
        self._following += 1

    def following(self, lease: int) -> int:
        """The index of the task in a lease whose outcome would go on with the last run."""
        return self._following if lease == self._lease else -1

    def added(self, count: int) -> None:
        """So many were appended to the last run."""
        self._following += count

    def take(self) -> list[Outcomes]:
        """All that is there now."""
        taken: list[Outcomes] = []
        for left in reversed(range(len(self._runs))):
            run = self._runs[0]
            if outcomes := [run.outcomes.popleft() for _ in range(len(run.outcomes))]:
                taken.append(Outcomes(run.lease, run.first, outcomes))
                run.first += len(outcomes)
            if left:  # the thread has begun another one after it
                self._runs.popleft()
        return taken


class _Run:
    """Outcomes of tasks that follow each other in a lease, from number `first` on."""

    __slots__ = ("first", "lease", "outcomes")

    def __init__(self, lease: int, first: int, outcomes: deque[Any]) -> None:
        self.lease = lease
        self.first = first
        self.outcomes = outcomes
