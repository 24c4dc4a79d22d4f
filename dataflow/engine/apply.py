"""The one way in which a datapoint is made: load its key, then run the stages of its op chain.

The loop's own thread, the threads of workers and ``ds[i]`` all go this way, so they agree in what
is random, what is dropped, what fails where, and what is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

from dataflow.engine.counters import Counters
from dataflow.engine.unread import Unread
from dataflow.epoch import DROPPED
from dataflow.ownership import copied, own
from dataflow.plan.ops import OpChain
from dataflow.plan.tasks import EXHAUSTED, LOADER, Task
from dataflow.randomness import enter, leave, place
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


_Step: TypeAlias = tuple[int, Callable[[Any], Any] | None, tuple[int], list[float]]
"""A stage's index, its function, its number in the keys of random numbers, and its counts.

Without a function: an asynchronous stage, which only begins.
"""


class OpExecutor:
    """Runs op chains for one thread.

    Args:
        chains: by the number that tasks have.
        counters: of that thread.
        catches: what counts as a failure of the datapoint; everything else ends the thread's loop.
        begin: how asynchronous stages begin; None: they are waited for.
        keeps: the caller sees to it that results are its own, as it keeps them for long.

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
        keeps: bool = False,
    ) -> None:
        self._chains = chains
        self._counters = counters
        self._catches = catches
        self._begin = begin
        self._loaders = [chain.loader for chain in chains]
        self._lent = [chain.lends for chain in chains]
        # Stages may write into what they get; what a loader returns may be a part of what it holds.
        self._takes = [not keeps or bool(chain.stages) for chain in chains]
        self._steps: list[list[_Step] | None] = [None] * len(chains)  # as of their first use
        self.timed = True

    def make(self, seed: int, task: Task, first: int = LOADER, value: Any = None) -> Any:
        """Load a task's datapoint and run all stages.

        Args:
            seed: the pass's.
            task: which.
            first: the stage to go on with, with `value`; before all of them, it is loaded.
            value: what the stages before gave.

        Returns:
            The datapoint, or `DROPPED`, `EXHAUSTED`, `PENDING` or a `Raised`.
        """
        tag, number, key = task
        timed = self.timed
        if first == LOADER:
            first, value = 0, key
            if value is DROPPED:
                return DROPPED
            if type(value) is Unread:
                return Raised(value.error, LOADER)
            if (loader := self._loaders[number]) is not None:
                counts = self._counters.counts[number][0]
                begun = perf_counter() if timed else 0.0
                enter(seed, tag, 0)
                try:
                    value = loader(value)
                except self._catches as error:
                    return Raised(error, LOADER)  # a variable here would hold its traceback
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
                if self._takes[number]:
                    value = own(value)
            elif self._lent[number]:
                value = copied(value)
        if (steps := self._steps[number]) is None:
            steps = self._steps[number] = self._steps_of(number)
        begun = perf_counter() if timed else 0.0
        here = place()
        try:
            for at, apply, path, counts in steps[first:] if first else steps:
                if apply is None:
                    assert self._begin is not None, "checked in init"
                    here.seed = None
                    value = own(value)  # others of the user's calls come before it is through
                    try:
                        self._begin(self._chains[number].stages[at], value, at)  # type: ignore[arg-type]
                    except self._catches as error:
                        return Raised(error, at)
                    return PENDING
                here.seed = seed  # as `enter` does it, for less
                here.tag = tag
                here.path = path
                here.serial += 1
                try:
                    value = apply(value)
                except self._catches as error:
                    return Raised(error, at)
                finally:
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
            here.seed = None
            self.timed = self._counters.dear

    def _steps_of(self, number: int) -> list[_Step]:
        begins = self._begin is not None
        chain, rows = self._chains[number], self._counters.counts[number]
        return [
            (at, None if begins and isinstance(stage, AsyncStage) else stage.apply, (path,), row)
            for at, (stage, path, row) in enumerate(
                zip(chain.stages, chain.numbers, rows[1:], strict=True)
            )
        ]
