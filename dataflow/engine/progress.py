"""Which places of an index source were delivered."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, compress, count
from operator import length_hint
from typing import Any, TypeVar

import numpy as np

__all__ = ["Progress", "Remaining"]

_T = TypeVar("_T")


class Progress:
    """The frontier, which is the first place not delivered, and what was delivered beyond it.

    Args:
        saved: what `state` was.

    Attributes:
        frontier: that place.
    """

    def __init__(self, saved: dict[str, Any]) -> None:
        self.frontier = int(saved.get("next", 0))
        self._expected: Sequence[int] = ()
        self._left: Iterator[Any] = iter(())
        # By the place where a run of delivered ones begins, where it ends.
        self._beyond: dict[int, int] = {}
        if packed := saved.get("beyond"):
            octets = np.frombuffer(base64.b64decode(packed), np.uint8)
            places = np.flatnonzero(np.unpackbits(octets, bitorder="little"))
            self._beyond = {place: place + 1 for place in (places + self.frontier).tolist()}

    def deliver(self, place: int) -> None:
        """A place went to the user, or was dropped."""
        self._add(place, place + 1)

    def deliver_all(self, places: Sequence[int]) -> None:
        """Several places."""
        if isinstance(places, range):
            self._add(places.start, places.stop)
        else:
            for place in places:
                self._add(place, place + 1)

    def _add(self, start: int, stop: int) -> None:
        if start != self.frontier:
            self._beyond[start] = stop
            return
        beyond = self._beyond
        while beyond and stop in beyond:
            stop = beyond.pop(stop)
        self.frontier = stop

    def expect(self, places: Sequence[int], left: Iterator[Any]) -> None:
        """These go to the user one after the other, out of an iterator of a list of as many.

        How many are left in there tells which went, without a call for each.
        """
        self._enter()
        self._expected, self._left = places, left

    def _enter(self) -> None:
        """Bring the frontier up to date."""
        given = len(self._expected) - length_hint(self._left)
        if given:
            self.deliver_all(self._expected[:given])
            self._expected = self._expected[given:]

    def remaining(self) -> Remaining:
        """What is not delivered at this moment."""
        self._enter()
        return Remaining(self.frontier, self._places_beyond())

    def _places_beyond(self) -> set[int]:
        return {place for run in self._beyond.items() for place in range(*run)}

    def state(self) -> dict[str, Any]:
        """In numbers and text: a bit for each place between the frontier and the last delivered."""
        self._enter()
        state: dict[str, Any] = {"next": self.frontier}
        if beyond := self._places_beyond():
            places = np.fromiter(beyond, np.int64) - self.frontier
            bits = np.zeros(places.max() + 1, np.uint8)
            bits[places] = 1
            state["beyond"] = base64.b64encode(
                np.packbits(bits, bitorder="little").tobytes()
            ).decode()
        return state


class Remaining:
    """The places from a frontier on, but for some; counted from 0."""

    def __init__(self, start: int, without: set[int]) -> None:
        self.start = start
        self._after = max(without, default=start - 1) + 1
        self._mask = [place not in without for place in range(start, self._after)]
        self._before = list(compress(range(start, self._after), self._mask))

    @property
    def place(self) -> Callable[[int], int]:
        """`__getitem__`, for less where none is missing."""
        return self.__getitem__ if self._before else self._after.__add__

    def __getitem__(self, number: int) -> int:
        """The place of the remaining one `number`."""
        before = self._before
        if not before:
            return self._after + number
        return before[number] if number < len(before) else self._after + number - len(before)

    def all_of(self, numbers: Sequence[int]) -> Sequence[int]:
        """The places of several remaining ones; a range of a range, where none is missing."""
        if self._before or not isinstance(numbers, range):
            return [self[number] for number in numbers]
        return range(self._after + numbers.start, self._after + numbers.stop)

    def of(self, pairs: Iterator[_T]) -> Iterator[_T]:
        """Those of `pairs`, which begin at `start`, that remain."""
        if not self._mask:
            return pairs
        masked = zip(self._mask, pairs, strict=False)
        return chain((pair for wanted, pair in masked if wanted), pairs)

    def places(self) -> Iterator[int]:
        """The places in order, without end."""
        return map(self.place, count())
