"""What fetches URLs, whatever does it underneath."""

from __future__ import annotations

import queue
import warnings
import weakref
from types import TracebackType
from typing import TYPE_CHECKING

from dataflow.chance import Chance
from dataflow.http.driver import Driver
from dataflow.http.jobs import Done, Job
from dataflow.http.stats import FetchStats

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Fetcher"]


class Fetcher:
    """Downloads many URLs at a time, under one `FetchPolicy`.

    `submit` may be called from any thread. Up to `concurrency` transfers are under way; what is
    submitted beyond that waits inside, in the order of submission, and so do URLs between two
    trials, without holding a slot. What a `Chance` was told of keeps few slots for hosts that do
    not answer. A fetcher does not survive a fork and cannot be pickled.

    Args:
        driver: what does the work. Its threads hold it, and not this object, so that a fetcher
            that was forgotten is collected, with a warning, and its driver stopped.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        # This also runs at exit, before the interpreter abandons its daemon threads.
        self._finalizer = weakref.finalize(self, driver.stop)

    def submit(self, url: str, done: Done, chance: Chance | None = None) -> None:
        """Queue a URL.

        Args:
            url: an http or https URL.
            chance: given for one of many URLs. While a host has not answered, it gets four
                transfers at once, and after four failures in a row it is dead: its URLs fail
                without being tried for as long as the last try took, a second at least. With
                ``FIRST`` there is one trial on a host that has not answered, with ``LAST`` one on
                a dead host for all that wait for it. None: nothing of the kind.
            done: called exactly once with the body or with the exception (`FetchError`, or what
                `check` raised), in a thread of the fetcher, or in the one that closes it. It
                should be quick. What it raises is logged and goes no further.

        Raises:
            FetchError: the fetcher is closed (reason ``closed``); `done` will not be called.
        """
        self._driver.submit(Job(url, done, chance))

    def forget(self, url: str) -> None:
        """Keep what the cache has of a URL no longer."""
        cache = self._driver.cache
        if cache is not None:
            cache.drop(Job(url, done=id).key)

    def stats(self) -> FetchStats:
        """What was done since the fetcher was made."""
        return self._driver.tally.snapshot()

    @property
    def in_flight(self) -> int:
        """How many transfers are under way."""
        return self._driver.tally.in_flight

    def close(self) -> None:
        """Cancel everything and release threads and sockets. Idempotent.

        Whatever is queued or under way gets a `FetchError` with reason ``closed``.
        """
        self._finalizer()

    def __del__(self) -> None:
        finalizer = getattr(self, "_finalizer", None)  # absent where the constructor raised
        if finalizer is not None and finalizer.alive:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=1)

    def fetch(self, url: str) -> bytes:
        """Download one URL and wait for it.

        Raises:
            FetchError: it could not be downloaded.
            DecodeError: the fetcher's `check` refused the body.
        """
        answer: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
        self.submit(url, answer.put)
        result = answer.get()
        if isinstance(result, Exception):
            try:
                raise result
            finally:
                # The traceback holds this frame, which would hold the exception: a cycle.
                del result
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
