"""An attribute that is a truth value here, and a method in other libraries."""

from __future__ import annotations

from typing import Any

from dataflow.errors import ConfigError

__all__ = ["Switch"]


class Switch:
    """A truth value as an attribute; called as a method, it says what there is instead.

    Args:
        instead: what the message of the error says.
    """

    def __init__(self, instead: str) -> None:
        self._instead = instead

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, flow: Any, owner: type | None = None) -> Any:
        value = False if flow is None else flow.__dict__.get(self._name, False)
        return _Value(bool(value), self._name, self._instead)

    def __set__(self, flow: Any, value: Any) -> None:
        flow.__dict__[self._name] = value


class _Value(int):
    """`bool` cannot be subclassed."""

    def __new__(cls, value: bool, name: str, instead: str) -> _Value:
        made = super().__new__(cls, value)
        made._name, made._instead = name, instead
        return made

    _name: str
    _instead: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise ConfigError(f"{self._name} of this dataflow is {self!r}, no method: {self._instead}")

    def __repr__(self) -> str:
        return repr(bool(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return bool, (bool(self),)
