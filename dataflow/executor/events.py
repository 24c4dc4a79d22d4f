"""What an executor tells the runner."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeAlias

from dataflow.transport.in_progress import Held
from dataflow.transport.traffic import Traffic

__all__ = ["Died", "Event", "Executor", "Left", "Reported", "Started"]


class Reported(NamedTuple):
    """A worker sent a report."""

    worker: int
    report: Any


class Started(NamedTuple):
    """A worker process is up and listens.

    Attributes:
        worker: its number.
        threads: its threads, where that is up to the worker.
    """

    worker: int
    threads: int = 0


class Died(NamedTuple):
    """A worker process ended by itself.

    Attributes:
        worker: its number.
        pid: what its process id was; 0 where it died before it told.
        status: the exit status, negative for a signal; where nobody knows it, what is known.
        in_progress: what its threads were working on, or may have been.
        where: the machine, if it is another one.
    """

    worker: int
    pid: int
    status: int | str
    in_progress: list[Held]
    where: str = ""


class Left(NamedTuple):
    """A worker of another machine is gone, for a reason that is not its datapoints'."""

    worker: int


Event: TypeAlias = Reported | Started | Died | Left


class Executor(Protocol):
    """Runs workers that take leases and send reports."""

    workers: list[int]
    """The numbers of the workers that take leases."""

    ready: set[int]
    """Those of them that have started."""

    guests: set[int]
    """Those that came by themselves, and may leave."""

    hesitant: bool
    """Workers that were asked for may never start: they take leases when they have."""

    distance: float
    """Seconds that a message to a worker and back may take, about."""

    traffic: Traffic
    """What came from them; stays zero where results are only passed on."""

    interrupted: bool
    """Another thread ended the pass: `poll` raises `DataFlowTerminated`, if it could wait long."""

    @property
    def closed(self) -> bool:
        """Whether the workers were ended, by `close` or with the program."""

    def send(self, worker: int, lease: Any) -> None:
        """Hand a lease to a worker."""

    def start(self) -> int:
        """Start one more worker; returns its number."""

    def threads_of(self, worker: int) -> int:
        """How many threads a worker has."""

    def in_progress(self, worker: int) -> list[Held]:
        """What a worker's threads are working on now."""

    def resident(self) -> int:
        """Bytes of shared memory that results take now."""

    def kill(self, worker: int) -> None:
        """End a worker at once, whatever it is at; it is reported as `Died`."""

    def poll(self, timeout: float | None) -> list[Event]:
        """What happened; waits up to `timeout` seconds (None: until something does)."""

    def interrupt(self) -> None:
        """Set `interrupted`, and wake the thread that is in `poll`."""

    def close(self) -> None:
        """End all workers: ask, after 0.5 s terminate, after another 0.5 s kill. Idempotent."""
