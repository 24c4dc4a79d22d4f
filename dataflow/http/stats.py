"""What a fetcher has done, as a plain dict."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TypedDict

__all__ = ["FetchStats", "Tally"]


class FetchStats(TypedDict):
    """The numbers of one fetcher since it was made."""

    done: int
    """URLs that were delivered, from the network or the cache."""
    bytes: int
    """Bytes of the bodies delivered from the network."""
    cached: int
    """URLs delivered from the cache."""
    transfers: int
    """Transfers that ended: every trial and every hop of a redirect is one."""
    retries: int
    """Trials beyond the first of their URL."""
    errors: dict[str, int]
    """URLs that failed, by reason."""
    in_flight: int
    """Transfers under way now."""
    silent_seconds: float
    """Of transfers that ended without any answer, together."""
    busy_seconds: float
    """The integral of `in_flight` over time: divided by the time that has passed, it is the mean
    number of transfers under way."""


class Tally:
    """Counts for `FetchStats`. `begin` and `end` take a lock; both fetchers use it from threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = time.monotonic()
        self._busy = 0.0
        self.in_flight = 0
        self.transfers = 0
        self.retries = 0
        self.done = 0
        self.bytes = 0
        self.cached = 0
        self.silent = 0.0
        self.errors: Counter[str] = Counter()

    def begin(self, retry: bool) -> None:
        """A transfer starts."""
        with self._lock:
            self._advance()
            self.in_flight += 1
            self.retries += retry

    def end(self, silent: float = 0.0) -> None:
        """A transfer has ended, however it did.

        Args:
            silent: the seconds that it took, where no answer came.
        """
        with self._lock:
            self._advance()
            self.in_flight -= 1
            self.transfers += 1
            self.silent += silent

    def deliver(self, size: int) -> None:
        """A body came from the network."""
        with self._lock:
            self.done += 1
            self.bytes += size

    def deliver_cached(self) -> None:
        """A body came from the cache."""
        with self._lock:
            self.done += 1
            self.cached += 1

    def fail(self, reason: str) -> None:
        """A URL failed for good."""
        with self._lock:
            self.errors[reason] += 1

    def snapshot(self) -> FetchStats:
        """The numbers of this moment."""
        with self._lock:
            self._advance()
            return {
                "done": self.done,
                "bytes": self.bytes,
                "cached": self.cached,
                "transfers": self.transfers,
                "retries": self.retries,
                "errors": dict(self.errors),
                "in_flight": self.in_flight,
                "silent_seconds": self.silent,
                "busy_seconds": self._busy,
            }

    def _advance(self) -> None:
        now = time.monotonic()
        self._busy += (now - self._changed) * self.in_flight
        self._changed = now
