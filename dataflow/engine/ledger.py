"""The consumer's book: what is leased, what came back, what may be delivered."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from itertools import count
from typing import Any, NamedTuple

from dataflow.engine.messages import EXHAUSTED, Lease, Task
from dataflow.engine.suspects import Entry, Suspects

__all__ = ["Ledger", "Lost"]


class _Open(NamedTuple):
    """A lease that is out."""

    worker: int
    entries: dict[int, Entry]  # by index in the lease; those not yet settled
    alone: bool = False


class Lost(NamedTuple):
    """What a worker had as it died.

    Attributes:
        returned: tasks that go out again.
        suspects: tasks that were in hand and run alone from now on.
        convicted: tasks that are proved to kill workers; see `Ledger.condemn`.
        alone: a task was running alone and was in hand.
    """

    returned: list[Entry]
    suspects: list[Entry]
    convicted: list[Entry]
    alone: bool


class Ledger:
    """Hands out every task of an epoch until each has exactly one outcome.

    The first outcome of a task counts. What a dead worker still had is handed out again; anything
    that arrives of the old lease afterwards is ignored.

    Args:
        feed: the epoch's tasks in order.
        seed: the epoch's seed.
        window: tasks that may be out or waiting to be delivered at once, which bounds memory.
        ordered: deliver in the feed's order, otherwise as they come.
    """

    # Never used twice: what a dead worker sent may arrive as late as in another epoch.
    _numbers = count(1)

    def __init__(self, feed: Iterator[Task], *, seed: int, window: int, ordered: bool) -> None:
        self._feed = feed
        self._seed = seed
        self._window = window
        self._ordered = ordered
        self._fed = 0  # the next place
        self._feed_ended = False
        self._returned: deque[Entry] = deque()
        self._suspects = Suspects()
        self._out: dict[int, _Open] = {}
        self._out_count = 0
        self._frontier = 0  # the first place not delivered, where ordered
        self._waiting: dict[int, tuple[int, Task, Any]] = {}
        self._arrived: deque[tuple[int, Task, Any]] = deque()
        self._end: int | None = None  # the place from which on there is nothing

    @property
    def finished(self) -> bool:
        """Whether every task was delivered."""
        return (
            self._feed_ended
            and not self._out_count
            and not (self._returned or self._suspects or self._waiting or self._arrived)
        )

    @property
    def fed(self) -> int:
        """How many tasks came from the feed so far."""
        return self._fed

    @property
    def ready(self) -> int:
        """How many outcomes are here and not delivered."""
        return len(self._waiting) + len(self._arrived)

    def lease(self, worker: int, size: int) -> Lease | None:
        """The next lease for a worker, of up to `size` tasks; None where there is none now."""
        entries: list[Entry] = []
        while self._returned and len(entries) < size:
            entry = self._returned.popleft()
            if self._end is None or entry.place < self._end:
                entries.append(entry)
        room = self._window - (self._fed - self._frontier if self._ordered else self._held())
        for _ in range(min(size - len(entries), room - len(entries))):
            task = None if self._feed_ended else next(self._feed, None)
            if task is None:
                self._feed_ended = True
                break
            entries.append(Entry(self._fed, task))
            self._fed += 1
        return self._hand_out(worker, entries) if entries else None

    def lease_alone(self, worker: int) -> Lease | None:
        """One task that may have killed a worker, for one that has nothing else and gets nothing.

        None where there is no such task.
        """
        entry = self._suspects.next()
        return self._hand_out(worker, [entry], alone=True) if entry is not None else None

    def _hand_out(self, worker: int, entries: list[Entry], alone: bool = False) -> Lease:
        number = next(self._numbers)
        self._out_count += len(entries)
        self._out[number] = _Open(worker, dict(enumerate(entries)), alone)
        return Lease(number, self._seed, [entry.task for entry in entries])

    def settle(self, number: int, index: int, outcome: Any) -> int | None:
        """Enter one outcome.

        Returns:
            The worker whose lease it was; None where the outcome came too late to count.
        """
        lease = self._out.get(number)
        entry = lease.entries.pop(index, None) if lease is not None else None
        if lease is None or entry is None:
            return None
        self._out_count -= 1
        if not lease.entries:
            del self._out[number]
        if lease.alone:
            self._suspects.acquit(entry)
        self._enter(entry, outcome)
        return lease.worker

    def _enter(self, entry: Entry, outcome: Any) -> None:
        if outcome is EXHAUSTED:
            self._end_at(entry.place)
        elif self._end is None or entry.place < self._end:
            if self._ordered:
                self._waiting[entry.place] = (*entry, outcome)
            else:
                self._arrived.append((*entry, outcome))

    def take_back(self, number: int, index: int) -> int | None:
        """A worker gives back a task that it had not begun; it goes out again.

        Returns:
            As `settle`.
        """
        lease = self._out.get(number)
        entry = lease.entries.pop(index, None) if lease is not None else None
        if lease is None or entry is None:
            return None
        self._out_count -= 1
        if not lease.entries:
            del self._out[number]
        self._returned.append(entry)
        return lease.worker

    def open(self, number: int, index: int) -> bool:
        """Whether an outcome of this task would still count."""
        return number in self._out and index in self._out[number].entries

    def revoke(
        self, worker: int, in_hand: Collection[tuple[int, int]] = (), *, certain: bool = False
    ) -> Lost:
        """A worker is gone: what it had goes out again.

        Args:
            worker: its number.
            in_hand: (lease number, index) of the tasks that may have killed it.
            certain: they have, whatever else it had in hand.
        """
        lost = Lost([], [], [], any(self._runs_alone(*held) for held in in_hand))
        for number in [n for n, lease in self._out.items() if lease.worker == worker]:
            lease = self._out.pop(number)
            self._out_count -= len(lease.entries)
            for index, entry in lease.entries.items():
                if (number, index) not in in_hand:
                    lost.returned.append(entry)
                elif self._suspects.accuse(entry, certain=certain or lease.alone):
                    lost.convicted.append(entry)
                else:
                    lost.suspects.append(entry)
        self._returned.extendleft(reversed(lost.returned))
        return lost

    def _runs_alone(self, number: int, index: int) -> bool:
        return self.open(number, index) and self._out[number].alone

    def condemn(self, entry: Entry, outcome: Any) -> None:
        """Enter the outcome of a task that no worker survives."""
        self._enter(entry, outcome)

    def next(self) -> tuple[int, Task, Any] | None:
        """The next task to deliver with its number and outcome; None where it has not come yet."""
        if not self._ordered:
            return self._arrived.popleft() if self._arrived else None
        delivered = self._waiting.pop(self._frontier, None)
        if delivered is not None:
            self._frontier += 1
        return delivered

    def _held(self) -> int:
        return self._out_count + len(self._arrived)

    def _end_at(self, place: int) -> None:
        """Nothing from this place on exists."""
        self._feed_ended = True
        if self._end is None or place < self._end:
            self._end = place
            for beyond in [p for p in self._waiting if p >= place]:
                del self._waiting[beyond]
            self._returned = deque(entry for entry in self._returned if entry.place < place)
