"""One pass of a runner: the loop between the ledger and the workers."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from time import perf_counter
from typing import Any

from dataflow.engine.ledger import Ledger
from dataflow.engine.messages import Failed, Report, Task
from dataflow.engine.pace import Pace
from dataflow.engine.part import Part
from dataflow.engine.watch import Gauges, Watch
from dataflow.epoch import Epoch
from dataflow.errors import WorkerDied
from dataflow.executor.events import Died, Event, Executor, Reported
from dataflow.meter import Meter
from dataflow.utils.machine import usable_cores

__all__ = ["Run"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.002


class Run:
    """One pass.

    Args:
        part: what is run.
        crew: the workers; those of an earlier pass go on.
        epoch: the pass.
        tasks: what is to be done, in order: for all workers, or one list for each.
        ordered: deliver in the order of the feed.
        workers: how many there shall be.
        hands: threads in each.
        buffer_size: datapoints that may wait to be delivered.
        max_restarts: workers that may die without progress in between.
        meter: the runner's.
        gauges: what the stages' own figures were in each worker, kept over the crew's life.
    """

    def __init__(
        self,
        part: Part,
        crew: Executor,
        epoch: Epoch,
        tasks: list[Iterator[Task]],
        *,
        ordered: bool,
        workers: int,
        hands: int,
        buffer_size: int,
        max_restarts: int,
        meter: Meter,
        gauges: Gauges,
    ) -> None:
        self._part = part
        self._crew = crew
        self._count = workers
        self._max_restarts = max_restarts
        self._meter = meter
        self._pace = Pace(
            hands=hands, transfers=part.transfers, limit=max(1, buffer_size // workers)
        )
        # What the workers hold comes on top of what may wait for the consumer.
        window = buffer_size + workers * self._pace.depth
        self._ledgers = [
            Ledger(feed, seed=epoch.seed, window=window, ordered=ordered) for feed in tasks
        ]
        # Worker numbers by seat; a dead worker's seat goes to the next. Seats share the ledger, or
        # have one each where every worker runs the whole flow.
        self._seats: list[int | None] = [None] * self._count
        self._held: dict[int, int] = {}
        self._deaths = 0
        # A new crew grows to its full size when the first results are there: many processes that
        # start at once would only keep each other from it.
        self._reported = bool(crew.workers)
        self._at_first = min(self._count, max(2, usable_cores()))
        self._watch = Watch(
            part,
            crew,
            meter,
            gauges,
            workers=workers,
            hands=hands,
            buffer_size=buffer_size,
        )

    def deliver(self) -> Iterator[tuple[int, Task, Any]]:
        """Every task with its number and outcome, as it may be delivered."""
        next_look = 0.0
        while not all(ledger.finished for ledger in self._ledgers):
            self._hand_out()
            idle = True
            for ledger in self._ledgers:
                while (done := ledger.next()) is not None:
                    idle = False
                    yield done
                    # Workers may have run dry while the consumer was away; but a look at the
                    # sockets for each of many cheap datapoints would cost more than they do.
                    if (now := perf_counter()) > next_look:
                        self._take(self._crew.poll(0))
                        self._hand_out()
                        next_look = now + _LOOK_SECONDS
            if idle and not all(ledger.finished for ledger in self._ledgers):
                self._take(self._watch.wait())

    def _hand_out(self) -> None:
        """Give every worker as much as it should hold."""
        self._staff()
        size = self._pace.size
        room = self._pace.depth - size
        hungry = [seat for seat, worker in enumerate(self._seats) if worker is not None]
        while hungry:
            # One lease each in turn, so that a short epoch is spread over all.
            for seat in tuple(hungry):
                worker = self._seats[seat]
                assert worker is not None
                lease = None
                if self._held.get(worker, 0) <= room:
                    ledger = self._ledgers[seat % len(self._ledgers)]
                    lease = self._watch.lease(ledger, worker, size)
                if lease is None:
                    hungry.remove(seat)
                    continue
                self._held[worker] = self._held.get(worker, 0) + len(lease.tasks)
                self._crew.send(worker, lease)

    def _staff(self) -> None:
        """Fill empty seats: those of the dead, and at the start as many as there are cores."""
        crew = self._crew
        seated = {worker for worker in self._seats if worker is not None}
        idle = [worker for worker in crew.workers if worker not in seated]
        wanted = self._count if self._reported else self._at_first
        for seat, worker in enumerate(self._seats):
            if worker is None and (idle or len(crew.workers) < wanted):
                self._seats[seat] = idle.pop() if idle else crew.start()

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Reported) and isinstance(event.report, Failed):
                raise event.report.exception()  # it could not even start
            if isinstance(event, Reported):
                self._settle(event.worker, event.report)
            elif isinstance(event, Died):
                self._bury(event)
        self._watch.look(sum(ledger.ready for ledger in self._ledgers))

    def _settle(self, worker: int, report: Report) -> None:
        self._reported = True
        for number, index, outcome in report.results:
            # Lease numbers are never used twice, so at most one ledger knows this one.
            for ledger in self._ledgers:
                if (holder := ledger.settle(number, index, outcome)) is not None:
                    self._held[holder] -= 1
                    self._deaths = 0
                    break
        self._pace.note(len(report.results), self._watch.count(worker, report))

    def _bury(self, died: Died) -> None:
        """A worker is gone: its tasks go out again, and somebody takes its seat."""
        lost = [task for ledger in self._ledgers for task in ledger.revoke(died.worker)]
        self._held.pop(died.worker, None)
        self._seats = [None if worker == died.worker else worker for worker in self._seats]
        self._meter.restarts += 1
        self._deaths += 1
        how = (
            f"was killed by {signal.Signals(-died.status).name}"
            if died.status < 0
            else f"ended with exit status {died.status}"
        )
        text = f"worker process {died.pid} {how}; its {len(lost)} datapoints go to others"
        if self._deaths > self._max_restarts:
            raise WorkerDied(
                f"{text}: {self._deaths} workers died without getting anything done, "
                f"max_restarts={self._max_restarts}"
            )
        logger.warning(text)
