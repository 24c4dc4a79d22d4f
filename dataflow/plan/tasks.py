"""One position of a pass to work on."""

from __future__ import annotations

from typing import Any, NamedTuple

from dataflow.randomness import Tag

__all__ = ["EXHAUSTED", "LOADER", "Members", "Task", "members_of"]

# The stage index of a loader, which comes before the stages.
LOADER = -1


class Task(NamedTuple):
    """A position: its tag, the number of the op chain that makes it, and from which key."""

    tag: Tag
    chain: int
    key: Any


class Members(list[Task]):
    """The key of a task that is a whole batch."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _members, tuple(zip(*self, strict=True))  # as columns, as in a lease


def _members(*columns: tuple[Any, ...]) -> Members:
    return Members(map(Task._make, zip(*columns, strict=True)))


def members_of(task: Task) -> Members | None:
    """The members of a task that is a whole batch; None of others."""
    return task.key if type(task.key) is Members else None


class _Exhausted:
    """The outcome of a position beyond the end of a flow that runs in a worker."""

    def __reduce__(self) -> str:
        return "EXHAUSTED"


EXHAUSTED = _Exhausted()
