"""Datapoints from a queue that something else fills."""

from __future__ import annotations

import queue as standard
from itertools import count
from typing import Any

from dataflow.base import DataFlow
from dataflow.epoch import Epoch, Stream
from dataflow.errors import ConfigError, UnknownLength

__all__ = ["DataFromQueue"]

# What `get` raises once somebody has shut the queue down (Python 3.13).
_SHUT: type[Exception] | tuple[()] = getattr(standard, "ShutDown", ())


class DataFromQueue(DataFlow):
    """What comes out of a queue, without end; each `iter()` goes on where the last one stopped.

    It is read in the process that iterates, also below runners: their workers get the datapoints.
    A runner takes ahead what its workers and its buffer hold, and waits for that many; whoever
    puts something in only after something came out should use none. A queue that is shut down
    (`queue.Queue.shutdown`, Python 3.13) ends the epoch. What was taken cannot be had again, so
    there is no state to resume from.

    Args:
        queue: anything with ``get()``: of `queue`, of `multiprocessing`, a manager's, your own.
    """

    _stays = True  # most queues cannot be sent to a worker, and it would take from others

    def __init__(self, queue: Any) -> None:
        if not callable(getattr(queue, "get", None)):
            raise ConfigError(f"queue={queue!r} has no get() method")
        self.queue = queue

    def _length(self) -> int:
        raise UnknownLength("DataFromQueue has no end")

    def _stream(self, epoch: Epoch) -> Stream:
        epoch.conductor.refuse("what DataFromQueue took from its queue is gone", lost=True)
        for position in count():
            try:
                datapoint = self.queue.get()
            except _SHUT:
                return
            yield (epoch.number, position, *epoch.path), datapoint
