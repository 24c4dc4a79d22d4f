"""What pipelines are made of: sources, maps of batches, sinks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dataflow.errors import ConfigError

__all__ = ["Map", "Node", "Sink", "Source"]


class Node:
    """A step of a `Pipeline`.

    Args:
        n_worker: processes that this step adds to those of the pipeline; 0: none.
        queue_size: batches that may wait behind this step. (Of the last one that has processes
            this counts: there is no queue between steps, as one process does them all.)

    Attributes:
        enqueue: what it gets goes on to the next node, or to `Pipeline.dequeue`.
        taken: it is part of a pipeline.
    """

    enqueue = True
    taken = False

    def __init__(self, n_worker: int = 1, queue_size: int = 128) -> None:
        for name, value, least in (("n_worker", n_worker, 0), ("queue_size", queue_size, 1)):
            if value < least:
                raise ConfigError(f"{name}={value!r} must be at least {least}")
        self.n_worker = int(n_worker)
        self.queue_size = int(queue_size)

    def stop(self) -> None:
        """Let go whoever waits in this step for somebody else; called from any thread."""


class Source(Node):
    """Where batches come from. A subclass defines `flow`.

    Attributes:
        batch_size: samples that become a batch in the worker processes; 1 where what comes from
            elsewhere is a batch already.
    """

    batch_size = 1

    def flow(self) -> Any:
        """The dataflow; its datapoints are batches: dicts. Called once, by the pipeline."""
        raise NotImplementedError(f"{type(self).__name__} does not define flow")


class Map(Node):
    """What is done to each batch, in any of the processes. A subclass defines `apply`."""

    def apply(self, batch: dict[str, Any]) -> dict[str, Any] | None:
        """The new batch, or None to drop it. The arrays in `batch` should stay as they are."""
        raise NotImplementedError(f"{type(self).__name__} does not define apply")


class Sink(Node):
    """Where batches go to: the last step, run by a thread of the pipeline's.

    A subclass defines `write`.
    """

    enqueue = False

    def __init__(self) -> None:
        super().__init__(n_worker=0)

    def open(self) -> None:
        """Get ready; called once, by whoever makes the pipeline."""

    def write(self, batch: dict[str, Any]) -> None:
        """Take one batch."""
        raise NotImplementedError(f"{type(self).__name__} does not define write")

    def close(self) -> None:
        """There are no more batches."""

    def run(self, batches: Iterator[dict[str, Any]]) -> None:
        """Take all batches."""
        try:
            for batch in batches:
                self.write(batch)
        finally:
            self.close()
