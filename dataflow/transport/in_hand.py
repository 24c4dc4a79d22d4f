"""What each hand of a worker is at, in memory that outlives the worker."""

from __future__ import annotations

import mmap
import os
from time import monotonic_ns
from typing import NamedTuple

__all__ = ["Held", "InHand"]

_WORDS = 2  # a hand's record: the task, and since when
_INDEX_BITS = 32


class Held(NamedTuple):
    """A task that a hand is working on.

    Attributes:
        lease: the lease's number.
        task: the task's index in it.
        seconds: for how long.
    """

    lease: int
    task: int
    seconds: float


class InHand:
    """One record a hand, in a page that the worker writes and the consumer reads.

    The page belongs to both processes, so it can still be read when the worker was killed. Each
    word is written at once, and the time before the task: who reads in between finds a task
    younger than it is, never older.

    Args:
        hands: threads of the worker.
        fd: the file that the consumer made for it; it is closed. None: memory of this process.
    """

    def __init__(self, hands: int, fd: int | None = None) -> None:
        self.hands = hands
        self._map = mmap.mmap(-1 if fd is None else fd, _size(hands))
        self._words = memoryview(self._map).cast("Q")
        if fd is not None:
            os.close(fd)

    @staticmethod
    def file(hands: int) -> int:
        """A new file for a worker with so many hands; returns its descriptor."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("dataflow-hands", os.MFD_CLOEXEC)
        else:
            import tempfile

            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, _size(hands))
        return fd

    def begin(self, hand: int, lease: int, index: int) -> None:
        """Hand number `hand` begins a task."""
        self._words[_WORDS * hand + 1] = monotonic_ns()
        self._words[_WORDS * hand] = lease << _INDEX_BITS | index + 1

    def end(self, hand: int) -> None:
        """It has nothing in hand."""
        self._words[_WORDS * hand] = 0

    def task(self, hand: int) -> int:
        """A number that tells what a hand is at from what it was at before; 0 for nothing."""
        return self._words[_WORDS * hand]

    def held(self) -> list[Held]:
        """What all hands are at."""
        found, now = [], monotonic_ns()
        for hand in range(self.hands):
            if word := self._words[_WORDS * hand]:
                lease, index = word >> _INDEX_BITS, (word & (1 << _INDEX_BITS) - 1) - 1
                found.append(Held(lease, index, (now - self._words[_WORDS * hand + 1]) / 1e9))
        return found


def _size(hands: int) -> int:
    return 8 * _WORDS * hands
