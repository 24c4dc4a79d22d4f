"""The cut: which part of a chain stays in the consumer, and which the workers run.

Keys and order stages stay, per-item stages go. What is neither (a batch, a fixed size, a print)
stays in the consumer *above* the workers' results, so a runner placed over it moves below it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from dataflow.base import is_native, mark_ready, open_stream, stage_number, walk
from dataflow.engine.messages import Task
from dataflow.engine.program import FlowLoader, Program, pack
from dataflow.epoch import DROPPED, Epoch
from dataflow.foreign import as_stage
from dataflow.randomness import generator
from dataflow.sources.keyed import KeyedSource
from dataflow.stages.item import ItemStage
from dataflow.stages.repeat import OrderStage
from dataflow.stages.size import FixedSizeData

__all__ = ["Plan", "make_plan"]

logger = logging.getLogger(__name__)


@dataclass
class Plan:
    """How a runner runs what is below it.

    Attributes:
        top: the uppermost flow that the workers' results stand for.
        programs: what workers do, by number; each flow that has stages in them is in `owners`.
        feeds: open the tasks of an epoch. One feed for all workers, or one a worker where each
            runs the whole flow by itself.
        owners: the flow of each loader and stage, by (program, stage index).
        hands: threads that nested runners ask for in each worker.
        sequential: the workers' flow is one iterator, so only one worker can run it.
        tail: stages between `top` and the runner, which stay in the consumer.
        takes_first: one of them picks the first datapoints, so results must come in order.
    """

    top: Any
    programs: list[Program]
    feeds: list[Callable[[Epoch], Iterator[Task]]]
    owners: dict[tuple[int, int], Any]
    hands: int = 1
    sequential: bool = False
    tail: bool = False
    takes_first: bool = False

    @property
    def transfers(self) -> int:
        """Datapoints that asynchronous stages hold in flight in one worker."""
        return max((program.transfers for program in self.programs), default=0)

    def leave_to_workers(self) -> None:
        """The stages are made ready in the workers only.

        What one opens in its `reset_state` could not be pickled.
        """
        for (_, stage), owner in self.owners.items():
            if stage >= 0:
                mark_ready(owner)

    def packed(self) -> bytes:
        """The programs for a worker process."""
        if self.sequential:
            return pack(self.programs, ())
        stages = [stage for program in self.programs for stage in program.stages]
        return pack(self.programs, [*walk(self.top), *stages])


def make_plan(runner: Any, *, replicas: int = 0, whole: bool = False) -> Plan:
    """Plan for `runner`.

    Args:
        runner: the outermost runner.
        replicas: run the whole flow independently this often.
        whole: run a flow that has no keys, directly below the runner, in one worker.
    """
    flow = runner.ds
    if replicas:
        return _replicated(flow, replicas)
    top, tail = flow, []
    while not _leasable(top):
        tail.append(top)
        top = top.ds
    if whole and top is flow and _is_leaf(top) and not isinstance(top, KeyedSource):
        logger.warning(
            "%s is a flow that can only be iterated: it runs whole in one worker process. "
            "replicate=True runs it independently in each",
            type(top).__name__,
        )
        return _whole(top)
    part = _compile(top)
    for inner in filter(is_runner, reversed(tail)):
        _flatten(part, inner)
    return Plan(
        top,
        part.programs,
        [part.feed],
        part.owners,
        hands=part.hands,
        tail=bool(tail),
        takes_first=any(isinstance(stage, FixedSizeData) for stage in tail),
    )


def is_runner(flow: Any) -> bool:
    """Whether `flow` is one of the engine's runners (this module cannot import them)."""
    return hasattr(flow, "_hands_in_worker")


def _is_leaf(flow: Any) -> bool:
    """A flow that is read in the consumer: it has keys, or it can only be iterated."""
    if isinstance(flow, KeyedSource) or not is_native(flow):
        return isinstance(flow, KeyedSource) or as_stage(flow) is None
    return not hasattr(flow, "ds")


def _leasable(flow: Any) -> bool:
    """Whether `flow` and all below it are keys, order stages, per-item stages or runners."""
    if _is_leaf(flow):
        return True
    known = isinstance(flow, (ItemStage, OrderStage)) or is_runner(flow) or not is_native(flow)
    return known and _leasable(flow.ds)


@dataclass
class _Part:
    programs: list[Program]
    feed: Callable[[Epoch], Iterator[Task]]
    owners: dict[tuple[int, int], Any]
    hands: int = 1


def _compile(flow: Any) -> _Part:
    if isinstance(flow, KeyedSource) and is_native(flow):
        return _compile_source(flow)
    if _is_leaf(flow):
        return _Part([Program()], lambda epoch: _outputs(flow, epoch), {(0, -1): flow})
    part = _compile(flow.ds)
    if is_runner(flow):
        _flatten(part, flow)
    elif isinstance(flow, OrderStage):
        below = part.feed
        part.feed = lambda epoch: _reordered(flow, epoch, below)
    else:
        stage = flow if isinstance(flow, ItemStage) else as_stage(flow)
        assert stage is not None, "checked by _leasable"
        for number, program in enumerate(part.programs):
            part.owners[number, len(program.stages)] = flow
            program.add(stage, stage_number(flow))
    return part


def _flatten(part: _Part, inner: Any) -> None:
    """A runner below another sets the threads in its workers, and decides about failures."""
    part.hands = max(part.hands, inner._hands_in_worker())
    for program in part.programs:
        program.adopt(inner._policy)


def _compile_source(source: KeyedSource) -> _Part:
    program = Program(source.loader())
    owners: dict[tuple[int, int], Any] = {(0, -1): source}
    for stage in source._stages():
        owners[0, len(program.stages)] = stage
        program.add(stage, 0)
    policy = getattr(source, "_policy", None)
    if policy is not None:
        program.adopt(policy)

    def feed(epoch: Epoch) -> Iterator[Task]:
        source._prepare()
        return (Task(tag, 0, key) for tag, key in source._keys(epoch))

    return _Part([program], feed, owners)


def _outputs(flow: Any, epoch: Epoch) -> Iterator[Task]:
    """Lease a flow's datapoints themselves."""
    for tag, datapoint in open_stream(flow, epoch):
        if datapoint is not DROPPED:
            yield Task(tag, 0, datapoint)


def _reordered(
    stage: OrderStage, epoch: Epoch, below: Callable[[Epoch], Iterator[Task]]
) -> Iterator[Task]:
    def pairs(inner: Epoch) -> Iterator[Any]:
        return ((task.tag, (task.program, task.key)) for task in below(inner))

    for tag, (program, key) in stage._order(epoch, pairs):
        yield Task(tag, program, key)


def _whole(flow: Any) -> Plan:
    def feed(epoch: Epoch) -> Iterator[Task]:
        epoch = epoch._replace(cut=None)
        return (Task((epoch.number, i), 0, (epoch, i)) for i in count())

    return Plan(flow, [Program(FlowLoader(flow))], [feed], {(0, -1): flow}, sequential=True)


def _replicated(flow: Any, replicas: int) -> Plan:
    """Each worker runs the flow by itself, with random numbers of its own."""

    def feed_of(replica: int) -> Callable[[Epoch], Iterator[Task]]:
        def feed(epoch: Epoch) -> Iterator[Task]:
            seed = int(generator(epoch.seed, "replica", replica).integers(1 << 32))
            own = epoch._replace(cut=None, seed=seed)
            return (Task((epoch.number, i, replica), replica, (own, i)) for i in count())

        return feed

    return Plan(
        flow,
        [Program(FlowLoader(flow)) for _ in range(replicas)],
        [feed_of(replica) for replica in range(replicas)],
        {(replica, -1): flow for replica in range(replicas)},
        sequential=True,
    )
