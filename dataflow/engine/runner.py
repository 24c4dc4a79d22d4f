"""Flows that run what is below them on workers: the consumer's side."""

from __future__ import annotations

from typing import Any

from dataflow.base import DataFlow, ProxyDataFlow, mark_ready, stream
from dataflow.engine.plan import Plan, make_plan
from dataflow.engine.run import Gauges, Run
from dataflow.epoch import Epoch, Stream
from dataflow.errors import ConfigError
from dataflow.executor.events import Executor
from dataflow.failures import ErrorPolicy, OnError

__all__ = ["Runner"]


class Runner(ProxyDataFlow):
    """Runs the chain below it on workers. Subclasses say on which.

    Args:
        ds: the chain.
        ordered: deliver in the source's order; None means: if a seed was set.
        buffer_size: datapoints that may wait to be delivered.
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
        self._plan: Plan | None = None
        self._crew: Executor | None = None
        self._gauges: Gauges = {}

    # -- what subclasses say -----------------------------------------------------------------

    def _make_plan(self) -> Plan:
        return make_plan(self)

    def _hire(self, plan: Plan) -> Executor:
        """Start the workers."""
        raise NotImplementedError(f"{type(self).__name__} defines no _hire()")

    def _worker_count(self, plan: Plan) -> int:
        """How many workers there shall be."""
        return 1

    def _hands(self, plan: Plan) -> int:
        """Threads in each worker."""
        return plan.hands

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
        return []  # the stages that it runs have their own

    def _stream(self, epoch: Epoch) -> Stream:
        if epoch.cut is not None:  # a runner above has taken over
            return stream(self.ds, epoch)
        if self._plan is None:
            self._plan = self._make_plan()
            for program in self._plan.programs:
                program.adopt(self._policy)
        if not self._plan.tail:
            return self._run(epoch)
        # What cannot go to the workers runs here, on their results.
        return stream(self.ds, epoch._replace(cut=(self._plan.top, self._run)))

    def _run(self, epoch: Epoch) -> Stream:
        plan = self._plan
        assert plan is not None
        ordered = self._ordered if self._ordered is not None else epoch.seeded
        if self._crew is None:
            self._crew = self._hire(plan)
        complete = False
        try:
            run = Run(
                plan,
                self._crew,
                epoch,
                ordered=ordered or plan.takes_first,
                workers=self._worker_count(plan),
                hands=self._hands(plan),
                buffer_size=self._buffer_size,
                max_restarts=self._max_restarts,
                task_timeout=self._task_timeout,
                meter=self._meter,
                gauges=self._gauges,
            )
            yield from run.deliver()
            complete = True
        finally:
            # Workers wait for the next epoch, but not behind a loop that was left.
            if not complete:
                self._dismiss()

    def _dismiss(self) -> None:
        if self._crew is not None:
            crew, self._crew = self._crew, None
            crew.close()
            self._gauges.clear()

    def close(self) -> None:
        super().close()
        self._dismiss()

    def _over(self, keys: list[Any]) -> DataFlow:
        other = super()._over(keys)
        assert isinstance(other, Runner)
        shared = self._policy is getattr(self.ds, "_policy", None)
        other._policy = other.ds._policy if shared else ErrorPolicy(self._policy.on_error)
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_crew": None, "_plan": None, "_gauges": {}}
