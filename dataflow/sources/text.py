"""Many strings in little memory."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

__all__ = ["Text"]

_WIDEST = (1 << 32) - 1  # what array("I") holds
_BLOCK = 8192


class Text(Sequence[str]):
    """Strings as one block of UTF-8 and where each ends: 4 or 8 bytes a string beside the text.

    A Python string takes about 50 bytes more than its text, and 8 for the place in its list.

    Args:
        strings: the first ones, see `extend`.
    """

    def __init__(self, strings: Iterable[str] = ()) -> None:
        self._bytes = bytearray()
        self._bounds = array("I", [0])
        self.extend(strings)

    def extend(self, strings: Iterable[str]) -> None:
        """Append strings; they are taken in as they come."""
        iterator = iter(strings)
        while block := list(itertools.islice(iterator, _BLOCK)):
            encoded = [_encode(string) for string in block]
            bounds = list(itertools.accumulate(map(len, encoded), initial=len(self._bytes)))
            self._bytes += b"".join(encoded)
            if self._bounds.typecode == "I" and bounds[-1] > _WIDEST:
                self._bounds = array("Q", self._bounds)
            self._bounds.extend(bounds[1:])

    def take(self, indices: npt.NDArray[np.int64]) -> list[str]:
        """The strings at these places, none of them negative."""
        bounds = np.frombuffer(self._bounds, self._bounds.typecode)
        starts, stops = bounds[indices].tolist(), bounds[indices + 1].tolist()
        text = self._bytes
        return [_decode(text[i:j]) for i, j in zip(starts, stops, strict=True)]

    @property
    def nbytes(self) -> int:
        """The memory in use, in bytes."""
        return len(self._bytes) + len(self._bounds) * self._bounds.itemsize

    def __len__(self) -> int:
        return len(self._bounds) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> Any:
        places = range(len(self))[index]
        if isinstance(places, range):
            return self.take(np.array(places, np.int64))
        return _decode(self._bytes[self._bounds[places] : self._bounds[places + 1]])


# File names that are no UTF-8 come with lone surrogates, which must come back as they were.
def _encode(string: str) -> bytes:
    return string.encode("utf-8", "surrogatepass")


def _decode(text: bytes | bytearray) -> str:
    return text.decode("utf-8", "surrogatepass")
