"""Common steps as methods: ``ds.map(f).shuffled(1000).batch(32)``.

Each only builds the wrapper class of the same meaning. They are attached to `DataFlow` from here,
so that the base knows no stage.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dataflow.engine.runners import PrefetchDataZMQ
from dataflow.epoch import Datapoint
from dataflow.errors import ConfigError
from dataflow.flow import DataFlow
from dataflow.image.augment import AugmentImageComponent
from dataflow.stages import (
    BatchData,
    ConcatData,
    FillUpData,
    FilterData,
    FixedSizeData,
    JoinData,
    LocallyShuffleData,
    MapData,
    MapDataComponent,
    RandomMixData,
    RepeatedData,
    SelectComponent,
    ShardData,
)

if TYPE_CHECKING:  # it imports a server
    from dataflow.prometheus import MetricsServer

__all__ = ["attach"]


def map_(self: DataFlow, func: Callable[[Datapoint], Datapoint | None]) -> MapData:
    """`MapData` over this: a function on every datapoint."""
    return MapData(self, func)


def map_component(
    self: DataFlow, func: Callable[[Any], Any], index: int | str = 0
) -> MapDataComponent:
    """`MapDataComponent` over this: a function on one component."""
    return MapDataComponent(self, func, index)


def filter_(self: DataFlow, predicate: Callable[[Datapoint], Any]) -> FilterData:
    """`FilterData` over this: only the datapoints for which `predicate` holds."""
    return FilterData(self, predicate)


def shuffled(self: DataFlow, buffer_size: int) -> LocallyShuffleData:
    """`LocallyShuffleData` over this: shuffled within a buffer of this many datapoints."""
    return LocallyShuffleData(self, buffer_size)


def shuffle(self: DataFlow, *args: Any, **kwargs: Any) -> Any:
    """There is no such step.

    Raises:
        ConfigError: it says what there is.
    """
    raise ConfigError(
        "there is no ds.shuffle(): ds.shuffled(buffer_size) shuffles within a buffer, and sources "
        "such as DataFromList take shuffle=True for a new order of the whole epoch"
    )


def batch(
    self: DataFlow,
    batch_size: int,
    remainder: bool = False,
    use_list: bool = False,
    *,
    pad: complex | None = None,
    collate: Callable[[list[Datapoint]], Datapoint] | None = None,
) -> BatchData:
    """`BatchData` over this: datapoints stacked along a new first axis."""
    return BatchData(self, batch_size, remainder, use_list, pad=pad, collate=collate)


def repeat(self: DataFlow, num: int = -1) -> RepeatedData:
    """`RepeatedData` over this: `num` epochs as one, -1 for no end."""
    return RepeatedData(self, num)


def fill_up(self: DataFlow) -> FillUpData:
    """`FillUpData` over this: `len(ds)` datapoints an epoch, whatever is dropped."""
    return FillUpData(self)


def take(self: DataFlow, size: int) -> FixedSizeData:
    """`FixedSizeData` over this: the first `size` datapoints of each epoch.

    A shorter input starts over; each epoch begins at the input's next one.
    """
    return FixedSizeData(self, size, keep_state=False)


def select(self: DataFlow, *indices: int | str) -> SelectComponent:
    """`SelectComponent` over this: these components, in this order."""
    return SelectComponent(self, indices)


def shard(
    self: DataFlow, rank: int | None = None, world_size: int | None = None, **options: Any
) -> ShardData:
    """`ShardData` over this: one rank's share of every epoch."""
    return ShardData(self, rank, world_size, **options)


def concat(self: DataFlow, *others: Any) -> ConcatData:
    """`ConcatData`: this, then the others."""
    return ConcatData([self, *others])


def mix(self: DataFlow, *others: Any) -> RandomMixData:
    """`RandomMixData`: this and the others, interleaved at random."""
    return RandomMixData([self, *others])


def zip_(self: DataFlow, *others: Any) -> JoinData:
    """`JoinData`: the components of this and of the others in one datapoint."""
    return JoinData([self, *others])


def augment(self: DataFlow, augmentors: Any, index: int | str = 0) -> AugmentImageComponent:
    """`AugmentImageComponent` over this: augmentors on one component, the image."""
    return AugmentImageComponent(self, augmentors, index)


def prefetch(self: DataFlow, num_proc: int = 1, **options: Any) -> PrefetchDataZMQ:
    """`PrefetchDataZMQ` over this: the chain so far in worker processes."""
    return PrefetchDataZMQ(self, num_proc, **options)


def metrics(self: DataFlow, port: int = 0) -> MetricsServer:
    """Serve what `stats` says to Prometheus, at ``http://127.0.0.1:PORT/metrics``, to this host.

    In a thread, until the server that is returned is closed or the flow is forgotten: ``with ds,
    ds.metrics(9100): …``. At ``/stats`` there is the same as JSON.

    Args:
        port: 0: any that is free; see the server's ``url``.

    Raises:
        ConfigError: the port cannot be had.
    """
    from dataflow.prometheus import MetricsServer, of_stats

    flow = weakref.ref(self)

    def stats() -> dict[str, Any]:
        if (there := flow()) is None:
            return {"items": 0, "errors": {}, "worker_restarts": 0, "seconds": {}, "stages": []}
        return there.stats()

    server = MetricsServer(port, lambda: of_stats(stats()), stats)
    weakref.finalize(self, server.close)
    return server


def attach(cls: type[DataFlow]) -> None:
    """Give `cls` these methods."""
    steps = (
        *(map_, map_component, filter_, select, augment),
        *(shuffled, repeat, take, fill_up, shard, concat, mix, zip_),
        *(batch, prefetch, shuffle, metrics),
    )
    for step in steps:
        name = step.__name__.rstrip("_")
        step.__name__ = name
        step.__qualname__ = f"{cls.__name__}.{name}"
        setattr(cls, name, step)
