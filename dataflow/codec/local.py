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
from typing import Any

import numpy as np

from dataflow.codec import flawed, functions
from dataflow.codec.torch_tensors import reduced
from dataflow.ownership import LARGE

__all__ = ["decode", "encode"]


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is np.ndarray:
            # Only contiguous arrays can be taken out of band; a crop, for one, is not.
            if not (obj.flags.c_contiguous or obj.flags.f_contiguous):
                return np.ascontiguousarray(obj).__reduce_ex__(5)
            return NotImplemented
        if isinstance(obj, (type, FunctionType)) and obj.__module__ == "__main__":
            raise pickle.PicklingError(f"{obj} is of the script, which the other side does not run")
        return reduced(obj) or NotImplemented


def encode(value: Any) -> tuple[bytes, list[memoryview]]:
    """The structure of `value` as bytes, and its large buffers, uncopied.

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
        _Pickler(file, protocol=5, buffer_callback=keep).dump(value)
        return file.getvalue(), buffers
    except (pickle.PicklingError, AttributeError, TypeError):
        # Functions and classes of the user's script: the slower pickler knows how to send them.
        buffers.clear()
        return functions.dumps(value, keep), buffers


def decode(structure: bytes | memoryview, buffers: Iterable[Any]) -> Any:
    """Rebuild a value; its arrays are views of `buffers`.

    Returns:
        The value; `Flawed` where a part of it cannot be rebuilt.
    """
    given = list(buffers)
    try:
        return pickle.loads(structure, buffers=given)
    except Exception:  # unpickling the user's objects raises anything
        return flawed.Flawed(flawed.loads(structure, given))
