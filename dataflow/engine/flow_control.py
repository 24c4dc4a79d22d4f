"""How much a worker is given at a time."""

from __future__ import annotations

__all__ = ["FlowControl"]

# A lease should last about this long: far above what a message costs, far below what a person or
# another worker would notice waiting for it.
_LEASE_SECONDS = 0.008
_LARGEST = 1024

# Of datapoints that are cheap and small a lease may be larger than the limit has room for, where
# else a message would cost more than they do: up to so much work, so many bytes and so many.
_SPARE_SECONDS = 0.002
_SPARE_BYTES = 64 << 10
_SPARE = 256


class FlowControl:
    """Adapts the size of leases to the cost of a datapoint.

    Args:
        threads: in each worker.
        transfers: datapoints that its asynchronous stages can have in flight.
        limit: the most tasks that a worker may hold, some milliseconds' worth of small ones apart.
        distance: seconds that a message to a worker and back may take.
    """

    def __init__(self, *, threads: int, transfers: int, limit: int, distance: float = 0.0) -> None:
        self._transfers = transfers
        self._asked = limit
        # What a worker holds has to last until the next lease is there.
        self._lease_seconds = _LEASE_SECONDS + distance
        self._spare_seconds = _SPARE_SECONDS + distance
        self._farther = 1 + int(distance / _LEASE_SECONDS)
        self._cost: float | None = None
        self._bytes = 0.0
        self.size = max(1, transfers // 4)
        self.staff(threads)

    def staff(self, threads: int) -> None:
        """So many threads has each worker now."""
        self._threads = threads
        # What is in flight, and as much again arrived or about to start.
        self._least = 2 * self._transfers + 2 * threads
        self._limit = max(self._asked, self._least)
        # All threads together shall find work within what a worker may hold.
        self._most = max(1, (self._limit - 2 * self._transfers) // (2 * threads))

    @property
    def depth(self) -> int:
        """Tasks that a worker should hold, so that it never waits for the next lease."""
        depth = self._least + 2 * self._threads * self.size
        return depth if self.size > self._most else min(self._limit, depth)

    @property
    def cost(self) -> float:
        """Seconds that a datapoint takes a thread; 0 where that is not known."""
        return self._cost or 0.0

    @property
    def bytes(self) -> float:
        """Bytes that pass for a datapoint; 0 where that is not known."""
        return self._bytes

    def exceeds(self, held: int, credit: int) -> bool:
        """Whether a worker holds too much: what was cheap or small is not so any more."""
        return held > max(self._limit, credit, 2 * self.depth)

    def note(self, items: int, seconds: float, size: int = 0) -> None:
        """`items` datapoints were done.

        Args:
            items: how many.
            seconds: that they took a thread.
            size: bytes that passed for them; 0 where that is not known.
        """
        if not items:
            return
        cost = seconds / items
        self._cost = cost if self._cost is None else 0.8 * self._cost + 0.2 * cost
        # Small ones between large ones count for little, a large one counts at once.
        self._bytes = max(size / items, 0.8 * self._bytes + 0.2 * size / items)
        most = max(self._most, self.spare)
        wanted = int(self._lease_seconds / self._cost) if self._cost > 0 else _LARGEST
        # Grow step by step: the first datapoints are often the cheap ones.
        self.size = max(1, min(wanted, 2 * self.size, most, _LARGEST))

    @property
    def spare(self) -> int:
        """How many datapoints take hardly any time and memory together; 0 where one is too much."""
        if not self._bytes or not self._cost:
            return 0
        most = min(_SPARE, _SPARE_BYTES / self._bytes) * self._farther
        return int(min(most, self._spare_seconds / self._cost))
