"""The worker: takes leases, runs the loader and the stages, reports.

The same loop runs in threads of the consumer and in worker processes (`dataflow.engine.process`);
only the way in and out differs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from time import perf_counter
from typing import Any, NamedTuple

from dataflow.base import reset
from dataflow.engine.messages import EXHAUSTED, Failed, Lease, Report
from dataflow.engine.program import Program
from dataflow.engine.tally import Tally
from dataflow.epoch import DROPPED
from dataflow.randomness import enter, leave
from dataflow.stages.item import AsyncStage

__all__ = ["Worker"]

# Results are gathered this long at most, so that cheap ones share a message.
_GATHER_SECONDS = 0.005
_GATHER_ITEMS = 512


class _Arrived(NamedTuple):
    """An asynchronous stage is through with a datapoint."""

    lease: Lease
    task: int
    stage: int
    result: Any


class Worker:
    """Runs programs for whoever sends leases.

    One or more threads, its hands, call `work`. Asynchronous stages occupy no hand.

    Args:
        programs: what to do, by the number in a task.
        emit: takes a `Report`; called by any hand.
    """

    def __init__(self, programs: list[Program], emit: Callable[[Report], None]) -> None:
        self.programs = programs
        self.emit = emit
        self.todo: SimpleQueue[Lease | _Arrived | None] = SimpleQueue()
        self._stopped = False
        for program in programs:
            for stage in program.stages:
                reset(stage)

    def take(self, lease: Lease) -> None:
        """Accept a lease; any thread may call this."""
        self.todo.put(lease)

    def arrived(self, lease: Lease, task: int, stage: int, result: Any) -> None:
        """An asynchronous stage is through with a datapoint; a hand goes on with it."""
        self.todo.put(_Arrived(lease, task, stage, result))

    def stop(self, hands: int) -> None:
        """Let each hand finish the datapoint that it is at, and end."""
        self._stopped = True
        for _ in range(hands):
            self.todo.put(None)

    def work(self) -> None:
        """Be a hand, until `stop`."""
        hand = _Hand(self)
        while (unit := self.todo.get()) is not None and not self._stopped:
            if isinstance(unit, Lease):
                hand.timed = True
                for index in range(len(unit.tasks)):
                    if self._stopped:
                        return
                    hand.start(unit, index)
            else:
                hand.resume(unit)
            if self.todo.empty():
                hand.report()

    def close(self) -> None:
        """End the asynchronous stages' own threads."""
        for program in self.programs:
            for stage in program.stages:
                stage.close()


class _Hand:
    """One thread's part of a worker: its results and counters, until they are reported."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._results: list[tuple[int, int, Any]] = []
        self._reported = perf_counter()
        self._tally = Tally([len(program.stages) for program in worker.programs])
        self._counts = self._tally.counts
        self.timed = True  # whether to time the next datapoint

    def start(self, lease: Lease, index: int) -> None:
        """Work on a task from its key on."""
        task = lease.tasks[index]
        program = self._worker.programs[task.program]
        value = task.key
        timed = self.timed
        if program.loader is not None:
            begun = perf_counter() if timed else 0.0
            enter(lease.seed, task.tag, 0)
            try:
                value = program.loader(value)
            except BaseException as error:  # the user's code may raise anything, SystemExit too
                self._finish(lease, index, Failed.of(error, -1))
                return
            finally:
                leave()
                counts = self._counts[task.program][0]
                counts[0] += 1
                if timed:
                    counts[1] += 1
                    counts[2] += perf_counter() - begun
            if value is None or value is EXHAUSTED:
                self._finish(lease, index, DROPPED if value is None else value)
                return
        self._advance(lease, index, 0, value)

    def resume(self, arrived: _Arrived) -> None:
        """Go on with what an asynchronous stage was at."""
        lease, index, stage, result = arrived
        self.timed = True
        counts = self._counts[lease.tasks[index].program][stage + 1]
        counts[0] += 1  # its seconds are among the stage's own figures
        counts[1] += 1
        if isinstance(result, BaseException):
            self._finish(lease, index, Failed.of(result, stage))
        elif result is None:
            self._finish(lease, index, DROPPED)
        else:
            self._advance(lease, index, stage + 1, result)

    def _advance(self, lease: Lease, index: int, at: int, value: Any) -> None:
        """Run the stages from number `at` on, up to the end or to one that takes its time."""
        tag, number, _ = lease.tasks[index]
        program = self._worker.programs[number]
        stages = program.stages
        timed = self.timed
        if timed:
            begun = perf_counter()
            self.timed = self._tally.dear
        while at < len(stages):
            stage = stages[at]
            try:
                if isinstance(stage, AsyncStage):
                    stage.begin(value, partial(self._worker.arrived, lease, index, at))
                    return
                enter(lease.seed, tag, program.numbers[at])
                value = stage.apply(value)
            except BaseException as error:  # as above
                value = Failed.of(error, at)
                break
            finally:
                leave()
            counts = self._counts[number][at + 1]
            counts[0] += 1
            if timed:
                ended = perf_counter()
                counts[1] += 1
                counts[2] += ended - begun
                begun = ended
            if value is None:
                value = DROPPED
                break
            at += 1
        self._finish(lease, index, value)

    def _finish(self, lease: Lease, index: int, outcome: Any) -> None:
        self._results.append((lease.number, index, outcome))
        if len(self._results) >= _GATHER_ITEMS or perf_counter() - self._reported > _GATHER_SECONDS:
            self.report()

    def report(self) -> None:
        """Send what was gathered."""
        self._reported = perf_counter()
        if not self._results:
            return
        gauges = []
        for number, program in enumerate(self._worker.programs):
            for at, stage in enumerate(program.stages):
                if figures := stage.gauges():
                    gauges.append((number, at, figures))
        results, self._results = self._results, []
        self.timed = True
        self._worker.emit(Report(results, self._tally.take(len(results)), gauges))
