"""How much a worker is given at a time."""

from __future__ import annotations

__all__ = ["Pace"]

# A lease should last about this long: far above what a message costs, far below what a person or
# another worker would notice waiting for it.
_LEASE_SECONDS = 0.008
_LARGEST = 1024


class Pace:
    """Adapts the size of leases to the cost of a datapoint.

    Args:
        hands: threads in each worker.
        transfers: datapoints that its asynchronous stages can have in flight.
        limit: the most tasks that a worker may hold.
    """

    def __init__(self, *, hands: int, transfers: int, limit: int) -> None:
        self._hands = hands
        self._transfers = transfers
        # What is in flight, and as much again arrived or about to start.
        self._least = 2 * transfers + 2 * hands
        self._limit = max(limit, self._least)
        self._cost: float | None = None
        self.size = max(1, transfers // 4)

    @property
    def depth(self) -> int:
        """Tasks that a worker should hold, so that it never waits for the next lease."""
        return min(self._limit, self._least + 2 * self._hands * self.size)

    def note(self, items: int, seconds: float) -> None:
        """`items` datapoints took a hand `seconds` of work."""
        if not items:
            return
        cost = seconds / items
        self._cost = cost if self._cost is None else 0.8 * self._cost + 0.2 * cost
        # All hands together shall find work within what a worker may hold.
        most = max(1, (self._limit - 2 * self._transfers) // (2 * self._hands))
        wanted = int(_LEASE_SECONDS / self._cost) if self._cost > 0 else _LARGEST
        # Grow step by step: the first datapoints are often the cheap ones.
        self.size = max(1, min(wanted, 2 * self.size, most, _LARGEST))
