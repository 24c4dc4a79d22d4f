"""How fast datapoints come from a source, and how long they stay away."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from dataflow.cli.components import Form, components, nbytes, samples

__all__ = ["MINUTE", "RECENT", "Rates"]

MINUTE = 60
"""Seconds of which the counts are kept."""

RECENT = 5
"""Seconds over which rates are taken."""


class Rates:
    """Counts what comes from one source. One thread adds; others may read.

    Args:
        now: the time, in seconds of a clock that does not jump.
        unbatched: each datapoint is a single sample.

    Attributes:
        batches, samples, bytes: that came; `bytes` are those of the content.
        forms: names, types and shapes of the last one's components.
        longest: seconds between two that came one after the other, at most.
        last: when the last one came; None before.
    """

    def __init__(self, now: float, *, unbatched: bool = False) -> None:
        self.batches = self.samples = self.bytes = 0
        self.forms: list[tuple[str, Form]] = []
        self.longest = 0.0
        self.last: float | None = None
        self._begun = now
        self._unbatched = unbatched
        # Of each second that had any: its number and three counts.
        self._seconds: deque[tuple[int, list[int]]] = deque(maxlen=MINUTE + 1)

    def add(self, datapoint: Any, infos: Sequence[str], now: float) -> None:
        """Count a datapoint that came just now."""
        parts = components(datapoint, infos)
        number = (None if self._unbatched else samples(parts)) or 1
        amount = (1, number, nbytes(datapoint))
        if self.last is not None:
            self.longest = max(self.longest, now - self.last)
        self.last = now
        self.batches += 1
        self.samples += number
        self.bytes += amount[2]
        self.forms = [(part.name, part.form) for part in parts]
        second = int(now - self._begun)
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append((second, [0, 0, 0]))
        counts = self._seconds[-1][1]
        for place, value in enumerate(amount):
            counts[place] += value

    def rates(self, now: float) -> tuple[float, float, float]:
        """Batches, samples and bytes a second, of the last `RECENT` seconds."""
        first = max(0, int(now - self._begun) - RECENT)
        span = max(now - self._begun - first, 1e-3)
        there = [counts for second, counts in list(self._seconds) if second >= first]
        batches, samples, size = (sum(counts[place] for counts in there) for place in range(3))
        return batches / span, samples / span, size / span

    def minute(self, now: float) -> list[int]:
        """Samples in each full second of the last minute, the newest one last."""
        known = {second: counts[1] for second, counts in list(self._seconds)}
        end = int(now - self._begun)
        return [known.get(second, 0) for second in range(max(0, end - MINUTE), end)]

    def silent(self, now: float) -> float:
        """Seconds since the last one came, or since the beginning."""
        return now - (self._begun if self.last is None else self.last)

    def longest_gap(self, now: float) -> float:
        """Seconds between two, at most; the time since the last one counts, too."""
        return self.longest if self.last is None else max(self.longest, now - self.last)
