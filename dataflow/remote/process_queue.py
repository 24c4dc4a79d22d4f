"""A dataflow in a queue of multiprocessing, filled by a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflow.utils.arguments import whole_number

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

__all__ = ["DIE", "dump_dataflow_to_process_queue"]


class DIE:
    """Stands in a queue where no more datapoints come. The class itself is the sign."""


def dump_dataflow_to_process_queue(df: Any, size: int, nr_consumer: int) -> tuple[Any, BaseProcess]:
    """One epoch of a dataflow in a queue, filled by a process.

    Args:
        df: the dataflow.
        size: datapoints that the queue holds.
        nr_consumer: how many will take from it.

    Returns:
        The `multiprocessing.Queue` and the process, which you have to start. The queue's items are
        pairs of number and datapoint; at the end there is ``(DIE, None)`` for each consumer.
    """
    import multiprocessing

    queue: Any = multiprocessing.Queue(whole_number("size", size, 1))
    consumers = whole_number("nr_consumer", nr_consumer, 0)
    process = multiprocessing.Process(target=_fill, args=(df, queue, consumers), daemon=True)
    return queue, process


def _fill(df: Any, queue: Any, consumers: int) -> None:
    try:
        df.reset_state()
        for pair in enumerate(df):
            queue.put(pair)
    finally:
        for _ in range(consumers):
            queue.put((DIE, None))
