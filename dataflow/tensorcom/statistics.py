"""How many messages and bytes pass, and how fast."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from time import time
from typing import Any

__all__ = ["Report", "Statistics"]


class Statistics:
    """Counts messages and their bytes; all of them, and the last ones.

    Called, it returns what `DataFlow.stats` returns: on a connection the name `stats` is both.

    Attributes:
        horizon: how many are the last ones.
        start: when counting began, in seconds since 1970; `last`: when the last one passed.
        count: messages.
        total: their bytes.
    """

    def __init__(self, horizon: int = 1000, whole: Callable[[], dict[str, Any]] = dict) -> None:
        self.horizon = horizon
        self._whole = whole
        self.reset()

    def __call__(self) -> dict[str, Any]:
        return self._whole()

    def reset(self) -> None:
        """Begin anew."""
        self.start = self.last = time()
        self.count = self.total = 0
        self.recent: deque[tuple[float, int]] = deque(maxlen=self.horizon)

    def add(self, size: int) -> None:
        """A message of so many bytes has passed."""
        self.last = time()
        self.count += 1
        self.total += size
        self.recent.append((self.last, size))

    def rate(self) -> float:
        """Messages a second."""
        return _quotient(self.count, self.last - self.start)

    def throughput(self) -> float:
        """Bytes a second."""
        return _quotient(self.total, self.last - self.start)

    def recent_rate(self) -> float:
        """Messages a second, of the last ones."""
        return _quotient(len(self.recent) - 1, self._span())

    def recent_throughput(self) -> float:
        """Bytes a second, of the last ones."""
        return _quotient(sum(size for _, size in list(self.recent)[1:]), self._span())

    def summary(self) -> str:
        """Both of the last ones, for a person."""
        return (
            f"rate {self.recent_rate():.1f} msg/s throughput {self.recent_throughput():.2e} bytes/s"
        )

    def _span(self) -> float:
        return self.recent[-1][0] - self.recent[0][0] if self.recent else 0.0


class Report:
    """Counts samples, and tells on standard error now and then how fast they are.

    Args:
        statistics: what to tell.
        every: after how many samples; -1: never.
    """

    def __init__(self, statistics: Statistics, every: int) -> None:
        self._statistics = statistics
        self._every = every
        self._next = 0
        self.count = 0

    def after(self, samples: int) -> None:
        """So many more have passed."""
        if self._every > 0 and self.count >= self._next:
            print("count", self.count, self._statistics.summary(), file=sys.stderr)
            self._next += self._every
        self.count += samples


def _quotient(amount: float, seconds: float) -> float:
    return amount / seconds if seconds > 0 else 0.0
