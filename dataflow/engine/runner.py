"""Flows that run what is upstream of them on workers: the consumer's side."""

from __future__ import annotations

import math
import os
from collections.abc import Generator
from functools import cache
from typing import Any

from dataflow.engine.deliveries import Deliveries
from dataflow.engine.drive import drive
from dataflow.engine.metrics import Gauges
from dataflow.engine.options import RunnerOptions
from dataflow.engine.run import Run
from dataflow.epoch import Epoch, Stream
from dataflow.errors import DataFlowTerminated
from dataflow.executor.events import Executor
from dataflow.failures import ErrorPolicy
from dataflow.flow import DataFlow
from dataflow.kinds import ProxyDataFlow
from dataflow.node import mark_ready, walk
from dataflow.opening import at, stream
from dataflow.plan.fragment import Fragment
from dataflow.plan.planner import lower, stages_for_workers
from dataflow.plan.tasks import Feed, Task
from dataflow.randomness import Tag
from dataflow.records import Record, RunnerOp
from dataflow.utils.machine import memory, memory_limit
from dataflow.utils.words import counted

__all__ = ["Runner"]

# A datapoint of a pass that was left keeps its worker from the next pass; after so many seconds
# another worker is there sooner.
_STALE = 1.0


class Runner(ProxyDataFlow):
    """Runs the chain upstream on workers. Subclasses say on which.

    Args:
        ds: the chain.
        options: what all runners can be told.
    """

    def __init__(self, ds: Any, options: RunnerOptions) -> None:
        super().__init__(ds)
        self._options = options
        on_error = options.on_error
        above = getattr(ds, "_policy", None) if on_error is None else None
        self._policy = above or ErrorPolicy(on_error or "raise")
        self._executors: dict[Any, Executor] = {}
        self._home = os.getpid()  # whose they are
        self._gauges: Gauges = {}
        self._versions: dict[Any, Any] = {}  # of what the workers run

    _unit = "process"  # what one more of would be added

    # -- what subclasses say -----------------------------------------------------------------

    _usual_buffer = 50  # datapoints that may wait where the loop takes single ones
    _elsewhere = False  # the workers are other processes
    _sends_ops = False  # they get the op chains from here
    _whole = False  # a flow that can only be iterated, directly upstream, goes to one worker
    _single = False  # there is one worker, and whatever fails ends the pass
    _replicas = 0  # workers that each run the whole flow
    _told = False  # that it does
    _drops = False  # batches had to be put together anew
    _room = 0  # results that may wait for the loop, as of the last pass
    _at_once = 1  # of them, what the loop takes at a time

    def _sends(self, flow: Any, source: Any) -> bool:
        """Whether a flow can go to a worker; where it cannot, this is told once."""
        return True

    def _version(self, fragment: Fragment) -> Any:
        """Equal to another one where workers need nothing anew."""
        # Those of this process see what changes in a stage, but not another stage in its place.
        return fragment.version() if self._sends_ops else [_Same(flow) for flow in walk(self.ds)]

    def _tell_of_change(self) -> None:
        """Stages were changed since the last pass, and workers get them anew."""

    def _reads_here(self, source: Any) -> None:
        """A source that could move to a worker is read where the loop is."""

    def _start_executor(self, fragment: Fragment, buffer: int) -> Executor:
        """Start the workers, which have room for `buffer` results that wait."""
        raise NotImplementedError(f"{type(self).__name__} defines no _start_executor()")

    def _workers_in_words(self, fragment: Fragment) -> str:
        """Who they are, for a person."""
        workers, threads = self._worker_count(fragment), self._threads(fragment)
        each = counted(threads, "thread")
        if fragment.transfers:
            each += f" and {counted(fragment.transfers, 'transfer')}"
        return f"{counted(workers, f'worker {self._unit}')} of {each}"

    def _worker_count(self, fragment: Fragment) -> int:
        """How many workers there shall be."""
        return 1

    def _threads(self, fragment: Fragment) -> int:
        """Threads in each worker."""
        return fragment.threads

    def _replica(self, number: int) -> Any:
        """The flow that one of `_replicas` workers runs."""
        return self.ds

    def _buffer_of(self, fragment: Fragment, epoch: Epoch) -> int:
        """Results that may wait: datapoints, or batches of about as many datapoints."""
        size = 1
        if fragment.batching is not None:
            size = int(fragment.chains[fragment.batching].batch.batch_size)  # type: ignore[attr-defined]
        if self._options.buffer_size is not None:
            return max(1, int(self._options.buffer_size) // size)
        return max(self._usual_buffer // size, 2 * epoch.at_once)

    def _threads_in_worker(self) -> int:
        """Threads that this runner asks for in each worker of a runner downstream."""
        return 1

    # -- the pass ----------------------------------------------------------------------------

    def reset_state(self) -> None:
        """Nothing upstream is touched: stages get ready in workers, sources when they are read."""
        mark_ready(self)

    def _to_record(self, inputs: tuple[Record, ...]) -> Record:
        return RunnerOp(self, inputs, self._stays, self._replicas, self._whole, self._single)

    def _stage_number(self) -> int:
        return super()._stage_number() - 1

    def _stage_rows(self) -> list[dict[str, Any]]:
        meter = self._meter
        if not meter.items:
            return []  # another runner downstream does its work
        threads = meter.units // max(1, meter.workers)
        return [
            meter.row(type(self).__name__, "runner")
            | {
                "workers": meter.workers,
                "threads": threads,
                "unit": self._unit,
                "restarts": meter.restarts,
                "shared": meter.shared,
                "fill": meter.filled / meter.watched if meter.watched else 0.0,
                "room": self._room,
                "at_once": self._at_once,
            }
        ]

    def _stream(self, epoch: Epoch) -> Stream:
        # What cannot go to workers streams here; the fragments upstream find their runner.
        epoch = epoch._replace(policy=self._policy)
        if self._stays and not epoch.session.pools:
            return stream(self.ds, epoch)
        others = () if self._stays else epoch.runners
        if not others:
            self._claim(self.ds)
        return stream(self.ds, epoch._replace(runners=(*others, self)))

    def _claim(self, flow: Any) -> None:
        """Keep the stages of `flow` from being made ready here, if they are to run elsewhere."""
        if self._elsewhere:
            for fragment in stages_for_workers(lower(flow)):
                fragment.leave_to_workers()

    def _at(self, epoch: Epoch, index: int) -> tuple[Tag, Any]:
        return at(self.ds, epoch._replace(policy=self._policy), index)

    def _is_ordered(self, epoch: Epoch) -> bool:
        ordered = self._options.ordered
        return epoch.seeded if ordered is None else ordered

    def _outcomes(
        self,
        fragment: Fragment,
        epoch: Epoch,
        tasks: list[Feed],
        ordered: bool,
        redo: list[tuple[int, Task]],
    ) -> Generator[Deliveries, None, None]:
        """Every task with its outcome, from workers; see `drive`."""
        key = fragment.key(epoch)
        if self._home != os.getpid():  # after a fork: the workers are the parent's, and answer it
            self._home, self._executors = os.getpid(), {}
        executor = self._executors.get(key)
        version = self._version(fragment)
        changed = version != self._versions.get(key, version)
        if executor is not None and (_hangs(executor) or changed):
            self._dismiss(key, executor)
            if changed:
                self._tell_of_change()
            executor = None
        self._versions[key] = version
        self._room = buffer = self._buffer_of(fragment, epoch)
        self._at_once = epoch.at_once
        if executor is None:  # the workers of an earlier epoch go on
            executor = self._executors[key] = self._start_executor(fragment, buffer)
        fragment.release()
        each = max(fragment.transfers, self._threads(fragment))
        for policy in {one for chain in fragment.chains for one in chain.policies if one}:
            policy.at_once = max(policy.at_once, self._worker_count(fragment) * each)
        executor.interrupted = False  # perhaps in a pass that had ended for it
        self._meter.runner = type(self).__name__
        keeps = False
        try:
            run = Run(
                fragment,
                executor,
                epoch,
                tasks,
                ordered=ordered,
                workers=self._worker_count(fragment),
                threads=self._threads(fragment),
                buffer_size=buffer,
                most_bytes=_share_of_memory() if self._options.buffer_size is None else math.inf,
                options=self._options,
                meter=self._meter,
                gauges=self._gauges,
            )
            yield from drive(run, executor, redo)
            keeps = not epoch.last
        except (GeneratorExit, DataFlowTerminated):
            # The loop was left. The workers drop what they have not begun, and wait for the next.
            run.leave()
            keeps = not epoch.last
            raise
        finally:
            if not keeps:
                self._dismiss(key, executor)

    def _dismiss(self, key: Any, executor: Executor) -> None:
        """End the workers, unless somebody did it already."""
        if self._executors.get(key) is executor:
            del self._executors[key]
            self._gauges.clear()
            executor.close()

    def _interrupt(self) -> None:
        for executor in list(self._executors.values()):
            executor.interrupt()

    def close(self) -> None:
        super().close()
        for executor in self._executors.values():
            executor.close()
        self._executors.clear()
        self._gauges.clear()

    def _over(self, keys: list[Any]) -> DataFlow:
        other = super()._over(keys)
        assert isinstance(other, Runner)
        shared = self._policy is getattr(self.ds, "_policy", None)
        other._policy = other.ds._policy if shared else ErrorPolicy(self._policy.on_error)
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_executors": {}, "_gauges": {}, "_versions": {}}


class _Same:
    """Equal to what is of the very same object, which lives as long as this."""

    def __init__(self, one: Any) -> None:
        self._one = one

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._one is other._one

    __hash__ = None  # type: ignore[assignment]


def _hangs(executor: Executor) -> bool:
    """Whether a worker is still at a datapoint of a pass that was left, and has been for long."""
    return any(
        held.seconds > _STALE
        for worker in executor.workers
        for held in executor.in_progress(worker)
    )


@cache
def _share_of_memory() -> float:
    """Bytes that the results which wait may take, where nobody says how many they may be."""
    limits = [limit for limit in (memory(), memory_limit()) if limit]
    return min(limits, default=math.inf) / 8
