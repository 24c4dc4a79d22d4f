"""Flows that run what is below them on workers: the consumer's side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dataflow.base import DataFlow, inputs, mark_ready, stays
from dataflow.engine.messages import Task
from dataflow.engine.part import Part, is_part, make_part
from dataflow.engine.run import Run
from dataflow.engine.watch import Gauges
from dataflow.epoch import Epoch, Stream
from dataflow.errors import ConfigError
from dataflow.executor.events import Executor
from dataflow.failures import ErrorPolicy, OnError
from dataflow.flows import ProxyDataFlow
from dataflow.passes import at, stream
from dataflow.randomness import Tag

__all__ = ["Runner"]


class Runner(ProxyDataFlow):
    """Runs the chain below it on workers. Subclasses say on which.

    Args:
        ds: the chain.
        ordered: deliver in the source's order; None means: if a seed was set.
        buffer_size: datapoints that may wait to be delivered. Of datapoints that are so cheap and
            small that messages would cost more than they do, some hundred more may be under way:
            about 2 ms of work and 64 kB a lease.
        on_error: what becomes of a datapoint whose stage raised; None leaves that to the source.
        max_restarts: workers that may die without progress in between.
        task_timeout: seconds that a datapoint may keep a worker; None: as long as it likes.
    """

    def __init__(
        self,
        ds: Any,
        *,
        ordered: bool | None,
        buffer_size: int,
        on_error: OnError | None = "raise",
        max_restarts: int = 3,
        task_timeout: float | None = None,
    ) -> None:
        super().__init__(ds)
        if buffer_size < 1:
            raise ConfigError(f"buffer_size={buffer_size!r} must be at least 1")
        if max_restarts < 0:
            raise ConfigError(f"max_restarts={max_restarts!r} must not be negative")
        if task_timeout is not None and not task_timeout > 0:
            raise ConfigError(f"task_timeout={task_timeout!r} must be a positive number or None")
        self._ordered = ordered
        self._buffer_size = int(buffer_size)
        self._policy = ds._policy if on_error is None else ErrorPolicy(on_error)
        self._max_restarts = max_restarts
        self._task_timeout = task_timeout
        self._crews: dict[Any, Executor] = {}
        self._gauges: Gauges = {}

    _unit = "process"  # what one more of would be added

    # -- what subclasses say -----------------------------------------------------------------

    _elsewhere = False  # the workers are other processes
    _whole = False  # a flow that can only be iterated, directly below, goes to one worker
    _replicas = 0  # workers that each run the whole flow
    _told = False  # that it does
    _drops = False  # batches had to be put together anew

    def _hire(self, part: Part) -> Executor:
        """Start the workers."""
        raise NotImplementedError(f"{type(self).__name__} defines no _hire()")

    def _worker_count(self, part: Part) -> int:
        """How many workers there shall be."""
        return 1

    def _hands(self, part: Part) -> int:
        """Threads in each worker."""
        return part.hands

    def _replica(self, number: int) -> Any:
        """The flow that one of `_replicas` workers runs."""
        return self.ds

    def _buffer_of(self, part: Part) -> int:
        """Results that may wait: datapoints, or batches of about as many datapoints."""
        if part.batching is None:
            return self._buffer_size
        stage = part.programs[part.batching].batch  # type: ignore[attr-defined]
        return max(1, self._buffer_size // int(stage.batch_size))

    def _hands_in_worker(self) -> int:
        """Threads that this runner asks for in each worker of a runner above it."""
        return 1

    # -- the pass ----------------------------------------------------------------------------

    def reset_state(self) -> None:
        """Nothing below is touched: workers make ready their stages, and feeds their sources."""
        mark_ready(self)

    def _stage_number(self) -> int:
        return super()._stage_number() - 1

    def _stage_rows(self) -> list[dict[str, Any]]:
        meter = self._meter
        if not meter.items:
            return []  # below another runner, which does its work
        hands = meter.units // max(1, meter.workers)
        return [
            meter.row(type(self).__name__, "runner")
            | {
                "workers": meter.workers,
                "hands": hands,
                "unit": self._unit,
                "restarts": meter.restarts,
                "fill": meter.filled / meter.watched if meter.watched else 0.0,
            }
        ]

    def _stream(self, epoch: Epoch) -> Stream:
        # What cannot go to workers streams here; the parts below it find their runner.
        epoch = epoch._replace(policy=self._policy)
        if stays(self) and not epoch.conductor.pools:
            return stream(self.ds, epoch)
        above = () if stays(self) else epoch.runners
        if not above:
            self._claim(self.ds)
        return stream(self.ds, epoch._replace(runners=(*above, self)))

    def _claim(self, flow: Any) -> None:
        """Keep the stages of `flow` from being made ready here, if they are to run elsewhere."""
        if self._elsewhere:
            _leave_to_workers(flow)

    def _at(self, epoch: Epoch, index: int) -> tuple[Tag, Any]:
        return at(self.ds, epoch._replace(policy=self._policy), index)

    def _is_ordered(self, epoch: Epoch) -> bool:
        return self._ordered if self._ordered is not None else epoch.seeded

    def _outcomes(
        self,
        part: Part,
        epoch: Epoch,
        tasks: list[Iterator[Task]],
        ordered: bool,
        redo: list[tuple[int, Task]],
    ) -> Iterator[list[tuple[int, Task, Any]]]:
        """Every task with its number and its outcome, from workers; see `Run.deliver`."""
        key = part.key(epoch)
        crew = self._crews.get(key)
        if crew is None:  # the workers of an earlier epoch go on
            crew = self._crews[key] = self._hire(part)
        crew.interrupted = False  # perhaps in a pass that had ended for it
        self._meter.runner = type(self).__name__
        complete = False
        try:
            run = Run(
                part,
                crew,
                epoch,
                tasks,
                redo,
                ordered=ordered,
                workers=self._worker_count(part),
                hands=self._hands(part),
                buffer_size=self._buffer_of(part),
                max_restarts=self._max_restarts,
                task_timeout=self._task_timeout,
                meter=self._meter,
                gauges=self._gauges,
            )
            yield from run.deliver()
            complete = True
        finally:
            # Workers wait for the next epoch, but not behind a loop that was left.
            if (epoch.last or not complete) and self._crews.get(key) is crew:
                del self._crews[key]
                self._gauges.clear()
                crew.close()

    def _interrupt(self) -> None:
        for crew in list(self._crews.values()):
            crew.interrupt()

    def close(self) -> None:
        super().close()
        for crew in self._crews.values():
            crew.close()
        self._crews.clear()
        self._gauges.clear()

    def _over(self, keys: list[Any]) -> DataFlow:
        other = super()._over(keys)
        assert isinstance(other, Runner)
        shared = self._policy is getattr(self.ds, "_policy", None)
        other._policy = other.ds._policy if shared else ErrorPolicy(self._policy.on_error)
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_crews": {}, "_gauges": {}}


def _leave_to_workers(flow: Any) -> None:
    """Keep the stages of every part below from being made ready here."""
    if is_part(flow, below_runner=True):
        part = make_part(flow, below_runner=True)
        part.send_all()
        part.leave_to_workers()
    else:
        for below in inputs(flow):
            _leave_to_workers(below)
