"""What may be delivered: tasks with their outcomes, as columns.

A run of cheap datapoints stays a run on its whole way from a worker to the loop: an object for each
of them would cost more than they do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dataflow.plan.tasks import Task, Tasks
from dataflow.randomness import Tag

__all__ = ["Arrived", "Deliveries"]


class Deliveries:
    """Some tasks that are delivered at once.

    Attributes:
        numbers: where each stands among all tasks of the pass.
        tasks: themselves.
        outcomes: of each. Whoever takes one out of the list has it alone.
    """

    __slots__ = ("numbers", "outcomes", "tasks")

    def __init__(self, numbers: Sequence[int], tasks: Sequence[Task], outcomes: list[Any]) -> None:
        self.numbers = numbers
        self.tasks = tasks
        self.outcomes = outcomes

    def __len__(self) -> int:
        return len(self.outcomes)

    @property
    def tags(self) -> list[Tag]:
        """Of each task."""
        tasks = self.tasks
        return tasks.tags if isinstance(tasks, Tasks) else [task.tag for task in tasks]

    def drained(self) -> Iterator[tuple[int, Task, Any]]:
        """Number, task and outcome, one after the other; nothing here holds the outcome then."""
        outcomes = self.outcomes
        if len(outcomes) == 1:  # large ones are delivered one by one
            yield self.numbers[0], self.tasks[0], outcomes.pop()
            return
        outcomes.reverse()
        for number, task in zip(self.numbers, self.tasks, strict=True):
            yield number, task, outcomes.pop()


class Arrived:
    """A run of outcomes that wait to be delivered, from the front on.

    Args:
        numbers: as of `Deliveries`.
        tasks: as of `Deliveries`.
        outcomes: as of `Deliveries`.
    """

    __slots__ = ("_done", "_numbers", "_outcomes", "_tasks")

    def __init__(self, numbers: Sequence[int], tasks: Tasks, outcomes: list[Any]) -> None:
        self._numbers = numbers
        self._tasks = tasks
        self._outcomes = outcomes
        self._done = 0

    def __len__(self) -> int:
        return len(self._outcomes) - self._done

    @property
    def first(self) -> int:
        """The number of the next one."""
        return self._numbers[self._done]

    def take(self, most: int) -> Deliveries:
        """The next ones, up to `most` of them."""
        begin = self._done
        end = self._done = min(begin + most, len(self._outcomes))
        if end - begin == len(self._outcomes):
            return Deliveries(self._numbers, self._tasks, self._outcomes)
        outcomes = self._outcomes[begin:end]
        if most == 1:
            self._outcomes[begin] = None
            return Deliveries((self._numbers[begin],), (self._tasks[begin],), outcomes)
        numbers, tasks = self._numbers[begin:end], self._tasks[begin:end]
        self._outcomes[begin:end] = [None] * (end - begin)  # which are alone where they are now
        return Deliveries(numbers, tasks, outcomes)

    def cut(self, end: int) -> None:
        """Leave out those whose number is `end` or more, of a run that counts up by one."""
        left = max(0, min(len(self._outcomes), end - self._numbers[0]))
        self._numbers, self._tasks = self._numbers[:left], self._tasks[:left]
        del self._outcomes[left:]
