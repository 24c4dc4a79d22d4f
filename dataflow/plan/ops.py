"""Op chains: what becomes of a key, whoever runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dataflow.failures import ErrorPolicy
from dataflow.stages.batch import BatchData
from dataflow.stages.item import AsyncStage, ItemStage

__all__ = ["BatchChain", "OpChain"]


@dataclass
class OpChain:
    """The way of one branch of a chain, from key to datapoint.

    Attributes:
        loader: key → datapoint; None where the key is the datapoint.
        stages: in the order in which they run.
        numbers: each stage's number in the chain, part of the key of its random numbers.
        policies: who decides about a failure of the loader and of each stage. Consumer only.
        lends: keys are datapoints that somebody else goes on using; not so in another process.
        sealed: what was added last may run elsewhere than what will be.
    """

    loader: Callable[[Any], Any] | None = None
    stages: list[ItemStage] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    policies: list[ErrorPolicy | None] = field(default_factory=lambda: [None])
    lends: bool = False
    sealed: bool = False

    def add(self, stage: ItemStage, number: int) -> bool:
        """One more stage downstream of the others; whether the last one took over a part of it."""
        whole = stage
        if self.stages and not self.sealed:
            self.stages[-1], stage = self.stages[-1].with_next(stage, number)
        self.sealed = False
        self.stages.append(stage)
        self.numbers.append(number)
        self.policies.append(None)
        return stage is not whole

    def adopt(self, policy: ErrorPolicy) -> None:
        """`policy` decides about the stages so far that nobody decides about yet."""
        self.policies = [policy if known is None else known for known in self.policies]

    def upto(self, stage: int) -> OpChain:
        """The chain without the stages from number `stage` on."""
        return OpChain(self.loader, self.stages[:stage], self.numbers[:stage], lends=self.lends)

    @property
    def transfers(self) -> int:
        """Datapoints that its asynchronous stages have in flight at most."""
        return sum(stage.concurrency for stage in self.stages if isinstance(stage, AsyncStage))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "policies": [], "lends": False}


@dataclass
class BatchChain(OpChain):
    """The op chain of a task that is a whole batch: the batch, then stages on it.

    Attributes:
        batch: how it is built.
    """

    batch: BatchData | None = None

    def upto(self, stage: int) -> BatchChain:
        return BatchChain(None, self.stages[:stage], self.numbers[:stage], batch=self.batch)
