"""Shape and dtype of arrays, and lists of arrays as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.errors import ConfigError
from dataflow.stream.graph import Node, known
from dataflow.stream.inference import array_type
from dataflow.stream.operation import op
from dataflow.stream.types import ANYTHING, INT, TEXT, Array, Image, List, Type

__all__ = [
    *("astype", "axis_element", "axis_part", "expand_dims", "permute_axes", "reshape"),
    *("squeeze", "stack"),
]

_Array = NDArray[Any]
_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
_AXES = Array("int64", (None,))


def _plain(node: Node) -> Array:
    """The type of an array's node, without the words of images."""
    kind = node.type.as_array() if isinstance(node.type, Image) else node.type
    return kind if isinstance(kind, Array) else Array()


def _shaped(dtype: str | None, shape: tuple[int | None, ...] | None) -> Type:
    return Array(dtype, shape) if dtype is None or shape is None else _of(dtype, shape)


def _of(dtype: str, shape: tuple[int | None, ...]) -> Type:
    return array_type(np.dtype(dtype), shape)


def _stacked(*items: Node) -> Type:
    if len(items) == 1 and isinstance(items[0].type, List):
        return ANYTHING  # of how many, is seen where it runs
    kinds = [_plain(item) for item in items]
    shapes = {kind.shape for kind in kinds if kind.shape is not None and None not in kind.shape}
    if len(shapes) > 1:
        told = " and ".join("×".join(map(str, shape)) for shape in sorted(shapes))
        raise ConfigError(f"arrays of the shapes {told} cannot be stacked")
    if not items:
        raise ConfigError("there is nothing to stack")
    dtypes = {kind.dtype for kind in kinds}
    shape = None if not shapes else (len(items), *next(iter(shapes)))
    return _shaped(dtypes.pop() if len(dtypes) == 1 else None, shape)


@op(items=ANYTHING, gives=_stacked)
def stack(*items: Any) -> _Array:
    """Arrays of one shape as one array with a new first axis; or those in one list."""
    single = len(items) == 1 and isinstance(items[0], list)
    return np.stack(items[0] if single else items)


def _reshaped(array: Node, shape: Node) -> Type:
    wanted, kind = known(shape), _plain(array)
    if wanted is None:
        return Array(kind.dtype)
    sizes = [int(size) for size in wanted]
    of = [size for size in kind.shape or () if size is not None]
    if kind.shape is not None and len(of) == len(kind.shape):
        try:  # without memory: a view of one element
            sizes = list(np.broadcast_to(False, of).reshape(sizes).shape)
        except ValueError:
            has = "×".join(map(str, of))
            raise ConfigError(f"shape={sizes} does not suit an array of {has}") from None
    return _shaped(kind.dtype, tuple(None if size < 0 else size for size in sizes))


@op(array=Array(), shape=_AXES, gives=_reshaped)
def reshape(array: Any, shape: Sequence[int]) -> _Array:
    """An array's elements in another shape; -1 stands for what is left."""
    reshaped: _Array = np.asarray(array).reshape([int(size) for size in shape])
    return reshaped


def _permuted(array: Node, axes: Node) -> Type:
    order, kind = known(axes), _plain(array)
    if order is None:
        return Array(kind.dtype)
    order = [int(axis) for axis in order]
    rank = len(order) if kind.shape is None else len(kind.shape)
    if sorted(axis % rank if rank else axis for axis in order) != list(range(rank)):
        raise ConfigError(f"axes={order} are not those of an array of {rank} axes")
    shape = None if kind.shape is None else tuple(kind.shape[axis] for axis in order)
    return _shaped(kind.dtype, shape)


@op(array=Array(), axes=_AXES, gives=_permuted)
def permute_axes(array: Any, axes: Sequence[int]) -> _Array:
    """An array with its axes in another order, such as ``[2, 0, 1]`` for C×H×W of H×W×C."""
    permuted: _Array = np.transpose(array, [int(axis) for axis in axes])
    return permuted


def _squeezed(array: Node) -> Type:
    kind = _plain(array)
    if kind.shape is None or None in kind.shape:
        return Array(kind.dtype)
    return _shaped(kind.dtype, tuple(size for size in kind.shape if size != 1))


@op(array=Array(), gives=_squeezed)
def squeeze(array: Any) -> _Array:
    """An array without its axes of length 1."""
    squeezed: _Array = np.squeeze(array)
    return squeezed


def _expanded(array: Node, axis: Node) -> Type:
    kind, at = _plain(array), known(axis)
    if kind.shape is None or at is None:
        return Array(kind.dtype)
    rank = len(kind.shape) + 1
    if not -rank <= at < rank:
        raise ConfigError(f"axis={at} is none of the {rank} that there would be")
    shape = list(kind.shape)
    shape.insert(at % rank, 1)
    return _shaped(kind.dtype, tuple(shape))


@op(array=Array(), axis=INT, gives=_expanded)
def expand_dims(array: Any, axis: int = 0) -> _Array:
    """An array with one more axis, of length 1, at this place."""
    return np.expand_dims(array, axis)


def _cast(array: Node, dtype: Node) -> Type:
    wanted = known(dtype)
    if wanted not in _DTYPES:
        raise ConfigError(f"dtype={wanted!r} must be one of {', '.join(_DTYPES)}")
    kind = _plain(array)
    shape = kind.shape
    return Array(wanted, shape) if shape is None else _of(wanted, shape)


@op(array=Array(), dtype=TEXT, gives=_cast)
def astype(array: Any, dtype: str) -> _Array:
    """An array with another dtype: its values, cut off at the point and at the ends of the range.

    Unlike `depth`, which is for images, it does not scale: 1.0 becomes 1, and 1000 as uint8 255.
    """
    array = np.asarray(array)
    if np.dtype(dtype).kind in "iu":
        ends = np.iinfo(dtype)
        if array.dtype.kind == "f":
            array = np.nan_to_num(np.trunc(array), posinf=math.inf, neginf=-math.inf)
        array = np.clip(array, *_ends(array.dtype, ends.min, ends.max))
        result: _Array = array.astype(dtype)
        if array.dtype.kind == "f":  # whose numbers do not reach the very end of 64 bits
            result[array >= _ends(array.dtype, ends.min, ends.max)[1]] = ends.max
        return result
    return np.asarray(array, dtype)


def _ends(dtype: np.dtype[Any], low: int, high: int) -> tuple[Any, Any]:
    """The ends of a range, as far as a dtype can tell them; a float's do not reach beyond."""
    if dtype.kind == "f":
        upper = dtype.type(high)
        return low, upper if int(upper) <= high else np.nextafter(upper, dtype.type(0))
    if dtype.kind == "b":
        return 0, 1
    own = np.iinfo(dtype)
    return max(low, own.min), min(high, own.max)


# -- parts along an axis; `node[:, 2:5]` -----------------------------------------------------------


def _at(axis: int, index: Any) -> tuple[Any, ...]:
    """The index of an array that is about one of its axes."""
    return (*[slice(None)] * axis, index)


def _along(array: Node, axis: Node, length: int | None, *, gone: bool = False) -> Type:
    """The type of an array whose axis gets another length, or goes."""
    if isinstance(array.type, List):
        raise ConfigError(f"{array.type} has one axis: st.array makes an array of it")
    kind, at = _plain(array), known(axis)
    if kind.shape is None:
        return ANYTHING if gone else Array(kind.dtype)
    if at >= len(kind.shape):
        raise ConfigError(f"an array of {len(kind.shape)} axes has no axis {at}")
    shape = (*kind.shape[:at], *(() if gone else (length,)), *kind.shape[at + 1 :])
    return _shaped(kind.dtype, shape)


def _between(array: Node, axis: Node, begin: Node, end: Node) -> Type:
    kind, ends = _plain(array), (known(begin), known(end))
    whole = kind.shape[known(axis)] if kind.shape and known(axis) < len(kind.shape) else None
    constant = begin.op is None and end.op is None
    length = len(range(whole)[slice(*ends)]) if constant and whole is not None else None
    return _along(array, axis, length)


@op(array=ANYTHING, axis=INT, begin=ANYTHING, end=ANYTHING, gives=_between)
def axis_part(array: Any, axis: int, begin: int | None, end: int | None) -> _Array:
    """What is from `begin` up to `end` along an axis; None: from the start, up to the end."""
    part: _Array = array[_at(axis, slice(begin, end))]
    return part


@op(
    array=ANYTHING,
    axis=INT,
    index=INT,
    gives=lambda array, axis, index: _along(array, axis, None, gone=True),
)
def axis_element(array: Any, axis: int, index: int) -> Any:
    """What is at one place of an axis, without it."""
    value = array[_at(axis, index)]
    return value.item() if isinstance(value, np.generic) else value
