"""Every exception that `dataflow` raises on purpose.

::

    Exception
    └── DataFlowError
        ├── ConfigError (ValueError)    an argument or a combination of them makes no sense
        ├── MissingExtra (ImportError)  an optional package is needed; says how to install it
        ├── MissingData (FileNotFoundError)  a data set lacks a file; says which, and who has it
        ├── DatapointError              one datapoint failed; has `reason`, `url`, `status`
        │   ├── CodecError (ValueError) … while bytes became values again, or values bytes
        │   ├── FetchError              … while it was downloaded
        │   ├── DecodeError             … while its bytes became an image
        │   └── PoisonedDatapoint       … because it kills its worker, or takes longer than allowed
        ├── TooManyErrors               so many datapoints failed that the run makes no sense
        ├── WorkerError                 user code raised in a worker; has `type_name`, `traceback`
        ├── WorkerDied                  workers died more often than `max_restarts` allows
        ├── UnknownLength (NotImplementedError, TypeError)  `len()` of what cannot know it
        ├── Dropped (LookupError)       `ds[i]` of a position whose datapoint a stage drops
        ├── NotResumable                `state_dict()` of what cannot be taken to its place again
        ├── StateError (ValueError)     `load_state_dict()` of another chain's state
        ├── PeerError                   the other end of a connection refuses us
        │   └── PeerTimeout (TimeoutError)  … or does nothing for longer than `timeout`
        └── DataFlowTerminated          this iterator was closed, by a newer one or by `close()`

What is no `Exception`, such as `SystemExit`, is no datapoint's failure: raised in a stage, in any
worker, it ends the loop as it is, whatever `on_error` says.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "CodecError",
    "ConfigError",
    "DataFlowError",
    "DataFlowTerminated",
    "DatapointError",
    "DecodeError",
    "Dropped",
    "FetchError",
    "MissingData",
    "MissingExtra",
    "NotResumable",
    "PeerError",
    "PeerTimeout",
    "PoisonedDatapoint",
    "StateError",
    "TooManyErrors",
    "UnknownLength",
    "WorkerDied",
    "WorkerError",
]


class DataFlowError(Exception):
    """The root of the exceptions that this package raises."""


class ConfigError(DataFlowError, ValueError):
    """An argument has a value that cannot work. The message names argument and value."""


class MissingExtra(DataFlowError, ImportError):
    """An optional dependency is needed for this. The message has the command that installs it."""


class MissingData(DataFlowError, FileNotFoundError):
    """A data set's file is not where it was looked for."""


class DatapointError(DataFlowError):
    """One datapoint could not be made.

    Args:
        message: what happened, for a person.
        url: the address or path of the datapoint, where it has one.
        reason: a short word that can be counted, such as ``"timeout"`` or ``"truncated"``.
        status: the HTTP status, where an answer with one came.
        trials: how often it was tried, of a download.

    Attributes:
        passing: it may well go better later: the host did not answer.
    """

    passing = False

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        url: str | None = None,
        status: int | None = None,
        trials: int | None = None,
    ) -> None:
        super().__init__(message)
        self.url = url
        self.reason = reason
        self.status = status
        self.trials = trials

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), str(self), self.__dict__.copy())


class CodecError(DatapointError, ValueError):
    """The bytes are not what they should be, or there are no bytes for a value.

    `reason`: ``truncated`` (half-written or cut off), ``foreign`` (of another format), ``corrupt``
    (a broken structure or a wrong checksum), ``pickle`` (it would have to be unpickled, which
    nobody allowed) or ``unsupported`` (a type that the format does not have); for messages between
    hosts one of the words of ``docs/wire.md``.
    """


class FetchError(DatapointError):
    """A download failed for good. `reason` is one of `dataflow.http.REASONS`."""


class DecodeError(DatapointError):
    """The bytes are not an image that can be used.

    `reason`: ``empty``, ``not_image``, ``truncated``, ``too_large`` (more pixels than allowed)
    or ``corrupt`` (a broken structure, or the decoder gave up).
    """


class PoisonedDatapoint(DatapointError):
    """A datapoint that its worker process does not survive.

    `reason`: ``poison``, it killed the worker each time that it ran there alone; or ``timeout``,
    it took longer than `task_timeout` again.
    """


class TooManyErrors(DataFlowError):
    """Nothing works: all of the first datapoints failed, or a whole epoch, or `max_failed`."""


class WorkerError(DataFlowError):
    """User code raised in a worker.

    Args:
        type_name: the exception's qualified type name, such as ``"builtins.KeyError"``.
        message: its text.
        traceback: the formatted traceback from the worker.
        where: which datapoint it was, in words.

    The original exception is the ``__cause__`` where it could be rebuilt here.
    """

    def __init__(self, type_name: str, message: str, traceback: str, where: str = "") -> None:
        super().__init__(type_name, message, traceback, where)
        self.type_name = type_name
        self.message = message
        self.traceback = traceback
        self.where = where

    def __str__(self) -> str:
        where = f"\n\nfor {self.where}" if self.where else ""
        rest = f"Traceback in the worker:\n{self.traceback}"
        return f"{self.type_name}: {self.message}{where}\n\n{rest}"


class WorkerDied(DataFlowError):
    """Worker processes died without making progress, more often than `max_restarts` allows."""


class Dropped(DataFlowError, LookupError):
    """There is no datapoint at this position: a stage returned None for it."""


class NotResumable(DataFlowError):
    """A part of the chain cannot be taken to the same place again. The message says which."""


class StateError(DataFlowError, ValueError):
    """A state that does not fit the chain. The message says what differs."""


class PeerError(DataFlowError):
    """The other end of a connection refuses us. The message says who, and why."""


class PeerTimeout(PeerError, TimeoutError):
    """Nothing came from the other end of a connection, or it took nothing, for too long."""


class UnknownLength(DataFlowError, NotImplementedError, TypeError):
    """`len()` of a dataflow that cannot know it. (A TypeError too, so that `list(ds)` works.)"""


class DataFlowTerminated(DataFlowError):
    """The iterator was closed, by a newer `iter()` on the same dataflow or by `close()`."""


def _rebuild(cls: type[DatapointError], message: str, state: dict[str, Any]) -> DatapointError:
    """Unpickle a `DatapointError`, whose arguments are keyword-only."""
    error = cls(message, reason=state["reason"])
    error.__dict__.update(state)
    return error


def text_of(error: BaseException) -> str:
    """The text of an exception, whatever its `__str__` does."""
    try:
        return str(error)
    except Exception as another:
        return f"(its text cannot be had: its __str__ raised {type(another).__name__})"
