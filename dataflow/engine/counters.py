"""What a thread that runs op chains counts."""

from __future__ import annotations

from time import perf_counter

from dataflow.meter import CHEAP_SECONDS

__all__ = ["Counters"]

_IDLE_SECONDS = 4 * CHEAP_SECONDS


class Counters:
    """Datapoints and busy seconds of the loader and stages of each op chain.

    Dear datapoints are all timed, of cheap ones the first of each lease and after each report.

    Args:
        stages: how many each chain has.

    Attributes:
        counts: by op chain, then loader and stages in order: datapoints, those of them that were
            timed, and their seconds, since the beginning.
        dear: whether to time every datapoint.
        timed: whether to time the next one.
    """

    def __init__(self, stages: list[int]) -> None:
        # They only grow: one thread counts, another may be the one that reports.
        self.counts: list[list[list[float]]] = [[[0, 0, 0.0] for _ in range(n + 1)] for n in stages]
        self._told: list[list[list[float]]] = [[[0, 0, 0.0] for _ in range(n + 1)] for n in stages]
        # The seconds of one datapoint there, as it was when last one was timed.
        self._means = [[0.0] * (n + 1) for n in stages]
        self.dear = self.timed = True
        self._began = perf_counter()

    def take(self, finished: int) -> list[tuple[int, int, int, float]]:
        """What came to the counts since the last time, as a report has it.

        Args:
            finished: datapoints that were finished since the last time.
        """
        work, cost = [], 0.0
        for chain, rows in enumerate(self.counts):
            for place, row in enumerate(rows):
                told = self._told[chain][place]
                if row[0] == told[0] and row[2] == told[2]:
                    continue
                latest = row[:]
                items, timed, seconds = (a - b for a, b in zip(latest, told, strict=True))
                told[:] = latest
                if timed:
                    self._means[chain][place] = seconds / timed
                busy = self._means[chain][place] * items
                cost += busy
                work.append((chain, place - 1, int(items), busy))
        now = perf_counter()
        passed, self._began = now - self._began, now
        # A dear one may be among those that were not timed, but not without the time passing.
        self.dear = cost > CHEAP_SECONDS * finished or passed > _IDLE_SECONDS * finished
        self.timed = True
        return work
