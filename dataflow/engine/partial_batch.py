"""A batch while its members are made in a worker."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from dataflow.engine.messages import Failed, Lease, Loose, Whole
from dataflow.epoch import DROPPED
from dataflow.plan.ops import BatchChain
from dataflow.plan.tasks import Task
from dataflow.transport.slots import Block

__all__ = ["Blocks", "PartialBatch"]


# Below this, sending a batch by itself costs more than copying it once more.
_BLOCK_BYTES = 64 << 10


class Blocks(Protocol):
    """Where there is memory that carries arrays to the consumer."""

    def block(self) -> Block | None:
        """Some of it, waiting until there is; None where arrays are copied to it later."""

    def drop(self, block: Block) -> None:
        """Some that is not needed after all."""


class PartialBatch:
    """The members of a task that is a whole batch, as the lease that they are worked on from.

    Attributes:
        outer: the lease and the index in it of the whole.
        number: the lease's number.
        seed: the pass's seed.
        tasks: the members.
    """

    def __init__(self, outer: tuple[Lease, int]) -> None:
        lease, index = outer
        self.outer = outer
        self.number = lease.number
        self.seed = lease.seed
        self.tasks: list[Task] = lease.tasks[index].key
        self._outcomes: list[Any] = [None] * len(self.tasks)
        # Members in flight may be finished by several threads: `next` of it cannot be interrupted.
        self._missing = iter(range(len(self.tasks))[::-1])

    def put(self, index: int, outcome: Any) -> bool:
        """Enter a member's outcome; returns whether it was the last one."""
        self._outcomes[index] = outcome
        return next(self._missing) == 0

    def worth_a_block(self, chain: BatchChain) -> bool:
        """Whether to build the batch in memory that carries it to the consumer.

        Small ones rather share a message with others; and stages on the batch are the user's, who
        may keep what they get.
        """
        first = self._outcomes[0]
        if chain.stages or not isinstance(first, (list, tuple, dict)):
            return False
        parts = first.values() if isinstance(first, dict) else first
        size = sum(part.nbytes for part in parts if isinstance(part, np.ndarray))
        return size * len(self._outcomes) >= _BLOCK_BYTES

    def build(self, chain: BatchChain, blocks: Blocks | None) -> Built:
        """The batch; the members as they are where one is missing or they do not fit together."""
        outcomes = self._outcomes
        assert chain.batch is not None, "what makes it such a chain"
        whole = len(outcomes) == chain.batch.batch_size
        if not whole or any(one is DROPPED or isinstance(one, Failed) for one in outcomes):
            return Built(Loose(outcomes), None)
        block = blocks.block() if blocks is not None and self.worth_a_block(chain) else None
        built = chain.batch.build(outcomes, np.empty if block is None else block.empty)
        if built is None:
            if block is not None and blocks is not None:
                blocks.drop(block)
            return Built(Loose(outcomes), None)
        return Built(Whole(*built), block)


class Built(NamedTuple):
    """What became of a group, `Whole` or `Loose`, and the memory that it was built in."""

    outcome: Any
    block: Block | None
