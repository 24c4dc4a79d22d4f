"""What runs a chain, as flows know it: functions that stand above them, and are installed once.

A flow asks the runtime to open a pass, to look at one place of it, and to tell about it. So the
modules of flows import nothing of the engine, which is built on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Runtime", "install", "runtime"]


@dataclass(frozen=True)
class Runtime:
    """An engine.

    Attributes:
        session: what the engine keeps of one pass: (saved cursors, that of the pass before,
            options) → session.
        stream: (flow, epoch) → the pass, as pairs of tag and datapoint.
        at: (flow, epoch, index) → the pair at one place of it.
        state_of: (flow, pass, next epoch) → the state of a chain.
        checked: (flow, state) → the state, where it is one of this chain.
        restore_failures: (flow, state) → None; what had failed is listed again.
        plan: flow → how it is run.
        summarise: flow → what ``stats()`` returns.
        explain: what ``stats()`` returned → a paragraph.
        why_nothing: flow, and whether it goes on → why its epoch delivered nothing.
    """

    session: Callable[..., Any]
    stream: Callable[[Any, Any], Any]
    at: Callable[[Any, Any, int], Any]
    state_of: Callable[[Any, Any, int], dict[str, Any]]
    checked: Callable[[Any, Any], dict[str, Any]]
    restore_failures: Callable[[Any, Any], None]
    plan: Callable[[Any], Any]
    summarise: Callable[[Any], dict[str, Any]]
    explain: Callable[[dict[str, Any]], str]
    why_nothing: Callable[[Any, bool], str]


_installed: list[Runtime] = []


def install(engine: Runtime) -> None:
    """From now on this one runs all chains."""
    _installed[:] = [engine]


def runtime() -> Runtime:
    """The one that was installed, by the package when it is imported."""
    return _installed[0]
