"""Lists, and arrays along their first axis."""

from __future__ import annotations

import builtins
import itertools
from typing import Any

import numpy as np

from dataflow.errors import ConfigError
from dataflow.stream.draws import generator
from dataflow.stream.graph import Node, constant, known
from dataflow.stream.inference import array_type, common
from dataflow.stream.operation import macro, op
from dataflow.stream.ops.sampling import finite, integer
from dataflow.stream.tables import Table
from dataflow.stream.types import ANYTHING, FLOAT, INT, Array, Image, List, Record, Records, Type

__all__ = [
    *("concatenate", "element", "filter", "length", "pack", "permutation", "permuted"),
    *("random_element", "range", "repeat", "spaced", "sublist", "table", "take"),
]


def _size(kind: Type) -> int | None:
    """How many elements; None where that is not known."""
    if isinstance(kind, (List, Records)):
        return kind.length
    if isinstance(kind, Image):
        kind = kind.as_array()
    if isinstance(kind, Array):
        return kind.shape[0] if kind.shape else None
    if type(kind) is Type:
        return None
    raise ConfigError(f"{kind} has no elements")


def _resized(kind: Type, length: int | None) -> Type:
    """The type with another number of elements."""
    _size(kind)
    if isinstance(kind, List):
        return List(kind.element, length)
    if isinstance(kind, Records):
        return Records(kind.fields, length)
    if isinstance(kind, Array) and kind.shape:
        return Array(kind.dtype, (length, *kind.shape[1:]))
    return ANYTHING


def _element(items: Node, index: Node) -> Type:
    if not INT.accepts(index.type):
        raise ConfigError(f"index must be an int, and is {index.type}")
    size, at = _size(items.type), known(index)
    if at is not None and size is not None and not -size <= at < size:
        raise ConfigError(f"index {at} of {size} elements")
    kind = items.type
    if isinstance(kind, List):
        return kind.element
    if isinstance(kind, Records):
        return Record(kind.fields)
    kind = kind.as_array() if isinstance(kind, Image) else kind
    if isinstance(kind, Array) and kind.shape:
        return (
            array_type(np.dtype(kind.dtype), kind.shape[1:])
            if kind.dtype
            else (ANYTHING if len(kind.shape) == 1 else Array(None, kind.shape[1:]))
        )
    return ANYTHING


@op(items=ANYTHING, index=INT, gives=_element)
def element(items: Any, index: int) -> Any:
    """``items[index]``: of a list, of records, or of an array along its first axis."""
    value = items[index]
    return value.item() if isinstance(value, np.generic) else value


@op("length", items=ANYTHING, gives=INT)
def _length(items: Any) -> int:
    return len(items)


@macro
def length(items: Any) -> Node:
    """How many elements there are."""
    node = constant(items)
    size = _size(node.type)
    return _length(node) if size is None else constant(size)


@macro
def random_element(items: Any, seed: Any = None) -> Node:
    """An element of these, each as likely. What it is decided by is their number alone."""
    node = constant(items)
    return element(node, integer(0, length(node), seed=seed))


def _packed(*values: Node) -> Type:
    try:
        return List(common([value.type for value in values]) if values else ANYTHING, len(values))
    except ConfigError:
        return List(ANYTHING, len(values))


@op(values=ANYTHING, gives=_packed)
def pack(*values: Any) -> list[Any]:
    """These values as a list."""
    return list(values)


def _joined(*several: Node) -> Type:
    if not several:
        raise ConfigError("there is nothing to concatenate")
    kinds = [one.type for one in several]
    if any(isinstance(kind, Records) for kind in kinds):
        raise ConfigError("records cannot be concatenated: st.records of what all have can")
    sizes = [size for kind in kinds if (size := _size(kind)) is not None]
    whole = sum(sizes) if len(sizes) == len(kinds) else None
    return _resized(common([_resized(kind, None) for kind in kinds]), whole)


@op(several=ANYTHING, gives=_joined)
def concatenate(*several: Any) -> Any:
    """The elements of one, then those of the next: lists, or arrays."""
    if isinstance(several[0], list):
        return list(itertools.chain.from_iterable(several))
    return np.concatenate(several)


def _kept(items: Node, keep: Node) -> Type:
    sizes = _size(items.type), _size(keep.type)
    if None not in sizes and sizes[0] != sizes[1]:
        raise ConfigError(f"keep has {sizes[1]} booleans for {sizes[0]} elements")
    return _resized(items.type, None)


@op(items=ANYTHING, keep=ANYTHING, gives=_kept)
def filter(items: Any, keep: Any) -> Any:
    """The elements for which `keep`, a list or an array of booleans, holds."""
    if len(keep) != len(items):
        raise ValueError(f"filter(): keep has {len(keep)} booleans for {len(items)} elements")
    return _taken(items, np.flatnonzero(np.asarray(keep, bool)))


@op(
    items=ANYTHING,
    places=ANYTHING,
    gives=lambda items, places: _resized(items.type, _size(places.type)),
)
def take(items: Any, places: Any) -> Any:
    """The elements at these places, in this order."""
    return _taken(items, places)


@op(items=ANYTHING, begin=INT, end=INT, gives=lambda items, begin, end: _resized(items.type, None))
def sublist(items: Any, begin: int, end: int) -> Any:
    """The elements from `begin` to `end` - 1."""
    return _taken(items, np.arange(len(items))[begin:end])


@op(item=ANYTHING, times=INT, gives=lambda item, times: List(item.type, known(times)))
def repeat(item: Any, times: int) -> list[Any]:
    """A list of one value, several times."""
    if times < 0:
        raise ValueError(f"repeat(): times={times} must not be negative")
    return [item] * times


def _taken(items: Any, places: Any) -> Any:
    if isinstance(items, list):
        return [items[place] for place in places]
    return items.take(places) if isinstance(items, Table) else items[places]


@op(draws=True, size=INT, gives=lambda size: Array("int64", (known(size),)))
def permutation(bits: int, size: int) -> Any:
    """The numbers 0 to size - 1 in random order."""
    if size < 0:
        raise ValueError(f"permutation(): size={size} must not be negative")
    return generator(bits).permutation(size)


@macro
def permuted(items: Any, seed: Any = None) -> Node:
    """The elements in random order."""
    node = constant(items)
    return take(node, permutation(length(node), seed=seed))


def _run(begin: Node, end: Node, step: Node) -> Type:
    ends = known(begin), known(end), known(step)
    if ends[2] == 0:
        raise ConfigError("step=0 leads nowhere")
    return Array("int64", (None if None in ends else len(builtins.range(*ends)),))


@op("range", begin=INT, end=INT, step=INT, gives=_run)
def _range(begin: int, end: int, step: int) -> Any:
    return np.arange(begin, end, step)


@macro
def range(begin: Any, end: Any = None, step: Any = 1) -> Node:
    """An array of integers, as Python's `range` has them."""
    return _range(0, begin, step) if end is None else _range(begin, end, step)


def _spaced(begin: Node, end: Node, count: Node) -> Type:
    finite(begin=begin, end=end)
    return Array("float64", (known(count),))


@op(begin=FLOAT, end=FLOAT, count=INT, gives=_spaced)
def spaced(begin: float, end: float, count: int) -> Any:
    """An array of so many numbers at equal distances, from `begin` on; `end` would be the next."""
    return np.linspace(begin, end, count, endpoint=False)


@macro
def table(rows: Any) -> Node:
    """A constant array of rows of equal length; ``t[i, j]`` is an element.

    Raises:
        ConfigError: rows are of different lengths, or hold no numbers.
    """
    sizes = {len(row) for row in rows}
    if len(sizes) != 1:
        raise ConfigError(f"rows must be of one length, not of {sorted(sizes)}")
    values = np.array(rows)
    if values.dtype.kind not in "biuf":
        raise ConfigError(f"rows must hold numbers, not {values.dtype}")
    return constant(values)
