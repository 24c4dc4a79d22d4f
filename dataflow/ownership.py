"""Whose a datapoint is: what is kept beyond the next call of the user's code has to be ours alone.

The reference for all that this package does is the plain loop, in which each datapoint is used
before the next one is asked for. So a function may refill a buffer, and a generator may yield the
same array again and again. Wherever the engine keeps a datapoint for longer (in a queue, a buffer,
a batch, a message that is still being gathered), it takes it through `own`: that copies what
somebody else holds as well, and costs next to nothing where nobody does. How many hold an object,
Python's reference counts tell.

What a cache, a list or a repetition hands out goes through `copied`, so nobody's writes get there.
"""

from __future__ import annotations

import copy
import functools
import logging
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PosixPath, PurePosixPath
from sys import getrefcount
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, TypeAlias
from uuid import UUID

import numpy as np

__all__ = [
    "LARGE",
    "Empty",
    "ExclusiveMemory",
    "copied",
    "is_tensor",
    "own",
    "parts_of_view",
    "view_of",
]

logger = logging.getLogger(__name__)

Empty: TypeAlias = Callable[[tuple[int, ...], Any], np.ndarray]
"""Makes an array of a shape and a dtype, as `numpy.empty` does."""

LARGE = 2048
"""Bytes from which on an array has a place of its own in a message: before, it is not worth it."""

_Memo: TypeAlias = dict[int, Any]  # as `copy.deepcopy` has it

# Nobody can write into these, whoever holds them.
_PLAIN = frozenset({int, float, str, bytes, bool, type(None), complex})
_UNCHANGING = frozenset(
    {
        object,
        type,
        range,
        frozenset,
        slice,
        np.dtype,
        Decimal,
        UUID,
        date,
        datetime,
        time,
        timedelta,
    }
    | {PosixPath, PurePosixPath, FunctionType, BuiltinFunctionType, ModuleType}
)
_UNKNOWN: list[Any] = []


def own(datapoint: Any, empty: Empty | None = None) -> Any:
    """A datapoint to be kept: itself, where nobody else holds any of it.

    What somebody else holds is copied, and put in its place where that is in a list or dict of
    ours. Objects that cannot be copied stay as they are.

    Args:
        datapoint: any object. It has to be in one local variable of the caller, and in no other
            place that the caller knows of: as an expression it would count as held once less.
        empty: makes room for large arrays that have to be copied, as `numpy.empty` does.
    """
    if type(datapoint) is list:
        for part in datapoint:
            if type(part) not in _PLAIN:
                break
        else:
            return datapoint if getrefcount(datapoint) <= _ALONE else datapoint.copy()
        part = None  # or it would count as a holder
    return _own(getrefcount(datapoint) <= _ALONE, datapoint, empty, {})


def copied(datapoint: Any, empty: Empty | None = None) -> Any:
    """A copy of a datapoint that shares nothing with it that can be written to.

    Args:
        datapoint: any object. Those that cannot be copied stay as they are.
        empty: makes room for arrays that are large, as `numpy.empty` does.
    """
    if type(datapoint) is list:
        for part in datapoint:
            if type(part) not in _PLAIN:
                memo: _Memo = {}
                return [_copied(part, empty, memo) for part in datapoint]
        return datapoint.copy()
    return _copied(datapoint, empty, {})


def _own(alone: bool, value: Any, empty: Empty | None, memo: _Memo) -> Any:
    """As `own`.

    Args:
        alone: nobody else holds it. (First, since an argument before the count would count, too.)
        value: what is to be kept.
        empty: as of `own`.
        memo: the copies so far.
    """
    kind = type(value)
    if kind in _PLAIN or kind in _UNCHANGING or _is_scalar(value):
        return value
    if not alone:
        return _copied(value, empty, memo)
    if isinstance(value, (np.ndarray, np.void)):
        return value if _has_memory_alone(value) else _copied(value, empty, memo)
    if kind is list or kind is dict:
        for place in range(len(value)) if kind is list else value:
            part = value[place]
            if type(part) in _PLAIN:
                continue
            if type(part) is np.ndarray:  # what a datapoint mostly consists of, without a call
                if getrefcount(part) <= _HELD_ONCE and _has_memory_alone(part):
                    continue
                kept = _copied(part, empty, memo)
            else:
                kept = _own(getrefcount(part) <= _HELD_ONCE, part, empty, memo)
            if kept is not part:
                value[place] = kept
        return value
    if is_tensor(value):
        return value if _has_storage_alone(value) else _copied(value, empty, memo)
    if kind is memoryview:
        return value if type(value.obj) is bytes else _copied(value, empty, memo)
    for part in _parts(value):
        if _own(getrefcount(part) <= _HELD_ONCE, part, empty, memo) is not part:
            return _copied(value, empty, memo)
    return value


def _copied(value: Any, empty: Empty | None, memo: _Memo) -> Any:
    """As `copied`; what is in the datapoint twice is in the copy twice, too."""
    kind = type(value)
    array = kind is np.ndarray
    if not array and (kind in _PLAIN or kind in _UNCHANGING or _is_scalar(value)):
        return value
    if (known := memo.get(id(value))) is not None:
        return known
    made: Any
    if (array or isinstance(value, np.ndarray)) and not value.dtype.hasobject:
        if not value.flags.writeable and _is_frozen(value):
            return value
        if empty is not None and array and value.nbytes >= LARGE:
            made = _placed(value, empty)
        else:
            made = value.copy(order="K")
    elif kind is list:
        made = memo[id(value)] = []  # first, as it may hold itself
        made += [_copied(part, empty, memo) for part in value]
    elif kind is dict:
        made = memo[id(value)] = {}
        made.update((key, _copied(part, empty, memo)) for key, part in value.items())
    elif kind is tuple:
        made = tuple([_copied(part, empty, memo) for part in value])
    elif kind is memoryview:
        made = view_of(*parts_of_view(value))
    elif isinstance(value, np.void) and not value.dtype.hasobject:
        made = value.copy()
    elif is_tensor(value) and not value.requires_grad:
        made = value.clone()
    else:
        try:
            return copy.deepcopy(value, memo)
        except (Exception, SystemExit):  # an open file, say; or what the user's `__getattr__` does
            if isinstance(value, dict):
                made = _copied_dict(value, empty, memo)
            else:
                made = _copied_by_pickle(value)
    # All that is in the datapoint lives until all of it is copied: no number is used again.
    memo[id(value)] = made
    return made


def parts_of_view(view: memoryview) -> tuple[bytes, str, tuple[int, ...], bool]:
    """What `view_of` makes one like it of."""
    return view.tobytes(), view.format, view.shape, view.readonly  # type: ignore[return-value]


def view_of(octets: bytes, format: str, shape: tuple[int, ...], readonly: bool) -> memoryview:
    """A memoryview of these bytes, with memory of its own.

    Args:
        octets: the bytes.
        format: of an element, as of `struct`.
        shape: elements along each axis.
        readonly: nobody can write into it.
    """
    memory = octets if readonly else bytearray(octets)
    if format == "B" and len(shape) == 1:
        return memoryview(memory)
    try:
        return memoryview(memory).cast(format, shape)  # type: ignore[call-overload,no-any-return]
    except (ValueError, TypeError):  # empty, say, or of another byte order
        array: Any = np.frombuffer(memory, np.dtype(format)).reshape(shape)
        return memoryview(array)


_told: set[str] = set()


def _copied_dict(value: Any, empty: Empty | None, memo: _Memo) -> Any:
    """A copy of a dict of a class of the user's, whose attributes are its keys, say."""
    made = memo[id(value)] = dict.__new__(type(value))
    for key, part in dict.items(value):
        dict.__setitem__(made, key, _copied(part, empty, memo))
    for name, part in value.__dict__.items() if type(value).__dictoffset__ else ():
        made.__dict__[name] = _copied(part, empty, memo)
    return made


def _copied_by_pickle(value: Any) -> Any:
    """A copy of what `copy` cannot copy; itself, where pickle cannot either.

    That is said once for each class.
    """
    try:
        return pickle.loads(pickle.dumps(value, protocol=5))
    except (Exception, SystemExit) as error:  # pickling the user's objects raises anything
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        if name in _told:
            return value
        _told.add(name)
        logger.warning(
            "a %s in a datapoint cannot be copied (%s: %s): whoever writes into it, writes into "
            "what others have of it, such as a cache. Give the class a __deepcopy__, or keep it "
            "out of datapoints",
            *(name, type(error).__name__, error),
        )
        return value


def _placed(array: np.ndarray, empty: Empty) -> np.ndarray:
    """A copy in memory that `empty` makes room in; it lies there as the array does, if densely."""
    flags = array.flags
    turned = not flags.c_contiguous and flags.f_contiguous
    source = array.T if turned else array
    place = empty(source.shape, source.dtype)
    place[...] = source
    return place.T if turned else place


def _parts(value: Any) -> Iterator[Any]:
    """What an object consists of, as far as that can be seen.

    Of what cannot be looked into, something that nobody else holds: so it is not kept as it is.
    """
    if isinstance(value, (tuple, list)):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()
    elif hasattr(value, "__iter__") and not (
        hasattr(value, "__dict__") or isinstance(value, (set, bytearray))
    ):
        yield _UNKNOWN
    yield from getattr(value, "__dict__", {}).values()
    for one in type(value).__mro__:
        names = one.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            with suppress(AttributeError):
                yield getattr(value, name)


# -- memory ------------------------------------------------------------------------------------


class ExclusiveMemory:
    """Memory that arrays lie in, each in a part that no other one has: that of a message."""


def _is_frozen(array: np.ndarray) -> bool:
    """Whether nobody can write into an array, nor into the one that it is a part of."""
    base = array.base
    return not array.flags.writeable and (
        base is None
        or (type(base) is np.ndarray and base.base is None and not base.flags.writeable)
    )


def _has_memory_alone(array: np.ndarray | np.void) -> bool:
    """Whether an array's memory can be reached by way of this array only."""
    if array.dtype.hasobject:
        return False
    base: Any = array.base
    while isinstance(base, np.ndarray):
        if getrefcount(base) > _HELD_ONCE:
            return False
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    if base is None or type(base) is bytes or isinstance(base, ExclusiveMemory):
        return True
    return type(base) is bytearray and getrefcount(base) <= _HELD_ONCE


def _is_scalar(value: Any) -> bool:
    """Whether it is one of NumPy's scalars that nobody can write into.

    Rows of structured arrays are none: they are views of them.
    """
    return isinstance(value, np.generic) and not isinstance(value, np.void)


def is_tensor(value: Any) -> bool:
    """Whether it is one of torch's tensors."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _has_storage_alone(tensor: Any) -> bool:
    """The same of a tensor; False where this version of torch does not tell."""
    count = getattr(sys.modules["torch"]._C, "_storage_Use_Count", None)
    if count is None or tensor.layout is not sys.modules["torch"].strided:
        return False
    storage = tensor.untyped_storage()
    # What cannot be resized is somebody else's memory, such as that of an array.
    return bool(storage.resizable() and count(storage._cdata) <= _storage_held_once())


# -- how many references there are to what nobody else holds -------------------------------------
#
# Which of those of the calls on the way count differs between versions of Python.


@functools.cache
def _storage_held_once() -> int:
    torch = sys.modules["torch"]
    tensor = torch.empty(1)
    storage = tensor.untyped_storage()
    return int(torch._C._storage_Use_Count(storage._cdata))


def _references(argument: Any) -> int:
    return getrefcount(argument)


def _references_of_argument() -> int:
    variable = [object()]
    return _references(variable)


def _references_of_part() -> int:
    value = [object()]
    part = value[0]
    return getrefcount(part)


_ALONE = _references_of_argument()
_HELD_ONCE = _references_of_part()
