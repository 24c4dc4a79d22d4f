"""Shared memory between a worker, which writes, and the consumer, which reads in place.

One anonymous memory file (memfd) a worker, divided into slots. The file is sparse: a slot is as
large as the largest message allowed, and only the pages that were written exist. Nothing has a
name, so nothing can be left behind, and the size of /dev/shm does not matter.

A message's bytes are written into a free slot once. The consumer's arrays are views of the slot;
when the last of them is gone the slot goes back to the worker. A consumer that keeps what it gets
is given copies as soon as the slots run short, so the worker always has one to write to.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from time import perf_counter

import numpy as np

__all__ = ["SLOT_BYTES", "SlotReader", "SlotWriter", "available"]

SLOT_BYTES = 64 << 20
"""Bytes of a slot (of address space; memory is used as far as it is written)."""

_ALIGN = 64
_Slot = ctypes.c_ubyte * SLOT_BYTES


def available() -> bool:
    """Whether this system has anonymous memory files."""
    return hasattr(os, "memfd_create")


class SlotReader:
    """The consumer's side: creates the memory, lends slots, and takes them back.

    Args:
        slots: how many messages can be on their way or in the consumer's hands at once.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.fd = os.memfd_create("dataflow", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, slots * SLOT_BYTES)
        # The views hold the mapping; it dies with the last of them.
        self._map = mmap.mmap(self.fd, slots * SLOT_BYTES)
        self._freed: deque[int] = deque()
        self._lent: dict[int, weakref.ref[ctypes.Array[ctypes.c_ubyte]]] = {}

    def open(self, slot: int, sizes: Sequence[int]) -> list[memoryview]:
        """The buffers of a message, in order: views, or copies where slots are short."""
        if self.slots - len(self._lent) > 1:
            owner = _Slot.from_buffer(self._map, slot * SLOT_BYTES)
            # The callback runs wherever the last array happens to die: it only appends.
            freed = self._freed
            self._lent[slot] = weakref.ref(owner, lambda _: freed.append(slot))
            return _divide(memoryview(owner).cast("B"), sizes)
        start = slot * SLOT_BYTES
        with memoryview(self._map) as whole:
            parts = _divide(whole[start : start + SLOT_BYTES], sizes)
            copies = [memoryview(bytearray(part)) for part in parts]
            for part in parts:
                part.release()
        self._freed.append(slot)
        return copies

    def take_freed(self) -> list[int]:
        """The slots that the worker may use again."""
        freed = []
        while self._freed:
            slot = self._freed.popleft()
            self._lent.pop(slot, None)
            freed.append(slot)
        return freed

    def close(self) -> None:
        """Let go of the file; views stay valid. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class SlotWriter:
    """The worker's side."""

    def __init__(self, fd: int, slots: int) -> None:
        self._memory = np.frombuffer(mmap.mmap(fd, slots * SLOT_BYTES), np.uint8)
        os.close(fd)
        # Last in, first out: few slots stay in use, and in the processor's cache.
        self._free = list(range(slots))
        self._changed = threading.Condition()
        self.waited = 0.0  # seconds for a free slot, over all threads

    def write(self, buffers: Sequence[memoryview]) -> int | None:
        """Copy the buffers into a free slot, waiting for one; None where they are too large."""
        total = sum(_padded(buffer.nbytes) for buffer in buffers)
        if total > SLOT_BYTES:
            return None
        with self._changed:
            while not self._free:
                begun = perf_counter()
                self._changed.wait()
                self.waited += perf_counter() - begun
            slot = self._free.pop()
        place = slot * SLOT_BYTES
        for buffer in buffers:
            # NumPy's copy, unlike a memoryview's, lets other threads run meanwhile.
            np.copyto(self._memory[place : place + buffer.nbytes], np.frombuffer(buffer, np.uint8))
            place += _padded(buffer.nbytes)
        return slot

    def give_back(self, slots: Sequence[int]) -> None:
        """The consumer has finished with these slots."""
        with self._changed:
            self._free.extend(slots)
            self._changed.notify_all()


def _padded(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _divide(block: memoryview, sizes: Sequence[int]) -> list[memoryview]:
    parts, place = [], 0
    for size in sizes:
        parts.append(block[place : place + size])
        place += _padded(size)
    return parts
