"""Epochs of a size that holds, whatever is dropped."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from dataflow.epoch import DROPPED, Datapoint, Epoch, Stream
from dataflow.errors import TooManyErrors, UnknownLength
from dataflow.kinds import ProxyDataFlow
from dataflow.opening import at, stream
from dataflow.randomness import Tag
from dataflow.utils.arguments import whole_number

__all__ = ["FillUpData", "FixedSizeData"]

_ROUNDS = 10


class FixedSizeData(ProxyDataFlow):
    """Exactly `size` datapoints an epoch, whatever the input's size; a shorter input starts over.

    Args:
        ds: the input.
        size: datapoints in an epoch.
        keep_state: go on in the next epoch where this one stopped (1 2 3, 4 5 1, …), instead of
            starting over (1 2 3, 1 2 3, …).
    """

    _one_at_a_time = True
    _keeps_length = True
    _most_rounds: int | None = None

    def __init__(self, ds: Any, size: int, keep_state: bool = True) -> None:
        super().__init__(ds)
        self._size = whole_number("size", size, 0)
        self.keep_state = keep_state
        self._going: _Going | None = None

    def _length(self) -> int:
        return self._size

    def _stream(self, epoch: Epoch) -> Stream:
        def make(saved: dict[str, Any]) -> _Going:
            going = self._going
            if saved or going is None or not self.keep_state or going.following != epoch.number:
                self._stop()
                going = self._going = _Going(
                    self.ds, epoch, saved, keeps=self.keep_state, most=self._most_rounds
                )
            same = saved.get("epoch") == epoch.number
            going.left = int(saved["left"]) if same else self._length()
            going.following = epoch.number + 1
            return going

        going = epoch.session.cursor(self, epoch, make, sticky=self.keep_state)
        try:
            while going.left:
                tag, datapoint = next(going.pairs)
                going.left -= datapoint is not DROPPED
                yield tag, datapoint
        except StopIteration:
            self._ended(going.left)
        finally:
            if not self.keep_state:
                going.pairs.close()

    def _at(self, epoch: Epoch, index: int) -> tuple[Tag, Datapoint]:
        if self.keep_state:
            raise TypeError("FixedSizeData has no random access, unless with keep_state=False")
        try:
            size = len(self.ds)
        except UnknownLength:  # what has no end has every place
            return at(self.ds, epoch, index)
        if not size:
            raise IndexError(f"index {index} of an empty dataflow")
        rounds, index = divmod(index, size)
        return at(self.ds, epoch._replace(number=epoch.number + rounds), index)

    def _ended(self, left: int) -> None:
        """The input is empty."""

    def _stop(self) -> None:
        if self._going is not None:
            self._going.pairs.close()
            self._going = None

    def close(self) -> None:
        self._stop()
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_going": None}


class FillUpData(FixedSizeData):
    """As many datapoints an epoch as `len(ds)` says, whatever is dropped upstream.

    In the place of those that were dropped come others, at the end: the first ones of the input's
    next epoch. So all ranks of a training have equally many batches, also where links are dead for
    one of them::

        ds = df.ShardData(source).parallel(64)           # a rank's share
        ds = df.BatchData(df.FillUpData(ds), 32)

    Args:
        ds: the input.

    Raises:
        TooManyErrors: (by the iterator) in 10 epochs of the input there are not enough.
    """

    _most_rounds = _ROUNDS

    def __init__(self, ds: Any) -> None:
        super().__init__(ds, 0, keep_state=False)

    def _length(self) -> int:
        return len(self.ds)

    def _ended(self, left: int) -> None:
        size = len(self)
        raise TooManyErrors(
            f"{left} of {size} datapoints are missing, since so many upstream were dropped that "
            f"{_ROUNDS} epochs of them did not make up for it: see ds.errors()"
        )


class _Going:
    """The input's epochs without end, which may go on from one of ours to the next.

    Attributes:
        pairs: the stream.
        left: datapoints to come in our epoch.
        following: the number of our epoch that goes on with it.
    """

    def __init__(
        self, ds: Any, epoch: Epoch, saved: dict[str, Any], *, keeps: bool, most: int | None
    ) -> None:
        self.left = 0
        self.following = epoch.number + 1
        self._round = _Round(int(saved.get("round", epoch.number)), bool(saved))
        self._session = epoch.session.nested(saved.get("below", {}), keeps=keeps)
        # Which datapoints are the first is for the order upstream to say, in workers, too.
        in_order = epoch.in_order or bool(epoch.runners)
        inner = epoch._replace(session=self._session, in_order=in_order)
        self.pairs = _rounds(ds, inner, self._round, None if most is None else epoch.number + most)

    def state(self) -> dict[str, Any]:
        return {"left": self.left, "round": self._round.number, "below": self._session.state()}


@dataclass
class _Round:
    """Which of the input's epochs is running.

    Attributes:
        number: its number.
        resumed: it goes on with what is left of it, which may be nothing.
    """

    number: int
    resumed: bool


def _rounds(
    ds: Any, epoch: Epoch, current: _Round, end: int | None
) -> Generator[tuple[Tag, Datapoint], None, None]:
    while end is None or current.number < end:
        empty = True
        for tag, datapoint in stream(ds, epoch._replace(number=current.number)):
            empty = empty and datapoint is DROPPED
            yield tag, datapoint
        if empty and not current.resumed:
            return
        current.resumed = False
        current.number += 1
