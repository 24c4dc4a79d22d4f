"""What a worker does with a key: load it, then run the stages."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import _lru_cache_wrapper, lru_cache
from types import FunctionType, ModuleType
from typing import Any

from dataflow.base import DataFlow
from dataflow.codec.functions import code_pickler
from dataflow.engine.messages import EXHAUSTED
from dataflow.epoch import DROPPED, Epoch, Stream
from dataflow.failures import ErrorPolicy
from dataflow.node import reset, set_seeds
from dataflow.passes import stream
from dataflow.randomness import leave
from dataflow.runtime import runtime
from dataflow.stages.item import AsyncStage, ItemStage

__all__ = ["FlowLoader", "Program", "pack", "why_not_sent"]

# A flow that could stay here is not sent along with more than this: there would be two of it.
_MOST_BYTES = 64 << 20


@dataclass
class Program:
    """The way of one branch of a chain, from key to datapoint.

    Attributes:
        loader: key → datapoint; None where the key is the datapoint.
        stages: in the order in which they run.
        numbers: each stage's number in the chain, part of the key of its random numbers.
        policies: who decides about a failure of the loader and of each stage. Consumer only.
    """

    loader: Callable[[Any], Any] | None = None
    stages: list[ItemStage] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    policies: list[ErrorPolicy | None] = field(default_factory=lambda: [None])

    def add(self, stage: ItemStage, number: int) -> None:
        """One more stage above the others."""
        self.stages.append(stage)
        self.numbers.append(number)
        self.policies.append(None)

    def adopt(self, policy: ErrorPolicy) -> None:
        """`policy` decides about the stages so far that nobody decides about yet."""
        self.policies = [policy if known is None else known for known in self.policies]

    def upto(self, stage: int) -> Program:
        """The program without the stages from number `stage` on."""
        return Program(self.loader, self.stages[:stage], self.numbers[:stage])

    @property
    def transfers(self) -> int:
        """Datapoints that its asynchronous stages have in flight at most."""
        return sum(stage.concurrency for stage in self.stages if isinstance(stage, AsyncStage))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "policies": []}


class FlowLoader:
    """Runs a whole flow in one worker: the key is a place in a pass, the loader an iterator of it.

    A pass is an epoch and the seeds that the flows have of their own, which somebody may have set
    since they went to the worker. Without those each worker runs the flow by itself, and what it
    draws belongs to the places, which differ.

    A worker that takes over for a dead one runs the flow from its start and skips what was asked
    of the other.
    """

    def __init__(self, flow: Any) -> None:
        self.flow = flow
        self._pass: tuple[Epoch, tuple[int | None, ...] | None] | None = None
        self._stream: Stream = iter(())
        self._next = 0

    def __call__(self, key: tuple[tuple[Epoch, tuple[int | None, ...] | None], int]) -> Any:
        this, position = key
        epoch, seeds = this
        if seeds is not None:
            leave()  # its random numbers are its own, as where the loop iterates it
        # The same epoch anew: a loop was left, and begins again.
        if this != self._pass or position < self._next:
            reset(self.flow)
            if seeds is not None:
                set_seeds(self.flow, seeds)
            self._pass, self._next = this, 0
            self._stream = stream(self.flow, epoch._replace(conductor=runtime().session({})))
        while self._next < position:  # delivered by a worker that died since
            next(self._stream, None)
            self._next += 1
        self._next += 1
        _, datapoint = next(self._stream, (None, EXHAUSTED))
        return None if datapoint is DROPPED else datapoint

    def __getstate__(self) -> dict[str, Any]:
        return {"flow": self.flow}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["flow"])  # type: ignore[misc]


def pack(programs: list[Program], chain: Iterable[Any]) -> bytes:
    """Pickle programs for a worker process.

    The flows of `chain` go without what is below them and without their keys: the source never
    leaves the consumer, even where a stage is a bound method of it.

    Raises:
        TypeError: where something cannot be pickled; names the stage.
    """
    detached = {id(flow) for flow in chain}
    try:
        return _pack(programs, detached)
    except Exception as error:
        for program in programs:
            for part in (program.loader, *program.stages):
                try:
                    _pack(part, detached)
                except Exception as cause:
                    name = type(part).__name__
                    raise TypeError(
                        f"{name} cannot be sent to a worker process: {cause}. Open files, locks "
                        "and connections must be made in the function that uses them, or in the "
                        "stage's reset_state"
                    ) from error
        raise


def why_not_sent(value: Any) -> str | None:
    """Why something cannot go to a worker process, or had better not; None where it can."""
    try:
        _pack(value, set(), most=_MOST_BYTES)
    except Exception as error:  # whatever the user's classes do when they are pickled
        return f"it cannot be sent to a worker process ({error})"
    return None


class _Bounded(io.BytesIO):
    """A file that takes so many bytes."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > self._most:
            raise ValueError(f"with what it holds it has more than {self._most >> 20} MB")
        return super().write(data)


def _pack(value: Any, detached: set[int], most: int = sys.maxsize) -> bytes:
    import cloudpickle

    by_value: set[ModuleType] = set()

    class Pickler(code_pickler()):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if id(obj) in detached:
                foreign = not isinstance(obj, DataFlow)
                state = vars(obj) if foreign else _unready(obj)
                left = ("ds",) if foreign else obj._consumer_only
                state = {name: value for name, value in state.items() if name not in left}
                # The state apart: a flow may hold a method of its own.
                return _blank, (type(obj),), state
            if isinstance(obj, (FunctionType, type)):
                module = sys.modules.get(obj.__module__)
                if module is not None and not _importable(module) and module not in by_value:
                    cloudpickle.register_pickle_by_value(module)
                    by_value.add(module)
            if isinstance(obj, _lru_cache_wrapper) and not _found(obj):
                return _cached, (obj.__wrapped__, obj.cache_parameters())
            return super().reducer_override(obj)

    file = _Bounded(most)
    try:
        Pickler(file, protocol=5).dump(value)
    finally:
        for module in by_value:
            cloudpickle.unregister_pickle_by_value(module)
    return file.getvalue()


def _unready(flow: DataFlow) -> dict[str, Any]:
    """The state without what `reset_state` made here: it is made anew where the flow runs."""
    state = flow.__getstate__()
    changed: Mapping[str, list[Any]] = flow._made_by_reset()
    made = {name: before for name, before in changed.items() if name in state}
    kept = {name: value for name, value in state.items() if name not in made}
    return kept | {name: one for name, before in made.items() for one in before}


def _found(function: Any) -> bool:
    """Whether a new process finds it by its name; what is defined in the script it does not."""
    module = sys.modules.get(function.__module__)
    return module is not None and module.__name__ != "__main__" and _importable(module)


def _cached(function: Any, parameters: dict[str, Any]) -> Any:
    """A function with `functools.lru_cache`, empty."""
    return lru_cache(**parameters)(function)


def _importable(module: ModuleType) -> bool:
    """Whether a new process with the same sys.path finds it, which a loaded module need not be."""
    name = module.__name__.partition(".")[0]
    return name == "__main__" or any(
        finder.find_spec(name, None) is not None
        for finder in sys.meta_path
        if hasattr(finder, "find_spec")
    )


def _blank(cls: Any) -> Any:
    return cls.__new__(cls)
