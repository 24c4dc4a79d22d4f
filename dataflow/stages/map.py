"""A function of the user's on every datapoint, or on one component of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

from dataflow.epoch import Datapoint
from dataflow.errors import ConfigError
from dataflow.kinds import component
from dataflow.stages.item import ItemStage

__all__ = ["FilterData", "MapData", "MapDataComponent", "SelectComponent"]


class MapData(ItemStage):
    """Apply a function to every datapoint; where it returns None the datapoint is dropped.

    The function may write into what it gets, and may return the same buffer each time: what a list
    or a cache holds is copied before, and what is kept is copied behind it. `len()` stays that of
    the input.

    Args:
        ds: the input.
        func: datapoint → datapoint or None.
    """

    def __init__(self, ds: Any, func: Callable[[Datapoint], Datapoint | None]) -> None:
        super().__init__(ds)
        if not callable(func):
            raise ConfigError(f"func={func!r} must be callable")
        self.func = func

    @classmethod
    def of_source(cls, func: Callable[[Datapoint], Datapoint | None]) -> MapData:
        """One that belongs to a source, between its keys and datapoints, and has no input itself.

        Args:
            func: as above.
        """
        stage = cls.__new__(cls)
        stage.ds, stage.func = None, func
        return stage

    def apply(self, datapoint: Datapoint) -> Datapoint | None:
        return self.func(datapoint)


class MapDataComponent(MapData):
    """Apply a function to one component; where it returns None the whole datapoint is dropped.

    Args:
        ds: the input.
        func: component → component or None.
        index: the component's index, or its key in dict datapoints.
    """

    def __init__(self, ds: Any, func: Callable[[Any], Any], index: int | str = 0) -> None:
        super().__init__(ds, func)
        self.index = index

    def apply(self, datapoint: Datapoint) -> Datapoint | None:
        result = self.func(component(datapoint, self.index))
        if result is None:
            return None
        changed: Any = list(datapoint) if isinstance(datapoint, tuple) else copy(datapoint)
        changed[self.index] = result
        return changed


class FilterData(ItemStage):
    """Keep the datapoints for which a predicate holds.

    Args:
        ds: the input.
        predicate: datapoint → truth value.
    """

    _thins_out = True

    def __init__(self, ds: Any, predicate: Callable[[Datapoint], Any]) -> None:
        super().__init__(ds)
        if not callable(predicate):
            raise ConfigError(f"predicate={predicate!r} must be callable")
        self.predicate = predicate

    def apply(self, datapoint: Datapoint) -> Datapoint | None:
        return datapoint if self.predicate(datapoint) else None


class SelectComponent(ItemStage):
    """Select or reorder components.

    Args:
        ds: the input.
        idxs: the components' indices, or their keys in dict datapoints; the result is a list.
    """

    def __init__(self, ds: Any, idxs: Sequence[int | str]) -> None:
        super().__init__(ds)
        if isinstance(idxs, (int, str)):
            raise ConfigError(f"idxs={idxs!r} must be a list of components: give [{idxs!r}]")
        self.idxs = list(idxs)

    def apply(self, datapoint: Datapoint) -> Datapoint | None:
        return [component(datapoint, index) for index in self.idxs]
