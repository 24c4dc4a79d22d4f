"""Functions and classes of scripts and notebooks, with the lines that a traceback shows of them.

cloudpickle packs the functions that another process cannot import. What becomes of the file name
in their code differs from version to version of it, and a traceback without it shows neither
place nor line. So code objects are packed here, by `marshal`, which keeps all of them and is
exact between two processes of one Python. The text of their files goes along: a notebook's cells
have none on disk, and a script need not be on the machine of a Ray actor. Only for pipes and
sockets of one user, and for a cluster in which everybody is trusted.
"""

from __future__ import annotations

import copyreg
import importlib.util
import io
import linecache
import marshal
import os
import platform
from collections.abc import Callable
from functools import cache
from types import CodeType, FunctionType
from typing import Any

from dataflow.ownership import parts_of_view, view_of

__all__ = ["code_pickler", "dumps"]


def _marshalled(code: CodeType) -> bytes:
    """The same bytes whenever it is packed: later formats depend on reference counts."""
    try:
        return marshal.dumps(code, 2)
    except ValueError:  # with constants that are newer than the format
        return marshal.dumps(code)


@cache
def code_pickler() -> Any:
    """The pickler's class; a function, because cloudpickle is dear to import and rarely needed."""
    import cloudpickle

    class CodePickler(cloudpickle.Pickler):  # type: ignore[misc]
        """cloudpickle's, but for code objects."""

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, CodeType):
                try:
                    packed = _marshalled(obj)
                except ValueError:  # rewritten at run time, with constants that no source can have
                    return super().reducer_override(obj)
                # The same list for all functions of a file: the pickle holds it once.
                lines = linecache.getlines(obj.co_filename)
                return _code, (importlib.util.MAGIC_NUMBER, packed, obj.co_filename, lines)
            if type(obj) is memoryview:  # of which cloudpickle makes bytes
                return view_of, parts_of_view(obj)
            if (reduced := _with_lost_slots(obj)) is not None:
                return reduced
            if isinstance(obj, FunctionType):
                # A script in a zip archive has its lines from its loader.
                linecache.lazycache(obj.__code__.co_filename, obj.__globals__)
            return super().reducer_override(obj)

    return CodePickler


def dumps(value: Any, buffer_callback: Callable[[Any], Any] | None = None) -> bytes:
    """Pickle a value that may hold functions and classes that nobody else can import.

    Raises:
        Exception: whatever the value's own pickling raises.
    """
    file = io.BytesIO()
    code_pickler()(file, protocol=5, buffer_callback=buffer_callback).dump(value)
    return file.getvalue()


def _with_lost_slots(obj: Any) -> tuple[Any, ...] | None:
    """How to pickle an object of a class with slots that cloudpickle rebuilt, without any.

    Where the class comes from, objects have no dictionary that their state could be put in. None
    for all other objects.
    """
    kind: Any = type(obj)
    if (
        "__slots__" not in kind.__dict__
        or not hasattr(obj, "__dict__")
        or "__dict__" in kind.__slots__
        or any("__dict__" in base.__dict__ for base in kind.__mro__[1:])
        or isinstance(obj, type)
        or hasattr(kind, "__setstate__")
        or getattr(kind, "__getstate__", None) is not getattr(object, "__getstate__", None)
    ):
        return None
    reduced = obj.__reduce_ex__(4)
    if not isinstance(reduced, tuple) or reduced[0] is not copyreg.__newobj__ or not vars(obj):  # type: ignore[attr-defined]
        return None
    make, arguments, _, items, pairs = (*reduced, None, None, None)[:5]
    return make, arguments, vars(obj), items, pairs, _set_all


def _set_all(obj: Any, state: dict[str, Any]) -> None:
    for name, value in state.items():
        object.__setattr__(obj, name, value)


def _code(magic: bytes, packed: bytes, filename: str, lines: list[str]) -> CodeType:
    """The code again; where its file cannot be read here, a traceback shows these lines."""
    if magic != importlib.util.MAGIC_NUMBER:
        raise ValueError(
            f"a function of {filename} was packed by another version of Python than this one, "
            f"{platform.python_version()}: run the same on both sides"
        )
    if lines and not os.path.isfile(filename):
        # As doctest and IPython do it. None: there is no file whose change could be seen.
        linecache.cache[filename] = (sum(map(len, lines)), None, lines, filename)
    code: CodeType = marshal.loads(packed)
    return code
