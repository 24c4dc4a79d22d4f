"""Datapoints into batches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from dataflow.epoch import DROPPED, Datapoint, Epoch, Stream
from dataflow.errors import ConfigError, UnknownLength
from dataflow.flows import ProxyDataFlow
from dataflow.opening import at, stream
from dataflow.randomness import Tag
from dataflow.records import BatchOp, Record
from dataflow.stages.collate import PLAIN, Collation, Empty, aggregated, kinds_of

__all__ = ["BatchData"]


class BatchData(ProxyDataFlow):
    """Stack every `batch_size` datapoints, component by component, along a new first axis.

    Arrays and NumPy's scalars keep their dtype; Python ints become int32, floats float32, as in
    tensorpack.

    Args:
        ds: the input, lists or dicts whose arrays have equal shapes.
        batch_size: datapoints in a batch.
        remainder: deliver the last, smaller batch too.
        use_list: deliver each component as a list of the originals, of any shapes and types.

    Raises:
        ValueError: where the components cannot be stacked without loss; it names component and
            shapes.
    """

    def __init__(
        self, ds: Any, batch_size: int, remainder: bool = False, use_list: bool = False
    ) -> None:
        super().__init__(ds)
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size!r} must be at least 1")
        self.batch_size = int(batch_size)
        self.remainder = remainder
        self.use_list = use_list

    def _to_record(self, inputs: tuple[Record, ...]) -> Record:
        return BatchOp(self, inputs, own=self._is_own)

    def _length(self) -> int:
        full, rest = divmod(len(self.ds), self.batch_size)
        return full + (1 if rest and self.remainder else 0)

    def _stream(self, epoch: Epoch) -> Stream:
        inner = epoch.batched(self.batch_size)
        if self._is_own:
            yield from self._batches(epoch, stream(self.ds, inner))  # the user's code stays here
        else:
            yield from epoch.session.behind(self.ds, inner, partial(self._batches, epoch))

    @property
    def _is_own(self) -> bool:
        """Whether a method of the user's makes the batch."""
        return type(self).aggregate_batch is not BatchData.aggregate_batch

    def _batches(self, epoch: Epoch, pairs: Stream) -> Stream:
        tags: list[Tag] = []
        held = self._collation()
        for tag, datapoint in pairs:
            # A dropped datapoint's tag goes with the batch that is being filled.
            tags.append(tag)
            if datapoint is not DROPPED:
                held.add(datapoint)
                if len(held) == self.batch_size:
                    yield tags, self._built(held, tags, epoch)
                    tags, held = [], self._collation()
            del datapoint  # its memory may be wanted where it was made
        if len(held) and self.remainder:
            yield tags, self._built(held, tags, epoch)
        elif tags:
            yield tags, DROPPED

    def _collation(self) -> Collation:
        """An empty batch."""
        own = self._is_own or self.use_list
        return Collation(self.batch_size, self._aggregate if own else None)

    def _aggregate(self, held: list[Datapoint]) -> Datapoint:
        return self.aggregate_batch(held, self.use_list)

    def _at(self, epoch: Epoch, index: int) -> tuple[Tag, Datapoint]:
        start = index * self.batch_size
        stop = start + self.batch_size
        with suppress(UnknownLength):  # what has no end has every place
            stop = min(stop, len(self.ds))
        pairs = [at(self.ds, epoch, place) for place in range(start, stop)]
        tags = [tag for tag, _ in pairs]
        if any(datapoint is DROPPED for _, datapoint in pairs):
            return tags, DROPPED  # which datapoints come instead, only iterating can tell
        held = self._collation()
        for _, datapoint in pairs:
            held.add(datapoint)
        return tags, self._built(held, tags, epoch)

    def _built(self, held: Collation, tags: list[Tag], epoch: Epoch) -> Datapoint:
        start = perf_counter()
        try:
            batch = held.result()
        except Exception as error:
            return epoch.failed(error, tags)
        self._meter.busy += perf_counter() - start + held.seconds
        self._meter.items += 1
        return batch

    def build(
        self, held: Sequence[Datapoint], empty: Empty
    ) -> tuple[Datapoint, list[int | str]] | None:
        """A batch whose arrays `empty` makes room for; each image is written once.

        Returns:
            The batch, and its components that are made of Python's own values. None where taking
            it apart would not give the same datapoints again, or where it cannot be built: then
            somebody else has to see to it.
        """
        kinds = kinds_of(held)
        if self._is_own or self.use_list or kinds is None:
            return None
        try:
            plain = [key for key, kind in kinds.items() if kind in PLAIN]
            return aggregated(held, False, empty), plain
        except Exception:  # of whatever kind: it comes again where somebody is told
            return None

    @staticmethod
    def aggregate_batch(data_holder: Sequence[Datapoint], use_list: bool = False) -> Datapoint:
        """One batched datapoint from several: a list, or a dict where they are dicts."""
        return aggregated(data_holder, use_list, np.empty)
