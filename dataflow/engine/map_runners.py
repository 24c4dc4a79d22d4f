"""Runners with a function: map in threads or processes, map and batch in processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dataflow.engine.runners import PrefetchDataZMQ, ThreadRunner
from dataflow.epoch import Datapoint
from dataflow.errors import ConfigError
from dataflow.failures import OnError
from dataflow.stages.batch import BatchData
from dataflow.stages.map import MapData
from dataflow.utils.arguments import whole_number
from dataflow.utils.spelling import renamed

__all__ = [
    "MultiProcessMapAndBatchData",
    "MultiProcessMapAndBatchDataZMQ",
    "MultiProcessMapData",
    "MultiProcessMapDataZMQ",
    "MultiThreadMapData",
    "ThreadedMapData",
]


class MultiThreadMapData(ThreadRunner):
    """Apply a function to every datapoint, in threads; where it returns None it is dropped.

    The per-item stages upstream run in the threads too. Each datapoint comes exactly
    once an epoch.

    Args:
        ds: the chain.
        num_thread: threads.
        map_func: datapoint → datapoint or None.
        buffer_size: datapoints that may wait to be delivered; None: 200, or two batches where a
            stage further down the chain takes more than that.
        strict: accepted for tensorpack's sake; every epoch is exact here.
        ordered: deliver in the source's order; None means: if a seed was set.
        on_error: what becomes of a datapoint whose stage raised: ``"raise"``, ``"skip"``, or a
            function of error and datapoint that returns a replacement or None.
    """

    @renamed(nr_thread="num_thread")
    def __init__(
        self,
        ds: Any,
        num_thread: int | None = None,
        map_func: Callable[[Datapoint], Datapoint | None] | None = None,
        *,
        buffer_size: int | None = None,
        strict: bool = False,
        ordered: bool | None = None,
        on_error: OnError = "raise",
    ) -> None:
        super().__init__(
            _mapped(ds, map_func),
            whole_number("num_thread", num_thread, 1),
            ordered=ordered,
            buffer_size=buffer_size,
            on_error=on_error,
        )
        self.num_thread = self.num_threads


class MultiProcessMapData(PrefetchDataZMQ):
    """Apply a function to every datapoint, in processes; where it returns None it is dropped.

    The per-item stages upstream run in the processes too. Each datapoint comes exactly
    once an epoch.

    Args:
        ds: the chain.
        num_proc: worker processes.
        map_func: datapoint → datapoint or None; may be a lambda or a closure.
        buffer_size: datapoints that may wait to be delivered; None: 200, or two batches where a
            stage further down the chain takes more than that.
        strict: accepted for tensorpack's sake; every epoch is exact here.
        ordered: deliver in the source's order; None means: if a seed was set.
        on_error: as of `PrefetchDataZMQ`, like the following.
        task_timeout: seconds that a datapoint may keep a worker process.
        max_restarts: processes that may die without anything getting done in between.
        init: a function that is called in each process as it starts.
    """

    _usual_buffer = 200

    @renamed(nr_proc="num_proc")
    def __init__(
        self,
        ds: Any,
        num_proc: int | None = None,
        map_func: Callable[[Datapoint], Datapoint | None] | None = None,
        *,
        buffer_size: int | None = None,
        strict: bool = False,
        ordered: bool | None = None,
        on_error: OnError = "raise",
        task_timeout: float | None = None,
        max_restarts: int = 3,
        init: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(
            _mapped(ds, map_func),
            whole_number("num_proc", num_proc, 1),
            ordered=ordered,
            buffer_size=buffer_size,
            on_error=on_error,
            task_timeout=task_timeout,
            max_restarts=max_restarts,
            init=init,
        )


class MultiProcessMapAndBatchData(PrefetchDataZMQ):
    """Apply a function to every datapoint, and stack the results into batches, in processes.

    The same as `BatchData` over `MapData`, upstream of `PrefetchDataZMQ`: whole batches are built
    in the processes, in the memory that carries them here. Where the function returns None the
    datapoint is dropped, and another one takes its place in the batch.

    Args:
        ds: the chain.
        num_proc: worker processes.
        map_func: datapoint → datapoint or None; may be a lambda or a closure.
        batch_size: datapoints in a batch.
        buffer_size: datapoints, in batches, that may wait to be delivered; ten batches by default.
        remainder: deliver the last, smaller batch of an epoch too.
        ordered: as of `PrefetchDataZMQ`, like the following.
        on_error: what becomes of a datapoint whose function raised.
        task_timeout: seconds that a datapoint may keep a worker process.
        max_restarts: processes that may die without anything getting done in between.
        init: a function that is called in each process as it starts.
    """

    @renamed(nr_proc="num_proc")
    def __init__(
        self,
        ds: Any,
        num_proc: int,
        map_func: Callable[[Datapoint], Datapoint | None],
        batch_size: int,
        buffer_size: int | None = None,
        *,
        remainder: bool = False,
        ordered: bool | None = None,
        on_error: OnError = "raise",
        task_timeout: float | None = None,
        max_restarts: int = 3,
        init: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(
            BatchData(_mapped(ds, map_func), batch_size, remainder),
            num_proc,
            ordered=ordered,
            buffer_size=10 * batch_size if buffer_size is None else buffer_size,
            on_error=on_error,
            task_timeout=task_timeout,
            max_restarts=max_restarts,
            init=init,
        )


# tensorpack's other names.
MultiProcessMapDataZMQ = MultiProcessMapData
MultiProcessMapAndBatchDataZMQ = MultiProcessMapAndBatchData
ThreadedMapData = MultiThreadMapData  # until 0.9.5


def _mapped(ds: Any, map_func: Any) -> MapData:
    if not callable(map_func):
        raise ConfigError(f"map_func={map_func!r} must be callable")
    return MapData(ds, map_func)
