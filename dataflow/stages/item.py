"""Stages that turn one datapoint into one or none."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from dataflow.chance import Chance
from dataflow.epoch import Datapoint, Epoch, Stream
from dataflow.kinds import ProxyDataFlow
from dataflow.randomness import Tag
from dataflow.records import ItemOp, Record

__all__ = ["AsyncStage", "ItemStage", "OfNext"]


class OfNext(Exception):
    """A stage that does a part of the next one's work failed at that.

    Args:
        error: what the next stage would have raised.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class ItemStage(ProxyDataFlow):
    """A stage with one hook, `apply`.

    Such a stage may run in any worker: the engine sends it there without what is upstream. It must
    not keep state from one datapoint to the next, and several threads may call it at once.
    """

    _kind = "stage"

    def apply(self, datapoint: Datapoint) -> Datapoint | None:
        """The new datapoint, or None to drop it."""
        raise NotImplementedError(f"{type(self).__name__} defines no apply()")

    def with_next(self, stage: ItemStage, number: int) -> tuple[ItemStage, ItemStage]:
        """Itself and the stage that follows, or what does the same work with another division.

        Args:
            stage: the one downstream.
            number: its number in the chain.
        """
        return self, stage

    def _to_record(self, inputs: tuple[Record, ...]) -> Record:
        return ItemOp(self, inputs, self)

    def gauges(self) -> dict[str, float]:
        """Cumulative figures that only this stage knows, such as bytes; shown in `stats()`."""
        return {}

    def _stream(self, epoch: Epoch) -> Stream:
        return epoch.session.ops(self, epoch)  # type: ignore[no-any-return]

    def _at(self, epoch: Epoch, index: int) -> tuple[Tag, Datapoint]:
        return epoch.session.op_at(self, epoch, index)  # type: ignore[no-any-return]


class AsyncStage(ItemStage):
    """A stage that works on many datapoints at once without a thread for each.

    Attributes:
        concurrency: datapoints in flight at once.
    """

    _kind = "transfers"
    concurrency: int = 1

    def _to_record(self, inputs: tuple[Record, ...]) -> Record:
        return ItemOp(self, inputs, self, self.concurrency)

    def begin(self, datapoint: Datapoint, done: Callable[[Any], None]) -> None:
        """Start on a datapoint and return at once.

        Args:
            datapoint: the input.
            done: to be called once, from any thread, with what `apply` would return or the
                exception that it would raise.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no begin()")

    def begin_with(self, datapoint: Datapoint, done: Callable[[Any], None], chance: Chance) -> None:
        """`begin`, where it matters whether the datapoint comes again.

        Args:
            datapoint: as of `begin`.
            done: as of `begin`.
            chance: with ``FIRST``, what fails with a `DatapointError` that is `passing` is tried
                once more at the end of the epoch, with ``LAST``.
        """
        self.begin(datapoint, done)

    def apply(self, datapoint: Datapoint) -> Datapoint | None:
        arrived: SimpleQueue[Any] = SimpleQueue()
        self.begin(datapoint, arrived.put)
        result = arrived.get()
        if isinstance(result, BaseException):
            raise result
        return result
