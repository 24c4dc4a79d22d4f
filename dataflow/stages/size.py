"""An epoch of a given size."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from dataflow.base import at, stream
from dataflow.epoch import DROPPED, Datapoint, Epoch, Stream
from dataflow.errors import ConfigError
from dataflow.flows import ProxyDataFlow
from dataflow.randomness import Tag

__all__ = ["FixedSizeData"]


class FixedSizeData(ProxyDataFlow):
    """Exactly `size` datapoints an epoch, whatever the input's size; a shorter input starts over.

    Args:
        ds: the input.
        size: datapoints in an epoch.
        keep_state: go on in the next epoch where this one stopped (1 2 3, 4 5 1, …), instead of
            starting over (1 2 3, 1 2 3, …).
    """

    def __init__(self, ds: Any, size: int, keep_state: bool = True) -> None:
        super().__init__(ds)
        if size < 0:
            raise ConfigError(f"size={size!r} must not be negative")
        self._size = int(size)
        self._keep = keep_state
        self._going: _Going | None = None

    def _length(self) -> int:
        return self._size

    def _stream(self, epoch: Epoch) -> Stream:
        def make(saved: dict[str, Any]) -> _Going:
            going = self._going
            if saved or going is None or not self._keep or going.next_epoch != epoch.number:
                going = self._going = _Going(self.ds, epoch, saved)
            going.next_epoch = epoch.number + 1
            same = saved.get("epoch") == epoch.number
            going.left = int(saved["left"]) if same else self._size
            return going

        going = epoch.conductor.cursor(self, epoch, make, sticky=self._keep)
        try:
            while going.left:
                tag, datapoint = next(going.pairs)
                going.left -= datapoint is not DROPPED
                yield tag, datapoint
        except StopIteration:
            return  # the input is empty
        finally:
            if not self._keep:
                going.pairs.close()

    def _at(self, epoch: Epoch, index: int) -> tuple[Tag, Datapoint]:
        if self._keep:
            raise TypeError("FixedSizeData has no random access, unless with keep_state=False")
        size = len(self.ds)
        if not size:
            raise IndexError(f"index {index} of an empty dataflow")
        rounds, index = divmod(index, size)
        return at(self.ds, epoch._replace(number=epoch.number + rounds), index)

    def close(self) -> None:
        if self._going is not None:
            self._going.pairs.close()
            self._going = None
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_going": None}


class _Going:
    """The input's epochs without end, which may go on from one of ours to the next."""

    def __init__(self, ds: Any, epoch: Epoch, saved: dict[str, Any]) -> None:
        self._ds = ds
        self.left = 0
        self.next_epoch = 0
        self._round = int(saved.get("round", epoch.number))
        self._resumed = bool(saved)
        self._conductor = epoch.conductor.nested(saved.get("below", {}))
        # Which datapoints are the first is for the order below to say, also where workers run it.
        in_order = epoch.in_order or bool(epoch.runners)
        self.pairs = self._rounds(epoch._replace(conductor=self._conductor, in_order=in_order))

    def _rounds(self, epoch: Epoch) -> Generator[tuple[Tag, Datapoint], None, None]:
        while True:
            empty = True
            for tag, datapoint in stream(self._ds, epoch._replace(number=self._round)):
                empty = empty and datapoint is DROPPED
                yield tag, datapoint
            if empty and not self._resumed:
                return
            self._resumed = False  # only the rest of the first round may be empty
            self._round += 1

    def state(self) -> dict[str, Any]:
        return {"left": self.left, "round": self._round, "below": self._conductor.state()}
