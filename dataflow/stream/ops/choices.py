"""Choices: of several branches one is taken, and only that one is computed."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from dataflow.errors import ConfigError
from dataflow.stream.graph import Node, constant
from dataflow.stream.inference import common
from dataflow.stream.operation import macro, op
from dataflow.stream.ops.numbers import logical_not
from dataflow.stream.ops.sampling import bernoulli, integer, weighted
from dataflow.stream.shared import clamped
from dataflow.stream.types import ANYTHING, BOOL, INT, TEXT

__all__ = ["conditional", "debug", "input", "select", "switch", "toggle"]


@op(
    index=INT,
    branches=ANYTHING,
    gives=lambda index, *branches: common([branch.type for branch in branches]),
)
def select(index: int, *branches: Any) -> Any:
    """The branch with this number; beyond the ends it is the first or the last one."""
    return branches[clamped(index, len(branches))]


@macro
def conditional(condition: Any, then: Any, otherwise: Any) -> Node:
    """`then` where the condition holds, otherwise `otherwise`."""
    node = constant(condition)
    if not BOOL.accepts(node.type):
        raise ConfigError(f"condition must be bool, and is {node.type}")
    return select(logical_not(node), then, otherwise)


@macro
def toggle(first: Any, second: Any, p: Any = 0.5, seed: Any = None) -> Node:
    """`first` with probability p, otherwise `second`."""
    return conditional(bernoulli(p, seed=seed), first, second)


@macro
def switch(branches: Sequence[Any], weights: Any = None, seed: Any = None) -> Node:
    """One of several branches at random.

    Args:
        branches: nodes or constants.
        weights: how likely each is, in any unit; equally by default.
        seed: shared with other nodes that should choose alike.

    Raises:
        ConfigError: there are no branches, or not as many weights; a weight is negative, or all
            are 0.
    """
    if isinstance(branches, Node) or not len(branches):
        raise ConfigError("branches must be a list of at least one")
    if weights is None:
        return select(integer(0, len(branches), seed=seed), *branches)
    if any(isinstance(weight, Node) for weight in weights):
        raise ConfigError("weights must be numbers that are known when the graph is built")
    weights = [float(weight) for weight in weights]
    if len(weights) != len(branches):
        raise ConfigError(f"weights has {len(weights)} entries for {len(branches)} branches")
    if min(weights) < 0 or not 0 < sum(weights) < math.inf:
        raise ConfigError(f"weights={weights!r} must be finite, not negative, and not all 0")
    return select(weighted(list(accumulate(weights)), seed=seed), *branches)


@op("debug", value=ANYTHING, prefix=TEXT, gives=lambda value, _: value.type, foldable=False)
def debug(value: Any, prefix: str = "") -> Any:
    """The value itself, told on standard error each time that it is computed.

    Arrays are told by shape, dtype and range.

    Args:
        value: a node.
        prefix: what to begin the line with.
    """
    if isinstance(value, np.ndarray):
        told = f"{'×'.join(map(str, value.shape))} {value.dtype}"
        if value.size and value.dtype.kind in "biuf":
            told += f" in [{value.min():g}, {value.max():g}]"
    else:
        told = f"{value!r:.200}"
    print(f"{prefix}{told}", file=sys.stderr)
    return value


@op("input", name=TEXT, default=ANYTHING, gives=lambda name, default: default.type)
def _input(name: str, default: Any) -> Any:
    return default


@macro
def input(name: str, default: Any) -> Node:
    """A value that can be set later: ``s.given(strength=0.5)`` is the same stream with another one.

    Args:
        name: a name as Python has it.
        default: the value where none is given; its type is the input's.
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ConfigError(f"name={name!r} must be a name as Python has it")
    return _input(name, default)
