"""Older spellings: they go on working, and say once which one is newer."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

from dataflow.errors import ConfigError

__all__ = ["renamed", "tell"]

_Method = TypeVar("_Method", bound=Callable[..., Any])
_told: set[str] = set()


def renamed(**newer: str) -> Callable[[_Method], _Method]:
    """Let a method take arguments by their older names, too.

    ::

        @renamed(nr_proc="num_proc")
        def __init__(self, ds, num_proc=1): ...

    Args:
        **newer: the older names with the newer ones.

    Raises:
        ConfigError: (from the method) where an argument is given under both names.
    """

    def decorate(method: _Method) -> _Method:
        code = method.__code__
        places = code.co_varnames[: code.co_argcount]

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            for older in [name for name in kwargs if name in newer]:
                name, value = newer[older], kwargs.pop(older)
                if name in kwargs or name in places[: len(args)]:
                    given = kwargs[name] if name in kwargs else args[places.index(name)]
                    raise ConfigError(
                        f"{older}={value!r} is the older spelling of {name}, which is given, too: "
                        f"{name}={given!r}. Leave {older} out"
                    )
                kwargs[name] = value
                tell(older, name)
            return method(*args, **kwargs)

        return cast(_Method, call)

    return decorate


def tell(older: str, newer: str) -> None:
    """Warn, once in a process, that there is a newer spelling.

    A DeprecationWarning, at the place that called whoever calls this: Python shows it where that
    is the script that was started, and stays silent where it is a library.
    """
    if older not in _told:
        _told.add(older)
        warnings.warn(f"{older} is the older spelling of {newer}", DeprecationWarning, stacklevel=3)
