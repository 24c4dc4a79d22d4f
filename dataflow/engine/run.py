"""One pass of a runner: the loop between the ledger and the workers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from time import perf_counter
from typing import Any

from dataflow.engine.balance import Balance
from dataflow.engine.budget import RestartBudget
from dataflow.engine.deadlines import Deadlines
from dataflow.engine.ledger import Ledger
from dataflow.engine.messages import RECALL, UNSENT, Failed, Lease, Report
from dataflow.engine.obituary import conviction, obituary
from dataflow.engine.pace import Pace
from dataflow.engine.watch import Gauges, Watch
from dataflow.epoch import Epoch
from dataflow.errors import WorkerDied
from dataflow.executor.events import Died, Event, Executor, Left, Reported, Started
from dataflow.meter import Meter
from dataflow.plan.fragment import Fragment
from dataflow.plan.tasks import Task
from dataflow.utils.machine import usable_cores

__all__ = ["Run"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.002
_BUNCH = 64


class Run:
    """One pass.

    Args:
        fragment: what is run.
        crew: the workers; those of an earlier pass go on.
        epoch: the pass.
        tasks: what is to be done, in order: for all workers, or one list for each.
        redo: whoever takes the results puts in here what was delivered last, to have it done
            again in another way; in a fixed order only.
        ordered: deliver in the order of the feed.
        workers: how many there shall be.
        hands: threads in each.
        buffer_size: results that may wait to be delivered.
        most_bytes: of those, as far as their size is known.
        max_restarts: workers that may die without progress in between.
        task_timeout: seconds that a datapoint may keep a worker; None: as long as it likes.
        meter: the runner's.
        gauges: what the stages' own figures were in each worker, kept over the crew's life.
    """

    def __init__(
        self,
        fragment: Fragment,
        crew: Executor,
        epoch: Epoch,
        tasks: list[Iterator[Task]],
        redo: list[tuple[int, Task]],
        *,
        ordered: bool,
        workers: int,
        hands: int,
        buffer_size: int,
        most_bytes: float,
        max_restarts: int,
        task_timeout: float | None,
        meter: Meter,
        gauges: Gauges,
    ) -> None:
        self._fragment = fragment
        self._redo = redo
        self._crew = crew
        self._count = workers
        self._max_restarts = max_restarts
        self._meter = meter
        # Others' workers come and go, and each may hold as much as may wait here.
        self._pace = Pace(
            hands=hands,
            transfers=fragment.transfers,
            limit=buffer_size if crew.distance else max(1, buffer_size // workers),
            distance=crew.distance,
        )
        self._buffer_size = buffer_size
        self._most_bytes = most_bytes
        # The loop may be away for long after it took so many: before that, workers are given more.
        self._stride = max(1, epoch.at_once // 8)
        # Worker numbers by seat; a dead worker's seat goes to the next. Seats share the ledger, or
        # have one each where every worker runs the whole flow.
        self._seats: list[int | None] = [None] * self._count
        self._seated = 0  # hands of all
        self._ledgers = [
            Ledger(feed, seed=epoch.seed, window=self._window, ordered=ordered) for feed in tasks
        ]
        self._held: dict[int, int] = {}
        self._isolated: set[int] = set()  # workers that run a suspect, and nothing else
        self._balance = Balance(hands, crew.distance)
        for worker in crew.ready:
            self._balance.heard(worker, perf_counter())
        self._deadlines = (
            None
            if task_timeout is None
            else Deadlines(task_timeout, silence=not fragment.transfers)
        )
        self._attentive = perf_counter()  # since when the workers are listened to without a break
        self._passed = crew.traffic.passed
        self._budget = RestartBudget(max_restarts)
        # A new crew grows to its full size when the first results are there: many processes that
        # start at once would only keep each other from it.
        self._reported = bool(crew.workers)
        self._at_first = min(self._count, max(2, usable_cores()))
        self._watch = Watch(
            fragment,
            crew,
            meter,
            gauges,
            workers=workers,
            hands=hands,
            buffer_size=buffer_size,
            loops=epoch.settled is None,
        )

    @property
    def _room(self) -> int:
        """Results that may wait to be delivered."""
        if not self._pace.bytes:
            return self._buffer_size
        return max(1, int(min(self._buffer_size, self._most_bytes / self._pace.bytes)))

    @property
    def _window(self) -> int:
        # What the workers hold comes on top of what may wait for the consumer.
        return self._room + len(self._seats) * self._pace.depth

    @property
    def _credit(self) -> int:
        """Tasks that a worker may hold: its share of the room, so that it goes on for as long as
        the loop is away. Where it does, results wait with the worker.
        """
        return max(self._pace.depth, -(-self._room // max(1, len(self._seats))))

    def deliver(self) -> Iterator[list[tuple[int, Task, Any]]]:
        """Every task with its number and outcome, as it may be delivered; some at a time."""
        next_look, most, taken = 0.0, 1, 0
        while not all(ledger.finished for ledger in self._ledgers):
            more = self._hand_out()
            idle = True
            for ledger in self._ledgers:
                while done := ledger.take(min(most, self._stride) if self._stride > 1 else most):
                    idle = False
                    taken += len(done)
                    if taken >= self._stride > 1:
                        taken = 0
                        self._hand_out()
                    begun = perf_counter()
                    yield done
                    if self._redo:
                        ledger.redo(*self._redo.pop())
                    self._attentive = 0.0
                    now = perf_counter()
                    most = self._bunch(len(done), now - begun)
                    # Workers may have run dry while the consumer was away; but a look at the
                    # sockets for each of many cheap datapoints would cost more than they do.
                    if now > next_look:
                        self._take(self._crew.poll(0))
                        self._patience()
                        self._hand_out()
                        next_look = now + _LOOK_SECONDS
            if idle and not all(ledger.finished for ledger in self._ledgers):
                patience = self._patience()
                self._take(self._watch.wait(0 if more else patience))

    def leave(self) -> None:
        """The loop was left: workers need not begin what they have."""
        if self._crew.closed:
            return
        for worker in self._crew.workers:
            if self._held.get(worker):
                self._crew.send(worker, RECALL)

    def _bunch(self, count: int, seconds: float) -> int:
        """How many to deliver at once, after the consumer took so long for so many."""
        if self._fragment.batching is not None:
            return 1  # each may be taken back
        swift = int(count * _LOOK_SECONDS / seconds) if seconds else _BUNCH
        return max(1, min(2 * count, swift, self._pace.spare, _BUNCH))

    def _hand_out(self) -> bool:
        """Give every worker as much as it should hold.

        Where the source takes its time, only a part: results may be there that the loop waits for.

        Returns:
            Whether there is more to give.
        """
        self._staff()
        begun = perf_counter()
        hungry = [seat for seat, worker in enumerate(self._seats) if worker is not None]
        while hungry:
            # One lease each in turn, so that a short epoch is spread over all; first to whoever has
            # least, as this may be cut short.
            for seat in sorted(hungry, key=self._has):
                worker = self._seats[seat]
                assert worker is not None
                lease = self._lease(worker, self._ledgers[seat % len(self._ledgers)])
                if lease is None:
                    hungry.remove(seat)
                    continue
                held = self._held.get(worker, 0)
                if not held:
                    self._balance.given(worker, perf_counter())
                self._held[worker] = held + len(lease.tasks)
                self._crew.send(worker, lease)
                if perf_counter() - begun > _LOOK_SECONDS:
                    return True
        return False

    def _has(self, seat: int) -> int:
        """How many tasks the worker of a seat holds."""
        worker = self._seats[seat]
        return 0 if worker is None else self._held.get(worker, 0)

    def _lease(self, worker: int, ledger: Ledger) -> Lease | None:
        """What a worker should have besides what it holds."""
        if not self._held.get(worker):
            self._isolated.discard(worker)
            if (lease := ledger.lease_alone(worker)) is not None:
                self._isolated.add(worker)
                return lease
        size = self._pace.size
        # What was given back is what is left for all: it is not to be held by one of them again.
        most = self._pace.depth if ledger.returned else self._credit
        full = self._held.get(worker, 0) > most - size
        if full or worker in self._isolated or self._balance.asked(worker):
            return None
        return self._watch.lease(ledger, worker, size)

    def _patience(self) -> float | None:
        """See to workers that are long at a datapoint; how long to wait before the next time."""
        now = perf_counter()
        self._attentive = self._attentive or now
        waits = [self._even_out(now), self._enforce(now)]
        return min((wait for wait in waits if wait is not None), default=None)

    def _even_out(self, now: float) -> float | None:
        """Where a worker is idle, ask for tasks that wait elsewhere."""
        if self._fragment.sequential:
            return None
        seated = [worker for worker in self._seats if worker is not None]
        late, wait = self._balance.due(seated, self._held, now, self._pace.cost)
        for worker in late:
            self._recall(worker)
        return wait

    def _enforce(self, now: float) -> float | None:
        """Kill workers that are too long at a datapoint."""
        if self._deadlines is None:
            return None
        busy = [worker for worker in self._crew.workers if self._held.get(worker)]
        listened = now - self._attentive
        late, wait = self._deadlines.overdue(
            {worker: self._crew.in_hand(worker) for worker in busy},
            {worker: min(listened, self._balance.silence(worker, now)) for worker in busy},
            lambda number, index: any(ledger.open(number, index) for ledger in self._ledgers),
        )
        for worker in late:
            self._crew.kill(worker)
        return wait

    def _staff(self) -> None:
        """Fill empty seats: those of the dead, and at the start as many as there are cores."""
        crew = self._crew
        seated = {worker for worker in self._seats if worker is not None}
        idle = [worker for worker in crew.workers if worker not in seated]
        wanted = self._count if self._reported else self._at_first
        for seat, worker in enumerate(self._seats):
            if worker is None and (idle or len(crew.workers) - len(crew.guests) < wanted):
                self._seats[seat] = idle.pop() if idle else crew.start()
        self._seats += idle
        if crew.guests:
            self._welcome()

    def _welcome(self) -> None:
        """Other machines' workers have threads as they like."""
        seated = [worker for worker in self._seats if worker is not None]
        hands = [self._crew.hands_of(worker) for worker in seated]
        if sum(hands) != self._seated:
            self._seated = sum(hands)
            self._pace.staff(max(hands))
            self._balance.hands = max(hands)
            self._watch.staff(len(seated), sum(hands))
            for ledger in self._ledgers:
                ledger.window = self._window

    def _take(self, events: list[Event]) -> None:
        items, seconds = 0, 0.0
        self._budget.look()
        for event in events:
            if isinstance(event, Reported) and isinstance(event.report, Failed):
                raise event.report.exception()  # it could not even start
            if isinstance(event, Reported):
                items += event.report.finished
                seconds += self._settle(event.worker, event.report)
            elif isinstance(event, Started):
                self._balance.heard(event.worker, perf_counter())
            elif isinstance(event, Died):
                self._bury(event)
            elif isinstance(event, Left):
                self._say_goodbye(event.worker)
        self._watch.look(sum(ledger.ready for ledger in self._ledgers))
        if items:
            self._adapt(items, seconds)

    def _adapt(self, items: int, seconds: float) -> None:
        """Give out as much at a time as what came just now says."""
        before, self._passed = self._passed, self._crew.traffic.passed
        self._pace.note(items, seconds, self._passed - before)
        for ledger in self._ledgers:
            ledger.window = self._window
        if self._fragment.sequential:
            return  # one iterator's tasks stay in order
        for worker, held in self._held.items():
            if self._pace.exceeds(held, self._credit) and not self._balance.asked(worker):
                self._recall(worker)

    def _recall(self, worker: int) -> None:
        """Ask for the tasks that it has not begun."""
        self._balance.ask(worker)
        self._crew.send(worker, RECALL)

    def _settle(self, worker: int, report: Report) -> float:
        """Enter a report; returns the seconds of work in it."""
        self._reported = True
        for number, index in report.returned:
            for ledger in self._ledgers:
                if (holder := ledger.take_back(number, index)) is not None:
                    self._held[holder] -= 1
        # One that gave back all that it had is not busy, and may be given something again.
        done = bool(report.results) or not self._held.get(worker)
        self._balance.heard(worker, perf_counter(), done=done)
        for run in report.results:
            # Lease numbers are never used twice, so at most one ledger knows this one.
            for ledger in self._ledgers:
                if (settled := ledger.settle(*run)) is not None:
                    holder, count = settled
                    self._held[holder] -= count
                    self._budget.progress()
                    break
        return self._watch.count(worker, report)

    def _bury(self, died: Died) -> None:
        """A worker is gone: its tasks go out again, and somebody takes its seat."""
        worker = died.worker
        late = self._deadlines.killed(worker) if self._deadlines is not None else None
        in_hand = [(held.lease, held.task) for held in died.in_hand] if late is None else late
        if self._fragment.sequential:
            in_hand = []  # one iterator cannot leave out a datapoint
        timed_out = late is not None
        lost = [ledger.revoke(worker, in_hand, certain=timed_out) for ledger in self._ledgers]
        self._forget(worker)
        self._meter.restarts += 1
        text = obituary(died, lost, timed_out, self._fragment.is_keyed)
        # Where it was killed for its silence, no datapoint is to blame.
        if not late and not any(one.alone for one in lost):
            self._budget.death()
        if self._budget.spent:
            raise WorkerDied(
                f"{text}: {self._budget.deaths} workers died without getting anything done, "
                f"max_restarts={self._max_restarts}"
            )
        logger.warning(text)
        for ledger, one in zip(self._ledgers, lost, strict=True):
            for entry in one.convicted:
                error = conviction(entry.task, text, timed_out, self._fragment.is_keyed)
                ledger.condemn(entry, Failed.of(error, UNSENT))

    def _say_goodbye(self, worker: int) -> None:
        """A worker is gone, which is nobody's fault: its tasks go out again."""
        for ledger in self._ledgers:
            ledger.revoke(worker)
        if self._deadlines is not None:
            self._deadlines.killed(worker)
        self._forget(worker)

    def _forget(self, worker: int) -> None:
        self._held.pop(worker, None)
        self._isolated.discard(worker)
        self._balance.forget(worker)
        self._seats = [None if seated == worker else seated for seated in self._seats]
