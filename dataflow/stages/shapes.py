"""Batches of datapoints of equal shapes."""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import Any

from dataflow.epoch import DROPPED, Datapoint, Epoch, Stream
from dataflow.kinds import ProxyDataFlow, component
from dataflow.opening import stream
from dataflow.ownership import copied
from dataflow.randomness import Tag
from dataflow.stages.batch import BatchData
from dataflow.utils.arguments import whole_number

__all__ = ["BatchDataByShape"]

logger = logging.getLogger(__name__)


class BatchDataByShape(ProxyDataFlow):
    """Batches whose members agree in the shape of one component, for images of many sizes.

    A batch is delivered as soon as `batch_size` datapoints of one shape are there. At the end of
    an epoch each shape has up to ``batch_size - 1`` left over; they are dropped, or with
    `remainder` delivered as smaller batches, in the order in which the shapes first came. `len()`
    is an upper bound without `remainder`, and a lower one with it.

    Args:
        ds: the input, lists or dicts.
        batch_size: datapoints in a batch.
        idx: index or key of the component, an array, whose shape counts. The other ones must fit
            together within each of its shapes, as for `BatchData`.
        remainder: deliver what is left over, too.
    """

    def __init__(
        self, ds: Any, batch_size: int, idx: int | str, *, remainder: bool = False
    ) -> None:
        super().__init__(ds)
        self.batch_size = whole_number("batch_size", batch_size, 1)
        self.idx = idx
        self.remainder = remainder
        self._told = False

    def _length(self) -> int:
        return len(self.ds) // self.batch_size

    def _stream(self, epoch: Epoch) -> Stream:
        epoch.session.refuse("BatchDataByShape holds datapoints of several shapes")
        groups: defaultdict[tuple[int, ...], list[tuple[Tag, Datapoint]]] = defaultdict(list)
        seen = 0
        for tag, datapoint in stream(self.ds, epoch.batched(self.batch_size)):
            if datapoint is DROPPED:
                yield tag, DROPPED
                continue
            seen += 1
            group = groups[self._shape(datapoint)]
            group.append((tag, copied(datapoint)))
            if len(group) == self.batch_size:
                yield _batch(group)
                group.clear()
        self._tell_of_loss(seen, [len(group) for group in groups.values()])
        for group in groups.values():
            if group:
                tags, batch = _batch(group) if self.remainder else ([t for t, _ in group], DROPPED)
                yield tags, batch

    def _tell_of_loss(self, seen: int, left: list[int]) -> None:
        """Say once where most of an epoch is dropped, since a loop would not notice."""
        if not self.remainder and 2 * sum(left) >= seen > 0 and not self._told:
            self._told = True
            logger.warning(
                "BatchDataByShape dropped %d of %d datapoints: of %d shapes, each has fewer than "
                "batch_size=%d left over at the end. Give it remainder=True, a smaller batch_size, "
                "or images of fewer sizes",
                *(sum(left), seen, len(left), self.batch_size),
            )

    def _shape(self, datapoint: Datapoint) -> tuple[int, ...]:
        value = component(datapoint, self.idx)
        try:
            return tuple(value.shape)
        except AttributeError:
            raise TypeError(
                f"component {self.idx!r} has no shape: it is a {type(value).__name__}, no array"
            ) from None


def _batch(group: list[tuple[Tag, Datapoint]]) -> tuple[Tag, Datapoint]:
    tags, datapoints = zip(*group, strict=True)
    return list(tags), BatchData.aggregate_batch(datapoints)
