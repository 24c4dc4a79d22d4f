"""What is said of a worker that died, and of a datapoint that killed it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from reprlib import Repr

from dataflow.engine.ledger import Lost
from dataflow.errors import PoisonedDatapoint
from dataflow.executor.events import Died
from dataflow.plan.tasks import Task, members_of

__all__ = ["death_report", "poisoned"]

_MOST = 8  # datapoints to name
_short = Repr()
_short.maxstring = _short.maxother = 80
_short.maxlist = _short.maxtuple = _short.maxdict = 4


def death_report(
    died: Died, lost: Iterable[Lost], timed_out: bool, is_keyed: Callable[[Task], bool]
) -> str:
    """One line: process id, signal or exit status, what was in progress, what goes to others."""
    who = f"worker process {died.pid}" if died.pid else "a worker process"
    if timed_out:
        how = "was killed because it took longer than task_timeout"
    elif isinstance(died.status, str):
        how = died.status
    elif died.status < 0:
        how = f"was killed by {_signal_name(-died.status)}"
    else:
        how = f"ended with exit status {died.status}"
    accused = [entry.task for one in lost for entry in (*one.suspects, *one.convicted)]
    names = ", ".join(describe(task, is_keyed(task)) for task in accused[:_MOST])
    if len(accused) > _MOST:
        names += f" and {len(accused) - _MOST} more"
    others = sum(len(one.returned) for one in lost)
    where = f" of {died.where}" if died.where else ""
    return (
        f"{who}{where} {how}, with {names or 'no datapoint'} in progress; "
        f"{others} other datapoints go to others"
    )


def describe(task: Task, keyed: bool) -> str:
    """A datapoint's position in its epoch, and what the source has there where that is small."""
    if (members := members_of(task)) is not None:
        return f"the {len(members)} of a batch from {describe(members[0], keyed)} on"
    position = f"datapoint {task.tag[1]} of epoch {task.tag[0]}"
    return f"{position} ({_short.repr(task.key)})" if keyed else position


def poisoned(
    task: Task, death_report: str, timed_out: bool, is_keyed: Callable[[Task], bool]
) -> PoisonedDatapoint:
    """The error that such a datapoint becomes."""
    what = "takes longer than task_timeout" if timed_out else "kills its worker, even alone"
    return PoisonedDatapoint(
        f"{describe(task, is_keyed(task))} {what}; the last time: {death_report}",
        reason="timeout" if timed_out else "poison",
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
