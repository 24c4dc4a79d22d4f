"""Arguments that have to be of some kind, and what is said where they are not."""

from __future__ import annotations

import operator
from typing import Any

from dataflow.errors import ConfigError

__all__ = ["places_of", "shortened", "whole_number"]

_LONGEST = 300


def whole_number(name: str, value: Any, least: int | None = None) -> int:
    """A whole number, of at least so much where that is given.

    Raises:
        ConfigError: it is something else, such as 32.0 or "32".
    """
    bound = "" if least is None else f" of at least {least}"
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        hint = ""
        if isinstance(value, float) and value.is_integer():
            hint = f": give {int(value)}"
        elif isinstance(value, str) and value.strip().isdecimal():
            hint = f": give {int(value)}, without the quotes"
        raise ConfigError(f"{name}={shortened(value)} must be a whole number{bound}{hint}")
    if least is not None and number < least:
        raise ConfigError(f"{name}={value!r} must be a whole number{bound}")
    return number


def places_of(places: slice, size: int | None) -> range:
    """The places of a slice of so many; of an unknown number, if none counts from the end.

    Raises:
        TypeError: one does.
    """
    if size is None:
        if places.stop is None or min(places.start or 0, places.stop) < 0:
            raise TypeError("a slice of a dataflow of unknown length needs positions from 0 on")
        size = max(places.start or 0, places.stop)
    return range(*places.indices(size))


def shortened(value: Any) -> str:
    """The `repr` of a value, as far as a message has room for it."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({type(value).__name__})"
