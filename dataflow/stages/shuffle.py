"""Shuffling within a buffer, for sources that have no keys to permute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from dataflow.epoch import Epoch, Stream
from dataflow.opening import stream
from dataflow.ownership import copied
from dataflow.randomness import generator
from dataflow.stages.copies import Copies, copy_of
from dataflow.stages.order import IndexSource
from dataflow.utils.arguments import whole_number
from dataflow.utils.spelling import renamed

__all__ = ["LocallyShuffleData"]


class LocallyShuffleData(Copies):
    """Hold `buffer_size` datapoints, and deliver a random one of them as each new one comes.

    Every datapoint of an epoch is delivered in that epoch, `num_reuse` times. What is upstream runs
    once for each; the copies share no memory.

    Args:
        ds: the input.
        buffer_size: datapoints held; larger shuffles better.
        num_reuse: how often each datapoint is delivered.
        shuffle_interval: accepted for tensorpack's sake; here every draw is random.
    """

    @renamed(nr_reuse="num_reuse")
    def __init__(
        self, ds: Any, buffer_size: int, num_reuse: int = 1, shuffle_interval: int | None = None
    ) -> None:
        super().__init__(ds)
        self.buffer_size = whole_number("buffer_size", buffer_size, 1)
        self.num_reuse = self.copies = whole_number("num_reuse", num_reuse, 1)
        self.shuffle_interval = shuffle_interval

    def _length(self) -> int:
        return len(self.ds) * self.num_reuse

    def _order(
        self, epoch: Epoch, sources: Sequence[IndexSource], start: int
    ) -> Iterator[tuple[Any, Any]]:
        # What was held at some place is known only by going there.
        return islice(self._shuffled(epoch, sources[0].open(epoch)), start, None)

    def _places(self, sources: Sequence[IndexSource]) -> int | None:
        size = sources[0].places()
        return None if size is None else size * self.num_reuse

    def _stream(self, epoch: Epoch) -> Stream:
        epoch.session.refuse("LocallyShuffleData over batches holds some of them")
        pairs = ((tag, copied(datapoint)) for tag, datapoint in stream(self.ds, epoch))
        return self._shuffled(epoch, pairs)

    def _from(self, epoch: Epoch, start: int) -> Stream:
        upstream, _ = self._upstream(epoch, 0)
        pairs = self._shuffled(epoch, ((tag, copied(datapoint)) for tag, datapoint in upstream))
        for _ in islice(pairs, start):  # as above
            pass
        return pairs

    def _shuffled(
        self, epoch: Epoch, pairs: Iterator[tuple[Any, Any]]
    ) -> Iterator[tuple[Any, Any]]:
        path = (epoch.number, self._stage_number(), *epoch.order_of(self))
        rng = generator(epoch.seed, "local shuffle", *path)
        stage = self._stage_number()
        held: list[Any] = []
        # Drawn in blocks: one call a datapoint would cost more than the rest.
        slots: Iterator[int] = iter(())
        for tag, payload in pairs:
            for number in range(self.num_reuse):
                last = number == self.num_reuse - 1
                pair = (copy_of(tag, number, stage), payload if last else copied(payload))
                if len(held) < self.buffer_size:
                    held.append(pair)
                    continue
                slot = next(slots, None)
                if slot is None:
                    slots = iter(rng.integers(self.buffer_size, size=1024).tolist())
                    slot = next(slots)
                held[slot], pair = pair, held[slot]
                yield pair
        for index in rng.permutation(len(held)):
            yield held[index]
