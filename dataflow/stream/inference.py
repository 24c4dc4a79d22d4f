"""The types of constants, and of values that are the one or the other."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from dataflow.errors import ConfigError
from dataflow.stream.types import (
    BOOL,
    FLOAT,
    INT,
    NOTHING,
    TEXT,
    Array,
    Image,
    List,
    Number,
    Record,
    Records,
    Type,
    as_image,
)

__all__ = ["array_type", "common", "declared", "numeric", "rank", "type_of"]

_T = TypeVar("_T")


def rank(kind: Type) -> int | None:
    """How many axes a value has; None where that is not known."""
    if isinstance(kind, Image):
        kind = kind.as_array()
    if isinstance(kind, Array):
        return None if kind.shape is None else len(kind.shape)
    if isinstance(kind, List):
        inner = rank(kind.element)
        return None if inner is None else 1 + inner
    return None if type(kind) is Type else 0


def numeric(kind: Type) -> bool:
    """Whether one can calculate with such a value."""
    return isinstance(kind, (Number, Array, Image)) or type(kind) is Type


def common(kinds: list[Type]) -> Type:
    """The type of a value that has one of several types.

    Raises:
        ConfigError: there is none, as of an image and a number.
    """
    found = kinds[0]
    for kind in kinds[1:]:
        joined = _joined(found, kind)
        if joined is None:
            raise ConfigError(f"one value would be {found} or {kind}: make them alike")
        found = joined
    return found


def type_of(value: Any) -> Type:
    """The type of a constant.

    Raises:
        ConfigError: it is no value that a graph can hold.
    """
    if isinstance(described := getattr(value, "stream_type", None), Type):
        return described
    if isinstance(value, (bool, np.bool_)):
        return BOOL
    if isinstance(value, (int, np.integer)):
        return INT
    if isinstance(value, (float, np.floating)):
        return FLOAT
    if isinstance(value, str):
        return TEXT
    if value is None:
        return NOTHING
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufSU":
        return array_type(value.dtype, value.shape)
    if isinstance(value, (list, tuple)):
        try:
            return List(common([type_of(one) for one in value]) if value else Type(), len(value))
        except ConfigError:
            return List(Type(), len(value))
    raise ConfigError(
        f"{type(value).__name__} {str(value)[:60]!r} cannot be a constant: numbers, text, "
        "arrays of numbers and lists can"
    )


def declared(name: str, kind: Type, value: Any) -> Any:
    """The value that an operation of the user's gave, if it is what was declared.

    Raises:
        TypeError: it is not; later nodes, or the compiler, would have relied on it.
    """
    if _is_of(kind, value):
        return value
    try:
        found = str(type_of(value))
    except ConfigError:  # an object, of which nothing is known
        found = f"{type(value).__name__} {value!r:.60}"
    raise TypeError(f"{name}() gave {found}, and it is declared with gives= as {kind}")


def _is_of(kind: Type, value: Any) -> bool:
    if isinstance(kind, List) and isinstance(value, (list, tuple)):
        return _fits(kind.length, len(value)) and all(_is_of(kind.element, one) for one in value)
    if isinstance(kind, Record):
        # A row of a table has not been read yet, and is left so.
        return not isinstance(value, dict) or all(
            name in value and _is_of(inner, value[name]) for name, inner in kind.fields
        )
    try:
        return kind.accepts(type_of(value))
    except ConfigError:
        return type(kind) is Type


def _fits(wanted: int | None, found: int) -> bool:
    return wanted in (None, found)


def array_type(dtype: np.dtype[Any], shape: tuple[int | None, ...]) -> Type:
    """The type of an array; bytes of the shape H×W, H×W×3 or H×W×4 are taken for an image."""
    if not shape:
        return {"b": BOOL, "i": INT, "u": INT, "f": FLOAT}.get(dtype.kind, TEXT)
    if dtype == np.uint8 and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))):
        return as_image(Array("uint8", shape))
    return Array(dtype.name, shape)


def _joined(one: Type, other: Type) -> Type | None:
    if one == other:
        return one
    if type(one) is Type or type(other) is Type:
        return Type()
    if isinstance(one, Number) and isinstance(other, Number):
        return one if one.accepts(other) else other
    if isinstance(one, Image) and isinstance(other, Array) and one.accepts(other):
        other = as_image(other)
    if isinstance(other, Image) and isinstance(one, Array) and other.accepts(one):
        one = as_image(one)
    if isinstance(one, Image) and isinstance(other, Image):
        names = ("channels", "depth", "width", "height")
        alike = {name: _same(getattr(one, name), getattr(other, name)) for name in names}
        return Image(**alike, mask=one.mask and other.mask)
    if isinstance(one, Array) and isinstance(other, Array):
        shape = None
        if one.shape is not None and other.shape is not None and len(one.shape) == len(other.shape):
            shape = tuple(map(_same, one.shape, other.shape))
        return Array(_same(one.dtype, other.dtype), shape)
    if isinstance(one, List) and isinstance(other, List):
        inner = _joined(one.element, other.element)
        return None if inner is None else List(inner, _same(one.length, other.length))
    if isinstance(one, Record) and isinstance(other, Record) and type(one) is type(other):
        return _joined_records(one, other)
    return None


def _joined_records(one: Record, other: Record) -> Record | None:
    theirs = dict(other.fields)
    both = [(name, _joined(kind, theirs[name])) for name, kind in one.fields if name in theirs]
    fields = tuple((name, kind) for name, kind in both if kind is not None)
    if not fields:
        return None
    if isinstance(one, Records) and isinstance(other, Records):
        return Records(fields, _same(one.length, other.length))
    return Record(fields)


def _same(one: _T, other: _T) -> _T | None:
    return one if one == other else None
