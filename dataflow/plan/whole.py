"""Flows that a worker iterates whole: the loader for it, and the rewrite that sends them there."""

from __future__ import annotations

import logging
from typing import Any

from dataflow.epoch import Epoch, Stream
from dataflow.node import reset, seeds_of, set_seeds
from dataflow.opening import stream
from dataflow.plan.fragment import Fragment
from dataflow.plan.index import Endless
from dataflow.plan.ops import OpChain
from dataflow.plan.tasks import EXHAUSTED, LOADER, SourceEnded
from dataflow.randomness import generator, leave
from dataflow.records import ItemOp, Opaque, RunnerOp
from dataflow.runtime import runtime
from dataflow.stages.order import IndexSource

__all__ = [
    "SOURCE_TO_WORKER",
    "FlowLoader",
    "replicated",
    "runs_whole",
    "source_to_worker",
]

logger = logging.getLogger(__name__)

SOURCE_TO_WORKER = "source to worker"


class FlowLoader:
    """Runs a whole flow in one worker: the key is a place in a pass, the loader an iterator of it.

    A pass is an epoch and the seeds that the flows have of their own, which somebody may have set
    since they went to the worker. Without those each worker runs the flow by itself, and what it
    draws belongs to the places, which differ.

    A worker that takes over for a dead one runs the flow from its start and skips what was asked
    of the other.
    """

    def __init__(self, flow: Any) -> None:
        self.flow = flow
        self._pass: tuple[Epoch, tuple[int | None, ...] | None] | None = None
        self._stream: Stream = iter(())
        self._next = 0

    def __call__(self, key: tuple[tuple[Epoch, tuple[int | None, ...] | None], int]) -> Any:
        this, position = key
        epoch, seeds = this
        if seeds is not None:
            leave()  # its random numbers are its own, as where the loop iterates it
        # The same epoch anew: a loop was left, and begins again.
        if this != self._pass or position < self._next:
            reset(self.flow)
            if seeds is not None:
                set_seeds(self.flow, seeds)
            self._pass, self._next = this, 0
            self._stream = stream(self.flow, epoch._replace(session=runtime().session({})))
        while self._next < position:  # delivered by a worker that died since
            next(self._stream, None)
            self._next += 1
        self._next += 1
        try:
            _, datapoint = next(self._stream, (None, EXHAUSTED))
        except Exception as error:
            raise SourceEnded(error) from error
        return datapoint

    def __getstate__(self) -> dict[str, Any]:
        return {"flow": self.flow}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["flow"])  # type: ignore[misc]


def runs_whole(record: RunnerOp) -> bool:
    """Whether a runner with none downstream has each worker iterate all that is upstream."""
    return bool(record.replicas) or (record.whole and iterator_of(record) is not None)


def iterator_of(record: RunnerOp) -> Any | None:
    """The flow that can only be iterated which a worker of the runner iterates, if there is one.

    It is directly upstream. Or there are stages on it, and a single worker that can run them as
    well: then the loop need not wait for the source, which would be read here otherwise.
    """
    (first,) = record.inputs
    one = first
    while record.single and isinstance(one, ItemOp) and not one.transfers:
        (one,) = one.inputs
    if not isinstance(one, Opaque) or one.stays or not one.movable:
        return None
    return one.flow if one is first or record.flow._sends(first.flow, one.flow) else None


def source_to_worker(record: RunnerOp) -> Fragment:
    """One worker iterates what is upstream of a runner."""
    runner, flow = record.flow, iterator_of(record)
    if not runner._told:
        runner._told = True
        logger.warning(
            "%s is a flow that can only be iterated: it runs whole in one worker %s. "
            "replicate=True runs it independently in each",
            type(flow).__name__,
            runner._unit,
        )
    source = Endless(0, lambda epoch: (epoch.bare(), seeds_of(runner.ds)))
    chain = OpChain(FlowLoader(runner.ds))
    fragment = Fragment(runner, [chain], [source], {(0, LOADER): flow}, sequential=True)
    fragment.note(SOURCE_TO_WORKER)
    fragment.run_on(runner)
    return fragment


def replicated(record: RunnerOp) -> Fragment:
    """Each worker iterates what is upstream by itself, with random numbers of its own."""
    runner = record.flow
    flows = [runner._replica(replica) for replica in range(record.replicas)]

    def source_of(replica: int) -> IndexSource:
        def pass_of(epoch: Epoch) -> tuple[Epoch, None]:
            seed = int(generator(epoch.seed, "replica", replica).integers(1 << 32))
            return epoch.bare()._replace(seed=seed), None

        return Endless(replica, pass_of, replica)

    fragment = Fragment(
        runner,
        [OpChain(FlowLoader(flow)) for flow in flows],
        [source_of(replica) for replica in range(record.replicas)],
        {(replica, LOADER): flow for replica, flow in enumerate(flows)},
        sequential=True,
    )
    fragment.note(SOURCE_TO_WORKER)
    fragment.run_on(runner)
    return fragment
