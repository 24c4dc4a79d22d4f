"""Calculating with numbers, arrays and images.

Of numbers the result is a Python number, of arrays an array as NumPy makes it, but that integers of
8 and 16 bits do not begin anew beyond their ends: they are clipped. Images stay of their depth,
rounded and clipped to its range: ``image + 10`` makes no bright pixel dark. Of two images, or one
and an array of its size, it is the depth of the first one that is not of booleans.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from dataflow.errors import ConfigError
from dataflow.stream.graph import Node, constant, macros
from dataflow.stream.inference import common, numeric, rank
from dataflow.stream.operation import Op, macro, op
from dataflow.stream.ops import arithmetic
from dataflow.stream.types import (
    ANYTHING,
    BOOL,
    FLOAT,
    INT,
    Array,
    Image,
    List,
    Number,
    Plain,
    Type,
)

__all__ = [
    *("absolute", "add", "arccos", "arcsin", "arctan", "arctan2", "array", "ceil", "clip", "cos"),
    *("divide", "equal", "exp", "floor", "floor_divide", "less", "less_equal", "log"),
    *("logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "modulo"),
    *("multiply", "negative", "not_equal", "power", "round", "sin", "sqrt", "subtract", "tan"),
    *("to_float", "to_int"),
]

_Rule = Callable[..., Type]


def _numbers(kind: Number | None) -> _Rule:
    """Numbers give `kind`; None: the widest kind of theirs, an int at least."""

    def rule(*nodes: Node) -> Type:
        return kind or common([INT, *(node.type for node in nodes)])

    return rule


def _arrays(dtype: str | None) -> _Rule:
    """Arrays give one of the shape that they have together; images an image, of another depth."""

    def rule(*nodes: Node) -> Type:
        if any(type(node.type) is Type for node in nodes):
            return ANYTHING
        shape = _shape(nodes)
        if shape is not None and any(isinstance(node.type, Image) for node in nodes):
            height, width, *rest = shape
            return Image(rest[0] if rest else 1, dtype, width, height, mask=dtype == "bool")
        return Array(dtype, shape)

    return rule


def _images(*nodes: Node) -> Type:
    """Images give one of the depth of the first one, or array of its size, that has no booleans."""
    first = next(node.type for node in nodes if isinstance(node.type, Image))
    others = [node.type for node in nodes if isinstance(node.type, Image)]
    most = (
        None
        if any(one.channels is None for one in others)
        else max(one.channels or 0 for one in others)
    )
    _shape(nodes)
    mask = all(one.mask for one in others)
    return replace(first, channels=most, depth=_depth(nodes), mask=mask)


def _depth(nodes: tuple[Node, ...]) -> str | None:
    """What `arithmetic` makes of images of these depths, as far as it is known."""
    for node in nodes:
        kind = node.type.as_array() if isinstance(node.type, Image) else node.type
        if type(kind) is Type:
            return None
        if not isinstance(kind, Array):
            continue
        if not isinstance(node.type, Image):
            if kind.shape is None:  # it may be of any size
                return None
            if len(kind.shape) < 2:
                continue
        if kind.dtype != "bool":
            return kind.dtype
    return "uint8"


def _shape(nodes: tuple[Node, ...]) -> tuple[int | None, ...] | None:
    """The shape of arrays together, as far as it is known."""
    shapes: list[tuple[int | None, ...]] = []
    for node in nodes:
        kind = node.type.as_array() if isinstance(node.type, Image) else node.type
        if isinstance(kind, Array):
            if kind.shape is None:
                return None
            # H×W goes with every channel of an image.
            plane = isinstance(node.type, Image) and len(kind.shape) == 2
            shapes.append((*kind.shape, 1) if plane and _coloured(nodes) else kind.shape)
    result: list[int | None] = [1] * max(map(len, shapes), default=0)
    for shape in shapes:
        for at in range(1, len(shape) + 1):
            one, other = result[-at], shape[-at]
            if one is not None and other is not None and one != other and 1 not in (one, other):
                told = " and ".join("×".join(map(str, each)) for each in shapes)
                raise ConfigError(f"shapes {told} do not go together".replace("None", "?"))
            result[-at] = other if one == 1 else one if other in (1, one) else None
    return tuple(result)


def _coloured(nodes: tuple[Node, ...]) -> bool:
    return any(
        isinstance(node.type, Image) and node.type.channels not in (1, None) for node in nodes
    )


# -- one name for what numbers, arrays and images do ---------------------------------------------


def _made(name: str, function: Callable[..., Any], count: int, gives: _Rule, code: Any) -> Op:
    names = ("x", "y")[:count]
    signature = inspect.Signature(
        [inspect.Parameter(one, inspect.Parameter.POSITIONAL_OR_KEYWORD) for one in names]
    )
    inputs = dict.fromkeys(names, ANYTHING)
    return Op(name, function, inputs, gives, code=code, signature=signature, module=__name__)


def _function(
    name: str,
    about: str,
    numbers: Callable[..., Any],
    arrays: Callable[..., Any],
    code: str | None = None,
    *,
    count: int = 1,
    kind: Number | None = None,
    dtype: str | None = None,
    takes: type[Type] | Number = Number,
    images: Callable[..., Any] | None = None,
) -> Callable[..., Node]:
    """What makes the node for whatever it gets."""
    of_numbers = _made(name, numbers, count, _numbers(kind), code)
    of_arrays = _made(f"{name}_arrays", arrays, count, _arrays(dtype), None)
    of_images = _made(f"{name}_images", images, count, _images, None) if images else None

    def build(*values: Any) -> Node:
        nodes = [constant(value) for value in values]
        nodes = [array(node) if isinstance(node.type, List) else node for node in nodes]
        if kind is BOOL and all(isinstance(node.type, Plain) for node in nodes) and count == 2:
            return of_numbers(*nodes)
        for node in nodes:
            if not numeric(node.type):
                raise ConfigError(f"one cannot calculate with {node.type}: {node!r}")
        if all(isinstance(node.type, Number) for node in nodes):
            if isinstance(takes, Number) and not all(takes.accepts(node.type) for node in nodes):
                raise ConfigError(f"it takes {takes}: {', '.join(map(repr, nodes))}")
            return of_numbers(*nodes)
        if of_images is not None and any(isinstance(node.type, Image) for node in nodes):
            return of_images(*nodes)
        return of_arrays(*nodes)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = about
    build.__signature__ = of_numbers.__signature__  # type: ignore[attr-defined]
    return macro(build)


def _operator(name: str, sign: str, about: str, **options: Any) -> Callable[..., Node]:
    """One of Python's operators on two values."""
    of_values = getattr(operator, options.pop("called", name))
    code = f"({{0}} {sign} {{1}})"
    wraps = name in ("add", "subtract", "multiply", "power")
    of_arrays = partial(_clipped, of_values) if wraps else of_values
    return _function(name, about, of_values, of_arrays, code, count=2, **options)


_SMALL = tuple(map(np.dtype, ("uint8", "uint16", "int8", "int16")))


def _clipped(function: Callable[..., Any], *values: Any) -> Any:
    """Of arrays, clipped where the result is of integers of 8 or 16 bits."""
    arrays = [one.dtype for one in values if isinstance(one, np.ndarray)]
    dtype = np.result_type(*arrays) if arrays else None
    if dtype not in _SMALL or not all(isinstance(one, (np.ndarray, int)) for one in values):
        return function(*values)
    # Double precision has all whole numbers that are not beyond the ends.
    with np.errstate(all="ignore"):
        wide = function(*(np.asarray(one, np.float64) for one in values))
    ends = np.iinfo(dtype)
    wide = np.nan_to_num(np.rint(wide), posinf=ends.max, neginf=ends.min)
    return np.clip(wide, ends.min, ends.max).astype(dtype)


def _absolute(x: Any) -> Any:
    """Of the smallest integer, which has no opposite, the largest one."""
    made = np.absolute(x)
    return np.where(made < 0, np.iinfo(made.dtype).max, made) if made.dtype.kind == "i" else made


add = _operator("add", "+", "``x + y``", called="add", images=arithmetic.add)
subtract = _operator("subtract", "-", "``x - y``", called="sub", images=arithmetic.subtract)
multiply = _operator("multiply", "*", "``x * y``", called="mul", images=arithmetic.multiply)
divide = _operator(
    "divide", "/", "``x / y``", called="truediv", kind=FLOAT, images=arithmetic.divide
)
floor_divide = _operator(
    "floor_divide", "//", "``x // y``", called="floordiv", images=arithmetic.floor_divide
)
modulo = _operator("modulo", "%", "``x % y``", called="mod", images=arithmetic.modulo)
power = _operator("power", "**", "``x ** y``", called="pow", images=arithmetic.power)
less = _operator("less", "<", "``x < y``", called="lt", kind=BOOL, dtype="bool")
less_equal = _operator("less_equal", "<=", "``x <= y``", called="le", kind=BOOL, dtype="bool")
equal = _operator("equal", "==", "``x == y``", called="eq", kind=BOOL, dtype="bool")
not_equal = _operator("not_equal", "!=", "``x != y``", called="ne", kind=BOOL, dtype="bool")


def _and(x: Any, y: Any) -> Any:
    return x and y


def _or(x: Any, y: Any) -> Any:
    return x or y


def _minimum(x: Any, y: Any) -> Any:
    return x if x <= y else y


def _maximum(x: Any, y: Any) -> Any:
    return x if x >= y else y


def _logical(name: str, about: str, function: Any, code: str, count: int = 2) -> Any:
    arrays = getattr(np, name)
    options: dict[str, Any] = {"kind": BOOL, "dtype": "bool", "takes": BOOL, "count": count}
    return _function(name, about, function, arrays, code, **options)


logical_and = _logical("logical_and", "``x & y``, of booleans", _and, "({0} and {1})")
logical_or = _logical("logical_or", "``x | y``, of booleans", _or, "({0} or {1})")
logical_xor = _logical("logical_xor", "``x ^ y``, of booleans", operator.ne, "({0} != {1})")
logical_not = _logical("logical_not", "``~x``, of booleans", operator.not_, "(not {0})", 1)
minimum = _function(
    "minimum",
    "The smaller one of two, element by element.",
    _minimum,
    np.minimum,
    "({0} if {0} <= {1} else {1})",
    count=2,
    images=arithmetic.minimum,
)
maximum = _function(
    "maximum",
    "The larger one of two, element by element.",
    _maximum,
    np.maximum,
    "({0} if {0} >= {1} else {1})",
    count=2,
    images=arithmetic.maximum,
)
negative = _function(
    "negative",
    "``-x``",
    operator.neg,
    partial(_clipped, np.negative),
    "(-{0})",
    images=arithmetic.negative,
)
absolute = _function("absolute", "``abs(x)``", operator.abs, _absolute)
floor = _function("floor", "The next integer below.", math.floor, np.floor, kind=INT)
ceil = _function("ceil", "The next integer above.", math.ceil, np.ceil, kind=INT)
round = _function("round", "The nearest integer; halves to even.", round, np.rint, kind=INT)
sqrt = _function("sqrt", "The square root.", math.sqrt, np.sqrt, kind=FLOAT)
exp = _function("exp", "e to the power of x.", math.exp, np.exp, kind=FLOAT)
log = _function("log", "The natural logarithm.", math.log, np.log, kind=FLOAT)
sin = _function("sin", "The sine of an angle in radians.", math.sin, np.sin, kind=FLOAT)
cos = _function("cos", "The cosine of an angle in radians.", math.cos, np.cos, kind=FLOAT)
tan = _function("tan", "The tangent of an angle in radians.", math.tan, np.tan, kind=FLOAT)
arcsin = _function("arcsin", "The angle of a sine, in radians.", math.asin, np.arcsin, kind=FLOAT)
arccos = _function("arccos", "The angle of a cosine, in radians.", math.acos, np.arccos, kind=FLOAT)
arctan = _function("arctan", "The angle of a tangent.", math.atan, np.arctan, kind=FLOAT)
arctan2 = _function(
    "arctan2",
    "The angle of the point (y, x) above the x axis, in radians.",
    math.atan2,
    np.arctan2,
    count=2,
    kind=FLOAT,
)


def _whole(x: Any) -> Any:
    return np.asarray(x).astype(np.int64)


def _wide(x: Any) -> Any:
    return np.asarray(x).astype(np.float64)


to_int = _function(
    "to_int", "Without what is behind the point.", int, _whole, kind=INT, dtype="int64"
)
to_float = _function("to_float", "As a float.", float, _wide, kind=FLOAT, dtype="float64")


@macro
def clip(x: Any, low: Any, high: Any) -> Node:
    """`x`, but not below `low` nor above `high`."""
    return macros["minimum"](macros["maximum"](x, low), high)


# -- lists as arrays -------------------------------------------------------------------------


def _of_list(values: Node) -> Type:
    if not isinstance(values.type, List):
        return values.type.as_array() if isinstance(values.type, Image) else values.type
    if values.op is None and values.value:
        try:
            found = np.asarray(values.value)
        except ValueError as error:
            raise ConfigError(f"{values.value!r:.60} is no array: {error}") from None
        if found.dtype.kind not in "biuf":
            raise ConfigError(f"{values.value!r:.60} is no array of numbers")
        return Array(found.dtype.name, found.shape)
    inner = values.type.element
    if isinstance(inner, Number):
        dtype = {"bool": "bool", "int": "int64", "float": "float64"}[inner.kind]
        return Array(dtype, (values.type.length,))
    deep = rank(inner)
    return Array(None, None if not deep else (values.type.length, *[None] * deep))


@op(values=ANYTHING, gives=_of_list)
def array(values: Any) -> Any:
    """A list of numbers, or of such lists, as an array."""
    return np.asarray(values)
