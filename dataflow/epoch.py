"""One pass over a chain: what identifies it, what runs through it, and its iterator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

from dataflow.errors import DataFlowTerminated
from dataflow.meter import Meter
from dataflow.randomness import Tag
from dataflow.stopwatch import Stopwatch

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
        self._watch = Stopwatch(meter)
        self._ended: str | None = None

    def __iter__(self) -> EpochIterator:
        return self

    def __next__(self) -> Datapoint:
        watch = self._watch
        if not watch.left:
            return self._timed_next()
        try:
            for _tag, datapoint in self._stream:
                if datapoint is not DROPPED:
                    watch.left -= 1
                    return datapoint
            raise StopIteration
        except BaseException:
            watch.end()
            raise

    def _timed_next(self) -> Datapoint:
        if self._ended is not None:
            raise DataFlowTerminated(self._ended)
        self._watch.enter()
        try:
            for _tag, datapoint in self._stream:
                if datapoint is not DROPPED:
                    self._meter.delivered += 1
                    return datapoint
            raise StopIteration
        finally:
            self._watch.leave()

    @property
    def counted(self) -> int:
        """Datapoints delivered that are not in the meter yet."""
        return self._watch.counted

    def flush(self) -> None:
        """Bring the meter's processor time up to date."""
        self._watch.flush()

    def close(self) -> None:
        """End the pass; what works for it is stopped. Idempotent."""
        self.terminate("the iterator was closed")

    def terminate(self, why: str) -> None:
        """End the pass; `next()` raises `DataFlowTerminated` from now on."""
        if self._ended is None:
            self._ended = why
            self._watch.end()
            if callable(close := getattr(self._stream, "close", None)):
                close()

    def __del__(self) -> None:
        self._watch.end()  # a loop that was left counts, too
