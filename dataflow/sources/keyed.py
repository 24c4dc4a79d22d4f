"""Sources that are an ordered set of small keys and a way to load one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dataflow.base import RNGDataFlow
from dataflow.epoch import Epoch, Stream
from dataflow.randomness import Tag, enter, generator, leave
from dataflow.sources.permutation import Permutation
from dataflow.stages.item import ItemStage

__all__ = ["KeyedSource"]


class KeyedSource(RNGDataFlow):
    """A source whose keys stay here while the loading may run anywhere.

    Subclasses define `keys` and, unless the key is the datapoint, `loader`; they set `shuffle`
    for a new order in each epoch.
    """

    _kind = "source"
    shuffle: bool = False

    def keys(self) -> Sequence[Any]:
        """The keys in their unshuffled order."""
        raise NotImplementedError(f"{type(self).__name__} defines no keys()")

    def loader(self) -> Callable[[Any], Any] | None:
        """A small picklable function, key → datapoint; None where the key is the datapoint."""
        return None

    def _stages(self) -> list[ItemStage]:
        """Per-item stages that belong to the source itself, between key and datapoint."""
        return []

    def _length(self) -> int:
        return len(self.keys())

    def _keys(self, epoch: Epoch) -> Iterator[tuple[Tag, Any]]:
        """The epoch's keys in order, each with its tag. This is what leases are made of."""
        keys = self.keys()
        order: Any = range(len(keys))
        if self.shuffle:
            rng = generator(epoch.seed, "permutation", epoch.number, self._stage_number())
            order = Permutation(len(keys), rng)
        for position, index in enumerate(order):
            yield (epoch.number, position), keys[index]

    def _stream(self, epoch: Epoch) -> Stream:
        load = self.loader()
        for tag, key in self._keys(epoch):
            if load is None:
                yield tag, key
                continue
            enter(epoch.seed, tag, 0)
            try:
                datapoint = load(key)
            finally:
                leave()
            yield tag, datapoint
