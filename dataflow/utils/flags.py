"""An attribute that is a truth value, where people look for a method of that name."""

from __future__ import annotations

from typing import Any

from dataflow.errors import ConfigError

__all__ = ["Flag", "FlagAttribute"]


class Flag(int):
    """`True` or `False`, which says what to do instead where somebody calls it.

    Args:
        value: which.
        hint: what is said.
    """

    hint: str

    def __new__(cls, value: Any, hint: str) -> Flag:
        self = super().__new__(cls, bool(value))
        self.hint = hint
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise ConfigError(self.hint)

    def __repr__(self) -> str:
        return repr(bool(self))

    __str__ = __repr__

    def __reduce__(self) -> tuple[Any, ...]:
        return bool, (int(self),)


class FlagAttribute:
    """A descriptor: false until it is set, and a `Flag` wherever it is read.

    Args:
        hint: what a call of it says.
    """

    def __init__(self, hint: str) -> None:
        self._hint = hint

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return Flag(False if instance is None else vars(instance).get(self._name), self._hint)

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)[self._name] = bool(value)
