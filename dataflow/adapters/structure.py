"""What frameworks ask of a flow, and what is in a datapoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dataflow.node import may_come_short

__all__ = ["each_leaf", "length_of"]


def length_of(flow: Any) -> int | None:
    """How many datapoints an epoch has, where that is known; not an upper bound.

    What trainers do not find at the end of an epoch that is shorter than they were told, such as
    validation, they leave out without a word.
    """
    if may_come_short(flow):
        return None
    try:
        return len(flow)
    except (TypeError, NotImplementedError):
        return None


def each_leaf(convert: Callable[[Any], Any], value: Any) -> Any:
    """The same lists, tuples and dicts, with `convert` of everything else in them."""
    if isinstance(value, Mapping):
        return {key: each_leaf(convert, one) for key, one in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(each_leaf(convert, one) for one in value))
    if isinstance(value, (list, tuple)):
        return type(value)(each_leaf(convert, one) for one in value)
    return convert(value)
