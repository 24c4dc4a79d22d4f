"""Messages of which a part cannot be rebuilt: the rest of them can.

An object may pickle and not unpickle: its `__setstate__` raises, or its class is not to be found
here. Then `pickle.loads` gives nothing of the whole message. What is slower than it, and only used
where it failed, puts an `Unreadable` in the place of each such object.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple

__all__ = ["Flawed", "Unreadable", "loads", "unreadable_in"]


class Flawed(NamedTuple):
    """A message with objects that could not be rebuilt.

    Attributes:
        message: the rest, with `Unreadable` in their places.
    """

    message: Any


class Unreadable:
    """In place of an object that could not be rebuilt.

    Attributes:
        error: what was raised.
    """

    error: Exception

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        if args and isinstance(args[0], Exception):
            self.error = args[0]
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass  # of the object that it stands for, like what else may be done to that

    append = extend = __setitem__ = __setstate__

    def __reduce__(self) -> Any:
        raise _Found(self.error)


class _Found(Exception):
    """There is an `Unreadable` in what is pickled."""


def unreadable_in(value: Any) -> Exception | None:
    """Why a part of a value could not be rebuilt; None where all of it was."""
    try:
        pickle.dumps(value, protocol=5, buffer_callback=lambda _: None)
    except _Found as found:
        error: Exception = found.args[0]
        return error
    except Exception:  # a class of the script, which pickles by other means
        from dataflow.codec import functions

        try:
            functions.dumps(value, lambda _: None)
        except _Found as found:
            error = found.args[0]
            return error
        except Exception as error:  # half of something
            return error
    return None


def loads(structure: bytes | memoryview, buffers: Iterable[Any]) -> Any:
    """As `pickle.loads`, with `Unreadable` in the places of objects that cannot be rebuilt."""
    return _Unpickler(io.BytesIO(structure), buffers=buffers).load()


# The one that is written in Python can be told what to do with an error, in each of its steps.
_Steps: Any = pickle._Unpickler


class _Unpickler(_Steps):  # type: ignore[misc]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(_Steps.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except (Exception, SystemExit) as error:  # importing a module runs any code
            return type("Missing", (Unreadable,), {"error": error})


def _guarded(step: Callable[[Any], None], taken: int) -> Callable[[Any], None]:
    """A step that takes so many values from the stack and leaves one, whatever it raises."""

    def guarded(unpickler: Any) -> None:
        size = len(unpickler.stack)
        try:
            step(unpickler)
        except (Exception, SystemExit) as error:  # whatever the user's classes do
            del unpickler.stack[size - taken :]
            unpickler.stack.append(Unreadable(error))

    return guarded


def _guarded_several(step: Callable[[Any], None]) -> Callable[[Any], None]:
    """The same for a step that takes all values from a mark on, and gives them to the one below."""

    def guarded(unpickler: Any) -> None:
        try:
            step(unpickler)
        except (Exception, SystemExit) as error:
            unpickler.stack[-1] = Unreadable(error)

    return guarded


for _opcode in (pickle.APPENDS, pickle.SETITEMS, pickle.ADDITEMS):
    _Unpickler.dispatch[_opcode[0]] = _guarded_several(_Steps.dispatch[_opcode[0]])
for _opcode, _taken in (
    (pickle.REDUCE, 2),
    (pickle.NEWOBJ, 2),
    (pickle.NEWOBJ_EX, 3),
    (pickle.BUILD, 2),
    (pickle.SETITEM, 3),
    (pickle.APPEND, 2),
):
    _Unpickler.dispatch[_opcode[0]] = _guarded(_Steps.dispatch[_opcode[0]], _taken)
