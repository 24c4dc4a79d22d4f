"""An epoch of a given size."""

from __future__ import annotations

from typing import Any

from dataflow.base import ProxyDataFlow, stream
from dataflow.epoch import DROPPED, Epoch, Stream
from dataflow.errors import ConfigError

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
        self._open_stream: Stream | None = None
        self._round = 0

    def _length(self) -> int:
        return self._size

    def _stream(self, epoch: Epoch) -> Stream:
        if not self._keep or self._open_stream is None:
            self._round = epoch.number
            self._open_stream = self._rounds(epoch)
        rounds = self._open_stream
        try:
            remaining = self._size
            while remaining:
                tag, datapoint = next(rounds)
                yield tag, datapoint
                remaining -= datapoint is not DROPPED
        except StopIteration:
            return  # the input is empty
        finally:
            if not self._keep:
                rounds.close()  # type: ignore[attr-defined]

    def _rounds(self, epoch: Epoch) -> Stream:
        while True:
            empty = True
            for tag, datapoint in stream(self.ds, epoch._replace(number=self._round)):
                empty = empty and datapoint is DROPPED
                yield tag, datapoint
            if empty:
                return
            self._round += 1

    def close(self) -> None:
        if self._open_stream is not None:
            self._open_stream.close()  # type: ignore[attr-defined]
            self._open_stream = None
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_open_stream": None}
