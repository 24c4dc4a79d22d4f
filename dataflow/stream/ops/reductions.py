"""From arrays and lists to one number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dataflow.errors import ConfigError
from dataflow.stream.graph import Node
from dataflow.stream.inference import common
from dataflow.stream.operation import op
from dataflow.stream.types import ANYTHING, FLOAT, INT, Array, Image, List, Number, Type

__all__ = ["max", "mean", "min", "sum"]


def _reduced(kind: Number | None) -> Callable[[Node], Type]:
    def rule(values: Node) -> Type:
        shape = values.type
        if not isinstance(shape, (List, Array, Image)) and type(shape) is not Type:
            raise ConfigError(f"it takes an array or a list, and not {shape}")
        if kind is not None:
            return kind
        inner = shape.element if isinstance(shape, List) else None
        dtype = getattr(shape, "dtype", None) or getattr(shape, "depth", None) or ""
        if isinstance(inner, Number):
            return common([INT, inner])
        return INT if dtype.startswith(("int", "uint", "bool")) else FLOAT

    return rule


@op(values=ANYTHING, gives=_reduced(None))
def min(values: Any) -> Any:
    """The smallest element."""
    return np.min(values).item()


@op(values=ANYTHING, gives=_reduced(None))
def max(values: Any) -> Any:
    """The largest element."""
    return np.max(values).item()


@op(values=ANYTHING, gives=_reduced(None))
def sum(values: Any) -> Any:
    """The sum of all elements."""
    return np.sum(values).item()


@op(values=ANYTHING, gives=_reduced(FLOAT))
def mean(values: Any) -> Any:
    """The mean of all elements."""
    return np.mean(values).item()
