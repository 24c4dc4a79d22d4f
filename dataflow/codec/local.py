"""Any Python object between processes of one machine and one user, arrays apart.

Uses pickle protocol 5 with out-of-band buffers (PEP 574): the pickle holds the structure, and
each array's bytes stay where they are until the transport copies them once. Only for pipes and
sockets that no other user can reach.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable
from types import FunctionType
from typing import Any, Protocol

import numpy as np

from dataflow.codec import flawed, functions
from dataflow.codec.torch_tensors import reduced
from dataflow.ownership import LARGE, parts_of_view, view_of

__all__ = ["Laid", "decode", "encode"]


class Laid(Protocol):
    """Memory that goes to the other side, and in which arrays of a message lie already."""

    def offset_of(self, array: np.ndarray) -> int | None:
        """Where in it an array begins, in bytes; None where it lies elsewhere."""

    def laid(self) -> Any:
        """The bytes that such arrays take; called where a message has them as one buffer."""

    def apart(self) -> None:
        """The message has each of them as a buffer of its own after all."""


class _Memory:
    """What is laid, as one buffer, for all arrays in it: each of its own would cost twice as much.

    Args:
        laid: the arrays.
    """

    def __init__(self, laid: Laid) -> None:
        self.offset_of = laid.offset_of
        self._laid = laid

    def __reduce__(self) -> Any:
        return _memory, (pickle.PickleBuffer(self._laid.laid()),)


def _memory(buffer: Any) -> Any:
    return buffer


def _array(memory: Any, offset: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array in memory; a copy where that can only be read."""
    array: np.ndarray = np.ndarray(shape, dtype, memory, offset)
    return array if array.flags.writeable else array.copy()


class _Pickler(pickle.Pickler):
    memory: _Memory | None = None

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is np.ndarray:
            memory = self.memory
            if memory is not None and (offset := memory.offset_of(obj)) is not None:
                return _array, (memory, offset, obj.shape, obj.dtype)
            # Only contiguous arrays can be taken out of band; a crop, for one, is not.
            if not (obj.flags.c_contiguous or obj.flags.f_contiguous):
                return np.ascontiguousarray(obj).__reduce_ex__(5)
            return NotImplemented
        if type(obj) is memoryview:
            return view_of, parts_of_view(obj)
        if isinstance(obj, (type, FunctionType)) and obj.__module__ == "__main__":
            raise pickle.PicklingError(f"{obj} is of the script, which the other side does not run")
        return reduced(obj) or NotImplemented


def encode(value: Any, laid: Laid | None = None) -> tuple[bytes, list[memoryview]]:
    """The structure of `value` as bytes, and its large buffers, uncopied.

    Args:
        value: any object.
        laid: where some of its arrays lie already. All these are one buffer.

    Raises:
        Exception: whatever the value's own pickling raises.
    """
    buffers: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < LARGE:
            return True
        buffers.append(raw)
        return False

    file = io.BytesIO()
    try:
        pickler = _Pickler(file, protocol=5, buffer_callback=keep)
        pickler.memory = None if laid is None else _Memory(laid)
        pickler.dump(value)
        return file.getvalue(), buffers
    except (pickle.PicklingError, AttributeError, TypeError):
        # Functions and classes of the user's script: the slower pickler knows how to send them.
        buffers.clear()
        if laid is not None:
            laid.apart()
        return functions.dumps(value, keep), buffers


def decode(structure: bytes | memoryview, buffers: Iterable[Any]) -> Any:
    """Rebuild a value; its arrays are views of `buffers`.

    Returns:
        The value; `Flawed` where a part of it cannot be rebuilt.
    """
    given = list(buffers)
    try:
        return pickle.loads(structure, buffers=given)
    except (Exception, SystemExit):  # unpickling the user's objects raises anything
        return flawed.Flawed(flawed.loads(structure, given))
