"""A flow that a worker iterates whole."""

from __future__ import annotations

from typing import Any

from dataflow.epoch import DROPPED, Epoch, Stream
from dataflow.node import reset, set_seeds
from dataflow.opening import stream
from dataflow.plan.tasks import EXHAUSTED
from dataflow.randomness import leave
from dataflow.runtime import runtime

__all__ = ["FlowLoader"]


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
            self._stream = stream(self.flow, epoch._replace(session=runtime().session({})))
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
