"""What is in a datapoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["each_leaf"]


def each_leaf(convert: Callable[[Any], Any], value: Any) -> Any:
    """The same lists, tuples and dicts, with `convert` of everything else in them."""
    if isinstance(value, Mapping):
        return {key: each_leaf(convert, one) for key, one in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(each_leaf(convert, one) for one in value))
    if isinstance(value, (list, tuple)):
        return type(value)(each_leaf(convert, one) for one in value)
    return convert(value)
