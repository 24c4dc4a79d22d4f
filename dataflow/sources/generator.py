"""Datapoints from a Python generator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dataflow.base import DataFlow
from dataflow.epoch import Epoch, Stream
from dataflow.errors import UnknownLength

__all__ = ["DataFromGenerator"]


class DataFromGenerator(DataFlow):
    """The datapoints of an iterable, in its order. It is read in the consumer.

    Args:
        gen: a function that returns an iterable (called once an epoch), or an iterable. Mind that
            a generator object, unlike a generator function, is empty after its first epoch.
    """

    def __init__(self, gen: Callable[[], Iterable[Any]] | Iterable[Any]) -> None:
        if not callable(gen) and not isinstance(gen, Iterable):
            raise ValueError(f"gen={gen!r} must be an iterable or a function that returns one")
        self._gen = gen

    def _length(self) -> int:
        try:
            return len(self._gen)  # type: ignore[arg-type]
        except TypeError:
            raise UnknownLength("a generator's length is not known") from None

    def _stream(self, epoch: Epoch) -> Stream:
        for position, datapoint in enumerate(self._gen() if callable(self._gen) else self._gen):
            yield (epoch.number, position, *epoch.path), datapoint
