"""What an executor tells the runner."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeAlias

from dataflow.transport.in_hand import Held
from dataflow.transport.traffic import Traffic

__all__ = ["Died", "Event", "Executor", "Reported", "Started"]


class Reported(NamedTuple):
    """A worker sent a report."""

    worker: int
    report: Any


class Started(NamedTuple):
    """A worker process is up and listens."""

    worker: int


class Died(NamedTuple):
    """A worker process ended by itself.

    Attributes:
        worker: its number.
        pid: what its process id was; 0 where it died before it told.
        status: the exit status, negative for a signal; where nobody knows it, what is known.
        in_hand: what its hands were working on, or may have been.
    """

    worker: int
    pid: int
    status: int | str
    in_hand: list[Held]


Event: TypeAlias = Reported | Started | Died


class Executor(Protocol):
    """Runs workers that take leases and send reports."""

    workers: list[int]
    """The numbers of the workers that take leases."""

    ready: set[int]
    """Those of them that have started."""

    traffic: Traffic
    """What came from them; stays zero where results are only passed on."""

    def send(self, worker: int, lease: Any) -> None:
        """Hand a lease to a worker."""

    def start(self) -> int:
        """Start one more worker; returns its number."""

    def in_hand(self, worker: int) -> list[Held]:
        """What a worker's hands are working on now."""

    def kill(self, worker: int) -> None:
        """End a worker at once, whatever it is at; it is reported as `Died`."""

    def poll(self, timeout: float | None) -> list[Event]:
        """What happened; waits up to `timeout` seconds (None: until something does)."""

    def close(self) -> None:
        """End all workers: ask, after 0.5 s terminate, after another 0.5 s kill. Idempotent."""
