"""Op chains on their way to a worker process."""

from __future__ import annotations

import dis
import inspect
import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import _lru_cache_wrapper, lru_cache
from types import FunctionType, MethodType, ModuleType
from typing import Any

from dataflow.codec.functions import code_pickler
from dataflow.node import Node
from dataflow.plan.ops import OpChain

__all__ = ["pack", "why_not_sent"]

# What stays behind of a foreign flow: what is upstream, and what we noted in it.
_FOREIGN = ("ds", "_dataflow_ready", "_dataflow_meter")

# A flow that could stay here is not sent along with more than this: there would be two of it.
_MOST_BYTES = 64 << 20


def pack(chains: list[OpChain], flows: Iterable[Any]) -> bytes:
    """Pickle op chains for a worker process.

    The `flows` go without what is upstream of them and without their keys: the source never
    leaves the consumer, even where a stage is a bound method of it.

    Raises:
        TypeError: where something cannot be pickled; names the stage.
    """
    detached = {id(flow) for flow in flows}
    try:
        return _pack(chains, detached)
    except Exception:  # whatever the user's objects do when they are pickled
        pass
    try:
        return _pack(chains, detached, without_remade=True)
    except Exception as error:
        raise TypeError(_why_not(chains, detached, error)) from error


def _why_not(chains: list[OpChain], detached: set[int], error: Exception) -> str:
    """Which stage cannot be sent, and what in it."""
    for chain in chains:
        for part in (chain.loader, *chain.stages):
            if not _can_be_packed(part, detached):
                flow = getattr(part, "flow", part)  # of what iterates one in a worker
                what = _culprit(part, detached)
                return (
                    f"{type(flow).__name__} cannot be sent to a worker process"
                    f"{f', because of {what}' if what else ''}: {error}. Open files, locks and "
                    "connections must be made in the function that uses them, or in the stage's "
                    "reset_state"
                )
    return f"a stage cannot be sent to a worker process: {error}"


def why_not_sent(value: Any) -> str | None:
    """Why something cannot go to a worker process, or had better not; None where it can."""
    try:
        _pack(value, set(), most=_MOST_BYTES, without_remade=True)
    except Exception as error:  # whatever the user's classes do when they are pickled
        return f"it cannot be sent to a worker process ({error})"
    return None


class _Bounded(io.BytesIO):
    """A file that takes so many bytes."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > self._most:
            raise ValueError(f"with what it holds it has more than {self._most >> 20} MB")
        return super().write(data)


def _pack(
    value: Any, detached: set[int], most: int = sys.maxsize, *, without_remade: bool = False
) -> bytes:
    """Pickle something.

    Args:
        value: what.
        detached: the identities of flows that go without what is upstream.
        most: bytes that it may have.
        without_remade: leave out what cannot be pickled and `reset_state` makes anew.
    """
    import cloudpickle

    def kept(obj: Any, state: dict[str, Any]) -> dict[str, Any]:
        made = _made_by_reset_state(type(obj)) if without_remade else ()
        return {
            name: part
            for name, part in state.items()
            if name not in made or _can_be_packed(part, detached)
        }

    by_value: set[ModuleType] = set()

    class Pickler(code_pickler()):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            # The state apart: a flow may hold a method of its own.
            if id(obj) in detached:
                foreign = not isinstance(obj, Node)
                state = vars(obj) if foreign else obj._state_for_worker(ready=False)
                left = _FOREIGN if foreign else obj._consumer_only
                state = {name: value for name, value in state.items() if name not in left}
                return _blank, (type(obj),), kept(obj, state)
            if isinstance(obj, Node) and _as_usual(type(obj)):
                return _blank, (type(obj),), kept(obj, obj._state_for_worker(ready=True))
            if isinstance(obj, (FunctionType, type)):
                module = sys.modules.get(obj.__module__)
                if module is not None and not _importable(module) and module not in by_value:
                    cloudpickle.register_pickle_by_value(module)
                    by_value.add(module)
            if isinstance(obj, _lru_cache_wrapper) and not _found(obj):
                return _cached, (obj.__wrapped__, obj.cache_parameters())
            return super().reducer_override(obj)

    file = _Bounded(most)
    try:
        Pickler(file, protocol=5).dump(value)
    finally:
        for module in by_value:
            cloudpickle.unregister_pickle_by_value(module)
    return file.getvalue()


def _can_be_packed(value: Any, detached: set[int]) -> bool:
    try:
        _pack(value, detached)
    except Exception:
        return False
    return True


def _made_by_reset_state(kind: type) -> frozenset[str]:
    """The attributes that a class's `reset_state` sets, as far as its code shows it."""
    found: set[str] = set()
    for one in kind.__mro__:
        method = inspect.unwrap(vars(one).get("reset_state", lambda: None))
        if isinstance(method, FunctionType):
            instructions = dis.get_instructions(method)
            found |= {one.argval for one in instructions if one.opname == "STORE_ATTR"}
    return frozenset(found)


def _culprit(value: Any, detached: set[int], above: tuple[int, ...] = ()) -> str | None:
    """The innermost thing in a value that cannot be pickled, in words; None where none is found.

    Args:
        value: an object.
        detached: as of `_pack`.
        above: the identities of those that it was found in.
    """
    above = (*above, id(value))
    for name, part in _parts(value, detached):
        own = part.__self__ if isinstance(part, MethodType) else part
        if id(own) not in above and not _can_be_packed(part, detached):
            return _culprit(part, detached, above) or name
    return None


def _parts(value: Any, detached: set[int]) -> Iterator[tuple[str, Any]]:
    """What a value consists of, each with what it is to be called."""
    kind = type(value).__name__
    match value:
        case list() | tuple():
            yield from ((f"a {type(part).__name__}", part) for part in value)
        case dict():
            yield from ((f"{key!r} of a dict", part) for key, part in value.items())
        case FunctionType():
            who = value.__qualname__
            cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
            for name, cell in cells:
                with suppress(ValueError):  # it has nothing yet
                    yield f"{name!r}, a variable that {who} uses", cell.cell_contents
            for name in value.__code__.co_names:
                if name in value.__globals__ and value.__module__ == "__main__":
                    yield f"{name!r}, a variable that {who} uses", value.__globals__[name]
        case MethodType():
            yield kind, value.__self__
        case Node():
            left = value._consumer_only if id(value) in detached else ()
            state = value._state_for_worker(ready=id(value) not in detached)
            yield from ((f"{kind}.{name}", p) for name, p in state.items() if name not in left)
        case _:
            yield from ((f"{kind}.{name}", p) for name, p in getattr(value, "__dict__", {}).items())


def _as_usual(kind: type) -> bool:
    """Whether objects of a class are pickled by what they hold, and by nothing of its own."""
    names = ("__reduce_ex__", "__reduce__")
    own = any(getattr(kind, name) is not getattr(object, name) for name in names)
    return not own and not hasattr(kind, "__getnewargs__")


def _found(function: Any) -> bool:
    """Whether a new process finds it by its name; what is defined in the script it does not."""
    module = sys.modules.get(function.__module__)
    return module is not None and module.__name__ != "__main__" and _importable(module)


def _cached(function: Any, parameters: dict[str, Any]) -> Any:
    """A function with `functools.lru_cache`, empty."""
    return lru_cache(**parameters)(function)


def _importable(module: ModuleType) -> bool:
    """Whether a new process with the same sys.path finds it, which a loaded module need not be."""
    name = module.__name__.partition(".")[0]
    return name == "__main__" or any(
        finder.find_spec(name, None) is not None
        for finder in sys.meta_path
        if hasattr(finder, "find_spec")
    )


def _blank(cls: Any) -> Any:
    return cls.__new__(cls)
