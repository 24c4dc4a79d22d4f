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
import math
import mmap
import os
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np

__all__ = ["SLOT_BYTES", "Block", "SlotReader", "SlotWriter", "available"]

SLOT_BYTES = 256 << 20
"""Bytes of a slot (of address space; memory is used as far as it is written)."""

Place: TypeAlias = tuple[int, int]
"""Offset and size of a buffer in its slot, in bytes."""

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

    def open(self, slot: int, places: Sequence[Place]) -> list[memoryview]:
        """The buffers of a message, in order: views, or copies where slots are short."""
        if self.slots - len(self._lent) > 1:
            owner = _Slot.from_buffer(self._map, slot * SLOT_BYTES)
            # The callback runs wherever the last array happens to die: it only appends.
            freed = self._freed
            self._lent[slot] = weakref.ref(owner, lambda _: freed.append(slot))
            whole = memoryview(owner).cast("B")
            return [whole[offset : offset + size] for offset, size in places]
        start = slot * SLOT_BYTES
        copies = []
        with memoryview(self._map) as whole:
            for offset, size in places:
                with whole[start + offset : start + offset + size] as part:
                    copies.append(memoryview(bytearray(part)))
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


class Block:
    """A slot while arrays are built in it.

    Args:
        slot: its number.
        memory: its bytes.
    """

    def __init__(self, slot: int, memory: np.ndarray) -> None:
        self.slot = slot
        self._memory = memory
        self._address = memory.ctypes.data
        self._used = 0
        self._built = 0  # bytes of arrays that `empty` made room for

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array in the slot, uninitialised; elsewhere where there is no room for it."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or not size or self._used + _padded(size) > SLOT_BYTES:
            return np.empty(shape, dtype)
        raw = self._memory[self._used : self._used + size]
        self._used = self._built = self._used + _padded(size)
        array: np.ndarray = raw.view(dtype).reshape(shape)
        return array

    def add(self, buffers: Sequence[memoryview]) -> list[Place] | None:
        """Where each buffer lies in the slot, copied there if need be; None: no room for all."""
        places: list[Place] = []
        for buffer in buffers:
            raw = np.frombuffer(buffer, np.uint8)
            offset = raw.ctypes.data - self._address if self._built else -1
            if not 0 <= offset < self._built:
                offset = self._used
                self._used += _padded(raw.nbytes)
                if self._used > SLOT_BYTES:
                    return None
                # NumPy's copy, unlike a memoryview's, lets other threads run meanwhile.
                np.copyto(self._memory[offset : offset + raw.nbytes], raw)
            places.append((offset, raw.nbytes))
        return places


class SlotWriter:
    """The worker's side."""

    def __init__(self, fd: int, slots: int) -> None:
        self._memory = np.frombuffer(mmap.mmap(fd, slots * SLOT_BYTES), np.uint8)
        os.close(fd)
        # Last in, first out: few slots stay in use, and in the processor's cache.
        self._free = list(range(slots))
        self._changed = threading.Condition()
        self.waited = 0.0  # seconds for a free slot, over all threads

    def block(self) -> Block:
        """A free slot to build arrays in, waiting for one."""
        with self._changed:
            while not self._free:
                begun = perf_counter()
                self._changed.wait()
                self.waited += perf_counter() - begun
            slot = self._free.pop()
        start = slot * SLOT_BYTES
        return Block(slot, self._memory[start : start + SLOT_BYTES])

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
        if block is not None and (places := block.add(buffers)) is not None:
            return block.slot, places
        if sum(_padded(buffer.nbytes) for buffer in buffers) > SLOT_BYTES:
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


def _padded(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN
