"""What becomes of the arrays that were received: functions on each of them, and tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from dataflow.errors import ConfigError
from dataflow.utils.extras import need

__all__ = ["Function", "applied", "functions", "to_numpy", "to_torch"]

Function: TypeAlias = Callable[[Any], Any] | None
"""On one array; None leaves it as it is."""

_CHANNELS = (3, 4)  # an axis of so many is one of colours


def functions(name: str, given: Any, named: dict[str, Callable[[Any], Any]]) -> list[Function]:
    """The functions that an argument means.

    Args:
        name: of the argument.
        given: None, a function, one of the names, or a list of these.
        named: functions that have a name.

    Raises:
        ConfigError: it is something else.
    """
    found: list[Function] = []
    for one in given if isinstance(given, (list, tuple)) else [] if given is None else [given]:
        function = named.get(one) if isinstance(one, str) else one
        if (isinstance(one, str) and function is None) or not (one is None or callable(function)):
            known = f", or one of {', '.join(named)}" if named else ""
            raise ConfigError(f"{name}={one!r} must be a function{known}, or a list of these")
        found.append(function)
    return found


def applied(found: Sequence[Function], arrays: list[Any], name: str) -> list[Any]:
    """Each function on its array; where there are fewer functions, they begin again.

    Raises:
        ConfigError: there are more.
    """
    if len(found) > len(arrays):
        raise ConfigError(f"{len(found)} {name} for {len(arrays)} arrays")
    result = list(arrays)
    for place, value in enumerate(arrays if found else []):
        function = found[place % len(found)]
        if function is not None:
            result[place] = function(value)
    return result


def to_torch(device: str = "cpu") -> Callable[[Any], Any]:
    """A function that makes tensors of arrays.

    Floats become float32, integers of 16 and more bits int64, the others stay. Images, H×W×C or
    N×H×W×C with three or four channels, become C×H×W and N×C×H×W.
    """

    def convert(array: Any) -> Any:
        if not isinstance(array, np.ndarray):
            return array
        torch = need("torch")
        dtype = None
        if array.dtype.kind == "f":
            dtype = torch.float32
        elif array.dtype in (np.int16, np.uint16, np.int32, np.uint32, np.int64):
            array = array.astype(np.int64, copy=False)  # not all PyTorches have unsigned ones
        if array.ndim in (3, 4) and array.shape[-1] in _CHANNELS:
            array = np.moveaxis(array, -1, -3)
        return torch.as_tensor(array, dtype=dtype, device=device)

    return convert


def to_numpy() -> Callable[[Any], Any]:
    """A function that makes arrays of tensors; images become H×W×C and N×H×W×C."""

    def convert(value: Any) -> Any:
        if isinstance(value, np.ndarray) or not isinstance(value, need("torch").Tensor):
            return value
        array = value.detach().cpu().numpy()
        if array.ndim in (3, 4) and array.shape[-3] in _CHANNELS:
            array = np.moveaxis(array, -3, -1)
        return array

    return convert
