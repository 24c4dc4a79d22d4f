"""Several epochs as one, and datapoints several times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Any

from dataflow.epoch import DROPPED, Epoch, Stream
from dataflow.errors import ConfigError, UnknownLength
from dataflow.flows import ProxyDataFlow
from dataflow.opening import at, stream
from dataflow.randomness import Tag
from dataflow.stages.order import IndexSource, OrderStage

__all__ = ["RepeatedData", "RepeatedDataPoint", "copy_of"]


class RepeatedData(OrderStage, ProxyDataFlow):
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


class RepeatedDataPoint(OrderStage, ProxyDataFlow):
    """Every datapoint `num` times in a row; stages downstream draw differently for each copy.

    Args:
        ds: the input.
        num: how often.
    """

    def __init__(self, ds: Any, num: int) -> None:
        super().__init__(ds)
        if num < 1:
            raise ConfigError(f"num={num!r} must be at least 1")
        self.num = int(num)

    def _length(self) -> int:
        return len(self.ds) * self.num

    def _copies(self, pairs: Iterator[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        stage = self._stage_number()
        for tag, payload in pairs:
            for number in range(self.num):
                yield copy_of(tag, number, stage), payload

    def _order(
        self, epoch: Epoch, sources: Sequence[IndexSource], start: int
    ) -> Iterator[tuple[Any, Any]]:
        first, skip = divmod(start, self.num)
        return islice(self._copies(sources[0].open(epoch, first)), skip, None)

    def _places(self, sources: Sequence[IndexSource]) -> int | None:
        size = sources[0].places()
        return None if size is None else size * self.num

    def _pick(self, epoch: Epoch, sources: Sequence[IndexSource], place: int) -> tuple[Any, Any]:
        tag, payload = sources[0].at(epoch, place // self.num)
        return copy_of(tag, place % self.num, self._stage_number()), payload

    def _stream(self, epoch: Epoch) -> Stream:
        epoch.session.refuse("RepeatedDataPoint over batches holds one of them")
        for tag, datapoint in stream(self.ds, epoch):
            if datapoint is DROPPED:
                yield tag, datapoint
            else:
                yield from self._copies(iter([(tag, datapoint)]))

    def _at(self, epoch: Epoch, index: int) -> tuple[Tag, Any]:
        tag, datapoint = at(self.ds, epoch, index // self.num)
        return copy_of(tag, index % self.num, self._stage_number()), datapoint


def copy_of(tag: Tag, number: int, stage: int) -> Tag:
    """The tag of copy `number` of a datapoint; copies draw their own random numbers downstream.

    Args:
        tag: the datapoint's.
        number: which copy; the first one is the datapoint itself.
        stage: number of the stage that makes copies: others may copy the copies.
    """
    if not number:
        return tag
    if type(tag) is list:
        return [copy_of(part, number, stage) for part in tag]
    return (*tag, f"copy {stage}", number)
