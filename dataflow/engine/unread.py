"""Tasks and results that did not get through: each costs its own datapoint, and no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from dataflow.codec import local
from dataflow.codec.flawed import Flawed, unreadable_in
from dataflow.engine.messages import UNSENT, Failed, Lease, Loose, Report
from dataflow.plan.tasks import Members, Task, Tasks

__all__ = ["Unread", "readable", "sendable"]


class Unread(NamedTuple):
    """In place of a key that could not be sent, or not be read.

    Attributes:
        text: why not.
    """

    text: str

    @property
    def error(self) -> Exception:
        """What the datapoint failed for."""
        return TypeError(self.text)


def sendable(lease: Lease) -> Lease:
    """A lease that could not be pickled, without the keys for which it could not."""
    return replace(lease, tasks=Tasks.of(_checked(lease.tasks, _why_not_sent)))


def readable(message: Any) -> Any:
    """A message, with failures in the places of what could not be read."""
    if not isinstance(message, Flawed):
        return message
    whole = message.message
    if isinstance(whole, Lease):
        return replace(whole, tasks=Tasks.of(_checked(whole.tasks, _why_not_read)))
    if isinstance(whole, Report):
        for _, _, outcomes in whole.results:
            outcomes[:] = map(_read, outcomes)
        return whole
    raise TypeError(f"a message cannot be read: {unreadable_in(whole)!r}")


def _checked(tasks: Iterable[Task], check: Callable[[Any], str | None]) -> list[Task]:
    """The tasks, with an `Unread` for each key that does not pass."""
    found = []
    for task in tasks:
        if isinstance(task.key, Members):
            found.append(task._replace(key=Members(_checked(task.key, check))))
        else:
            why = check(task.key)
            found.append(task if why is None else task._replace(key=Unread(why)))
    return found


def _why_not_sent(key: Any) -> str | None:
    try:
        local.encode(key)
    except Exception as error:  # pickling the user's objects raises anything
        return (
            "the datapoint cannot be sent to a worker process, as pickling it raised "
            f"{type(error).__name__}: {error}"
        )
    return None


def _why_not_read(key: Any) -> str | None:
    error = unreadable_in(key)
    if error is None:
        return None
    return (
        "the datapoint was pickled, and cannot be unpickled in a worker process: "
        f"{type(error).__name__}: {error}"
    )


def _read(outcome: Any) -> Any:
    if isinstance(outcome, Loose):
        return Loose([_read(one) for one in outcome.outcomes])
    if isinstance(outcome, Failed) or (error := unreadable_in(outcome)) is None:
        return outcome
    failure = TypeError(
        "the resulting datapoint was pickled, and cannot be unpickled in the consumer's process: "
        f"{type(error).__name__}: {error}"
    )
    failure.__cause__ = error
    return Failed.of(failure, UNSENT)
