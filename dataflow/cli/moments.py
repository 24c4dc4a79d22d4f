"""Statistics of numbers that pass by, in one pass and in little memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Histogram", "Moments"]

_PART = 1 << 18  # numbers that are turned into float64 at once
_BINS = 256


class Moments:
    """Count, range, mean and standard deviation of the finite numbers; the others are counted.

    Parts are merged as in Chan, Golub, LeVeque: Updating Formulae and a Pairwise Algorithm for
    Computing Sample Variances (1979), in float64: sums of squares would cancel.

    Attributes:
        count: finite numbers.
        nan, inf: numbers that are none, and infinite ones of either sign.
        min, max: of the finite ones; NaN where there are none.
        mean: of them.
        histogram: of them.
    """

    def __init__(self) -> None:
        self.count = self.nan = self.inf = 0
        self.min = self.max = math.nan
        self.mean = 0.0
        self._squares = 0.0  # sum of squared distances from the mean
        self.histogram = Histogram()

    @property
    def std(self) -> float:
        """Of the numbers as the whole population, as `numpy.std` has it."""
        return math.sqrt(self._squares / self.count) if self.count else math.nan

    def add(self, array: NDArray[Any]) -> None:
        """Count the numbers of an array: bool, integers or floats."""
        flat, whole = array.reshape(-1), array.dtype.kind in "biu"
        for start in range(0, flat.size, _PART):
            part = flat[start : start + _PART].astype(np.float64)
            finite = np.isfinite(part)
            if not finite.all():
                nan = int(np.isnan(part).sum())
                self.nan += nan
                self.inf += int((~finite).sum()) - nan
                part = part[finite]
            if part.size:
                self.merge(_of(part))
                self.histogram.add(part, whole=whole)

    def merge(self, other: Moments) -> None:
        """Count what another one has counted, but for its histogram."""
        self.nan += other.nan
        self.inf += other.inf
        if not other.count:
            return
        count = self.count + other.count
        weight = other.count / count
        with np.errstate(over="ignore", invalid="ignore"):  # squares beyond float64 are inf
            apart = np.float64(other.mean) - self.mean
            self._squares += other._squares + float(apart * apart * self.count * weight)
        if math.isfinite(apart):
            self.mean += float(apart) * weight
        else:  # numbers of either sign at the end of the range
            self.mean = self.mean * (self.count / count) + other.mean * weight
        self.min = float(np.fmin(self.min, other.min))
        self.max = float(np.fmax(self.max, other.max))
        self.count = count


def _of(part: NDArray[np.float64]) -> Moments:
    found = Moments()
    found.count = part.size
    found.min, found.max = float(part.min()), float(part.max())
    with np.errstate(over="ignore", invalid="ignore"):
        found.mean = float(part.mean())
        if not math.isfinite(found.mean):  # their sum is beyond float64
            found.mean = float(np.clip((part / part.size).sum(), found.min, found.max))
        found._squares = float(np.square(part - found.mean).sum())
    return found


class Histogram:
    """Counts in bins of equal width over a range that doubles where a number is beyond it.

    Numbers beyond 1e300 are left out.

    Attributes:
        counts: int64, one a bin.
        low: where the first bin begins.
        width: of a bin; 0 before any number came. Whole numbers begin with 1 and lie in the middle.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(_BINS, np.int64)
        self.low = self.width = 0.0

    @property
    def edges(self) -> NDArray[np.floating[Any]]:
        """Of the bins, one more than there are."""
        return self.low + self.width * np.arange(_BINS + 1)

    def add(self, values: NDArray[np.float64], *, whole: bool) -> None:
        """Count finite numbers; `whole`: of a type that has no others."""
        low, high = float(values.min()), float(values.max())
        if abs(low) > 1e300 or abs(high) > 1e300:
            return  # the range itself would be no number
        if not self.width:
            # Not below what float64 can tell apart at this distance from 0.
            least = max((abs(low) + abs(high)) * 2.0**-40, 2.0**-100)
            self.low = low - 0.5 if whole else low
            self.width = 1.0 if whole else max((high - low) / (_BINS - 1), least)
        while high >= self.low + self.width * _BINS:
            self._double(0)
        while low < self.low:
            self.low -= self.width * _BINS
            self._double(_BINS // 2)
        places = ((values - self.low) / self.width).astype(np.int64)
        self.counts += np.bincount(np.clip(places, 0, _BINS - 1), minlength=_BINS)

    def _double(self, at: int) -> None:
        """Two bins become one; those that there were are from `at` on."""
        halved = self.counts.reshape(-1, 2).sum(axis=1)
        self.counts = np.zeros(_BINS, np.int64)
        self.counts[at : at + _BINS // 2] = halved
        self.width *= 2
