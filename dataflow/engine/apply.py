"""The one way in which a datapoint is made: load its key, then run the stages of its op chain.

The loop's own thread, the threads of workers and ``ds[i]`` all go this way, so they agree in what
is random, what is dropped, what fails where, and what is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, NamedTuple, Protocol, TypeAlias

from dataflow.engine.counters import Counters
from dataflow.engine.unread import Unread
from dataflow.epoch import DROPPED
from dataflow.ownership import copied, own
from dataflow.plan.ops import OpChain
from dataflow.plan.tasks import EXHAUSTED, LOADER, Task
from dataflow.plan.whole import FlowLoader
from dataflow.randomness import Place, Tag, enter, leave, place
from dataflow.stages.item import AsyncStage, OfNext

__all__ = ["PENDING", "Begin", "Maker", "OpExecutor", "Raised"]

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


_Step: TypeAlias = tuple[int, Any, bool, Callable[[Any], Any], tuple[int], list[float]]
"""A stage: its index, itself, whether it is asynchronous and only begins, its function, its number
in the keys of random numbers, and its row of the counters."""


class Maker(Protocol):
    """Makes the datapoints of one chain; the arguments are those of `OpExecutor.make`."""

    def __call__(self, seed: int, tag: Tag, value: Any, first: int = LOADER) -> Any: ...


_NO_KEYS = frozenset({type(DROPPED), Unread})  # what there may be in the place of one


class OpExecutor:
    """Runs op chains for one thread.

    What is the same for all datapoints of a chain is looked up once, and bound in functions: of a
    cheap datapoint, looking it up would be the larger part.

    Args:
        chains: by the number that tasks have.
        counters: of that thread.
        catches: what counts as a failure of the datapoint; everything else ends the thread's loop.
        begin: how asynchronous stages begin; None: they are waited for.
        keeps: the caller sees to it that results are its own, as it keeps them for long.
        here: the place of the thread; None: it may be another thread each time.
    """

    def __init__(
        self,
        chains: Sequence[OpChain],
        counters: Counters,
        *,
        catches: type[BaseException],
        begin: Begin | None = None,
        keeps: bool = False,
        here: Place | None = None,
    ) -> None:
        self._chains = chains
        self._counters = counters
        self._catches = catches
        self._begin = begin
        self._keeps = keeps
        self._here = here
        self._makers: list[Maker | None] = [None] * len(chains)  # as of their first use

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
        return self.maker(number)(seed, tag, key if first == LOADER else value, first)

    def maker(self, number: int) -> Maker:
        """What makes the datapoints of one chain."""
        maker = self._makers[number]
        if maker is None:
            maker = self._makers[number] = self._maker(number)
        return maker

    def _maker(self, number: int) -> Maker:
        # None of these functions knows this object: a circle would keep the user's flows alive.
        load = self._loader(number)
        lends = load is None and self._chains[number].lends
        steps, counters, catches = self._steps(number), self._counters, self._catches
        begin, mine = self._begin, self._here

        def make(seed: int, tag: Tag, value: Any, first: int = LOADER) -> Any:
            if first == LOADER:
                if type(value) in _NO_KEYS:
                    return DROPPED if value is DROPPED else Raised(value.error, LOADER)
                if load is not None:
                    value = load(seed, tag, value)
                    if value is DROPPED or value is EXHAUSTED or type(value) is Raised:
                        return value
                elif lends:
                    value = copied(value)
            timed = counters.timed
            begun = perf_counter() if timed else 0.0
            here = mine or place()
            try:
                for at, stage, begins, apply, path, counts in steps[first:] if first > 0 else steps:
                    if begins:
                        assert begin is not None, "otherwise none begins"
                        here.seed = None
                        value = own(value)  # others of the user's calls come before it is through
                        try:
                            begin(stage, value, at)
                        except catches as error:
                            return Raised(error, at)
                        return PENDING
                    here.seed = seed  # as `enter` does it, for less
                    here.tag = tag
                    here.path = path
                    here.serial += 1
                    try:
                        value = apply(value)
                    except OfNext as error:
                        if not isinstance(error.error, catches):
                            raise error.error from None
                        return Raised(error.error, at + 1)
                    except catches as error:
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
                if timed:
                    counters.timed = counters.dear

        return make

    def _loader(self, number: int) -> Callable[[int, Tag, Any], Any] | None:
        chain, counters, catches = self._chains[number], self._counters, self._catches
        counts = counters.counts[number][0]
        # Stages may write into what they get; what a loader returns may be a part of what it holds.
        takes = not self._keeps or bool(chain.stages)
        loader = chain.loader
        if loader is None:
            return None
        # What a function of a key gives is dropped; what a class of the user's yields is its own.
        none = None if isinstance(loader, FlowLoader) else DROPPED

        def load(seed: int, tag: Tag, key: Any) -> Any:
            timed = counters.timed
            begun = perf_counter() if timed else 0.0
            enter(seed, tag, 0)
            try:
                value = loader(key)
            except catches as error:
                return Raised(error, LOADER)  # a variable here would hold its traceback
            finally:
                leave()
                counts[0] += 1
                if timed:
                    counts[1] += 1
                    counts[2] += perf_counter() - begun
            if value is None:
                return none
            if value is EXHAUSTED:
                counts[0] -= 1  # beyond the end there is nothing to count
            elif takes:
                value = own(value)
            return value

        return load

    def _steps(self, number: int) -> list[_Step]:
        begins = self._begin is not None
        chain, rows = self._chains[number], self._counters.counts[number]
        return [
            (at, stage, begins and isinstance(stage, AsyncStage), stage.apply, (path,), row)
            for at, (stage, path, row) in enumerate(
                zip(chain.stages, chain.numbers, rows[1:], strict=True)
            )
        ]
