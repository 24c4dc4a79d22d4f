"""A list of datapoints."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from dataflow.sources.keyed import KeyedSource

__all__ = ["DataFromList"]


class DataFromList(KeyedSource):
    """The datapoints of a list, shuffled anew in every epoch unless told otherwise.

    Args:
        lst: any sequence of datapoints.
        shuffle: a new random order each epoch.
    """

    _consumer_only = ("lst",)

    def __init__(self, lst: Sequence[Any], shuffle: bool = True) -> None:
        self.lst = lst
        self.shuffle = shuffle

    def keys(self) -> Sequence[Any]:
        return self.lst

    def _over(self, keys: list[Any]) -> DataFromList:
        other = copy.copy(self)
        other.lst = keys
        return other
