"""A random permutation that is computed, not stored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["Permutation"]

_SMALL = 1 << 16
_ROUNDS = 6
_BLOCK = 4096

_Words = npt.NDArray[np.uint64]


class Permutation:
    """A permutation of ``range(size)`` in O(1) memory, with access to any place of it.

    Up to 65,536 elements it is drawn and kept. Beyond, it is a Feistel network over just enough
    bits with cycle walking [1]_: a keyed bijection, so ten million keys need no list of ten
    million numbers. (On tiny domains a Feistel network is far from uniform, hence the two ways.)

    .. [1] Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002.
    """

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size = size
        self._table: npt.NDArray[np.int64] | None = None
        if size <= _SMALL:
            self._table = rng.permutation(size)
            return
        bits = (size - 1).bit_length()
        self._low = np.uint64(bits // 2)
        self._high = np.uint64(bits - bits // 2)
        self._round_keys = rng.integers(1 << 64, size=_ROUNDS, dtype=np.uint64)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, place: int) -> int:
        if not 0 <= place < self.size:
            raise IndexError(f"place {place} of a permutation of {self.size}")
        return int(self.block(place, place + 1)[0])

    def __iter__(self) -> Iterator[int]:
        return self.run()

    def run(self, start: int = 0) -> Iterator[int]:
        """The elements from place `start` on."""
        for place in range(start, self.size, _BLOCK):
            yield from self.block(place, min(place + _BLOCK, self.size)).tolist()

    def block(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """The elements at places `start` to `stop` (exclusive), int64."""
        if self._table is not None:
            return self._table[start:stop]
        values = self._encrypt(np.arange(start, stop, dtype=np.uint64))
        # The network permutes a power of two below 2 × size: walk on until back inside.
        while (outside := values >= self.size).any():
            values[outside] = self._encrypt(values[outside])
        return values.astype(np.int64)

    def _encrypt(self, values: _Words) -> _Words:
        # Unbalanced Feistel: the halves change width with every round, back after two.
        width, other = self._low, self._high
        for key in self._round_keys:
            left, right = values >> width, values & _mask(width)
            mixed = left ^ (_mix(right + key) & _mask(other))
            values = (right << other) | mixed
            width, other = other, width
        return values


def _mask(bits: np.uint64) -> np.uint64:
    mask: np.uint64 = np.uint64((1 << int(bits)) - 1)
    return mask


def _mix(words: _Words) -> _Words:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    words = words ^ (words >> np.uint64(31))
    return words
