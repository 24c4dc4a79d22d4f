"""What a stage counts while it works."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Meter"]


@dataclass(slots=True)
class Meter:
    """Counters of one flow; plain numbers, so that adding to them costs next to nothing.

    Attributes:
        items: datapoints that a stage handled.
        busy: seconds of work on them, summed over all workers.
        delivered: datapoints handed to the user's loop (of the flow that is iterated).
        waiting: seconds that the user's loop waited for them.
        away: seconds spent in the body of the user's loop.
        starting: seconds until the first result of newly started workers came.
        restarts: workers that were replaced.
        units: how many datapoints can be worked on at once: hands, or transfers.
        extra: what only this kind of stage knows, such as bytes.
    """

    items: int = 0
    busy: float = 0.0
    delivered: int = 0
    waiting: float = 0.0
    away: float = 0.0
    starting: float = 0.0
    restarts: int = 0
    units: int = 1
    extra: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, amount: float) -> None:
        """Add to a figure that only this kind of stage knows; ``busy`` is everybody's."""
        if name == "busy":
            self.busy += amount
        else:
            self.extra[name] = self.extra.get(name, 0) + amount

    def row(self, name: str) -> dict[str, Any]:
        """One row of ``stats()["stages"]``."""
        row = {"name": name, "items": self.items, "busy": self.busy, "units": self.units}
        return row | self.extra
