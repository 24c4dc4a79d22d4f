"""How long a datapoint may keep a worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dataflow.transport.in_progress import Held

__all__ = ["Deadlines"]

# So long a kill takes to be noticed at most; until then a worker is not looked at again.
_SHORTEST = 0.01


class Deadlines:
    """Finds workers that are too long at a datapoint.

    Args:
        timeout: seconds that a datapoint may be in progress.
        silence: a worker that has tasks but none in progress is given as long; not so where what
            it has may be in flight in an asynchronous stage.
    """

    def __init__(self, timeout: float, *, silence: bool) -> None:
        self._timeout = timeout
        self._silence = silence
        self._killed: dict[int, list[tuple[int, int]]] = {}

    def overdue(
        self,
        held: Mapping[int, list[Held]],
        silent: Mapping[int, float],
        is_open: Callable[[int, int], bool],
    ) -> tuple[list[int], float]:
        """The workers to kill, and the seconds until there may be more.

        Args:
            held: what each worker that has tasks has in progress.
            silent: seconds since each was heard of.
            is_open: whether the result of a (lease number, index) is still awaited.
        """
        found, wait = [], self._timeout
        for worker, tasks in held.items():
            if worker in self._killed:
                continue
            awaited = [task for task in tasks if is_open(task.lease, task.task)]
            late = [task for task in awaited if task.seconds >= self._timeout]
            oldest = max((task.seconds for task in awaited), default=0.0)
            if not tasks and self._silence:
                oldest = silent.get(worker, 0.0)
            if oldest >= self._timeout:
                found.append(worker)
                self._killed[worker] = [(task.lease, task.task) for task in late]
            else:
                wait = min(wait, self._timeout - oldest)
        return found, max(wait, _SHORTEST)

    def killed(self, worker: int) -> list[tuple[int, int]] | None:
        """The tasks for which a worker, now dead, was killed; None where it died by itself."""
        return self._killed.pop(worker, None)
