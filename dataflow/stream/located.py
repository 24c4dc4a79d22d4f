"""Errors whose message says where what failed was described.

A note would not do: Python 3.10 has none, and neither ``str(error)`` nor a worker's message shows
it.
"""

from __future__ import annotations

import functools
from typing import Any

from dataflow.errors import text_of

__all__ = ["located"]

_TOLD = "_told_by_stream"


def located(error: Exception, where: str) -> Exception:
    """The error with `where` in its message.

    Itself, where its message can be set. Where its class puts one together, as `KeyError` and
    `OSError` do, one of a subclass that looks the same; with the same parts, cause and traceback.
    """
    said = text_of(error).rstrip()
    if where in said:
        return error
    told = f"{said} ({where})" if said else where
    plain = type(error).__str__ is BaseException.__str__
    if plain and (not error.args or (len(error.args) == 1 and isinstance(error.args[0], str))):
        error.args = (told,)
        return error
    return _telling(error, told)


def _telling(error: Exception, told: str) -> Exception:
    """The error, or one like it, with this message."""
    made = error
    if _TOLD not in error.__dict__:  # or a stream within this one has made it such
        try:
            error.__class__ = _subclass(_kind(error))
        except TypeError:  # one of Python's own, of which no instance changes its class
            made = _like(error)
    made.__dict__[_TOLD] = told
    return made


def _like(error: Exception) -> Exception:
    """An error of the subclass with the same parts."""
    made: Exception
    try:
        parts: Any = error.__reduce__()
        made = _subclass(_kind(error))(*parts[1])
    except Exception:  # it cannot be made anew, so it stays without the place
        return error
    made.__dict__.update(error.__dict__)
    made.__cause__, made.__context__ = error.__cause__, error.__context__
    made.__suppress_context__ = error.__suppress_context__
    made.__traceback__ = error.__traceback__
    return made


def _kind(error: Exception) -> Any:
    return type(error)  # which mypy would not take for something that can be hashed


@functools.lru_cache(maxsize=128)
def _subclass(kind: Any) -> Any:
    def text(self: Exception) -> str:
        return str(self.__dict__[_TOLD])

    def reduced(self: Exception) -> Any:
        parts: Any = kind.__reduce__(self)
        make, arguments, *state = parts
        # The subclass is in no module: the other side makes one of its own.
        make, *arguments = (kind if one is type(self) else one for one in (make, *arguments))
        return _rebuilt, (make, tuple(arguments), state[0] if state else None, str(self))

    about = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(kind.__name__, (kind,), {**about, "__str__": text, "__reduce__": reduced})


def _rebuilt(make: Any, arguments: Any, state: Any, told: str) -> Exception:
    """Unpickle an error of such a subclass."""
    error: Exception = make(*arguments)
    if state is not None:
        error.__setstate__(state)
    error.__dict__.pop(_TOLD, None)
    return _telling(error, told)
