"""What consumer and workers say to each other."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any, NamedTuple

from dataflow.chance import Chance
from dataflow.codec import functions
from dataflow.errors import DatapointError, WorkerError, text_of
from dataflow.plan.tasks import SourceEnded, Tasks

__all__ = [
    "RECALL",
    "UNSENT",
    "Failed",
    "Lease",
    "Loose",
    "Outcomes",
    "Report",
    "Whole",
]

# The stage index of a `Failed` whose datapoint was finished and could not travel.
UNSENT = -2

# Asks a worker to give back the tasks that it has not begun.
RECALL = "recall"


@dataclass(slots=True)
class Lease:
    """A run of tasks handed to one worker.

    Attributes:
        number: never used twice.
        seed: the pass's.
        tasks: what is to be done.
        chance: whether what fails for a passing reason comes again.
    """

    number: int
    seed: int
    tasks: Tasks
    chance: Chance = Chance.ONLY

    def __reduce__(self) -> tuple[Any, ...]:
        return _lease, (self.number, self.seed, self.tasks, self.chance.value)


def _lease(number: int, seed: int, tasks: Tasks, chance: int) -> Lease:
    return Lease(number, seed, tasks, Chance(chance))


_new: Any = tuple.__new__


class Outcomes(NamedTuple):
    """What became of tasks that follow each other in a lease.

    Attributes:
        lease: the lease's number.
        first: the index of the first of them.
        outcomes: of each: the datapoint, DROPPED, EXHAUSTED or a `Failed`.
    """

    lease: int
    first: int
    outcomes: list[Any]


@dataclass(slots=True)
class Report:
    """What a worker got done.

    Attributes:
        results: the outcomes of tasks that were finished.
        work: (chain, stage index, items, busy seconds) since the last report; -1 is the loader.
        gauges: (chain, stage index, figures): a stage's own cumulative figures.
        cpu: seconds of processor time of the worker process since the last report.
        sending: seconds of encoding and copying since then; those of this report are in the next.
        returned: (lease number, index in the lease) of tasks that were asked back, not begun.
        finished: the datapoints that `work` is of, some of which may have been reported before.
    """

    results: list[Outcomes]
    work: list[tuple[int, int, int, float]] = field(default_factory=list)
    gauges: list[tuple[int, int, dict[str, float]]] = field(default_factory=list)
    cpu: float = 0.0
    sending: float = 0.0
    returned: list[tuple[int, int]] = field(default_factory=list)
    finished: int = 0

    @property
    def items(self) -> int:
        """How many tasks were finished."""
        return sum(len(run.outcomes) for run in self.results)

    def __reduce__(self) -> tuple[Any, ...]:
        # Plain tuples: as objects of their classes they would take longer than all that is in them.
        results = [tuple(run) for run in self.results]
        rest = (self.work, self.gauges, self.cpu, self.sending, self.returned, self.finished)
        return _report, (results, *rest)


def _report(results: list[tuple[int, int, list[Any]]], *rest: Any) -> Report:
    return Report(list(map(_new, repeat(Outcomes), results)), *rest)


@dataclass(slots=True)
class Whole:
    """The outcome of a task that is a whole batch, built and not yet treated by stages on it.

    Attributes:
        batch: the batch.
        plain: the components whose members were values of Python's own types.
    """

    batch: Any
    plain: list[Any]

    def members(self, size: int) -> list[Any]:
        """The datapoints again that it was built from; arrays as views of it."""
        batch = self.batch
        if isinstance(batch, dict):
            columns = {key: self._column(key, values) for key, values in batch.items()}
            return [{key: values[i] for key, values in columns.items()} for i in range(size)]
        lists = [self._column(key, values) for key, values in enumerate(batch)]
        return [[values[i] for values in lists] for i in range(size)]

    def _column(self, key: Any, values: Any) -> Any:
        return values.tolist() if key in self.plain else values


@dataclass(slots=True)
class Loose:
    """The outcome of a task that is a whole batch, where the batch was not built.

    Attributes:
        outcomes: those of its members.
    """

    outcomes: list[Any]


@dataclass(slots=True)
class Failed:
    """The outcome of a position whose loader or stage raised.

    Attributes:
        stage: index in the op chain, LOADER, or UNSENT: the finished datapoint could not travel.
        type_name: the exception's qualified type.
        message: its text.
        traceback: formatted, from where it was raised.
        error: the exception; pickled by itself where it crosses a process, because exceptions
            often pickle but do not unpickle. None where it cannot travel.
        final: it is no `Exception`, and ends the loop.
        ends: the source that raised it has no more after it, so nobody is asked whether to go on.
        passing: it may go better later; see `DatapointError.passing`.
    """

    stage: int
    type_name: str
    message: str
    traceback: str
    error: BaseException | bytes | None
    final: bool = False
    ends: bool = False
    passing: bool = False

    @classmethod
    def of(cls, error: BaseException, stage: int) -> Failed:
        """Describe an exception that was just caught."""
        if ends := isinstance(error, SourceEnded):
            error = error.error
        kind = type(error)
        text = "".join(traceback.format_exception(error))
        name, final = f"{kind.__module__}.{kind.__qualname__}", not isinstance(error, Exception)
        passing = isinstance(error, DatapointError) and error.passing
        return cls(stage, name, text_of(error), text, error, final, ends, passing)

    def sealed(self) -> Failed:
        """The same, fit for another process."""
        try:
            sealed: bytes | None = functions.dumps(self.error)
        except Exception:  # whatever the user's exception does when it is pickled
            sealed = None
        return replace(self, error=sealed)

    def exception(self) -> Exception:
        """What the consumer raises: the datapoint's own error as it is, others as `WorkerError`.

        Raises:
            BaseException: itself, if it is no `Exception`.
        """
        error = self.error
        if isinstance(error, bytes):
            import pickle

            try:
                error = pickle.loads(error)
            except Exception:  # as above; type, message and traceback have arrived anyway
                error = None
        if isinstance(error, DatapointError):
            return error
        if self.final and isinstance(error, BaseException):
            raise error
        wrapped = WorkerError(self.type_name, self.message, self.traceback)
        wrapped.__cause__ = error if isinstance(error, BaseException) else None
        return wrapped
