"""A batch while its members are made in a worker."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import numpy as np

from dataflow.engine.messages import Failed, Lease, Loose, Whole
from dataflow.epoch import DROPPED
from dataflow.ownership import copied, is_tensor
from dataflow.plan.ops import BatchChain
from dataflow.plan.tasks import Task
from dataflow.stages.collate import Collation
from dataflow.transport.slots import Block

__all__ = ["BLOCK_BYTES", "Blocks", "PartialBatch", "bytes_of"]

BLOCK_BYTES = 64 << 10
"""Bytes below which a place of their own in shared memory is not worth it for arrays."""


class Blocks(Protocol):
    """Where there is memory that carries arrays to the consumer."""

    @property
    def shared(self) -> bool:
        """Whether there is such memory; otherwise arrays go through a socket."""

    def block(self) -> Block | None:
        """Some of it, waiting until there is; None where there is no such memory."""

    def spare(self, besides: int) -> Block | None:
        """Some of it, if so many pieces are left besides."""

    def drop(self, block: Block) -> None:
        """Some that is not needed after all."""

    def spent(self, seconds: float) -> None:
        """So long it took to copy arrays into it."""


class PartialBatch:
    """The members of a task that is a whole batch, as the lease that they are worked on from.

    Arrays of members go to their places in the batch as they come: in memory that carries it to the
    consumer, if it is large and no stages on it, which are the user's, may keep what they get.

    Args:
        outer: the lease and the index in it of the whole.
        chain: its op chain.
        spare: gives such memory, if there is some.

    Attributes:
        outer: as given.
        number: the lease's number.
        seed: the pass's seed.
        tasks: the members.
    """

    def __init__(
        self, outer: tuple[Lease, int], chain: BatchChain, spare: Callable[[], Block | None]
    ) -> None:
        lease, index = outer
        self.outer = outer
        self.number = lease.number
        self.seed = lease.seed
        self.tasks: list[Task] = lease.tasks[index].key
        assert chain.batch is not None, "what makes it such a chain"
        self._stage = chain.batch
        self._spare = None if chain.stages else spare
        self._block: Block | None = None
        self._collation: Collation | None = None
        if len(self.tasks) == chain.batch.batch_size:
            self._collation = chain.batch.collation(self._empty)
        self._outcomes: list[Any] = [None] * len(self.tasks)  # of those that are not in there
        # Members in flight may be finished by several threads.
        self._lock = threading.Lock()
        self._missing = len(self.tasks)

    def put(self, index: int, outcome: Any) -> bool:
        """Enter a member's outcome; returns whether it was the last one."""
        with self._lock:
            self._missing -= 1
            if outcome is DROPPED or isinstance(outcome, Failed):
                self._give_up()
            if self._collation is not None:
                self._collation.put(index, outcome)
            else:
                known = outcome is DROPPED or isinstance(outcome, Failed)
                self._outcomes[index] = outcome if known else copied(outcome)
            return not self._missing

    def build(self) -> Built:
        """The batch; the members as they are where one is missing or they do not fit together."""
        if self._collation is not None:
            plain = self._collation.plain()
            if plain is not None:
                try:
                    return Built(Whole(self._collation.result(), plain), self._block)
                except Exception:  # of whatever kind: it comes again where somebody is told
                    pass
            self._give_up()
        return Built(Loose(self._outcomes), self._block)

    def _give_up(self) -> None:
        """Members stay what they are."""
        if self._collation is not None:
            members = self._collation.members()
            self._outcomes[: len(members)] = members
            self._collation = None

    def _empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array for all members."""
        if self._spare is not None and self._block is None:
            size = np.dtype(dtype).itemsize * math.prod(shape)
            self._block = self._spare() if size >= BLOCK_BYTES else None
        return np.empty(shape, dtype) if self._block is None else self._block.empty(shape, dtype)


class Built(NamedTuple):
    """What became of a group, `Whole` or `Loose`, and the memory that it was built in."""

    outcome: Any
    block: Block | None


def bytes_of(outcome: Any) -> int:
    """Bytes of the arrays in a datapoint, at least 1."""
    if type(outcome) is Whole:
        outcome = outcome.batch
    if isinstance(outcome, (list, tuple)):
        parts: Any = outcome
    else:
        parts = outcome.values() if isinstance(outcome, dict) else (outcome,)
    size = 0
    for part in parts:
        if isinstance(part, np.ndarray) or is_tensor(part):  # others may call anything `nbytes`
            with suppress(RuntimeError):  # a sparse tensor does not know
                size += part.nbytes
    return max(1, size)
