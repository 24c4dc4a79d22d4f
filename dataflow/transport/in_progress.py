"""What each thread of a worker is at, in memory that outlives the worker."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from time import monotonic_ns
from typing import NamedTuple

__all__ = ["Held", "InProgress", "Untimed"]

_WORDS = 2  # a thread's record: the task, and since when
_INDEX_BITS = 32


class Held(NamedTuple):
    """A task that a thread is working on.

    Attributes:
        lease: the lease's number.
        task: the task's index in it.
        seconds: for how long.
    """

    lease: int
    task: int
    seconds: float


class InProgress:
    """One record a thread, in a page that the worker writes and the consumer reads.

    The page belongs to both processes, so it can still be read when the worker was killed. Each
    word is written at once, and the time before the task: who reads in between finds a task
    younger than it is, never older.

    Args:
        threads: threads of the worker.
        fd: the file that the consumer made for it; it is closed. None: memory of this process.
    """

    def __init__(self, threads: int, fd: int | None = None) -> None:
        self.threads = threads
        self._map = mmap.mmap(-1 if fd is None else fd, _size(threads))
        self._words = memoryview(self._map).cast("Q")
        if fd is not None:
            os.close(fd)

    @staticmethod
    def file(threads: int) -> int:
        """A new file for a worker with so many threads; returns its descriptor."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("dataflow-threads", os.MFD_CLOEXEC)
        else:
            import tempfile

            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, _size(threads))
        return fd

    def marker(self, thread: int, lease: int) -> Callable[[int], None]:
        """What thread number `thread` calls with the index of each task of a lease that it begins.

        A function for all of them costs less than a method for each.
        """
        words, task, base = self._words, _WORDS * thread, (lease << _INDEX_BITS) + 1
        since = task + 1

        def begin(index: int) -> None:
            words[since] = monotonic_ns()
            words[task] = base + index

        return begin

    def begin(self, thread: int, lease: int, index: int) -> None:
        """Thread number `thread` begins a task."""
        self.marker(thread, lease)(index)

    def end(self, thread: int) -> None:
        """It has nothing in progress."""
        self._words[_WORDS * thread] = 0

    def task(self, thread: int) -> int:
        """A number that tells what a thread is at from what it was at before; 0 for nothing."""
        return self._words[_WORDS * thread]

    def held(self) -> list[Held]:
        """What all threads are at."""
        found, now = [], monotonic_ns()
        for thread in range(self.threads):
            if word := self._words[_WORDS * thread]:
                lease, index = word >> _INDEX_BITS, (word & (1 << _INDEX_BITS) - 1) - 1
                found.append(Held(lease, index, (now - self._words[_WORDS * thread + 1]) / 1e9))
        return found


class Untimed:
    """The same for threads of this process, which nobody has to time or to kill: it costs less.

    Args:
        threads: threads of the worker.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._tasks = [0] * threads

    def marker(self, thread: int, lease: int) -> Callable[[int], None]:
        """What thread number `thread` calls with the index of each task of a lease."""
        tasks, base = self._tasks, (lease << _INDEX_BITS) + 1

        def begin(index: int) -> None:
            tasks[thread] = base + index

        return begin

    def begin(self, thread: int, lease: int, index: int) -> None:
        """Thread number `thread` begins a task."""
        self.marker(thread, lease)(index)

    def end(self, thread: int) -> None:
        """It has nothing in progress."""
        self._tasks[thread] = 0

    def task(self, thread: int) -> int:
        """A number that tells what a thread is at from what it was at before; 0 for nothing."""
        return self._tasks[thread]


def _size(threads: int) -> int:
    return 8 * _WORDS * threads
