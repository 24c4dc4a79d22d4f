"""The kinds of dataflow that others build on: over another flow, and with random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dataflow.epoch import Datapoint, Epoch, Stream
from dataflow.errors import ConfigError
from dataflow.flow import DataFlow
from dataflow.node import is_flow
from dataflow.opening import at, stream
from dataflow.randomness import Tag, datapoint_rng, generator
from dataflow.utils.arguments import shortened

__all__ = ["ProxyDataFlow", "RNGDataFlow", "component"]


class ProxyDataFlow(DataFlow):
    """A dataflow over another one, `ds`; by itself it passes everything on."""

    def __init__(self, ds: Any) -> None:
        if ds is not None or type(self).__module__.startswith("dataflow."):
            _check(self, ds)
        self.ds = ds

    def _stream(self, epoch: Epoch) -> Stream:
        return stream(self.ds, epoch)

    def _at(self, epoch: Epoch, index: int) -> tuple[Tag, Datapoint]:
        if type(self)._stream is not ProxyDataFlow._stream:
            return super()._at(epoch, index)
        return at(self.ds, epoch, index)

    def _length(self) -> int:
        return len(self.ds)


def _check(stage: ProxyDataFlow, ds: Any) -> None:
    """Look whether a stage's input can be a dataflow.

    Raises:
        ConfigError: it is something that people have in its place.
    """
    name = type(stage).__name__
    if isinstance(ds, type):
        raise ConfigError(f"{name} needs a dataflow, not the class {ds.__name__}: call it first")
    if is_flow(ds):
        return
    if isinstance(ds, (list, tuple, set, dict, str, bytes, np.ndarray)) or hasattr(ds, "iloc"):
        raise ConfigError(
            f"{name} needs a dataflow, not the {type(ds).__name__} {shortened(ds)}: "
            "DataFromList(datapoints) makes one of a list of datapoints"
        )
    if hasattr(ds, "__next__"):
        raise ConfigError(
            f"{name} needs a dataflow, not the iterator {shortened(ds)}, which has one pass only: "
            "DataFromGenerator(function) makes one of a function that returns an iterator"
        )
    if not hasattr(ds, "__iter__") and not hasattr(ds, "__getitem__"):
        raise ConfigError(f"{name} needs a dataflow, not {shortened(ds)}")


_USERS = (-1, -1)  # in place of the key of a generator that somebody assigned


class RNGDataFlow(DataFlow):
    """A dataflow with random numbers, `self.rng`.

    `rng` is a `numpy.random.RandomState`. Where one datapoint is handled at a time it belongs to
    that datapoint; in a class that defines `__iter__` itself it belongs to the epoch, and to the
    branch where a chain has several. Either way it is decided by the chain's seed.
    """

    __rng: tuple[tuple[int, ...], np.random.RandomState] | None = None

    @property
    def rng(self) -> np.random.RandomState:
        state = datapoint_rng()
        if state is not None:
            return state
        epoch, path = self._current_epoch(), self._current_path()
        key = (self._seed_of_chain()[0], epoch, *path)
        if self.__rng is None or (self.__rng[0] != key and self.__rng[0] != _USERS):
            bits = generator(key[0], "flow", epoch, self._stage_number(), *path).bit_generator
            self.__rng = (key, np.random.RandomState(bits))
        return self.__rng[1]

    @rng.setter
    def rng(self, value: np.random.RandomState) -> None:
        # Users' classes may bring their own, as tensorpack's do in reset_state.
        self.__rng = (_USERS, value)

    def _begin(self, epoch: Epoch | None = None) -> Epoch:
        if self.__rng is not None and self.__rng[0] != _USERS:
            self.__rng = None  # even of the same epoch: it was drawn from
        return super()._begin(epoch)


def component(datapoint: Datapoint, index: Any) -> Any:
    """Component `index` of a datapoint, with an error that says what it has instead."""
    try:
        return datapoint[index]
    except (IndexError, KeyError) as error:
        has = list(datapoint) if isinstance(datapoint, Mapping) else f"{len(datapoint)} components"
        raise type(error)(f"no component {index!r}: the datapoint has {has}") from None
