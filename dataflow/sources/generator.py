"""Datapoints from Python's own iterables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dataflow.epoch import Epoch, Stream
from dataflow.errors import ConfigError, UnknownLength
from dataflow.flow import DataFlow
from dataflow.utils.arguments import shortened, whole_number

__all__ = ["DataFromGenerator", "DataFromIterable"]


class DataFromGenerator(DataFlow):
    """The datapoints of an iterable, in its order. It is read in the consumer.

    Args:
        gen: a function that returns an iterable (called once an epoch), or an iterable. Mind that
            a generator object, unlike a generator function, is empty after its first epoch.
        size: what `len()` says, for a generator that does not know it; nothing is cut off.
    """

    def __init__(
        self, gen: Callable[[], Iterable[Any]] | Iterable[Any], size: int | None = None
    ) -> None:
        if not callable(gen) and not _iterable(gen):
            raise ConfigError(f"gen={gen!r} must be an iterable or a function that returns one")
        self._gen = gen
        self._size = None if size is None else whole_number("size", size, 0)

    def _length(self) -> int:
        return _len(self._gen) if self._size is None else self._size

    def _stream(self, epoch: Epoch) -> Stream:
        datapoints = self._gen() if callable(self._gen) else self._gen
        if not _iterable(datapoints):
            raise ConfigError(
                f"gen={self._gen!r} returned {shortened(datapoints)}, which cannot be iterated: "
                "does it yield its datapoints?"
            )
        return _numbered(datapoints, epoch)


class DataFromIterable(DataFlow):
    """The datapoints of an iterable, in its order. It is read in the consumer, and never called.

    Args:
        iterable: what is iterated once an epoch. Mind that an iterator, such as a generator
            object, is empty after its first epoch.
    """

    def __init__(self, iterable: Iterable[Any]) -> None:
        if not _iterable(iterable):
            raise ConfigError(f"iterable={iterable!r} cannot be iterated")
        self._iterable = iterable

    def _length(self) -> int:
        return _len(self._iterable)

    def _stream(self, epoch: Epoch) -> Stream:
        return _numbered(self._iterable, epoch)


def _iterable(value: Any) -> bool:
    return isinstance(value, Iterable) or hasattr(value, "__getitem__")


def _len(iterable: Any) -> int:
    try:
        return len(iterable)
    except TypeError:
        raise UnknownLength("a generator's length is not known") from None


def _numbered(datapoints: Iterable[Any], epoch: Epoch) -> Stream:
    for position, datapoint in enumerate(datapoints):
        yield (epoch.number, position, *epoch.path), datapoint
