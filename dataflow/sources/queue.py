"""Datapoints from a queue that something else fills."""

from __future__ import annotations

import queue as standard
from inspect import signature
from itertools import count
from typing import Any

from dataflow.epoch import Epoch, Stream
from dataflow.errors import ConfigError, DataFlowTerminated, UnknownLength
from dataflow.flow import DataFlow

__all__ = ["DataFromQueue"]

_LOOK_SECONDS = 0.1  # between two looks whether another thread has ended the pass

# What `get` raises once somebody has shut the queue down (Python 3.13).
_SHUT: type[Exception] | tuple[()] = getattr(standard, "ShutDown", ())


class DataFromQueue(DataFlow):
    """What comes out of a queue, without end; each `iter()` goes on where the last one stopped.

    It is read in the process that iterates, also upstream of runners: their workers get the
    datapoints. A runner takes ahead what its workers and its buffer hold, and waits for that many;
    whoever puts something in only after something came out should use none. A queue that is shut
    down (`queue.Queue.shutdown`, Python 3.13) ends the epoch. What was taken cannot be had again,
    so there is no state to resume from.

    Where a loop waits for a queue of `queue` or `multiprocessing`, another thread can `close` the
    flow, or begin anew; of another kind it has to wait for the next datapoint.

    Args:
        queue: anything with ``get()``: of `queue`, of `multiprocessing`, a manager's, your own.
    """

    _stays = True  # most queues cannot be sent to a worker, and it would take from others

    def __init__(self, queue: Any) -> None:
        if not callable(getattr(queue, "get", None)):
            raise ConfigError(f"queue={queue!r} has no get() method")
        self.queue = queue
        self._gives_up = _gives_up(queue)
        self._interrupted = False

    def _length(self) -> int:
        raise UnknownLength("DataFromQueue has no end")

    def _stream(self, epoch: Epoch) -> Stream:
        epoch.session.refuse("what DataFromQueue took from its queue is gone", lost=True)
        self._interrupted = False
        for position in count():
            try:
                datapoint = self._taken()
            except _SHUT:
                return
            yield (epoch.number, position, *epoch.path), datapoint

    def _taken(self) -> Any:
        if not self._gives_up:
            return self.queue.get()
        while True:
            try:
                return self.queue.get(timeout=_LOOK_SECONDS)
            except standard.Empty:
                if self._interrupted:
                    raise DataFlowTerminated("another thread ended the pass") from None

    def _interrupt(self) -> None:
        self._interrupted = True


def _gives_up(queue: Any) -> bool:
    """Whether its `get` has a timeout after which it raises `queue.Empty`."""
    known = isinstance(queue, (standard.Queue, standard.SimpleQueue))
    if known or type(queue).__module__ == "multiprocessing.queues":
        return "timeout" in signature(queue.get).parameters
    return False
