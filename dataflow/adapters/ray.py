"""Dataflows and Ray Data: a flow as a Ray Dataset, and the other way.

::

    from dataflow.adapters import ray as adapter

    dataset = adapter.dataset(ds, columns=("image", "label"))  # read by tasks of the cluster
    ds = df.from_ray(dataset.map_batches(…), columns=("image", "label"))
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice, pairwise
from typing import Any

import cloudpickle

from dataflow.adapters.structure import length_of
from dataflow.epoch import Epoch, Stream
from dataflow.errors import ConfigError, UnknownLength
from dataflow.kinds import ProxyDataFlow
from dataflow.opening import at
from dataflow.randomness import fresh_seed
from dataflow.sources.ray_data import from_ray
from dataflow.stages.order import IndexSource, OrderStage
from dataflow.utils.extras import missing

try:
    import ray
    from ray.data import Datasource, ReadTask
    from ray.data.block import BlockAccessor, BlockMetadata
except ImportError as error:
    raise missing("ray.data", error) from error

__all__ = ["dataset", "from_ray"]

# A block goes on its way when it has so many bytes: Ray passes them on one by one.
_BLOCK_BYTES = 32 << 20


def dataset(
    ds: Any, columns: Sequence[str] | None = None, *, epoch: int = 0, **options: Any
) -> Any:
    """An epoch of a flow as a `ray.data.Dataset`; each part of its order is a read task.

    A task has the flow's stages and its part of the keys, and runs them as a loop would: with the
    same order and random numbers, and with the threads and transfers that the flow has. So give the
    flow no processes or actors of its own: the tasks are these. What stages drop is missing.
    A flow that can only be iterated is read by one task.

    Args:
        ds: the flow. Where it has no seed, one is drawn.
        columns: names for the components of a datapoint that is a list; by default ``"0"``,
            ``"1"``, …. A dict has names.
        epoch: which one, from 0.
        options: what `ray.data.read_datasource` takes: ``override_num_blocks``, ``concurrency``,
            ``ray_remote_args``.

    Raises:
        ConfigError: (by the tasks) a datapoint is neither a list nor a dict, or `columns` names
            another number of components.
    """
    return ray.data.read_datasource(_Epoch(ds, columns, epoch), **options)


class _Epoch(Datasource):  # type: ignore[misc, unused-ignore]
    """The read tasks of an epoch."""

    def __init__(self, ds: Any, columns: Sequence[str] | None, epoch: int) -> None:
        super().__init__()
        self._name = type(ds).__name__
        self._length = length_of(ds)
        self._places: int | None
        try:
            self._places = len(ds)
            ds[0:0]
        except (TypeError, UnknownLength):
            self._places = None
        seed = None if ds._given_seed() is not None else fresh_seed()
        # Once in the store, for all tasks.
        flow = ray.put((sys.path, cloudpickle.dumps(ds)))
        self._read = partial(_read, flow, columns, epoch, seed)

    def get_name(self) -> str:
        """The flow's class."""
        return self._name

    def estimate_inmemory_data_size(self) -> int | None:
        """Not known."""
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[Any]:
        """So many parts of equal size."""
        if self._places is None:
            spans: list[tuple[int, int] | None] = [None]
        else:
            parts = max(1, min(parallelism, self._places))
            bounds = [self._places * part // parts for part in range(parts + 1)]
            spans = list(pairwise(bounds))
        return [
            ReadTask(
                partial(self._read, span),
                BlockMetadata(
                    num_rows=span[1] - span[0] if span and self._length is not None else None,
                    size_bytes=None,
                    input_files=None,
                    exec_stats=None,
                ),
                per_task_row_limit=per_task_row_limit,
            )
            for span in spans
        ]


def _read(
    flow: Any,
    columns: Sequence[str] | None,
    epoch: int,
    seed: int | None,
    span: tuple[int, int] | None,
) -> Iterator[Any]:
    """The blocks of a part, in a task."""
    path, packed = ray.get(flow)
    sys.path += [folder for folder in path if folder not in sys.path]
    ds = cloudpickle.loads(packed)
    if span is not None:
        ds = _Span(ds, *span)
    if seed is not None:
        ds.seed(seed)
    ds.set_epoch(epoch)
    found: dict[str, list[Any]] = {}
    size = 0
    with ds:
        for datapoint in ds:
            for name, value in _named(datapoint, columns):
                found.setdefault(name, []).append(value)
                size += getattr(value, "nbytes", 0)
            if size >= _BLOCK_BYTES:
                yield BlockAccessor.batch_to_block(found)
                found, size = {}, 0
    if found:
        yield BlockAccessor.batch_to_block(found)


def _named(datapoint: Any, columns: Sequence[str] | None) -> Iterable[tuple[str, Any]]:
    if isinstance(datapoint, Mapping):
        return datapoint.items()
    if not isinstance(datapoint, (list, tuple)):
        raise ConfigError(
            f"a datapoint is a {type(datapoint).__name__}: rows of a Ray Dataset are made of lists "
            "or dicts"
        )
    if columns is None:
        return zip(map(str, range(len(datapoint))), datapoint, strict=True)
    if len(columns) != len(datapoint):
        raise ConfigError(f"columns={list(columns)!r}: a datapoint has {len(datapoint)} components")
    return zip(columns, datapoint, strict=True)


class _Span(OrderStage, ProxyDataFlow):
    """The datapoints of an epoch at the places from `first` to before `end`."""

    def __init__(self, ds: Any, first: int, end: int) -> None:
        super().__init__(ds)
        self._first = first
        self._before = end

    def _length(self) -> int:
        return self._before - self._first

    def _order(
        self, epoch: Epoch, sources: Sequence[IndexSource], start: int
    ) -> Iterator[tuple[Any, Any]]:
        return islice(sources[0].open(epoch, self._first + start), self._length() - start)

    def _places(self, sources: Sequence[IndexSource]) -> int | None:
        return self._length()

    def _pick(self, epoch: Epoch, sources: Sequence[IndexSource], place: int) -> tuple[Any, Any]:
        return sources[0].at(epoch, self._first + place)

    def _stream(self, epoch: Epoch) -> Stream:
        return (at(self.ds, epoch, place) for place in range(self._first, self._before))
