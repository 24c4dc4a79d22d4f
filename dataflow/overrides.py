"""Methods that users' classes bring: what the engine has to see to around them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

__all__ = ["begins_epoch", "runs_once"]


def begins_epoch(method: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap a user's own `__iter__` or `get_data`: make the flow ready before it runs."""

    @functools.wraps(method)
    def begin(self: Any) -> Any:
        # Only for the outermost method: `super().__iter__()` belongs to the pass already begun.
        if getattr(type(self), method.__name__) is begin:
            self._begin()
        return method(self)

    return begin


def runs_once(method: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wrap a class's own `reset_state`: it runs once, whoever calls it, and calls no `super()`."""

    @functools.wraps(method)
    def reset_state(self: Any) -> None:
        # Only for the outermost method, as above.
        if type(self).reset_state is reset_state:
            self._make_ready(method)
        else:
            method(self)

    return reset_state
