"""One pass of a runner: a state machine between the ledger and the workers.

Events of workers go in (`Run.receive`), results come out (`Run.take`), and what workers are to do
goes to the executor. Nothing waits here; `dataflow.engine.drive` does, in whichever thread it runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from time import perf_counter

from dataflow.engine.budget import RestartBudget
from dataflow.engine.deadlines import Deadlines
from dataflow.engine.death_report import death_report, poisoned
from dataflow.engine.deliveries import Deliveries
from dataflow.engine.flow_control import FlowControl
from dataflow.engine.ledger import Ledger
from dataflow.engine.messages import RECALL, UNSENT, Failed, Lease, Report
from dataflow.engine.metrics import Gauges, Metrics
from dataflow.engine.options import RunnerOptions
from dataflow.engine.stealing import WorkStealing
from dataflow.engine.unread import readable, sendable
from dataflow.epoch import Epoch
from dataflow.errors import WorkerDied
from dataflow.executor.events import Died, Event, Executor, Left, Reported, Started
from dataflow.meter import Meter
from dataflow.plan.fragment import Fragment
from dataflow.plan.tasks import Feed, Task
from dataflow.utils.machine import usable_cores

__all__ = ["LOOK_SECONDS", "Run"]

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.002  # between two looks at the workers, while the loop has enough
_BUNCH = 256


class Run:
    """One pass.

    Args:
        fragment: what is run.
        executor: the workers; those of an earlier pass go on.
        epoch: the pass.
        tasks: what is to be done, in order: for all workers, or one list for each.
        ordered: deliver in the order of the tasks.
        workers: how many there shall be.
        threads: in each.
        buffer_size: results that may wait to be delivered.
        most_bytes: of those, as far as their size is known.
        options: of the runner.
        meter: the runner's.
        gauges: what the stages' own figures were in each worker, kept over the executor's life.
        clock: the time, in seconds.

    Attributes:
        metrics: what is measured of the pass.
    """

    def __init__(
        self,
        fragment: Fragment,
        executor: Executor,
        epoch: Epoch,
        tasks: list[Feed],
        *,
        ordered: bool,
        workers: int,
        threads: int,
        buffer_size: int,
        most_bytes: float,
        options: RunnerOptions,
        meter: Meter,
        gauges: Gauges,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._clock = clock
        self._fragment = fragment
        self._executor = executor
        self._count = workers
        self._max_restarts = options.max_restarts
        self._meter = meter
        # Others' workers come and go, and each may hold as much as may wait here.
        self._flow = FlowControl(
            threads=threads,
            transfers=fragment.transfers,
            limit=buffer_size if executor.distance else max(1, buffer_size // workers),
            distance=executor.distance,
        )
        self._buffer_size = buffer_size
        self._most_bytes = most_bytes
        # The loop may be away for long after it took so many: before that, workers are given more.
        self._stride = max(1, epoch.at_once // 8)
        self._taken = 0
        self._turn = 0  # whose ledger's results are taken
        # Worker numbers by seat; a dead worker's seat goes to the next. Seats share the ledger, or
        # have one each where every worker runs the whole flow.
        self._seats: list[int | None] = [None] * self._count
        self._seated = 0  # threads of all
        self._ledgers = [
            Ledger(one, seed=epoch.seed, window=self._window, ordered=ordered) for one in tasks
        ]
        self._held: dict[int, int] = {}
        self._isolated: set[int] = set()  # workers that run a suspect, and nothing else
        self._stealing = WorkStealing(threads, executor.distance)
        for worker in executor.ready:
            self._stealing.heard(worker, self._clock())
        task_timeout = options.task_timeout
        self._deadlines = (
            None
            if task_timeout is None
            else Deadlines(task_timeout, silence=not fragment.transfers)
        )
        self._attentive = self._clock()  # since when the workers are listened to without a break
        self._passed = executor.traffic.passed
        self._budget = RestartBudget(options.max_restarts)
        # New workers come to their full number when the first results are there: many processes
        # that start at once would only keep each other from it.
        self._reported = bool(executor.workers)
        self._at_first = min(self._count, max(2, usable_cores()))
        self.metrics = Metrics(
            fragment,
            executor,
            meter,
            gauges,
            workers=workers,
            threads=threads,
            buffer_size=buffer_size,
            loops=epoch.settled is None,
        )

    @property
    def _room(self) -> int:
        """Results that may wait to be delivered."""
        if not self._flow.bytes:
            return self._buffer_size
        return max(1, int(min(self._buffer_size, self._most_bytes / self._flow.bytes)))

    @property
    def _window(self) -> int:
        # What the workers hold comes on top of what may wait for the consumer.
        return self._room + len(self._seats) * self._flow.depth

    @property
    def _credit(self) -> int:
        """Tasks that a worker may hold: its share of the room, so that it goes on for as long as
        the loop is away. Where it does, results wait with the worker. Those that had to give back
        what they held leave their share to the others.
        """
        seats = len(self._executor.ready if self._executor.hesitant else self._seats)
        workers = max(1, seats - self._stealing.relieved)
        return max(self._flow.depth, -(-self._room // workers))

    @property
    def finished(self) -> bool:
        """Whether everything was taken."""
        return all(ledger.finished for ledger in self._ledgers)

    def take(self, most: int) -> Deliveries | None:
        """What may be delivered now, up to `most` of it; None where nothing may.

        Where the loop may be away for long soon, workers are given more before.
        """
        if self._stride > 1:
            most = min(most, self._stride)
        for _ in self._ledgers:
            ledger = self._ledgers[self._turn]
            if (done := ledger.take(most)) is not None:
                self._taken += len(done)
                if self._taken >= self._stride > 1:
                    self._taken = 0
                    self.hand_out()
                return done
            self._turn = (self._turn + 1) % len(self._ledgers)
        return None

    def redo(self, place: int, task: Task) -> None:
        """What was taken last is to be done again, as another task; in a fixed order only."""
        self._ledgers[self._turn].redo(place, task)

    def was_away(self) -> None:
        """The loop did something else meanwhile, so workers were not listened to."""
        self._attentive = 0.0

    def worth_taking(self, count: int, seconds: float) -> int:
        """How many to take at once, after the loop took so many seconds for `count`."""
        if self._fragment.batching is not None:
            return 1  # each may be taken back
        swift = int(count * LOOK_SECONDS / seconds) if seconds else _BUNCH
        return max(1, min(2 * count, swift, self._flow.spare, _BUNCH))

    def leave(self) -> None:
        """The loop was left: workers need not begin what they have."""
        if self._executor.closed:
            return
        for worker in self._executor.workers:
            if self._held.get(worker):
                self._executor.send(worker, RECALL)

    def hand_out(self) -> bool:
        """Give every worker as much as it should hold.

        Where the source takes its time, only a part: results may be there that the loop waits for.

        Returns:
            Whether there is more to give.
        """
        self._staff()
        begun = self._clock()
        hungry = [seat for seat, worker in enumerate(self._seats) if self._takes(worker)]
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
                    self._stealing.given(worker, self._clock())
                self._held[worker] = held + len(lease.tasks)
                self._send(worker, lease)
                if self._clock() - begun > LOOK_SECONDS:
                    return True
        return False

    def _takes(self, worker: int | None) -> bool:
        """Whether the worker of a seat may be given leases."""
        executor = self._executor
        return worker is not None and (not executor.hesitant or worker in executor.ready)

    def _send(self, worker: int, lease: Lease) -> None:
        try:
            self._executor.send(worker, lease)
        except Exception:  # pickling the user's keys and datapoints raises anything
            self._executor.send(worker, sendable(lease))

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
        size = self._flow.size
        # What was given back may be what is left for all: then it is not to be held by one of them
        # again. While there is more, they hold what they should: the loop may be away soon.
        most = self._flow.depth if ledger.scarce else self._credit
        full = self._held.get(worker, 0) > most - size
        if full or worker in self._isolated or self._stealing.asked(worker):
            return None
        return self.metrics.lease(ledger, worker, size)

    def patience(self) -> float | None:
        """See to workers that are long at a datapoint; how long to wait before the next time."""
        now = self._clock()
        self._attentive = self._attentive or now
        waits = [self._even_out(now), self._enforce(now)]
        return min((wait for wait in waits if wait is not None), default=None)

    def _even_out(self, now: float) -> float | None:
        """Where a worker is idle, ask for tasks that wait elsewhere."""
        if self._fragment.sequential:
            return None
        seated = [worker for worker in self._seats if worker is not None and self._takes(worker)]
        late, wait = self._stealing.due(seated, self._held, now, self._flow.cost)
        for worker in late:
            self._recall(worker)
        return wait

    def _enforce(self, now: float) -> float | None:
        """Kill workers that are too long at a datapoint."""
        if self._deadlines is None:
            return None
        busy = [worker for worker in self._executor.workers if self._held.get(worker)]
        listened = now - self._attentive
        late, wait = self._deadlines.overdue(
            {worker: self._executor.in_progress(worker) for worker in busy},
            {worker: min(listened, self._stealing.silence(worker, now)) for worker in busy},
            lambda number, index: any(ledger.open(number, index) for ledger in self._ledgers),
        )
        for worker in late:
            self._executor.kill(worker)
        return wait

    def _staff(self) -> None:
        """Fill empty seats: those of the dead, and at the start as many as there are cores."""
        executor = self._executor
        seated = {worker for worker in self._seats if worker is not None}
        idle = [worker for worker in executor.workers if worker not in seated]
        wanted = self._count if self._reported else self._at_first
        for seat, worker in enumerate(self._seats):
            if worker is None and (idle or len(executor.workers) - len(executor.guests) < wanted):
                self._seats[seat] = idle.pop() if idle else executor.start()
        self._seats += idle
        if executor.guests:
            self._welcome()

    def _welcome(self) -> None:
        """Other machines' workers have threads as they like."""
        seated = [worker for worker in self._seats if worker is not None]
        threads = [self._executor.threads_of(worker) for worker in seated]
        if sum(threads) != self._seated:
            self._seated = sum(threads)
            self._flow.staff(max(threads))
            self._stealing.threads = max(threads)
            self.metrics.staff(len(seated), sum(threads))
            for ledger in self._ledgers:
                ledger.window = self._window

    def receive(self, events: Iterable[Event]) -> None:
        """Enter what happened.

        Raises:
            WorkerDied: too many workers died.
            Exception: workers cannot even start.
        """
        items, seconds = 0, 0.0
        self._budget.look()
        for event in events:
            if isinstance(event, Reported) and isinstance(event.report, Failed):
                raise event.report.exception()  # it could not even start
            if isinstance(event, Reported):
                report = readable(event.report)
                items += report.finished
                seconds += self._settle(event.worker, report)
            elif isinstance(event, Started):
                self._stealing.heard(event.worker, self._clock())
            elif isinstance(event, Died):
                self._bury(event)
            elif isinstance(event, Left):
                self._say_goodbye(event.worker)
        self.metrics.look(sum(ledger.ready for ledger in self._ledgers))
        if items:
            self._adapt(items, seconds)

    def _adapt(self, items: int, seconds: float) -> None:
        """Give out as much at a time as what came just now says."""
        before, self._passed = self._passed, self._executor.traffic.passed
        self._flow.note(items, seconds, self._passed - before)
        for ledger in self._ledgers:
            ledger.window = self._window
        if self._fragment.sequential:
            return  # one iterator's tasks stay in order
        for worker, held in self._held.items():
            if self._flow.exceeds(held, self._credit) and not self._stealing.asked(worker):
                self._recall(worker)

    def _recall(self, worker: int) -> None:
        """Ask for the tasks that it has not begun."""
        self._stealing.ask(worker)
        self._executor.send(worker, RECALL)

    def _settle(self, worker: int, report: Report) -> float:
        """Enter a report; returns the seconds of work in it."""
        self._reported = True
        for number, index in report.returned:
            for ledger in self._ledgers:
                if (holder := ledger.take_back(number, index)) is not None:
                    self._held[holder] -= 1
        # One that gave back all that it had is not busy, and may be given something again.
        done = bool(report.results) or not self._held.get(worker)
        self._stealing.heard(worker, self._clock(), done=done)
        for run in report.results:
            # Lease numbers are never used twice, so at most one ledger knows this one.
            for ledger in self._ledgers:
                if (settled := ledger.settle(*run)) is not None:
                    holder, count = settled
                    self._held[holder] -= count
                    self._budget.progress()
                    break
        return self.metrics.count(worker, report)

    def _bury(self, died: Died) -> None:
        """A worker is gone: its tasks go out again, and somebody takes its seat."""
        worker = died.worker
        late = self._deadlines.killed(worker) if self._deadlines is not None else None
        in_progress = (
            [(held.lease, held.task) for held in died.in_progress] if late is None else late
        )
        if self._fragment.sequential:
            in_progress = []  # one iterator cannot leave out a datapoint
        timed_out = late is not None
        lost = [ledger.revoke(worker, in_progress, certain=timed_out) for ledger in self._ledgers]
        self._forget(worker)
        self._meter.restarts += 1
        text = death_report(died, lost, timed_out, self._fragment.is_keyed)
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
                error = poisoned(entry.task, text, timed_out, self._fragment.is_keyed)
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
        self._stealing.forget(worker)
        self._seats = [None if seated == worker else seated for seated in self._seats]
