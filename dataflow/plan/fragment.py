"""Plan fragments: as much of a chain as one set of workers can run.

A fragment is a flow and all upstream of it, as far as that is keys, orders and per-item stages.
Keys and orders stay where the loop is; the per-item stages make op chains that any worker can run.
Runners make no difference to what the fragments are, only to who runs them, so a chain's positions,
random numbers and state are the same with any runners and without.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dataflow.epoch import Epoch
from dataflow.failures import ErrorPolicy
from dataflow.node import mark_ready, stays, walk
from dataflow.plan.index import Keys
from dataflow.plan.ops import OpChain
from dataflow.plan.packing import pack
from dataflow.plan.tasks import LOADER, ColumnFeed, Feed, Task, members_of
from dataflow.stages.batch import BatchData
from dataflow.stages.order import IndexSource

__all__ = ["Fragment"]


@dataclass
class Fragment:
    """How a flow and what is upstream of it is run.

    Attributes:
        top: the flow that the fragment's results are of.
        chains: what becomes of a key, by number.
        index_sources: the order of the tasks. One for all workers, or one a worker where each runs
            the whole flow by itself.
        owners: the flow of each loader and stage, by (number of the op chain, stage index).
        sent: how many stages of each op chain go to workers; the rest runs where the loop is.
        runner: the outermost runner, which runs it; None: nobody but the loop's own thread.
        threads: that nested runners ask for in each worker.
        sequential: the workers' flow is one iterator, so only one worker can run it.
        batching: number of the first of two op chains whose tasks are whole batches of the others'
            tasks; see `dataflow.plan.planner.batch_into_workers`. None: there are no batches.
        batch: the stage that these are of.
        rewrites: the names of what the planner did to get here.
        read_here: flows that the loop's own thread iterates, though a worker could.
    """

    top: Any
    chains: list[OpChain]
    index_sources: list[IndexSource]
    owners: dict[tuple[int, int], Any]
    sent: list[int] = field(default_factory=list)
    runner: Any = None
    threads: int = 1
    sequential: bool = False
    batching: int | None = None
    batch: BatchData | None = None
    rewrites: list[str] = field(default_factory=list)
    read_here: list[Any] = field(default_factory=list)
    _packed: bytes | None = field(default=None, repr=False)

    @property
    def transfers(self) -> int:
        """Datapoints that asynchronous stages hold in flight in one worker."""
        return max((chain.transfers for chain in self.chains), default=0)

    @property
    def idle(self) -> bool:
        """Workers would only hand back what they get, and the sources say that it is to stay."""
        return all(
            chain.loader is None and not sent and stays(self.owners[number, LOADER])
            for number, (chain, sent) in enumerate(zip(self.chains, self.sent, strict=True))
        )

    def is_keyed(self, task: Task) -> bool:
        """Whether a task's datapoint is of a source that has keys."""
        one = (members_of(task) or [task])[0]
        return bool(getattr(self.owners[one.chain, LOADER], "_has_keys", False))

    def tasks(self, source: IndexSource, epoch: Epoch, start: int) -> Iterator[Task]:
        """The tasks of a pass from place `start` on, in order."""
        if isinstance(source, Keys):
            return source.tasks(epoch, start)
        return (Task(tag, chain, key) for tag, (chain, key) in source.open(epoch, start))

    def feed(
        self,
        source: IndexSource,
        epoch: Epoch,
        start: int,
        of: Callable[[Iterator[Any]], Iterator[Any]],
    ) -> Feed:
        """The same, to be taken some at a time; `of` leaves out those that are not wanted."""
        if isinstance(source, Keys):
            return ColumnFeed(*map(of, source.columns(epoch, start)))
        return Feed(of(self.tasks(source, epoch, start)))

    def key(self, epoch: Epoch) -> Any:
        """What tells the fragment from others of the same runner, now and in later epochs."""
        leaves = [id(flow) for (_, stage), flow in self.owners.items() if stage == LOADER]
        return epoch.path, tuple(leaves)

    def for_workers(self) -> list[OpChain]:
        """The op chains as far as workers run them."""
        return [chain.upto(sent) for chain, sent in zip(self.chains, self.sent, strict=True)]

    def leave_to_workers(self) -> None:
        """The stages are made ready in the workers only.

        What one opens in its `reset_state` could not be pickled.
        """
        for (chain, stage), owner in self.owners.items():
            if 0 <= stage < self.sent[chain]:
                mark_ready(owner)

    def packed(self) -> bytes:
        """The op chains for a worker process.

        Raises:
            TypeError: where something cannot be pickled; names the stage.
        """
        if self._packed is None:
            chains = self.for_workers()
            stages = [] if self.sequential else [one for chain in chains for one in chain.stages]
            flows = () if self.sequential else walk(self.top)
            self._packed = pack(chains, [*flows, *stages])
        return self._packed

    def release(self) -> None:
        """The packed op chains are where they are needed: there may be much in them."""
        self._packed = None

    def version(self) -> str | None:
        """Another one where a stage was changed; None where it cannot be sent anywhere."""
        try:
            return hashlib.sha256(self.packed()).hexdigest()
        except Exception:  # whatever the user's objects do when they are pickled
            return None

    def run_on(self, runner: Any) -> None:
        """`runner` runs all that is there so far; those further upstream only say how."""
        self.runner = runner
        self.threads = max(self.threads, runner._threads_in_worker())
        self.send_all()
        self.adopt(runner._policy)

    def adopt(self, policy: ErrorPolicy | None) -> None:
        """`policy` decides about all that is there so far and nobody decides about yet."""
        if policy is not None:
            for chain in self.chains:
                chain.adopt(policy)

    def send_all(self) -> None:
        """All stages so far go to the workers."""
        self.sent = [len(chain.stages) for chain in self.chains]

    def note(self, rewrite: str) -> None:
        """The planner did this, once or more often."""
        if rewrite not in self.rewrites:
            self.rewrites.append(rewrite)
