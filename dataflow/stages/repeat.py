"""Several epochs as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from dataflow.base import ProxyDataFlow, UnknownLength, stream
from dataflow.epoch import Epoch, Stream
from dataflow.errors import ConfigError

__all__ = ["OrderStage", "RepeatedData"]


class OrderStage(ProxyDataFlow):
    """A stage that decides the order and never looks into a datapoint.

    It works the same on datapoints and on the keys they will be loaded from, so under a runner it
    stays in the consumer while the per-item stages below it go to the workers.
    """

    def _order(self, epoch: Epoch, below: Callable[[Epoch], Iterator[Any]]) -> Iterator[Any]:
        """The pairs of tag and payload in the new order; ``below(epoch)`` opens the input's."""
        raise NotImplementedError(f"{type(self).__name__} defines no _order()")

    def _stream(self, epoch: Epoch) -> Stream:
        return self._order(epoch, lambda inner: stream(self.ds, inner))


class RepeatedData(OrderStage):
    """The input's epochs one after the other.

    Args:
        ds: the input.
        num: how many epochs, -1 for no end.
    """

    def __init__(self, ds: Any, num: int) -> None:
        super().__init__(ds)
        if num < -1:
            raise ConfigError(f"num={num!r} must be -1 (no end) or the number of repetitions")
        self.num = int(num)

    def _length(self) -> int:
        if self.num == -1:
            raise UnknownLength("RepeatedData(ds, -1) has no end")
        return len(self.ds) * self.num

    def _order(self, epoch: Epoch, below: Callable[[Epoch], Iterator[Any]]) -> Iterator[Any]:
        first = epoch.number * max(self.num, 1)
        for number in count(first) if self.num == -1 else range(first, first + self.num):
            empty = True
            for pair in below(epoch._replace(number=number)):
                empty = False
                yield pair
            if empty:
                return
