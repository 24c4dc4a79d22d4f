"""Sources that are an ordered set of small keys and a way to load one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count, repeat, takewhile
from typing import Any

from dataflow.epoch import Epoch, Stream
from dataflow.kinds import RNGDataFlow
from dataflow.randomness import Tag, generator
from dataflow.records import KeySource, Record
from dataflow.sources.columns import pick
from dataflow.sources.permutation import Permutation
from dataflow.stages.item import ItemStage

__all__ = ["KeyedSource"]


class KeyedSource(RNGDataFlow):
    """A source whose keys stay here while the loading may run anywhere.

    Subclasses define `keys` and, unless the key is the datapoint, `loader`; they set `shuffle`
    for a new order in each epoch.
    """

    _kind = "source"
    _has_keys = True
    shuffle: bool = False
    __last: tuple[tuple[int, ...], Permutation] | None = None

    def keys(self) -> Sequence[Any]:
        """The keys in their unshuffled order."""
        raise NotImplementedError(f"{type(self).__name__} defines no keys()")

    def loader(self) -> Callable[[Any], Any] | None:
        """A small picklable function, key → datapoint; None where the key is the datapoint."""
        return None

    def _stages(self) -> list[ItemStage]:
        """Per-item stages that belong to the source itself, between key and datapoint."""
        return []

    def _to_record(self, inputs: tuple[Record, ...]) -> Record:
        return KeySource(self, inputs)

    def _length(self) -> int:
        return len(self.keys())

    def _stream(self, epoch: Epoch) -> Stream:
        # For a subclass whose own `__iter__` wraps this one; all others are part of a whole.
        return epoch.session.alone(self, epoch)  # type: ignore[no-any-return]

    def _keys(self, epoch: Epoch, start: int = 0) -> Iterator[tuple[Tag, Any]]:
        """The epoch's keys in order from place `start` on, each with its tag.

        This is what leases are made of.
        """
        return zip(*self._columns(epoch, start), strict=False)

    def _columns(self, epoch: Epoch, start: int = 0) -> tuple[Iterator[Tag], Iterator[Any]]:
        """The same as tags and keys."""
        # Iterators of the standard library, one in the other: a generator costs four times as much.
        tags = zip(repeat(epoch.number), count(start), *map(repeat, epoch.path), strict=False)
        return tags, pick(self.keys(), self._indices(epoch, start))

    def _key_at(self, epoch: Epoch, place: int) -> tuple[Tag, Any]:
        """One of them."""
        index = place if not self.shuffle else self._permutation(epoch)[place]
        return (epoch.number, place, *epoch.path), self.keys()[index]

    def _index_of(self, epoch: Epoch, tag: Tag) -> int:
        """The place in `keys` of the datapoint with this tag."""
        number, place, *path = tag
        if not self.shuffle:
            return int(place)
        # Copies of a datapoint have more in their tags than the way to their source.
        way = tuple(takewhile(lambda step: isinstance(step, int), path))
        return self._permutation(epoch._replace(number=number, path=way))[place]

    def _indices(self, epoch: Epoch, start: int) -> Iterator[int]:
        if not self.shuffle:
            return iter(range(start, len(self.keys())))
        return self._permutation(epoch).run(start)

    def _permutation(self, epoch: Epoch) -> Permutation:
        """The epoch's order; the last one is kept, as random access asks for it again and again."""
        where = (epoch.number, self._stage_number(), *epoch.order_of(self))
        path = (epoch.seed, len(self.keys()), *where)
        if self.__last is None or self.__last[0] != path:
            seed, size, *rest = path
            rng = generator(seed, "permutation", *rest)
            self.__last = (path, Permutation(size, rng))
        return self.__last[1]

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("_KeyedSource__last", None)
        return state
