"""Datapoints into batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from numbers import Number
from time import perf_counter
from typing import Any

from dataflow.epoch import DROPPED, Datapoint, Epoch, Stream
from dataflow.errors import ConfigError, UnknownLength
from dataflow.kinds import ProxyDataFlow
from dataflow.opening import at, stream
from dataflow.ownership import Empty
from dataflow.randomness import Tag
from dataflow.records import BatchOp, Record
from dataflow.stages.collate import Collation, aggregated
from dataflow.utils.arguments import whole_number

__all__ = ["BatchData"]


class BatchData(ProxyDataFlow):
    """Stack every `batch_size` datapoints, component by component, along a new first axis.

    Arrays and NumPy's scalars keep their dtype; where members differ, it is the one that
    `numpy.result_type` gives. Of Python's own numbers, ints become int64 and floats float32.
    Tensors of torch's become a tensor. Dicts, lists and tuples in a component are batched leaf by
    leaf.

    Args:
        ds: the input, lists or dicts whose arrays have equal shapes.
        batch_size: datapoints in a batch.
        remainder: deliver the last, smaller batch too.
        use_list: deliver each component as a list of the originals, of any shapes and types.
        pad: a value that fills arrays and tensors up to the largest shape in the batch.
        collate: a function that makes the batch of a list of datapoints, in the consumer's process.

    Raises:
        ValueError: where the components cannot be stacked without loss; it names component,
            datapoint and shapes.
    """

    def __init__(
        self,
        ds: Any,
        batch_size: int,
        remainder: bool = False,
        use_list: bool = False,
        *,
        pad: complex | None = None,
        collate: Callable[[list[Datapoint]], Datapoint] | None = None,
    ) -> None:
        super().__init__(ds)
        if collate is not None and not callable(collate):
            raise ConfigError(f"collate={collate!r} must be a function of a list of datapoints")
        given = {"use_list": use_list, "pad": pad is not None, "collate": collate is not None}
        if len(several := [name for name, is_given in given.items() if is_given]) > 1:
            raise ConfigError(
                f"{' and '.join(several)} exclude each other: each says how a batch is made"
            )
        if pad is not None and not isinstance(pad, Number):
            raise ConfigError(f"pad={pad!r} must be a number: arrays are filled up with it")
        self.batch_size = whole_number("batch_size", batch_size, 1)
        self.remainder = remainder
        self.use_list = use_list
        self.pad = pad
        self.collate = collate

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
        return (
            self.collate is not None or type(self).aggregate_batch is not BatchData.aggregate_batch
        )

    def _batches(self, epoch: Epoch, pairs: Stream) -> Stream:
        tags: list[Tag] = []
        held = self._collation()
        for tag, datapoint in pairs:
            # A dropped datapoint's tag goes with the batch that is being filled.
            tags.append(tag)
            if datapoint is not DROPPED:
                held.add(datapoint)
                if len(held) == self.batch_size:
                    # Nothing here holds the batch while others have it: they may count who does.
                    batch, made_of = [self._built(held, tags, epoch)], tags
                    tags, held = [], self._collation()
                    yield made_of, batch.pop()
            del datapoint  # its memory may be wanted where it was made
        if len(held) and self.remainder:
            yield tags, self._built(held, tags, epoch)
        elif tags:
            yield tags, DROPPED

    def _collation(self) -> Collation:
        """An empty batch."""
        return Collation(self.batch_size, self.batch_of if self._looks_at_all else None)

    def collation(self, empty: Empty) -> Collation | None:
        """An empty batch for a worker to fill, whose arrays `empty` makes room for.

        None where the batch is to be made where the loop is.
        """
        return None if self._looks_at_all else Collation(self.batch_size, None, empty)

    @property
    def _looks_at_all(self) -> bool:
        """Whether all datapoints have to be there before anything is laid out."""
        return self._is_own or self.use_list or self.pad is not None

    def batch_of(self, held: list[Datapoint]) -> Datapoint:
        """A batch of these.

        Raises:
            Exception: where they do not fit together; whatever the user's method raises.
        """
        if self.collate is not None:
            return self.collate(held)
        if self.pad is not None and not self._is_own and not self.use_list:
            return aggregated(held, pad=self.pad)
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

    @staticmethod
    def aggregate_batch(data_holder: Sequence[Datapoint], use_list: bool = False) -> Datapoint:
        """One batched datapoint from several: a list, or a dict where they are dicts."""
        return aggregated(data_holder, use_list)
