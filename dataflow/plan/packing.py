"""Op chains on their way to a worker process."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from functools import _lru_cache_wrapper, lru_cache
from types import FunctionType, ModuleType
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
    except Exception as error:
        for chain in chains:
            for part in (chain.loader, *chain.stages):
                try:
                    _pack(part, detached)
                except Exception as cause:
                    name = type(part).__name__
                    raise TypeError(
                        f"{name} cannot be sent to a worker process: {cause}. Open files, locks "
                        "and connections must be made in the function that uses them, or in the "
                        "stage's reset_state"
                    ) from error
        raise


def why_not_sent(value: Any) -> str | None:
    """Why something cannot go to a worker process, or had better not; None where it can."""
    try:
        _pack(value, set(), most=_MOST_BYTES)
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


def _pack(value: Any, detached: set[int], most: int = sys.maxsize) -> bytes:
    import cloudpickle

    by_value: set[ModuleType] = set()

    class Pickler(code_pickler()):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            # The state apart: a flow may hold a method of its own.
            if id(obj) in detached:
                foreign = not isinstance(obj, Node)
                state = vars(obj) if foreign else obj._state_for_worker(ready=False)
                left = _FOREIGN if foreign else obj._consumer_only
                state = {name: value for name, value in state.items() if name not in left}
                return _blank, (type(obj),), state
            if isinstance(obj, Node) and _as_usual(type(obj)):
                return _blank, (type(obj),), obj._state_for_worker(ready=True)
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
