"""How the time of the user's loop divides into waiting for datapoints and its own body."""

from __future__ import annotations

from itertools import cycle
from time import perf_counter, process_time

from dataflow.meter import CHEAP_SECONDS, Meter

__all__ = ["Stopwatch"]

_EXACT = 64  # datapoints that must have been cheap before any go untimed
# Untimed datapoints between two that are timed: unequal, lest a rhythm of the loop meets them.
_BLOCKS = (29, 61, 37, 53, 31, 47, 43)


class Stopwatch:
    """Counts `delivered`, `waiting`, `away` and `cpu` of one pass into a meter.

    As long as a round of the loop takes long, each is timed. Of cheap ones only some are; the time
    of those between is divided as theirs.

    Attributes:
        left: datapoints that are still to be counted only, by decrementing this.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.left = 0
        self._block = 0
        self._blocks = cycle(_BLOCKS)
        self._exact = _EXACT
        self._timed = 0
        self._waiting = self._away = 0.0  # of the `_timed` ones
        self._stamp = perf_counter()
        self._cpu = process_time()

    @property
    def counted(self) -> int:
        """Datapoints that are not in the meter yet."""
        return self._block - self.left

    def enter(self) -> None:
        """The loop asks for a datapoint."""
        now = perf_counter()
        gap, self._stamp = now - self._stamp, now
        if self._block:
            self._close_block(gap)
        else:
            self._meter.away += gap
            self._away += gap

    def leave(self) -> None:
        """It has one, or there is none."""
        now = perf_counter()
        gap, self._stamp = now - self._stamp, now
        self._meter.waiting += gap
        self._waiting += gap
        self._timed += 1
        self._exact -= 1
        if self._exact > 0:
            return
        if self._waiting + self._away < CHEAP_SECONDS * self._timed:
            self.left = self._block = next(self._blocks)
            self._exact = 2  # a gap is timed between two
        else:
            self._time_all()

    def end(self) -> None:
        """The pass is over, or the loop was left. Idempotent."""
        if self._block:
            now = perf_counter()
            gap, self._stamp = now - self._stamp, now
            self._close_block(gap)
        self.flush()

    def flush(self) -> None:
        """Enter the processor time so far."""
        before, self._cpu = self._cpu, process_time()
        self._meter.cpu += self._cpu - before

    def _close_block(self, seconds: float) -> None:
        count = self.counted
        self._meter.delivered += count
        away = seconds * self._away / (self._waiting + self._away)
        self._meter.away += away
        self._meter.waiting += seconds - away
        self.left = self._block = 0
        if seconds > CHEAP_SECONDS * (count + 1):
            self._time_all()

    def _time_all(self) -> None:
        self._exact = _EXACT
        self._timed = 0
        self._waiting = self._away = 0.0
