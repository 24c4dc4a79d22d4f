"""Dataflows as sources of pipelines, and pipelines as dataflows of samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dataflow.errors import ConfigError, UnknownLength
from dataflow.flow import DataFlow
from dataflow.highway.batch import samples
from dataflow.highway.engine import Pipeline
from dataflow.highway.node import Source
from dataflow.node import is_flow
from dataflow.stages.map import MapData
from dataflow.stages.repeat import RepeatedData

__all__ = ["DequeueGenerator", "FlowSource"]


class FlowSource(Source):
    """The batches of a dataflow, this package's or tensorpack's.

    Args:
        ds: its datapoints are lists such as ``[images, labels]``, or dicts.
        names: of the components of a list, in their order.
        once: end after one epoch. Otherwise the next one follows, without end.
        n_worker: processes for what of the dataflow can run in any; upstream, its own runners say
            how many threads each has.
        queue_size: batches that may wait.
    """

    def __init__(
        self,
        ds: Any,
        names: Sequence[str] = ("images", "labels", "keys"),
        once: bool = False,
        *,
        n_worker: int = 0,
        queue_size: int = 128,
    ) -> None:
        super().__init__(n_worker, queue_size)
        if not is_flow(ds):
            raise ConfigError(f"ds={ds!r} must be a dataflow; df.DataFromList makes one of a list")
        self.ds = ds
        self.names = tuple(names)
        self.once = once

    def flow(self) -> DataFlow:
        named = MapData(self.ds, _Named(self.names))
        return named if self.once else RepeatedData(named, -1)


class DequeueGenerator(DataFlow):
    """The samples of a pipeline's batches as a dataflow, ours or, as it is, for tensorpack.

    Datapoints are lists of the components, such as ``[image, label, key]``. (The batches themselves
    are the dataflow ``pipeline.flow``.)

    Args:
        pipeline: one that ends in no sink.
        queue_size: what `size` says, as there; nothing else follows from it.
    """

    def __init__(self, pipeline: Pipeline, queue_size: int = 128) -> None:
        self.pipeline = pipeline
        self.queue_size = int(queue_size)

    def __iter__(self) -> Iterator[list[Any]]:
        for batch in self.pipeline:
            for sample in samples(batch):
                yield list(sample.values())

    def size(self) -> int:
        """The number that it was given, for trainers that want one."""
        return self.queue_size

    get_size = size

    def _length(self) -> int:
        raise UnknownLength("the samples of a pipeline are not counted before")

    def close(self) -> None:
        super().close()
        self.pipeline.stop()


class _Named:
    """Makes a dict of a list."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def __call__(self, datapoint: Any) -> dict[str, Any]:
        if isinstance(datapoint, dict):
            return datapoint
        if len(datapoint) > len(self._names):
            raise ConfigError(f"{len(datapoint)} components, and names={self._names!r} for them")
        return dict(zip(self._names, datapoint, strict=False))
