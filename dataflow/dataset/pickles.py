"""Pickles from the network that hold plain values and arrays: read without running any code."""

from __future__ import annotations

import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.errors import MissingData

__all__ = ["load_plain_pickle"]

_NUMBERS = re.compile(r"[biuf][1248]")


class _Dtype:
    """In place of `numpy.dtype`: booleans, integers and floats only."""

    def __init__(self, code: bytes | str, *flags: Any) -> None:
        self.code = code.decode("ascii") if isinstance(code, bytes) else str(code)
        self.order = "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        self.order = order.decode("ascii") if isinstance(order, bytes) else str(order)

    def dtype(self) -> np.dtype[Any]:
        if not _NUMBERS.fullmatch(self.code) or self.order not in ("|", "<", ">", "="):
            raise pickle.UnpicklingError(f"an array of dtype {self.order + self.code!r}")
        return np.dtype(self.order + self.code)


class _Array:
    """In place of NumPy's own function, which makes room for whatever shape it is told."""

    value: npt.NDArray[Any] | None = None

    def __init__(self, *arguments: Any) -> None:
        pass  # an empty array: the state has all

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, described, by_columns, data = state
        dtype = described.dtype()
        if not isinstance(data, bytes) or len(data) != math.prod(shape) * dtype.itemsize:
            raise pickle.UnpicklingError(f"an array whose bytes do not fit its shape {shape}")
        order: Any = "F" if by_columns else "C"
        self.value = np.frombuffer(data, dtype).reshape(shape, order=order)


_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _KNOWN.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return found


def load_plain_pickle(path: Path) -> dict[bytes, Any]:
    """The dict in a pickle that was written by Python 2.

    Its values may be numbers, strings (which become bytes), lists, dicts and NumPy arrays of
    numbers. Everything else is refused, so that the file cannot do anything.

    Raises:
        MissingData: the file is missing, damaged, or holds anything else.
    """
    try:
        with open(path, "rb") as file:
            content = _Unpickler(file, encoding="bytes").load()
        if not isinstance(content, dict):
            raise pickle.UnpicklingError(f"it holds {type(content).__name__}, not dict")
    except FileNotFoundError as error:
        raise MissingData(f"{path} is missing") from error
    except (
        *(pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError),
        *(TypeError, ValueError, OverflowError, MemoryError),
    ) as error:
        raise MissingData(f"{path} cannot be read: {error}") from error
    return {key: v.value if isinstance(v, _Array) else v for key, v in content.items()}
