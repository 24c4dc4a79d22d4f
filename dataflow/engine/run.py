"""One pass of a runner: the loop between the ledger and the workers."""

from __future__ import annotations

import logging
import signal
from time import perf_counter
from typing import Any

from dataflow.base import reset
from dataflow.engine.ledger import Ledger
from dataflow.engine.messages import LOADER, UNSENT, Failed, Report, Task
from dataflow.engine.pace import Pace
from dataflow.engine.plan import Plan
from dataflow.engine.watch import Gauges, Watch
from dataflow.epoch import DROPPED, Epoch, Stream
from dataflow.errors import WorkerDied
from dataflow.executor.events import Died, Event, Executor, Reported
from dataflow.meter import Meter
from dataflow.randomness import enter, leave
from dataflow.sources.keyed import KeyedSource
from dataflow.utils.machine import usable_cores

__all__ = ["Run"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.002


class Run:
    """One pass.

    Args:
        plan: what is run.
        crew: the workers; those of an earlier pass go on.
        epoch: the pass.
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
        plan: Plan,
        crew: Executor,
        epoch: Epoch,
        *,
        ordered: bool,
        workers: int,
        hands: int,
        buffer_size: int,
        max_restarts: int,
        meter: Meter,
        gauges: Gauges,
    ) -> None:
        self._plan = plan
        self._crew = crew
        self._epoch = epoch
        self._count = workers
        self._max_restarts = max_restarts
        self._meter = meter
        self._pace = Pace(
            hands=hands, transfers=plan.transfers, limit=max(1, buffer_size // workers)
        )
        # What the workers hold comes on top of what may wait for the consumer.
        window = buffer_size + workers * self._pace.depth
        self._ledgers = [
            Ledger(feed(epoch), seed=epoch.seed, window=window, ordered=ordered)
            for feed in plan.feeds
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
            plan,
            crew,
            meter,
            gauges,
            workers=workers,
            hands=hands,
            buffer_size=buffer_size,
        )
        self._watching = {
            policy for program in plan.programs for policy in program.policies if policy is not None
        }
        for policy in self._watching:
            policy.epoch_began()

    def deliver(self) -> Stream:
        """Everything, as it may be delivered."""
        next_look = 0.0
        while not all(ledger.finished for ledger in self._ledgers):
            self._hand_out()
            idle = True
            for ledger in self._ledgers:
                while (done := ledger.next()) is not None:
                    idle = False
                    yield done[0].tag, self._settled(*done)
                    # Workers may have run dry while the consumer was away; but a look at the
                    # sockets for each of many cheap datapoints would cost more than they do.
                    if (now := perf_counter()) > next_look:
                        self._take(self._crew.poll(0))
                        self._hand_out()
                        next_look = now + _LOOK_SECONDS
            if idle and not all(ledger.finished for ledger in self._ledgers):
                self._take(self._watch.wait())
        for policy in self._watching:
            policy.epoch_ended()

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

    def _settled(self, task: Task, outcome: Any) -> Any:
        """What becomes of an outcome: failures go to whoever decides about them."""
        policies = self._plan.programs[task.program].policies
        if isinstance(outcome, Failed):
            self._watch.failed(task.program, outcome.stage)
            place = len(policies) - 1 if outcome.stage == UNSENT else outcome.stage + 1
            policy = policies[place]
            assert policy is not None, "the outermost runner's policy stands in for all"
            keyed = isinstance(self._plan.owners[task.program, LOADER], KeyedSource)
            replacement = policy.failed_with(
                outcome.exception(),
                None if self._plan.sequential else task.key,
                None if keyed else task.tag[1],
            )
            if replacement is None:
                return DROPPED
            # It takes the place of what the deciding flow would have delivered.
            while place < len(policies) and policies[place] is policy:
                place += 1
            return self._finished(task, place - 1, replacement)
        for policy in self._watching:
            policy.passed()
        return outcome

    def _finished(self, task: Task, at: int, datapoint: Any) -> Any:
        """Run a replacement through the stages from number `at` on, here."""
        program = self._plan.programs[task.program]
        for number in range(at, len(program.stages)):
            stage = program.stages[number]
            reset(stage)
            enter(self._epoch.seed, task.tag, program.numbers[number])
            try:
                datapoint = stage.apply(datapoint)
            except Exception as error:  # to whoever decides about that stage
                return self._settled(task, Failed.of(error, number))
            finally:
                leave()
            if datapoint is None:
                return DROPPED
        return datapoint
