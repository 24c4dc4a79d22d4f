"""Dataflows for PyTorch.

::

    from dataflow.adapters.torch import IterableDataset, to_device

    for images, labels in to_device(ds, "cuda"):    # the next batch is copied meanwhile
        ...
    loader = DataLoader(IterableDataset(ds), batch_size=None)
"""

from __future__ import annotations

from dataflow.utils.extras import missing

try:
    import torch as _torch  # noqa: F401 - before the modules that need it
except ImportError as error:
    raise missing("torch", error) from error

from dataflow.adapters.torch.datasets import IterableDataset, MapDataset, Opened
from dataflow.adapters.torch.device import to_device
from dataflow.adapters.torch.loader import DataLoader
from dataflow.adapters.torch.tensors import tensors

__all__ = ["DataLoader", "IterableDataset", "MapDataset", "Opened", "tensors", "to_device"]
