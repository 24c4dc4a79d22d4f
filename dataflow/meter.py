"""What a stage counts while it works."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["CHEAP_SECONDS", "Meter"]

CHEAP_SECONDS = 25e-6
"""Datapoints that cost less than this are timed now and then only: reading a clock twice for each
would cost more than the 1 % that statistics may."""


@dataclass(slots=True)
class Meter:
    """Counters of one flow; plain numbers, so that adding to them costs next to nothing.

    Attributes:
        items: datapoints that a stage handled.
        busy: seconds of work on them, summed over all workers.
        here: seconds of work that the consumer's thread did besides: of a source, its keys; of a
            runner, receiving.
        below: of a source that reads from other flows: seconds that those took, which whoever
            times the source leaves out.
        errors: datapoints that failed in this stage.
        runner: the runner whose workers do the work; None where the consumer's thread does it.
        units: how many datapoints can be worked on at once: threads, or transfers.
        workers: of a runner, over which its threads are spread.
        delivered: datapoints handed to the user's loop (of the flow that is iterated).
        waiting: seconds that the user's loop waited for them.
        away: seconds spent in the body of the user's loop.
        cpu: seconds of this process's processor time while the flow is iterated.
        worker_cpu: of a runner's worker processes.
        starting: seconds until the first result of newly started workers came.
        idle: seconds in which the consumer's thread had nothing to do but wait for workers.
        filled: the integral over `watched` seconds of how full a runner's queue of results was.
        watched: see `filled`.
        restarts: workers that were replaced.
        shared: of a runner, the most bytes of shared memory that results took.
        extra: what only this kind of stage knows, such as bytes.
    """

    items: int = 0
    busy: float = 0.0
    here: float = 0.0
    below: float = 0.0
    errors: int = 0
    runner: str | None = None
    units: int = 1
    workers: int = 1
    delivered: int = 0
    waiting: float = 0.0
    away: float = 0.0
    cpu: float = 0.0
    worker_cpu: float = 0.0
    starting: float = 0.0
    idle: float = 0.0
    filled: float = 0.0
    watched: float = 0.0
    restarts: int = 0
    shared: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        return Meter, ()  # a copy counts for itself

    def add(self, name: str, amount: float) -> None:
        """Add to a figure that only this kind of stage knows; ``busy`` is everybody's."""
        if name == "busy":
            self.busy += amount
        else:
            self.extra[name] = self.extra.get(name, 0) + amount

    def row(self, name: str, kind: str) -> dict[str, Any]:
        """One row of ``stats()["stages"]``."""
        busy = self.busy + self.here
        return {
            "name": name,
            "kind": kind,
            "runner": self.runner,
            "items": self.items,
            "busy": busy,
            "here": busy if self.runner is None else self.here,
            "units": self.units,
            "errors": self.errors,
            **self.extra,
        }
