"""A list of datapoints."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from dataflow.errors import ConfigError
from dataflow.sources.arrow import is_table
from dataflow.sources.columns import as_rows
from dataflow.sources.keyed import KeyedSource
from dataflow.utils.arguments import shortened

__all__ = ["DataFromList"]


class DataFromList(KeyedSource):
    """The datapoints of a list, shuffled anew in every epoch unless told otherwise.

    Args:
        lst: any sequence of datapoints; many small ones take least memory as `Columns`. A table of
            pyarrow's is one datapoint a row.
        shuffle: a new random order each epoch.
    """

    _consumer_only = ("lst",)

    def __init__(self, lst: Sequence[Any], shuffle: bool = True) -> None:
        if hasattr(lst, "iloc"):
            raise ConfigError(
                f"lst is a {type(lst).__name__}: df.Columns(frame) has its rows, and "
                "df.read_table(frame, url=…, columns=[…]) some of its columns"
            )
        if not (hasattr(lst, "__len__") and hasattr(lst, "__getitem__")) or isinstance(lst, dict):
            raise ConfigError(
                f"lst={shortened(lst)} must be a list of datapoints, or another sequence; list(…) "
                "makes one of what can be iterated"
            )
        self.lst = lst
        self.shuffle = shuffle

    def keys(self) -> Sequence[Any]:
        # A tuple of arrays is a sequence of datapoints here, whatever it is elsewhere.
        return as_rows(self.lst) if is_table(self.lst) else self.lst

    def _over(self, keys: list[Any]) -> DataFromList:
        other = copy.copy(self)
        other.lst = keys
        return other
