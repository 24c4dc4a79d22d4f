"""Shared memory between a worker, which writes, and the consumer, which reads in place.

One anonymous memory file (memfd) a worker, divided into slots. The file is sparse: a slot is as
large as the largest message allowed, and only the pages that were written exist. Nothing has a
name, so nothing can be left behind, and the size of /dev/shm does not matter. Pages that were not
written for a second, or lie beyond what messages take now, go back to the system.

A message's bytes are written into a free slot once. The consumer's arrays are views of the slot;
when the last of them is gone the slot goes back to the worker. A consumer that keeps what it gets
is given copies as soon as the slots run short, so the worker always has one to write to.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import resource
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic, perf_counter
from typing import Any, TypeAlias

import numpy as np

from dataflow.ownership import ExclusiveMemory

__all__ = ["SLOT_BYTES", "Block", "Place", "SlotReader", "SlotWriter", "slot_bytes"]

SLOT_BYTES = 256 << 20
"""Bytes of a slot (of address space; memory is used as far as it is written)."""

_LEAST = 1 << 20  # bytes of a slot, below which there had better be none
_SHARE = 16  # a worker's slots take no more than such a part of a limited address space
_IDLE_SECONDS = 1.0

Place: TypeAlias = tuple[int, int]
"""Offset and size of a buffer in its slot, in bytes."""

_ALIGN = 64


def slot_bytes(slots: int) -> int:
    """Bytes of each of so many slots, in an address space and with file sizes that may be limited.

    Returns:
        `SLOT_BYTES` or less; 0 where this system has no anonymous memory files, or no room.
    """
    if not hasattr(os, "memfd_create"):
        return 0
    most: float = math.inf
    for name, share in ((resource.RLIMIT_AS, _SHARE), (resource.RLIMIT_FSIZE, 1)):
        limit, _ = resource.getrlimit(name)
        most = most if limit == resource.RLIM_INFINITY else min(most, limit // share)
    size = SLOT_BYTES
    while size * slots > most:
        size //= 2
    return size if size >= _LEAST else 0


class SlotReader:
    """The consumer's side: creates the memory, lends slots, and takes them back.

    Args:
        slots: how many messages can be on their way or in the consumer's hands at once.
        size: bytes of each.

    Raises:
        OSError: there is no room for it in the address space.
    """

    def __init__(self, slots: int, size: int = SLOT_BYTES) -> None:
        self.slots = slots
        self.size = size
        self._kind: Any = type("Slot", (ctypes.c_ubyte * size, ExclusiveMemory), {})
        self.fd = os.memfd_create("dataflow", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.fd, slots * size)
            # The views hold the mapping; it dies with the last of them.
            self._map = mmap.mmap(self.fd, slots * size)
        except OSError:
            os.close(self.fd)
            raise
        self._freed: deque[int] = deque()
        self._lent: dict[int, weakref.ref[ctypes.Array[ctypes.c_ubyte]]] = {}

    @contextmanager
    def open(self, slot: int, places: Sequence[Place], laid: int = 0) -> Iterator[list[memoryview]]:
        """The buffers of a message, in order: views, or copies where slots are short.

        Then, what was laid in the slot is a view that can only be read, as long as the context
        lasts: whoever makes arrays of it copies them.

        Args:
            slot: its number.
            places: of the buffers.
            laid: bytes of what was laid in the slot.
        """
        if self.slots - len(self._lent) > 1:
            owner = self._kind.from_buffer(self._map, slot * self.size)
            # The callback runs wherever the last array happens to die: it only appends.
            freed = self._freed
            self._lent[slot] = weakref.ref(owner, lambda _: freed.append(slot))
            whole = memoryview(owner).cast("B")
            yield [whole[offset : offset + size] for offset, size in places]
            return
        whole = memoryview(self._map)[slot * self.size : (slot + 1) * self.size]
        buffers = []
        for offset, size in places:
            part = whole[offset : offset + size]
            is_laid = offset == 0 and size == laid
            buffers.append(part.toreadonly() if is_laid else memoryview(bytearray(part)))
        try:
            yield buffers
        finally:
            self._freed.append(slot)

    def take_freed(self) -> list[int]:
        """The slots that the worker may use again."""
        freed = []
        while self._freed:
            slot = self._freed.popleft()
            self._lent.pop(slot, None)
            freed.append(slot)
        return freed

    def resident(self) -> int:
        """Bytes of memory that the slots take now."""
        return os.fstat(self.fd).st_blocks * 512 if self.fd >= 0 else 0

    def close(self) -> None:
        """Let go of the file; views stay valid. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Block:
    """A slot while arrays are built in it.

    Args:
        slot: its number.
        memory: its bytes.
        written: how many bytes of each slot were, which it keeps up to date.
    """

    def __init__(self, slot: int, memory: np.ndarray, written: list[int]) -> None:
        self.slot = slot
        self._written = written
        self._memory = memory
        self._size = len(memory)
        self._address = memory.ctypes.data
        self._used = 0
        self._built = 0  # bytes of arrays that `empty` made room for
        self._whole = False  # the message has these as one buffer
        self._offsets: dict[int, tuple[np.ndarray, int]] = {}  # of each, by its identity

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array in the slot, uninitialised; elsewhere where there is no room for it."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        end = self._used + _padded(size)
        if not size or end > self._size or dtype.hasobject:
            return np.empty(shape, dtype)
        array: np.ndarray = np.ndarray(shape, dtype, self._memory, self._used)
        self._offsets[id(array)] = array, self._used
        self._used = self._built = end
        self._note()
        return array

    def offset_of(self, array: np.ndarray) -> int | None:
        """Where an array begins that `empty` made; None of others."""
        found = self._offsets.get(id(array))
        return None if found is None else found[1]

    def laid(self) -> np.ndarray:
        """The bytes of all such arrays, which the message has as one buffer."""
        self._whole = True
        return self._memory[: self._built]

    def apart(self) -> None:
        """The message has each of them as a buffer of its own after all."""
        self._whole = False

    @property
    def laid_bytes(self) -> int:
        """Bytes of that buffer, 0 where the arrays are buffers of their own."""
        return self._built if self._whole else 0

    def add(self, buffers: Sequence[memoryview]) -> list[Place] | None:
        """Where each buffer lies in the slot, copied there if need be; None: no room for all."""
        places: list[Place] = []
        for buffer in buffers:
            raw = np.frombuffer(buffer, np.uint8)
            # Not `raw.ctypes.data`, which takes twice as long.
            offset = raw.__array_interface__["data"][0] - self._address if self._built else -1
            if not 0 <= offset < self._built:
                offset = self._used
                self._used += _padded(raw.nbytes)
                if self._used > self._size:
                    return None
                self._note()
                # NumPy's copy, unlike a memoryview's, lets other threads run meanwhile.
                np.copyto(self._memory[offset : offset + raw.nbytes], raw)
            places.append((offset, raw.nbytes))
        return places

    def _note(self) -> None:
        if self._used > self._written[self.slot]:
            self._written[self.slot] = self._used


class SlotWriter:
    """The worker's side.

    Args:
        fd: the file; it is closed.
        slots: how many there are.
        size: bytes of each.

    Raises:
        OSError: there is no room for it in the address space.
    """

    def __init__(self, fd: int, slots: int, size: int = SLOT_BYTES) -> None:
        self.size = size
        try:
            self._map = mmap.mmap(fd, slots * size)
        finally:
            os.close(fd)
        self._memory = np.frombuffer(self._map, np.uint8)
        # Last in, first out: few slots stay in use, and in the processor's cache.
        self._free = list(range(slots))
        self._written = [0] * slots  # bytes of each that take memory
        self._lent = [True] * slots  # since the last look for idle ones
        self._recent = 0  # bytes of the largest message since then
        self._looked = monotonic()
        self._changed = threading.Condition()
        self.waited = 0.0  # seconds for a free slot, over all threads

    def block(self) -> Block:
        """A free slot to build arrays in, waiting for one."""
        with self._changed:
            while not self._free:
                begun = perf_counter()
                self._changed.wait()
                self.waited += perf_counter() - begun
            return self._lend()

    def _lend(self) -> Block:
        slot = self._free.pop()
        self._lent[slot] = True
        start = slot * self.size
        return Block(slot, self._memory[start : start + self.size], self._written)

    def spare(self, besides: int) -> Block | None:
        """A free slot to build arrays in, if so many others are free."""
        with self._changed:
            return self._lend() if len(self._free) > besides else None

    def write(
        self, buffers: Sequence[memoryview], block: Block | None = None
    ) -> tuple[int, list[Place]] | None:
        """Bring the buffers into one slot, waiting for a free one where none is given.

        Args:
            buffers: what to write.
            block: a slot in which some of them lie already.

        Returns:
            The slot, and the place of each buffer in it; None where they are too large, and the
            block is still the caller's.
        """
        self._recent = max(self._recent, sum(_padded(buffer.nbytes) for buffer in buffers))
        if block is not None and (places := block.add(buffers)) is not None:
            return block.slot, places
        if sum(_padded(buffer.nbytes) for buffer in buffers) > self.size:
            return None
        whole = self.block()
        places = whole.add(buffers)
        assert places is not None, "the size was checked"
        if block is not None:  # rare: a whole new slot had room
            self.give_back([block.slot])
        return whole.slot, places

    def give_back(self, slots: Sequence[int]) -> None:
        """The consumer has finished with these slots."""
        with self._changed:
            self._free.extend(slots)
            self._changed.notify_all()
        if self._looked + _IDLE_SECONDS < monotonic():
            self.trim()

    def trim(self) -> bool:
        """Give memory back that has had no use lately; returns whether there may be more soon.

        That is slots that were free since the last look, and of others what is far beyond the
        largest message since then.
        """
        with self._changed:
            self._looked, largest = monotonic(), self._recent
            for slot in self._free:
                kept = _paged(largest) if self._lent[slot] else 0
                if self._written[slot] > 2 * kept and hasattr(mmap, "MADV_REMOVE"):
                    length = _paged(self._written[slot]) - kept
                    self._map.madvise(mmap.MADV_REMOVE, slot * self.size + kept, length)
                    self._written[slot] = kept
            self._recent = 0
            self._lent = [False] * len(self._lent)
            for slot in set(range(len(self._lent))).difference(self._free):
                self._lent[slot] = True
            return any(self._written[slot] for slot in self._free)


def _paged(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def _padded(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN
