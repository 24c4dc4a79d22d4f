"""A chain in words: what a state holds of it, and what a person sees of it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from dataflow.node import inputs, is_runner

__all__ = ["described", "fingerprint"]


def fingerprint(flow: Any) -> list[str]:
    """A line for each flow from `flow` down, runners left out."""
    return list(_lines(flow, ""))


def _lines(flow: Any, indent: str) -> Iterator[str]:
    upstream = inputs(flow)
    if not is_runner(flow):
        yield indent + described(flow)
    inner = indent + "  " if len(upstream) > 1 else indent
    for one in upstream:
        yield from _lines(one, inner)


def described(flow: Any, *, defaults: bool = True) -> str:
    """A flow's class with its arguments that are plain values, of a source its length, too.

    Args:
        flow: any.
        defaults: with those that are as they would be anyway.
    """
    arguments = _arguments(flow)
    words = [f"{name}={value}" for name, value, usual in arguments if defaults or not usual]
    if not inputs(flow):
        try:
            words.insert(0, f"{len(flow)} datapoints")
        except (TypeError, NotImplementedError):
            words.insert(0, "datapoints of unknown number")
    return f"{type(flow).__qualname__}({', '.join(words)})"


def _arguments(flow: Any) -> Iterator[tuple[str, str, bool]]:
    """The arguments of a flow that are plain values or functions, from its attributes.

    Each with its name, its value, and whether that is the default.
    """
    try:
        parameters = list(inspect.signature(type(flow).__init__).parameters.values())[1:]
    except (TypeError, ValueError):
        return
    attributes = vars(flow)
    for parameter in parameters:
        name = parameter.name
        value = attributes.get(name, attributes.get(f"_{name}"))
        if isinstance(value, (bool, int, float, str)):
            default = parameter.default
            yield name, repr(value), type(value) is type(default) and value == default
        elif callable(value) and hasattr(value, "__qualname__"):
            yield name, value.__qualname__, False
