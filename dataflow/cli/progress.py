"""Progress of what is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dataflow.epoch import DROPPED, Datapoint, Epoch, Stream
from dataflow.kinds import ProxyDataFlow

__all__ = ["Shown"]


class Shown(ProxyDataFlow):
    """Passes everything on, and moves the bar.

    Args:
        ds: the input.
        bar: tqdm's.
        tell: called now and then, when the bar is drawn.
        samples: how many a datapoint counts as; one by default.
    """

    def __init__(
        self,
        ds: Any,
        bar: Any,
        tell: Callable[[], object],
        samples: Callable[[Datapoint], int] = lambda datapoint: 1,
    ) -> None:
        super().__init__(ds)
        self._bar = bar
        self._tell = tell
        self._samples = samples

    def _stream(self, epoch: Epoch) -> Stream:
        for tag, datapoint in super()._stream(epoch):
            yield tag, datapoint
            # It draws now and then only.
            if datapoint is not DROPPED and self._bar.update(self._samples(datapoint)):
                self._tell()
