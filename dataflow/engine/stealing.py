"""Which worker sits on tasks that an idle one could be doing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["WorkStealing"]

# A worker that was heard of so recently gets on with what it has.
_SILENT_SECONDS = 0.03


class WorkStealing:
    """Finds workers that are long at a datapoint while more tasks wait behind it.

    Args:
        threads: in each worker; so many tasks are begun, and cannot go elsewhere.
        distance: seconds that a message to a worker and back may take.
    """

    def __init__(self, threads: int, distance: float = 0.0) -> None:
        self.threads = threads
        self._patience = _SILENT_SECONDS + 2 * distance
        self._heard: dict[int, float] = {}
        self._asked: set[int] = set()

    def heard(self, worker: int, now: float, *, done: bool = False) -> None:
        """A sign of life; `done`: it got something done."""
        self._heard[worker] = now
        if done:
            self._asked.discard(worker)

    def given(self, worker: int, now: float) -> None:
        """It had nothing, and was given something."""
        if worker in self._heard:  # one that still starts is not silent
            self._heard[worker] = now

    def silence(self, worker: int, now: float) -> float:
        """Seconds since it was heard of or had nothing to do; 0 where it still starts."""
        return now - self._heard.get(worker, now)

    def forget(self, worker: int) -> None:
        """It is gone."""
        self._heard.pop(worker, None)
        self._asked.discard(worker)

    def asked(self, worker: int) -> bool:
        """It gave back what it had not begun, and has done nothing since: it needs no more."""
        return worker in self._asked

    @property
    def relieved(self) -> int:
        """How many workers that holds for."""
        return len(self._asked)

    def ask(self, worker: int) -> None:
        """It is asked to give back what it has not begun."""
        self._asked.add(worker)

    def due(
        self, workers: Iterable[int], held: Mapping[int, int], now: float, cost: float = 0.0
    ) -> tuple[list[int], float | None]:
        """The workers to ask now, and the seconds until there may be more (None: as it is, never).

        Args:
            workers: those that have a seat.
            held: how many tasks each has.
            now: the time.
            cost: seconds that a task takes a thread, as far as that is known.
        """
        workers = list(workers)
        if not any(not held.get(worker) and worker not in self._asked for worker in workers):
            return [], None
        ages = {
            worker: now - self._heard[worker]
            for worker in workers
            if held.get(worker, 0) > self.threads
            and worker in self._heard
            and worker not in self._asked
        }
        # One that gets on has to give back, too, what it would not get to for long.
        late = [
            worker
            for worker, age in ages.items()
            if age >= self._patience or self._behind(held[worker], cost) >= self._patience
        ]
        others = [self._patience - age for worker, age in ages.items() if worker not in late]
        return late, min(others, default=None)

    def _behind(self, held: int, cost: float) -> float:
        """Seconds after which a worker begins the last of its tasks."""
        return (held - self.threads) * cost / self.threads
