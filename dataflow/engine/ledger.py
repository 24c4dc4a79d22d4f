"""The consumer's book: what is leased, what came back, what may be delivered."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from itertools import count
from typing import Any, NamedTuple

from dataflow.chance import Chance
from dataflow.engine.deliveries import Arrived, Deliveries
from dataflow.engine.isolation import Entry, Isolation
from dataflow.engine.messages import Failed, Lease
from dataflow.engine.postponed import Postponed
from dataflow.plan.tasks import EXHAUSTED, Feed, Task, Tasks

__all__ = ["Ledger", "Lost"]

# The types of outcomes that are not simply delivered.
_PARTICULAR = frozenset({type(EXHAUSTED), Failed})


class _Open:
    """A lease that is out.

    Attributes:
        worker: who has it.
        places: of its tasks.
        tasks: in order.
        suspect: it is this one task, which may have killed a worker.
        chance: of its tasks.
        awaited: how many are not settled.
    """

    __slots__ = ("_settled", "awaited", "chance", "places", "suspect", "tasks", "worker")

    def __init__(
        self,
        worker: int,
        places: Sequence[int],
        tasks: Tasks,
        chance: Chance,
        suspect: Entry | None = None,
    ) -> None:
        self.worker = worker
        self.places = places
        self.tasks = tasks
        self.suspect = suspect
        self.chance = chance
        self.awaited = len(tasks)
        self._settled = bytearray(len(tasks))

    @property
    def alone(self) -> bool:
        """Whether nothing else is given to the worker."""
        return self.suspect is not None

    def awaits(self, index: int) -> bool:
        """Whether a task is not settled."""
        return index < len(self._settled) and not self._settled[index]

    def entry(self, index: int) -> Entry:
        """A task with its place."""
        return self.suspect or Entry(self.places[index], self.tasks[index])

    def entries(self) -> list[tuple[int, Entry]]:
        """Index and entry of those that are not settled."""
        return [(at, self.entry(at)) for at, done in enumerate(self._settled) if not done]

    def settle(self, first: int, count: int) -> Sequence[int]:
        """So many tasks from `first` on have an outcome now; the indices of those that had none."""
        last = min(first + count, len(self._settled))
        indices: Sequence[int] = range(first, last)
        if any(self._settled[first:last]):
            indices = [index for index in indices if not self._settled[index]]
        self._settled[first:last] = bytes([1]) * (last - first)
        self.awaited -= len(indices)
        return indices


class Lost(NamedTuple):
    """What a worker had as it died.

    Attributes:
        returned: tasks that go out again.
        suspects: tasks that were in progress and run alone from now on.
        convicted: tasks that are proved to kill workers; see `Ledger.condemn`.
        alone: a task was running alone and was in progress.
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
        tasks: the epoch's, in order.
        seed: the epoch's seed.
        window: tasks that may be out or waiting to be delivered at once, which bounds memory. It
            may be changed at any time.
        ordered: deliver in their order, otherwise as they come.
    """

    # Never used twice: what a dead worker sent may arrive as late as in another epoch.
    _numbers = count(1)

    def __init__(self, tasks: Feed, *, seed: int, window: int, ordered: bool) -> None:
        self._tasks = tasks
        self._seed = seed
        self.window = window
        self._ordered = ordered
        self._issued = 0  # the next place
        self._all_issued = False
        self._returned: deque[Entry] = deque()
        self._postponed = Postponed()
        self._isolation = Isolation()
        self._out: dict[int, _Open] = {}
        self._out_count = 0
        self._frontier = 0  # the first place not delivered, where ordered
        self._waiting: dict[int, Arrived] = {}  # by the first place, where ordered
        self._arrived: deque[Arrived] = deque()  # may be delivered at once
        self._ready = 0
        self._end: int | None = None  # the place from which on there is nothing

    @property
    def finished(self) -> bool:
        """Whether every task was delivered."""
        return (
            self._all_issued
            and not self._out_count
            and not (self._returned or self._postponed or self._isolation or self._ready)
        )

    @property
    def issued(self) -> int:
        """How many tasks were taken from those of the epoch so far."""
        return self._issued

    @property
    def scarce(self) -> bool:
        """Whether there are only tasks that were given back, as long as these are not done."""
        return bool(self._returned) and (self._all_issued or self._space() < 1)

    @property
    def ready(self) -> int:
        """How many outcomes are here and not delivered."""
        return self._ready

    def lease(self, worker: int, size: int) -> Lease | None:
        """The next lease for a worker, of up to `size` tasks; None where there is none now."""
        space = self._space()
        if self._postponed and space > 0:
            over = self._all_issued and not (self._out_count or self._returned)
            late = self._postponed.take(min(size, space), issued=self._issued, over=over)
            if late:
                tasks = Tasks.of([entry.task for entry in late])
                of = [entry.place for entry in late]
                return self._hand_out(worker, _Open(worker, of, tasks, Chance.LAST))
        places: Sequence[int] = []
        again: list[Task] = []
        while self._returned and len(again) < size:
            place, task, _ = self._returned.popleft()
            if self._end is None or place < self._end:
                places = [*places, place]
                again.append(task)
        wanted = min(size, space) - len(again)
        tasks = Tasks.of(again)
        if wanted > 0 and not self._all_issued:
            fresh = self._tasks.take(wanted)
            self._all_issued = len(fresh) < wanted
            following = range(self._issued, self._issued + len(fresh))
            self._issued += len(fresh)
            places = [*places, *following] if again else following
            tasks = tasks + fresh if again else fresh
        if not tasks:
            return None
        # In a fixed order nothing can wait for better times.
        chance = Chance.ONLY if self._ordered else Chance.FIRST
        return self._hand_out(worker, _Open(worker, places, tasks, chance))

    def _space(self) -> int:
        """How many more may be under way or wait."""
        return self.window - (self._issued - self._frontier if self._ordered else self._held())

    def lease_alone(self, worker: int) -> Lease | None:
        """One task that may have killed a worker, for one that has nothing else and gets nothing.

        None where there is no such task.
        """
        entry = self._isolation.next()
        if entry is None:
            return None
        tasks = Tasks.of([entry.task])
        return self._hand_out(worker, _Open(worker, [entry.place], tasks, Chance.ONLY, entry))

    def _hand_out(self, worker: int, lease: _Open) -> Lease:
        number = next(self._numbers)
        self._out_count += lease.awaited
        self._out[number] = lease
        return Lease(number, self._seed, lease.tasks, lease.chance)

    def settle(self, number: int, first: int, outcomes: list[Any]) -> tuple[int, int] | None:
        """Enter the outcomes of tasks that follow each other in a lease; the list is kept.

        Returns:
            The worker whose lease it is, and how many of the outcomes count; None where all of
            them came too late for that.
        """
        lease = self._out.get(number)
        indices = self._close(number, first, len(outcomes))
        if lease is None or not indices:
            return None
        if lease.alone:
            entry = lease.entry(first)
            self._isolation.acquit(entry)
            self.condemn(entry, outcomes[0])
            return lease.worker, 1
        places, tasks = lease.places, lease.tasks
        whole = isinstance(indices, range) and isinstance(places, range) and self._end is None
        # By their types, as comparing the user's objects may do anything.
        if whole and _PARTICULAR.isdisjoint(map(type, outcomes)):
            self._postponed.hopeful = True
            span = slice(indices[0], indices[-1] + 1)
            del outcomes[len(indices) :]
            self._put(Arrived(places[span], tasks[span], outcomes))
        else:
            for index in indices:
                outcome = outcomes[index - first]
                if not self._postpones(lease, index, outcome):
                    self._enter(places[index], tasks[index], outcome)
        return lease.worker, len(indices)

    def _close(self, number: int, first: int, count: int) -> Sequence[int]:
        """Await these tasks of a lease no longer; the indices of those that were awaited."""
        lease = self._out.get(number)
        if lease is None:
            return ()
        indices = lease.settle(first, count)
        self._out_count -= len(indices)
        if not lease.awaited:
            del self._out[number]
        return indices

    def _postpones(self, lease: _Open, index: int, outcome: Any) -> bool:
        """Whether a task comes again later, after this."""
        if type(outcome) is not Failed:
            self._postponed.hopeful = True
            return False
        first = outcome.passing and lease.chance is Chance.FIRST
        return first and self._postponed.add(lease.entry(index))

    def _enter(self, place: int, task: Task, outcome: Any) -> None:
        if outcome is EXHAUSTED:
            self._end_at(place)
        elif self._end is None or place < self._end:
            self._put(Arrived(range(place, place + 1), Tasks.of([task]), [outcome]))

    def _put(self, arrived: Arrived) -> None:
        self._ready += len(arrived)
        if self._ordered:
            self._waiting[arrived.first] = arrived
        else:
            self._arrived.append(arrived)

    def take_back(self, number: int, index: int) -> int | None:
        """A worker gives back a task that it had not begun; it goes out again.

        Returns:
            The worker whose lease it is; None where the task is not awaited of it.
        """
        lease = self._out.get(number)
        if lease is None or not self._close(number, index, 1):
            return None
        self._give_back(lease, lease.entry(index))
        return lease.worker

    def _give_back(self, lease: _Open, entry: Entry) -> None:
        """A task was not done: it goes out again, before those that never did."""
        if lease.chance is Chance.LAST:
            self._postponed.give_back(entry)
        elif entry.member is None:
            self._returned.appendleft(entry)
        else:
            self._isolation.again(entry)

    def open(self, number: int, index: int) -> bool:
        """Whether an outcome of this task would still count."""
        return number in self._out and self._out[number].awaits(index)

    def revoke(
        self, worker: int, in_progress: Collection[tuple[int, int]] = (), *, certain: bool = False
    ) -> Lost:
        """A worker is gone: what it had goes out again.

        Args:
            worker: its number.
            in_progress: (lease number, index) of the tasks that may have killed it.
            certain: they have, whatever else it had in progress.
        """
        lost = Lost([], [], [], any(self._runs_alone(*held) for held in in_progress))
        returned: list[tuple[_Open, Entry]] = []
        for number in [n for n, lease in self._out.items() if lease.worker == worker]:
            lease = self._out.pop(number)
            self._out_count -= lease.awaited
            for index, entry in lease.entries():
                if (number, index) not in in_progress:
                    returned.append((lease, entry))
                elif self._isolation.accuse(entry, certain=certain or lease.alone):
                    lost.convicted.append(entry)
                else:
                    lost.suspects.append(entry)
        for lease, entry in reversed(returned):
            self._give_back(lease, entry)
        lost.returned.extend(entry for _, entry in returned)
        return lost

    def _runs_alone(self, number: int, index: int) -> bool:
        return self.open(number, index) and self._out[number].alone

    def condemn(self, entry: Entry, outcome: Any) -> None:
        """Enter the outcome of a task that ran alone, or that no worker survives."""
        if entry.member is not None:
            whole = self._isolation.joined(entry, outcome)
            if whole is None:
                return
            entry, outcome = whole
        self._enter(entry.place, entry.task, outcome)

    def redo(self, place: int, task: Task) -> None:
        """Take back what `take` gave last, in a fixed order, and have it done as `task`."""
        assert self._ordered and self._frontier == place + 1, "only the last one is still known"
        if self._arrived:  # the rest of what it came with
            arrived = self._arrived.popleft()
            self._waiting[arrived.first] = arrived
        self._frontier = place
        self._returned.appendleft(Entry(place, task))

    def take(self, most: int) -> Deliveries | None:
        """The next tasks to deliver, up to `most` of them; None where none has come."""
        if self._ordered and not self._arrived and self._frontier in self._waiting:
            self._arrived.append(self._waiting.pop(self._frontier))
        if not self._arrived:
            return None
        taken = self._arrived[0].take(most)
        if not self._arrived[0]:
            self._arrived.popleft()
        self._ready -= len(taken)
        self._frontier += len(taken)
        return taken

    def _held(self) -> int:
        return self._out_count + self._ready

    def _end_at(self, place: int) -> None:
        """Nothing from this place on exists."""
        self._all_issued = True
        if self._end is None or place < self._end:
            self._end = place
            for arrived in (*self._waiting.values(), *self._arrived):
                self._ready -= len(arrived)
                arrived.cut(place)
                self._ready += len(arrived)
            self._waiting = {first: one for first, one in self._waiting.items() if one}
            self._arrived = deque(filter(None, self._arrived))
            self._returned = deque(entry for entry in self._returned if entry.place < place)
