"""The items of other libraries' data sets."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dataflow.errors import ConfigError
from dataflow.randomness import datapoint_rng
from dataflow.sources.keyed import KeyedSource
from dataflow.utils.global_random import begun_anew

__all__ = ["DataFromDataset", "from_dataset"]


class DataFromDataset(KeyedSource):
    """The items of a data set with ``len(dataset)`` and ``dataset[i]``.

    Such are PyTorch's, torchvision's, those of Hugging Face's `datasets`, Grain's, and lists. Where
    a runner follows, ``dataset[i]`` runs in its workers, each of which gets the data set once.

    A tuple becomes a list, a dict stays one, anything else becomes a list of one component; tensors
    become arrays, with the same memory. What an item draws from `random`, `numpy.random` and
    PyTorch, as torchvision's transforms do, is decided by the chain's seed, the epoch and the
    item, on any number of processes (not of threads, which share these).

    Args:
        dataset: the data set.
        shuffle: a new random order each epoch.

    Raises:
        ConfigError: it is none.
    """

    _consumer_only = ("dataset",)

    def __init__(self, dataset: Any, shuffle: bool = False) -> None:
        if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
            hint = ""
            if hasattr(dataset, "__iter__"):
                hint = ": df.DataFromIterable(dataset) takes what can only be iterated"
            raise ConfigError(
                f"dataset={type(dataset).__name__} has no len() or no dataset[i]{hint}"
            )
        self.dataset = dataset
        self.shuffle = shuffle

    def keys(self) -> Sequence[int]:
        return range(len(self.dataset))

    def loader(self) -> Callable[[int], Any]:
        return _Item(self.dataset)


class _Item:
    """An item by its number, as a datapoint."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._home = os.getpid()

    def __call__(self, number: int) -> Any:
        rng = datapoint_rng()
        if rng is None:
            return _as_datapoint(self._dataset[number])
        with begun_anew(int(rng.randint(1 << 63, dtype=np.int64)), self._home):
            return _as_datapoint(self._dataset[number])


def _as_datapoint(item: Any) -> Any:
    if isinstance(item, dict):
        return {name: _as_array(value) for name, value in item.items()}
    if isinstance(item, (tuple, list)):
        return list(map(_as_array, item))
    return [_as_array(item)]


def _as_array(value: Any) -> Any:
    torch: Any = sys.modules.get("torch")
    if torch is None or type(value) is not torch.Tensor:
        return value
    try:
        return value.numpy()
    except (TypeError, RuntimeError):  # of a dtype that NumPy lacks, or on a device
        return value


def from_dataset(dataset: Any, shuffle: bool = False) -> DataFromDataset:
    """A dataflow over a data set of another library: see `DataFromDataset`."""
    return DataFromDataset(dataset, shuffle)
