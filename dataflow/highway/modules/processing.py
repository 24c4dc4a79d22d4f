"""Nodes that make, change and count batches."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

from dataflow.errors import ConfigError
from dataflow.highway.node import Map, Sink, Source
from dataflow.randomness import nested
from dataflow.sources.fake import FakeData
from dataflow.stages.map import MapData
from dataflow.stages.repeat import RepeatedData

__all__ = ["Augmentations", "Benchmark", "Noise"]


class Augmentations(Map):
    """Transforms, one after the other.

    Random numbers belong to the batch, so with a seed (``p.flow.seed(7)``) they are the same on any
    number of processes. Transform i draws from stream i.

    Args:
        transforms: see `dataflow.highway.transforms`; or whatever has ``apply(values,
            deterministic)``.
        deterministic: have them draw nothing; what that means, each of them says.
        n_worker: processes.
        queue_size: batches that may wait.
    """

    def __init__(
        self,
        transforms: Sequence[Any] = (),
        deterministic: bool = False,
        n_worker: int = 4,
        queue_size: int = 128,
    ) -> None:
        super().__init__(n_worker, queue_size)
        self.transforms = list(transforms)
        for transform in self.transforms:
            if not callable(getattr(transform, "apply", None)) or isinstance(transform, type):
                raise ConfigError(f"{transform!r} is no transform, which has an apply() method")
        self.deterministic = bool(deterministic)

    def apply(self, batch: dict[str, Any]) -> dict[str, Any]:
        for number, transform in enumerate(self.transforms):
            with nested(number):
                batch = transform.apply(batch, self.deterministic)
            if batch is None:
                raise TypeError(f"{transform!r}: apply() gave None, and must return the batch")
        return batch


class Noise(Source):
    """Batches of uniform noise in [0, 1), float32, without end; they have just ``"images"``.

    Args:
        data_shape: of each sample.
        n_tensors: samples in a batch.
        n_worker: processes.
        force_constant: zeros instead.
        queue_size: batches that may wait.
    """

    def __init__(
        self,
        data_shape: Sequence[int] = (10, 10, 10),
        n_tensors: int = 2,
        n_worker: int = 1,
        force_constant: bool = False,
        queue_size: int = 128,
    ) -> None:
        super().__init__(n_worker, queue_size)
        self.data_shape = tuple(data_shape)
        self.n_tensors = int(n_tensors)
        self.force_constant = bool(force_constant)

    def flow(self) -> RepeatedData:
        shape = (self.n_tensors, *self.data_shape)
        high = 0 if self.force_constant else 1
        fake = FakeData([shape], random=not self.force_constant, domain=(0, high))
        return RepeatedData(MapData(fake, _named), -1)


class Benchmark(Sink):
    """Tell on standard error, after each so many batches, how fast they come.

    Args:
        N: so many.
        substract_pickling: accepted, as there; nothing is pickled here.

    Attributes:
        batches: how many came.
        bytes: of the arrays in them.
    """

    def __init__(self, N: int = 100, substract_pickling: bool = False) -> None:  # noqa: N803
        super().__init__()
        if N < 1:
            raise ConfigError(f"N={N!r} must be at least 1")
        self.n = int(N)
        self.batches = self.bytes = 0
        self._since = (0.0, 0)

    def open(self) -> None:
        self._since = (perf_counter(), 0)

    def write(self, batch: dict[str, Any]) -> None:
        self.batches += 1
        self.bytes += sum(map(_bytes, batch.values()))
        if self.batches % self.n == 0:
            now = perf_counter()
            begun, before = self._since
            seconds, came = max(now - begun, 1e-9), self.bytes - before
            rate = f"{self.n / seconds:.4g} batches/s, {came / seconds / 1e6:.4g} MB/s"
            print(f"{self.batches} batches: {rate}", file=sys.stderr, flush=True)
            self._since = (now, self.bytes)


def _named(datapoint: list[Any]) -> dict[str, Any]:
    return {"images": datapoint[0]}


def _bytes(part: Any) -> int:
    if isinstance(part, list):
        return sum(map(_bytes, part))
    return int(part.nbytes) if isinstance(part, np.ndarray) else 0
