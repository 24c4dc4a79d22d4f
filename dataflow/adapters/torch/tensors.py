"""Datapoints with tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from dataflow.adapters.structure import each_leaf

__all__ = ["tensors"]


def tensors(datapoint: Any) -> Any:
    """A datapoint with tensors in place of arrays and of NumPy's numbers.

    A tensor has the array's own memory, except where the array is read-only, or has a negative
    stride or another byte order, which tensors cannot have. Arrays of text, objects or times stay.
    """
    return each_leaf(_tensor, datapoint)


def _tensor(leaf: Any) -> Any:
    if not isinstance(leaf, (np.ndarray, np.generic)) or leaf.dtype.kind not in "biufc":
        return leaf
    array = np.require(leaf, leaf.dtype.newbyteorder("="), "W")
    if any(stride < 0 for stride in array.strides):
        array = array.copy()
    return torch.from_numpy(array)
