"""Nodes: what a stream's samples are made of, as a person describes it.

A node is an operation on other nodes. Nothing is computed here; but what a node's value will be is
inferred at once, so that a mistake raises in the line that makes it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from dataflow.errors import ConfigError
from dataflow.stream.inference import type_of
from dataflow.stream.shared import kept, read_only
from dataflow.stream.types import Array, Image, List, Record, Records, Type

if TYPE_CHECKING:
    from dataflow.stream.operation import Op

__all__ = [
    *("MISSING", "Node", "Where", "constant", "flat", "known", "macros", "nested", "operations"),
    *("place", "reachable", "user_line"),
]

Where = tuple[str, int]
"""File and line."""

operations: dict[str, Op] = {}
"""All that there are, by name; `dataflow.stream.operation.Op` enters itself."""

macros: dict[str, Callable[..., Node]] = {}
"""Functions that build nodes of several operations, by name."""

_serials = count()
_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class _Missing:
    """Stands where there is no value; None is one."""

    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"


MISSING = _Missing()


class Node:
    """An operation on nodes, or a constant.

    Python's operators on nodes make nodes. ``record["image"]`` is a field, ``items[i]`` an element,
    ``items[2:5]`` are some; ``image.width``, ``.height`` and ``.channels`` are numbers.

    Attributes:
        op: the operation; None of a constant.
        args: the nodes that it works on.
        seed: the seed that it shares with others, of a node that draws; or None.
        value: of a constant.
        type: what its value will be.
        where: the line of the user's program that made it.
        serial: counts the nodes in the order in which they were made.
    """

    __slots__ = ("args", "op", "seed", "serial", "type", "value", "where")
    # NumPy's own operators would take a node for an element.
    __array_ufunc__ = None

    def __init__(
        self,
        op: Op | None,
        args: tuple[Node, ...],
        kind: Type,
        *,
        seed: Node | None = None,
        value: Any = MISSING,
        where: Where | None = None,
    ) -> None:
        self.op = op
        self.args = args
        self.type = kind
        self.seed = seed
        self.value = value
        self.where = where or user_line()
        self.serial = next(_serials)

    @property
    def name(self) -> str:
        """The operation's name, for a person."""
        return "constant" if self.op is None else self.op.name

    @property
    def inputs(self) -> tuple[Node, ...]:
        """All nodes directly below."""
        return self.args if self.seed is None else (*self.args, self.seed)

    def __repr__(self) -> str:
        what = f" {str(self.value)[:40]}" if self.op is None else ""
        return f"<{self.name}{what}: {self.type}, {place(self.where)}>"

    # -- parts -------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Node:
        if isinstance(index, tuple):
            return self._part(index)
        if isinstance(index, slice):
            begin, end = _ends(index)
            end = _build("length", self) if end is None else end
            return _build("sublist", self, 0 if begin is None else begin, end)
        if isinstance(self.type, Records) or not isinstance(index, str):
            return _build("column" if isinstance(index, str) else "element", self, index)
        return _build("field", self, index)

    def _part(self, indices: tuple[Any, ...]) -> Node:
        """A part of an array, axis by axis, as NumPy has it."""
        found, axis = self, 0
        for index in indices:
            if isinstance(index, slice):
                begin, end = _ends(index)
                if begin is not None or end is not None:
                    found = _build("axis_part", found, axis, begin, end)
                axis += 1
            elif axis:
                found = _build("axis_element", found, axis, index)
            else:
                found = found[index]
        return found

    def __len__(self) -> int:
        length = _length(self.type)
        if length is None:
            raise ConfigError(f"the length of {self!r} is only known when it runs: st.length(…)")
        return length

    def __iter__(self) -> Iterator[Node]:
        return (self[index] for index in range(len(self)))

    @property
    def width(self) -> Node:
        """Of an image, in pixels."""
        return _build("width", self)

    @property
    def height(self) -> Node:
        """Of an image, in pixels."""
        return _build("height", self)

    @property
    def channels(self) -> Node:
        """Of an image."""
        return _build("channels", self)

    def random(self, seed: Any = None) -> Node:
        """A random element or record of these."""
        return _build("random_element", self, seed=seed)

    def permuted(self, seed: Any = None) -> Node:
        """The elements or records in random order."""
        return _build("permuted", self, seed=seed)

    def filter(self, keep: Any) -> Node:
        """The elements or records for which `keep`, a list of booleans, holds."""
        return _build("filter", self, keep)

    def column(self, name: str) -> Node:
        """One field of all records."""
        return _build("column", self, name)

    def segment(self, index: Any) -> Node:
        """The records of one segment."""
        return _build("segment", self, index)

    def random_segment(self, seed: Any = None) -> Node:
        """The records of a random segment."""
        return _build("random_segment", self, seed=seed)

    # -- operators ---------------------------------------------------------------------------

    def __add__(self, other: Any) -> Node:
        return _build("add", self, other)

    def __radd__(self, other: Any) -> Node:
        return _build("add", other, self)

    def __sub__(self, other: Any) -> Node:
        return _build("subtract", self, other)

    def __rsub__(self, other: Any) -> Node:
        return _build("subtract", other, self)

    def __mul__(self, other: Any) -> Node:
        return _build("multiply", self, other)

    def __rmul__(self, other: Any) -> Node:
        return _build("multiply", other, self)

    def __truediv__(self, other: Any) -> Node:
        return _build("divide", self, other)

    def __rtruediv__(self, other: Any) -> Node:
        return _build("divide", other, self)

    def __floordiv__(self, other: Any) -> Node:
        return _build("floor_divide", self, other)

    def __rfloordiv__(self, other: Any) -> Node:
        return _build("floor_divide", other, self)

    def __mod__(self, other: Any) -> Node:
        return _build("modulo", self, other)

    def __rmod__(self, other: Any) -> Node:
        return _build("modulo", other, self)

    def __pow__(self, other: Any) -> Node:
        return _build("power", self, other)

    def __rpow__(self, other: Any) -> Node:
        return _build("power", other, self)

    def __neg__(self) -> Node:
        return _build("negative", self)

    def __abs__(self) -> Node:
        return _build("absolute", self)

    def __and__(self, other: Any) -> Node:
        return _build("logical_and", self, other)

    def __or__(self, other: Any) -> Node:
        return _build("logical_or", self, other)

    def __xor__(self, other: Any) -> Node:
        return _build("logical_xor", self, other)

    def __invert__(self) -> Node:
        return _build("logical_not", self)

    def __lt__(self, other: Any) -> Node:
        return _build("less", self, other)

    def __le__(self, other: Any) -> Node:
        return _build("less_equal", self, other)

    def __gt__(self, other: Any) -> Node:
        return _build("less", other, self)

    def __ge__(self, other: Any) -> Node:
        return _build("less_equal", other, self)

    def __eq__(self, other: object) -> Node:  # type: ignore[override]
        return _build("equal", self, other)

    def __ne__(self, other: object) -> Node:  # type: ignore[override]
        return _build("not_equal", self, other)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise ConfigError(
            f"{self!r} has no value yet: st.conditional(condition, then, otherwise) decides for "
            "each sample; & | ~ stand for and, or, not"
        )


def constant(value: Any) -> Node:
    """A constant as a node; a node as it is.

    A list in which there are nodes becomes a node that makes the list. Arrays are copied, as
    whoever has them may go on writing into them, unless nobody can; large ones belong into
    `records`, which holds them as they are.

    Raises:
        ConfigError: it is no value that a graph can hold.
    """
    if isinstance(value, Node):
        return value
    if isinstance(value, (list, tuple)) and any(isinstance(one, Node) for one in value):
        return _build("pack", *value)
    where = user_line()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, tuple):
        value = list(value)
    try:
        kind = type_of(value)
    except ConfigError as error:
        raise ConfigError(f"{place(where)}: {error}") from None
    return Node(None, (), kind, value=kept(value), where=where)


def known(node: Node) -> Any:
    """The value of a constant; None of anything else."""
    return node.value if node.op is None else None


def reachable(outputs: list[Node]) -> list[Node]:
    """The nodes that `outputs` are made of, each once, in the order in which they were made."""
    found: dict[int, Node] = {}
    todo = list(outputs)
    while todo:
        node = todo.pop()
        if id(node) not in found:
            found[id(node)] = node
            todo.extend(node.inputs)
    return sorted(found.values(), key=lambda node: node.serial)


def flat(outputs: list[Node]) -> tuple[list[Any], list[int]]:
    """The graph without nesting, in which pickle would lose itself; and the outputs' numbers."""
    nodes = reachable(outputs)
    numbers = {id(node): number for number, node in enumerate(nodes)}
    rows = [
        (
            node.op,
            [numbers[id(one)] for one in node.args],
            node.type,
            None if node.seed is None else numbers[id(node.seed)],
            node.value,
            node.where,
        )
        for node in nodes
    ]
    return rows, [numbers[id(node)] for node in outputs]


def nested(rows: list[Any], outputs: list[int]) -> list[Node]:
    """The outputs of a graph that `flat` gave."""
    nodes: list[Node] = []
    for op, args, kind, seed, value, where in rows:
        shared = None if seed is None else nodes[seed]
        below = tuple(nodes[one] for one in args)
        value = read_only(value)  # a pickle does not keep that
        nodes.append(Node(op, below, kind, seed=shared, value=value, where=where))
    return [nodes[number] for number in outputs]


def user_line() -> Where:
    """The innermost line of the call stack that is not of this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


@lru_cache(maxsize=4096)
def place(where: Where) -> str:
    """``birds.py:12``, fit for a line of text whatever the file is called."""
    name = "".join(c if c.isprintable() else "?" for c in os.path.basename(where[0]))
    return f"{name}:{where[1]}"


def _ends(index: slice) -> tuple[Any, Any]:
    if index.step is not None and not (isinstance(index.step, int) and index.step == 1):
        raise ConfigError(f"step={index.step!r}: st.take takes elements at any places")
    return index.start, index.stop


def _length(kind: Type) -> int | None:
    if isinstance(kind, (List, Records)):
        return kind.length
    if isinstance(kind, Array) and kind.shape:
        return kind.shape[0]
    if isinstance(kind, (Record, Image)):
        raise ConfigError(f"{kind} has no elements that could be counted")
    return None


def _build(name: str, *args: Any, **options: Any) -> Node:
    """A node of an operation that is not this module's to know."""
    build = macros.get(name) or operations[name]
    node: Node = build(*args, **options)
    return node
