"""torch's tensors, as the arrays that they share their memory with.

By itself torch pickles a tensor's bytes into the stream, or passes a file descriptor for each. As
an array it goes the way of arrays: its bytes are copied once, into shared memory.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

__all__ = ["reduced"]


def reduced(value: Any) -> tuple[Any, ...] | None:
    """How to pickle a tensor by way of an array; None for all else.

    None, too, for tensors that are more than numbers in this process's memory: on a device, sparse,
    quantised, or part of a computation that is to be differentiated.
    """
    kind = type(value)
    if kind.__name__ != "Tensor" or kind.__module__ != "torch":
        return None
    torch = sys.modules["torch"]
    plain = value.device.type == "cpu" and value.layout is torch.strided
    if not plain or value.requires_grad or value.is_quantized or value.is_conj() or value.is_neg():
        return None
    # As it lies in memory, such as an image whose channels were moved to the front by `permute`.
    strides = value.stride()
    order = sorted(range(value.dim()), key=lambda axis: -strides[axis])
    dense = value.permute(order)
    if not dense.is_contiguous():
        order, dense = list(range(value.dim())), value.contiguous()
    name = str(value.dtype).removeprefix("torch.")
    bits = dense if hasattr(np, name) else dense.view(getattr(torch, _BITS[value.element_size()]))
    back = [order.index(axis) for axis in range(len(order))]
    return _tensor, (bits.numpy(), name, back)


# NumPy has no bfloat16 and no float8: their bits travel as integers.
_BITS = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}


def _tensor(array: Any, name: str, order: list[int]) -> Any:
    import torch

    tensor = torch.from_numpy(array)
    dtype = getattr(torch, name)
    if tensor.dtype is not dtype:
        tensor = tensor.view(dtype)
    return tensor.permute(order)
