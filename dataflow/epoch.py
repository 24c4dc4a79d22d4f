"""One pass over a chain: what identifies it, what runs through it, and its iterator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

from dataflow.errors import DataFlowTerminated
from dataflow.meter import Meter
from dataflow.randomness import Tag

__all__ = ["DROPPED", "Datapoint", "Epoch", "EpochIterator", "Stream"]

Datapoint: TypeAlias = Any
"""A list (or dict) of components, such as ``[image, label]``."""


class _Dropped:
    """Stands in the stream for a datapoint that a stage took out: its position still counts."""

    def __repr__(self) -> str:
        return "DROPPED"

    def __reduce__(self) -> str:
        return "DROPPED"


DROPPED = _Dropped()

Stream: TypeAlias = Iterator[tuple[Tag, Datapoint]]


class Epoch(NamedTuple):
    """One pass over a chain.

    Attributes:
        seed: decides every random number of the pass.
        number: counts the passes from 0.
        seeded: the seed was asked for, so the order should be reproducible too.
        cut: a flow whose stream a runner above provides, and the function that opens it.
    """

    seed: int
    number: int
    seeded: bool = False
    cut: tuple[Any, Callable[[Epoch], Stream]] | None = None


class EpochIterator:
    """What `iter(ds)` returns: strips the tags, counts, and knows when it was ended."""

    def __init__(self, stream: Stream, meter: Meter) -> None:
        self._stream = stream
        self._meter = meter
        self._ended: str | None = None
        self._returned = perf_counter()

    def __iter__(self) -> EpochIterator:
        return self

    def __next__(self) -> Datapoint:
        if self._ended is not None:
            raise DataFlowTerminated(self._ended)
        meter = self._meter
        start = perf_counter()
        meter.away += start - self._returned
        try:
            for _tag, datapoint in self._stream:
                if datapoint is not DROPPED:
                    meter.delivered += 1
                    return datapoint
            raise StopIteration
        finally:
            self._returned = now = perf_counter()
            meter.waiting += now - start

    def close(self) -> None:
        """End the pass; what works for it is stopped. Idempotent."""
        self.terminate("the iterator was closed")

    def terminate(self, why: str) -> None:
        """End the pass; `next()` raises `DataFlowTerminated` from now on."""
        if self._ended is None:
            self._ended = why
            if callable(close := getattr(self._stream, "close", None)):
                close()
