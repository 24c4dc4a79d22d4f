"""Several epochs as one, and datapoints several times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from dataflow.epoch import DROPPED, Epoch, Stream
from dataflow.errors import UnknownLength
from dataflow.kinds import ProxyDataFlow
from dataflow.opening import at, stream
from dataflow.ownership import copied
from dataflow.randomness import Tag
from dataflow.stages.copies import Copies, copy_of
from dataflow.stages.order import IndexSource, OrderStage
from dataflow.utils.arguments import whole_number
from dataflow.utils.spelling import renamed

__all__ = ["RepeatedData", "RepeatedDataPoint"]


class RepeatedData(OrderStage, ProxyDataFlow):
    """The input's epochs one after the other.

    Args:
        ds: the input.
        num: how many epochs, -1 for no end.
    """

    @renamed(nr="num")
    def __init__(self, ds: Any, num: int) -> None:
        super().__init__(ds)
        self.num = whole_number("num", num, -1)  # -1: no end

    def _length(self) -> int:
        if self.num == -1:
            raise UnknownLength("RepeatedData(ds, -1) has no end")
        return len(self.ds) * self.num

    def _rounds(self, epoch: Epoch, start: int = 0) -> Iterator[tuple[int, Epoch]]:
        """The input's epochs from the given round on."""
        first = epoch.number * max(self.num, 1)
        for number in count(start) if self.num == -1 else range(start, self.num):
            yield number, epoch._replace(number=first + number)

    def _order(
        self, epoch: Epoch, sources: Sequence[IndexSource], start: int
    ) -> Iterator[tuple[Any, Any]]:
        (source,) = sources
        size = source.places()
        if size == 0:
            return
        begin, start = divmod(start, size) if size is not None else (0, start)
        for _, inner in self._rounds(epoch, begin):
            pairs = source.open(inner, start if size is not None else 0)
            seen = 0
            for seen, pair in enumerate(pairs, start=1):
                if size is None and seen <= start:
                    continue
                yield pair
            start = max(0, start - seen) if size is None else 0
            if not seen and size is None:
                return  # an empty input stays so

    def _places(self, sources: Sequence[IndexSource]) -> int | None:
        size = sources[0].places()
        return None if size is None or self.num == -1 else size * self.num

    def _pick(self, epoch: Epoch, sources: Sequence[IndexSource], place: int) -> tuple[Any, Any]:
        size = sources[0].places()
        if not size:
            raise TypeError("RepeatedData has no random access over an input of unknown length")
        return sources[0].at(self._inner(epoch, place // size), place % size)

    def _inner(self, epoch: Epoch, number: int) -> Epoch:
        return epoch._replace(number=epoch.number * max(self.num, 1) + number)

    def _stream(self, epoch: Epoch) -> Stream:
        cursor = epoch.session.cursor(self, epoch, _Round)
        for number, inner in self._rounds(epoch, cursor.round):
            cursor.round = number
            empty = True
            for tag, datapoint in stream(self.ds, inner):
                empty = empty and datapoint is DROPPED
                yield tag, datapoint
            if empty and self.num == -1 and not cursor.resumed:
                return  # otherwise it would go on for ever and deliver nothing
            cursor.resumed = False  # only the rest of the first round may be empty

    def _at(self, epoch: Epoch, index: int) -> tuple[Tag, Any]:
        size = len(self.ds)
        if not size:
            raise IndexError(f"index {index} of an empty dataflow, repeated")
        return at(self.ds, self._inner(epoch, index // size), index % size)


class _Round:
    """Which round is running."""

    def __init__(self, saved: dict[str, Any]) -> None:
        self.round = int(saved.get("round", 0))
        self.resumed = bool(saved)

    def state(self) -> dict[str, Any]:
        return {"round": self.round}


class RepeatedDataPoint(Copies):
    """Every datapoint `num` times in a row; stages downstream draw differently for each copy.

    What is upstream runs once for each datapoint; the copies share no memory.

    Args:
        ds: the input.
        num: how often.
    """

    @renamed(nr="num")
    def __init__(self, ds: Any, num: int) -> None:
        super().__init__(ds)
        self.num = self.copies = whole_number("num", num, 1)

    def _length(self) -> int:
        return len(self.ds) * self.num

    def _order(
        self, epoch: Epoch, sources: Sequence[IndexSource], start: int
    ) -> Iterator[tuple[Any, Any]]:
        return sources[0].open(epoch, start)  # there is one of each

    def _places(self, sources: Sequence[IndexSource]) -> int | None:
        size = sources[0].places()
        return None if size is None else size * self.num

    def _pick(self, epoch: Epoch, sources: Sequence[IndexSource], place: int) -> tuple[Any, Any]:
        return sources[0].at(epoch, place)

    def _stream(self, epoch: Epoch) -> Stream:
        epoch.session.refuse("RepeatedDataPoint over batches holds one of them")
        stage = self._stage_number()
        for tag, datapoint in stream(self.ds, epoch):
            for number in range(1 if datapoint is DROPPED else self.num):
                yield copy_of(tag, number, stage), copied(datapoint)

    def _from(self, epoch: Epoch, start: int) -> Stream:
        first, skip = divmod(start, self.num)
        pairs, begins_there = self._upstream(epoch, first)
        stage = self._stage_number()
        for came, (tag, datapoint) in enumerate(pairs):
            if not came:
                base = first if begins_there() else 0
            place = base + came
            if place < first:
                continue
            for number in range(skip if place == first else 0, self.num):
                yield copy_of(tag, number, stage), copied(datapoint)

    def _at(self, epoch: Epoch, index: int) -> tuple[Tag, Any]:
        tag, datapoint = at(self.ds, epoch, index // self.num)
        return copy_of(tag, index % self.num, self._stage_number()), datapoint
