"""The one way in which a datapoint is made: load its key, then run the stages of its op chain.

The loop's own thread, the threads of workers and ``ds[i]`` all go this way, so they agree in what
is random, what is dropped, what fails where, and what is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, NamedTuple

from dataflow.engine.counters import Counters
from dataflow.epoch import DROPPED
from dataflow.plan.ops import OpChain
from dataflow.plan.tasks import EXHAUSTED, LOADER, Task
from dataflow.randomness import enter, leave
from dataflow.stages.item import AsyncStage

__all__ = ["PENDING", "Begin", "OpExecutor", "Raised"]

PENDING = object()
"""The outcome of a datapoint that an asynchronous stage is at."""

Begin = Callable[[AsyncStage, Any, int], None]
"""Has an asynchronous stage (with its input and its index) begin on the current datapoint."""


class Raised(NamedTuple):
    """The outcome of a datapoint that failed.

    Attributes:
        error: what was raised.
        stage: the stage's index, or `LOADER`.
    """

    error: Any
    stage: int


class OpExecutor:
    """Runs op chains for one thread.

    Args:
        chains: by the number that tasks have.
        counters: of that thread.
        catches: what counts as a failure of the datapoint; everything else ends the thread's loop.
        begin: how asynchronous stages begin; None: they are waited for.

    Attributes:
        timed: whether to time the next datapoint.
    """

    def __init__(
        self,
        chains: Sequence[OpChain],
        counters: Counters,
        *,
        catches: type[BaseException],
        begin: Begin | None = None,
    ) -> None:
        self._chains = chains
        self._counters = counters
        self._catches = catches
        self._begin = begin
        self.timed = True

    def make(self, seed: int, task: Task) -> Any:
        """Load a task's datapoint and run all stages.

        Returns:
            The datapoint, or `DROPPED`, `EXHAUSTED`, `PENDING` or a `Raised`.
        """
        value = task.key
        if value is DROPPED:
            return DROPPED
        loader = self._chains[task.chain].loader
        if loader is not None:
            counts = self._counters.counts[task.chain][0]
            timed = self.timed
            begun = perf_counter() if timed else 0.0
            enter(seed, task.tag, 0)
            try:
                value = loader(value)
            except self._catches as error:
                return Raised(error, LOADER)  # at once: a variable here would hold its traceback
            finally:
                leave()
                counts[0] += 1
                if timed:
                    counts[1] += 1
                    counts[2] += perf_counter() - begun
            if value is None:
                return DROPPED
            if value is EXHAUSTED:
                counts[0] -= 1  # beyond the end there is nothing to count
                return EXHAUSTED
        return self.go_on(seed, task, 0, value)

    def go_on(self, seed: int, task: Task, first: int, value: Any) -> Any:
        """Run the stages from number `first` on; returns as `make` does."""
        tag, number, _ = task
        chain = self._chains[number]
        stages, numbers = chain.stages, chain.numbers
        rows = self._counters.counts[number]
        timed, begin = self.timed, self._begin
        begun = perf_counter() if timed else 0.0
        at = first
        try:
            while at < len(stages):
                stage = stages[at]
                try:
                    if begin is not None and isinstance(stage, AsyncStage):
                        begin(stage, value, at)
                        return PENDING
                    enter(seed, tag, numbers[at])
                    value = stage.apply(value)
                except self._catches as error:
                    self._count(rows[at + 1], timed, begun)
                    return Raised(error, at)
                at += 1
                counts = rows[at]
                counts[0] += 1
                if timed:
                    ended = perf_counter()
                    counts[1] += 1
                    counts[2] += ended - begun
                    begun = ended
                if value is None:
                    return DROPPED
            return value
        finally:
            leave()
            self.timed = self._counters.dear

    @staticmethod
    def _count(counts: list[float], timed: bool, begun: float) -> None:
        counts[0] += 1
        if timed:
            counts[1] += 1
            counts[2] += perf_counter() - begun
