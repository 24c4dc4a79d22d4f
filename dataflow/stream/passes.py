"""From the graph that a person described to the steps that remain to be done.

A step is a node that knows its place. Equal nodes become one step: random ones only where they
share a seed, as otherwise their places differ. What depends on constants alone is computed now.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dataflow.errors import ConfigError
from dataflow.stream.graph import Node, reachable
from dataflow.stream.inference import declared, type_of
from dataflow.stream.operation import Op
from dataflow.stream.places import places
from dataflow.stream.shared import clamped, read_only
from dataflow.stream.types import Type

__all__ = ["Step", "fold", "steps_of", "uses"]


class Step:
    """Something to compute, or a constant.

    Attributes:
        op, args, value, type, where: as of a node.
        bits: what its draws start from.
        number: its place in the order in which steps can be done.
    """

    __slots__ = ("args", "bits", "number", "op", "type", "value", "where")

    def __init__(self, node: Node, args: tuple[Step, ...], bits: int, number: int) -> None:
        self.op: Op | None = node.op
        self.args = args
        self.value: Any = node.value
        self.type: Type = node.type
        self.where = node.where
        self.bits = bits
        self.number = number

    @property
    def name(self) -> str:
        """As of a node."""
        return "constant" if self.op is None else self.op.name

    @property
    def lazy(self) -> bool:
        """Its first argument says which one of the others is its value."""
        return self.op is not None and self.op.name == "select"


def steps_of(outputs: list[Node], *, given: Mapping[str, Any], merge: bool) -> list[Step]:
    """The steps whose values the outputs are.

    Args:
        outputs: of the stream.
        given: values of inputs, by name.
        merge: equal nodes become one step.

    Raises:
        ConfigError: an input is given a value of another type.
    """
    nodes = reachable(outputs)
    placed = places(nodes)
    made: dict[int, Step] = {}
    known: dict[bytes, Step] = {}
    for number, node in enumerate(nodes):
        digest, bits = placed[id(node)]
        step = known.get(digest) if merge else None
        if step is None:
            args = tuple(made[id(one)] for one in node.args)
            step = known[digest] = Step(node, args, bits, number)
            if node.name == "input":
                _give(step, given)
        made[id(node)] = step
    return [made[id(node)] for node in outputs]


def fold(outputs: list[Step]) -> list[Step]:
    """Compute what depends on constants alone; returns the outputs that remain.

    What fails stays as it is: it may be in a branch that is never taken, and where it is taken it
    raises as it would have.
    """
    instead: dict[int, Step] = {}
    for step in uses(outputs):
        step.args = tuple(instead.get(one.number, one) for one in step.args)
        if step.lazy and step.args[0].op is None:
            instead[step.number] = step.args[1 + clamped(step.args[0].value, len(step.args) - 1)]
        elif step.op is not None and step.op.foldable and all(one.op is None for one in step.args):
            with suppress(Exception):
                value = step.op.function(*(one.value for one in step.args))
                if step.op.own:
                    declared(step.op.name, step.type, value)
                step.op, step.args, step.value = None, (), read_only(value)
    return [instead.get(step.number, step) for step in outputs]


def uses(outputs: list[Step]) -> list[Step]:
    """All steps that the outputs may need, in order."""
    found: dict[int, Step] = {}
    todo = list(outputs)
    while todo:
        step = todo.pop()
        if step.number not in found:
            found[step.number] = step
            todo.extend(step.args)
    return [found[number] for number in sorted(found)]


def _give(step: Step, given: Mapping[str, Any]) -> None:
    """An input becomes the constant that is given for it; its type is that of the default."""
    name, default = step.args[0].value, step.args[1].value
    value = given.get(name, default)
    if not step.type.accepts(type_of(value)):
        raise ConfigError(f"the input {name!r} must be {step.type}, and is {value!r:.60}")
    step.op, step.args, step.value = None, (), read_only(value)
