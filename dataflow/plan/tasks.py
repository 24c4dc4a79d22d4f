"""Positions of a pass to work on, one or many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice, repeat
from operator import itemgetter
from typing import Any, NamedTuple, overload

from dataflow.randomness import Tag

__all__ = [
    "EXHAUSTED",
    "LOADER",
    "ColumnFeed",
    "Feed",
    "Members",
    "SourceEnded",
    "Task",
    "Tasks",
    "members_of",
]

# The stage index of a loader, which comes before the stages.
LOADER = -1


class Task(NamedTuple):
    """A position: its tag, the number of the op chain that makes it, and from which key."""

    tag: Tag
    chain: int
    key: Any


class Tasks(Sequence[Task]):
    """Tasks in a row, as columns: an object for each of cheap ones would cost more than they do.

    Attributes:
        tags: of each.
        chains: the number of the op chain of each.
        keys: of each.
    """

    __slots__ = ("chains", "keys", "tags")

    def __init__(self, tags: list[Tag], chains: list[int], keys: list[Any]) -> None:
        self.tags = tags
        self.chains = chains
        self.keys = keys

    @classmethod
    def of(cls, tasks: Iterable[Task]) -> Tasks:
        """From tasks one by one."""
        rows = list(tasks)
        return cls(*(list(map(itemgetter(column), rows)) for column in range(3)))

    @property
    def columns(self) -> tuple[list[Tag], list[int], list[Any]]:
        """All three."""
        return self.tags, self.chains, self.keys

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Task]:
        # What `Task._make` does, without a call of a Python function for each.
        return map(_new, repeat(Task), zip(self.tags, self.chains, self.keys, strict=True))

    @overload
    def __getitem__(self, place: int) -> Task: ...
    @overload
    def __getitem__(self, place: slice) -> Tasks: ...
    def __getitem__(self, place: int | slice) -> Task | Tasks:
        columns = self.tags[place], self.chains[place], self.keys[place]
        return Tasks(*columns) if type(place) is slice else _new(Task, columns)  # type: ignore[arg-type]

    def __add__(self, others: Tasks) -> Tasks:
        tags, chains, keys = self.tags, self.chains, self.keys
        return Tasks(tags + others.tags, chains + others.chains, keys + others.keys)

    def __reduce__(self) -> tuple[Any, ...]:
        return _tasks, (_common(self.tags), _same(self.chains), self.keys)


_new: Any = tuple.__new__


def _common(tags: list[Tag]) -> tuple[int, list[int]] | list[Tag]:
    """The epoch and the positions, where the tags are nothing else; otherwise the tags."""
    if len(tags) > 1 and set(map(type, tags)) == {tuple}:
        with suppress(ValueError):  # they are not all of one length
            columns = list(zip(*tags, strict=True))
            if len(columns) == 2 and type(epoch := _same(columns[0])) is int:
                return epoch, list(columns[1])
    return tags


def _same(values: Sequence[Any]) -> Any:
    """One value, if all are that."""
    return values[0] if values and values.count(values[0]) == len(values) else values


def _tasks(
    tags: tuple[int, list[int]] | list[Tag], chains: int | list[int], keys: list[Any]
) -> Tasks:
    each = tags if isinstance(tags, list) else list(zip(repeat(tags[0]), tags[1], strict=False))
    return Tasks(each, chains if isinstance(chains, list) else [chains] * len(keys), keys)


class Feed:
    """The tasks of a pass, in order, to be taken some at a time.

    Args:
        tasks: one by one.
    """

    def __init__(self, tasks: Iterator[Task]) -> None:
        self._tasks = tasks

    def take(self, most: int) -> Tasks:
        """The next ones, `most` of them; fewer where there are no more."""
        return Tasks.of(islice(self._tasks, most))


class ColumnFeed(Feed):
    """The tasks of one op chain, number 0, which come as columns already.

    Args:
        tags: of each; there may be more of them.
        keys: of each.
    """

    def __init__(self, tags: Iterator[Tag], keys: Iterator[Any]) -> None:
        self._tags = tags
        self._keys = keys

    def take(self, most: int) -> Tasks:
        keys = list(islice(self._keys, most))
        return Tasks(list(islice(self._tags, len(keys))), [0] * len(keys), keys)


class Members(list[Task]):
    """The key of a task that is a whole batch."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _members, tuple(zip(*self, strict=True))  # as columns, as in a lease


def _members(*columns: tuple[Any, ...]) -> Members:
    return Members(map(Task._make, zip(*columns, strict=True)))


def members_of(task: Task) -> Members | None:
    """The members of a task that is a whole batch; None of others."""
    return task.key if type(task.key) is Members else None


class SourceEnded(Exception):
    """A flow that can only be iterated raised, and has no more after that.

    Args:
        error: what it raised.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class _Exhausted:
    """The outcome of a position beyond the end of a flow that runs in a worker."""

    def __reduce__(self) -> str:
        return "EXHAUSTED"


EXHAUSTED = _Exhausted()
