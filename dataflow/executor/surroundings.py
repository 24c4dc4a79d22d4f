"""What a worker process finds around it, as its parent: logging, warnings, what NumPy raises."""

from __future__ import annotations

import decimal
import logging
import pickle
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from dataflow.codec import local

__all__ = ["Surroundings", "settle_in", "surroundings"]


class Surroundings(NamedTuple):
    """A process's, to be found in another. What is in bytes is pickled.

    Attributes:
        level: of the root logger.
        disabled: the level up to which all loggers are.
        handlers: of the root logger, as far as another process can have them, too.
        filters: of warnings.
        numpy: what becomes of floating-point errors.
        decimal: the context of decimal numbers.
        init: a function to be called when all else is as it was.
    """

    level: int
    disabled: int
    handlers: list[bytes]
    filters: list[bytes]
    numpy: dict[str, Any]
    decimal: bytes
    init: bytes | None


def surroundings(init: Callable[[], object] | None) -> Surroundings:
    """This process's.

    Raises:
        Exception: what pickling `init` raises.
    """
    root = logging.getLogger()
    handlers = [found for one in root.handlers if (found := _handler(one)) is not None]
    return Surroundings(
        level=root.level,
        disabled=root.manager.disable,
        handlers=_packed(handlers),
        filters=_packed(map(_without_import, warnings.filters)),
        numpy=dict(np.geterr()),
        decimal=pickle.dumps(decimal.getcontext()),
        init=None if init is None else local.encode(init)[0],
    )


def settle_in(found: Surroundings) -> None:
    """Make this process's surroundings the same.

    Raises:
        Exception: whatever `init` raises.
    """
    root = logging.getLogger()
    root.setLevel(found.level)
    logging.disable(found.disabled)
    for packed in found.handlers:
        with suppress(Exception):  # a class or a file that is not to be had here
            name, where, level, formatter = pickle.loads(packed)
            handler = _MAKERS[name](where)
            handler.setLevel(level)
            handler.setFormatter(formatter)
            root.addHandler(handler)
    warnings.resetwarnings()
    for packed in found.filters:
        with suppress(Exception):  # the same
            action, message, category, module, line = pickle.loads(packed)
            message, module = (getattr(one, "pattern", one) or "" for one in (message, module))
            category = _known_by(category) if isinstance(category, str) else category
            warnings.filterwarnings(action, message, category, module, line, append=True)
    np.seterr(**found.numpy)
    decimal.setcontext(pickle.loads(found.decimal))
    if found.init is not None:
        pickle.loads(found.init)()


_MAKERS: dict[str, Callable[[str], logging.Handler]] = {
    "stream": lambda name: logging.StreamHandler(getattr(sys, name)),
    # Each process writes whole lines at the end. What renames the file is the parent's.
    "file": lambda path: logging.FileHandler(path, mode="a"),
}


def _handler(handler: logging.Handler) -> tuple[str, str, int, Any] | None:
    """How to make one like it; None for those that only its process can have."""
    rest = handler.level, handler.formatter
    if isinstance(handler, logging.FileHandler):
        return ("file", handler.baseFilename, *rest)
    if isinstance(handler, logging.StreamHandler):
        for name in ("stderr", "stdout"):
            if handler.stream in (getattr(sys, name), getattr(sys, f"__{name}__")):
                return ("stream", name, *rest)
    return None


def _without_import(one: Any) -> tuple[Any, ...]:
    """A filter of warnings; a category of an imported module by its name.

    Those of a framework, which adds its own to the filters, would have every worker import it.
    """
    action, message, category, module, line = one
    where = category.__module__
    if where not in ("builtins", "__main__") and "<" not in category.__qualname__:
        category = f"{where}.{category.__qualname__}"
    return action, message, category, module, line


class _ByName(type):
    """The class of a category that stands for the one of its name, and what is derived from it."""

    def __subclasscheck__(cls, other: type) -> bool:
        return any(f"{one.__module__}.{one.__qualname__}" == cls.__name__ for one in other.__mro__)


def _known_by(name: str) -> type[Warning]:
    made: Any = _ByName(name, (Warning,), {})
    return made  # type: ignore[no-any-return]


def _packed(values: Any) -> list[bytes]:
    """Those of the values that can be sent."""
    packed = []
    for value in values:
        with suppress(Exception):  # whatever the user's classes do
            packed.append(local.encode(value)[0])
    return packed
