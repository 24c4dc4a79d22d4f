"""The parts of a chain that the engine runs.

A part is a flow and all below it, as far as that is keys, order stages and per-item stages. Keys
and order stages stay in the consumer; the per-item stages make a program that any worker can run.
What is neither (a batch, a fixed size, a join) streams in the consumer, on the parts below it.
Runners make no difference to what the parts are, only to who runs their programs, so a chain's
positions, random numbers and state are the same with any runners and without.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dataflow.engine.feeds import Endless, Keys, Ordered, Outputs, Shifted
from dataflow.engine.groups import Batching, Found, batching_of
from dataflow.engine.messages import LOADER, Task
from dataflow.engine.program import FlowLoader, Program, pack
from dataflow.engine.progress import Remaining
from dataflow.epoch import Epoch
from dataflow.failures import ErrorPolicy
from dataflow.foreign import as_stage
from dataflow.node import (
    inputs,
    is_native,
    is_runner,
    mark_ready,
    seeds_of,
    stage_number,
    stays,
    walk,
)
from dataflow.randomness import generator
from dataflow.sources.keyed import KeyedSource
from dataflow.stages.item import AsyncStage, ItemStage
from dataflow.stages.order import Feed, OrderStage

__all__ = [
    "Part",
    "is_part",
    "make_part",
    "parts_below",
    "source_part",
]

logger = logging.getLogger(__name__)


@dataclass
class Part:
    """How the engine runs a flow and what is below it.

    Attributes:
        top: the flow that the part's results are of.
        programs: what becomes of a key, by number.
        feeds: the order of the tasks. One feed for all workers, or one a worker where each runs
            the whole flow by itself.
        owners: the flow of each loader and stage, by (program, stage index).
        sent: how many stages of each program go to workers; the rest runs in the consumer.
        runner: the outermost runner in the part itself, which runs it if there is none above.
        hands: threads that nested runners ask for in each worker.
        sequential: the workers' flow is one iterator, so only one worker can run it.
        batching: number of the first of two programs whose tasks are whole batches of the others'
            tasks; see `add_batches`.
    """

    top: Any
    programs: list[Program]
    feeds: list[Feed]
    owners: dict[tuple[int, int], Any]
    sent: list[int] = field(default_factory=list)
    runner: Any = None
    hands: int = 1
    sequential: bool = False
    batching: int | None = None

    @property
    def transfers(self) -> int:
        """Datapoints that asynchronous stages hold in flight in one worker."""
        return max((program.transfers for program in self.programs), default=0)

    @property
    def idle(self) -> bool:
        """Workers would only hand back what they get, and the sources say that it is to stay."""
        return all(
            program.loader is None and not sent and stays(self.owners[number, LOADER])
            for number, (program, sent) in enumerate(zip(self.programs, self.sent, strict=True))
        )

    def tasks(self, feed: Feed, epoch: Epoch, remaining: Remaining) -> Iterator[Task]:
        """The tasks of a pass that remain to be done, in order."""
        if isinstance(feed, Keys):
            return remaining.of(feed.tasks(epoch, remaining.start))
        pairs = remaining.of(feed.open(epoch, remaining.start))
        return (Task(tag, program, key) for tag, (program, key) in pairs)

    def key(self, epoch: Epoch) -> Any:
        """What tells the part from others of the same runner, in this epoch and in later ones."""
        leaves = [id(flow) for (_, stage), flow in self.owners.items() if stage == LOADER]
        return epoch.path, tuple(leaves)

    def for_workers(self) -> list[Program]:
        """The programs as far as workers run them."""
        return [program.upto(sent) for program, sent in zip(self.programs, self.sent, strict=True)]

    def leave_to_workers(self) -> None:
        """The stages are made ready in the workers only.

        What one opens in its `reset_state` could not be pickled.
        """
        for (program, stage), owner in self.owners.items():
            if 0 <= stage < self.sent[program]:
                mark_ready(owner)

    def packed(self) -> bytes:
        """The programs for a worker process."""
        programs = self.for_workers()
        if self.sequential:
            return pack(programs, ())
        stages = [stage for program in programs for stage in program.stages]
        return pack(programs, [*walk(self.top), *stages])

    def add_batches(
        self, found: Found, *, below: Sequence[Any], policy: ErrorPolicy | None = None
    ) -> None:
        """Workers build batches of the datapoints so far.

        There are two programs for it: with the stages above the batch, and, for the case that
        batches have to be put together anew here, one that leaves those stages to the consumer.
        """
        self.batching = len(self.programs)
        added = [Batching(batch=found.batch), Batching(batch=found.batch)]
        for number, program in enumerate(added, self.batching):
            self.programs.append(program)
            self.owners[number, LOADER] = found.batch
        for flow in found.above:
            if is_runner(flow):
                self.place_below(flow)
                continue
            for number, program in enumerate(added, self.batching):
                self.owners[number, len(program.stages)] = flow
                program.add(_stage(flow), stage_number(flow))
        self.adopt(policy)
        for runner in reversed(below):
            self.place_below(runner)
        self.sent[self.batching + 1] = 0

    def place_below(self, runner: Any) -> None:
        """`runner` runs all that is there so far; those further down only say how."""
        self.runner = runner
        self.hands = max(self.hands, runner._hands_in_worker())
        self.send_all()
        self.adopt(runner._policy)

    def adopt(self, policy: ErrorPolicy | None) -> None:
        """`policy` decides about all that is there so far and nobody decides about yet."""
        if policy is not None:
            for program in self.programs:
                program.adopt(policy)

    def send_all(self) -> None:
        """All stages so far go to the workers."""
        self.sent = [len(program.stages) for program in self.programs]


class _Above(NamedTuple):
    """What is above a flow.

    Attributes:
        runner: there is one.
        shared: there is one, or another flow is beside it.
        ordered: an order stage is.
        pools: pools of other machines count as such; not for `ds[i]`, which is made here.
    """

    runner: bool
    shared: bool
    ordered: bool = False
    pools: bool = True


def is_part(flow: Any, *, below_runner: bool, pools: bool = True) -> bool:
    """Whether `flow` and all below it make a part."""
    return _is_part(flow, _Above(below_runner, below_runner, pools=pools))


def _is_part(flow: Any, above: _Above) -> bool:
    if _is_leaf(flow, above.shared and above.pools):
        # Order stages make of places what they would not make of a stream, such as of batches.
        return not (above.ordered and is_runner(flow)) or is_part(flow.ds, below_runner=True)
    if is_runner(flow):
        if _runs_whole(flow) and not above.runner:
            return True
        return _is_part(flow.ds, above._replace(runner=True, shared=True))
    known = isinstance(flow, (ItemStage, OrderStage)) or not is_native(flow)
    below = inputs(flow)
    inner = above._replace(
        shared=above.shared or len(below) > 1,
        ordered=above.ordered or isinstance(flow, OrderStage),
    )
    return known and all(
        _is_part(one, inner) and (above.runner or not (is_runner(one) and _runs_whole(one)))
        for one in below
    )


def parts_below(runner: Any) -> list[Part]:
    """What the workers of a runner run, from the top down; so another host can say which."""

    def below(flow: Any) -> Iterator[Part]:
        if is_part(flow, below_runner=True):
            part = make_part(flow, below_runner=True)
            part.place_below(runner)
            yield part
            yield from cached(part)
        elif (found := batching_of(flow)) is not None and is_part(
            found.batch.ds, below_runner=True
        ):
            part = make_part(found.batch.ds, below_runner=True)
            part.add_batches(found, below=[runner])
            yield part
            yield from cached(part)
        else:
            for one in inputs(flow):
                yield from below(one)

    def cached(part: Part) -> Iterator[Part]:
        """What the caches in a part read once."""
        for (_, stage), leaf in part.owners.items():
            if stage == LOADER and is_native(leaf) and not is_runner(leaf):
                for one in inputs(leaf):
                    yield from below(one)

    return list(below(runner.ds))


def make_part(flow: Any, *, below_runner: bool, pools: bool = True) -> Part:
    """The part whose top is `flow`, of which `is_part` holds."""
    if not below_runner and is_runner(flow) and _runs_whole(flow):
        return _replicated(flow) if flow._replicas else _whole(flow)
    return _compile(flow, below_runner, pools)


def _is_leaf(flow: Any, shared: bool) -> bool:
    """A flow that is read in the consumer: it has keys, or it can only be iterated.

    Args:
        flow: any.
        shared: there is another runner above it, or another flow beside it. The machines of a pool
            have only the chain below the pool, so they cannot run a part that is more than that.
    """
    if stays(flow):
        return shared or not is_runner(flow)
    if isinstance(flow, KeyedSource) or not is_native(flow):
        return isinstance(flow, KeyedSource) or as_stage(flow) is None
    return not inputs(flow)


def _runs_whole(runner: Any) -> bool:
    """Whether a runner with none above it has each worker iterate the whole flow below it."""
    return bool(runner._replicas) or (runner._whole and _iterator_of(runner) is not None)


def _iterator_of(runner: Any) -> Any | None:
    """The source that can only be iterated which a worker of the runner iterates, if there is one.

    It is directly below. Or there are stages on it, and a single worker that can run them as well:
    then the loop need not wait for the source, which would be read here otherwise.
    """
    flow = runner.ds
    while runner._single and _is_plain_stage(flow):
        (flow,) = inputs(flow)
    if isinstance(flow, KeyedSource) or stays(flow) or not _is_leaf(flow, True):
        return None
    return flow if flow is runner.ds or runner._sends(runner.ds, flow) else None


def _is_plain_stage(flow: Any) -> bool:
    """Whether it is a stage that a worker runs from beginning to end."""
    ours = isinstance(flow, ItemStage) and is_native(flow)
    return not isinstance(flow, AsyncStage) and (ours or as_stage(flow) is not None)


def _compile(
    flow: Any, shared: bool, pools: bool = True, policy: ErrorPolicy | None = None
) -> Part:
    if isinstance(flow, KeyedSource) and is_native(flow):
        return source_part(flow)
    if _is_leaf(flow, shared and pools):
        return Part(flow, [Program()], [_outputs(flow, policy)], {(0, LOADER): flow}, [0])
    below = inputs(flow)
    shared = shared or len(below) > 1 or is_runner(flow)
    policy = flow._policy if is_runner(flow) else policy
    part = _merged([_compile(one, shared, pools, policy) for one in below])
    part.top = flow
    if is_runner(flow):
        part.place_below(flow)
    elif isinstance(flow, OrderStage):
        part.feeds = [Ordered(flow, part.feeds)]
    else:
        stage = _stage(flow)
        for number, program in enumerate(part.programs):
            part.owners[number, len(program.stages)] = flow
            program.add(stage, stage_number(flow))
    return part


def _outputs(flow: Any, policy: ErrorPolicy | None) -> Outputs:
    if is_runner(flow) and is_part(flow.ds, below_runner=True):
        return Outputs(flow, policy, _compile(flow.ds, True).feeds[0])
    return Outputs(flow, policy)


def _stage(flow: Any) -> ItemStage:
    stage = flow if isinstance(flow, ItemStage) else as_stage(flow)
    assert stage is not None, "checked by whoever took it for one"
    return stage


def _merged(parts: list[Part]) -> Part:
    """The parts of several inputs as one, which one crew can run."""
    if len(parts) == 1:
        return parts[0]
    whole = Part(None, [], [], {})
    for part in parts:
        by = len(whole.programs)
        whole.owners |= {(by + number, at): flow for (number, at), flow in part.owners.items()}
        whole.programs += part.programs
        whole.feeds += [Shifted(feed, by) for feed in part.feeds]
        whole.hands = max(whole.hands, part.hands)
        whole.sent += part.sent
        whole.runner = part.runner if whole.runner is None else whole.runner
    return whole


def source_part(source: KeyedSource) -> Part:
    """The part that is just a source."""
    program = Program(source.loader())
    owners: dict[tuple[int, int], Any] = {(0, LOADER): source}
    for stage in source._stages():
        owners[0, len(program.stages)] = stage
        program.add(stage, 0)
    policy = getattr(source, "_policy", None)
    if policy is not None:
        program.adopt(policy)
    # Without a runner they run here; with several inputs, workers of another's runner may load.
    return Part(source, [program], [Keys(source)], owners, [len(program.stages)])


def _whole(runner: Any) -> Part:
    """One worker iterates the flow."""
    flow = _iterator_of(runner)
    if not runner._told:
        runner._told = True
        logger.warning(
            "%s is a flow that can only be iterated: it runs whole in one worker %s. "
            "replicate=True runs it independently in each",
            type(flow).__name__,
            runner._unit,
        )
    feed = Endless(0, lambda epoch: (epoch.bare(), seeds_of(runner.ds)))
    program = Program(FlowLoader(runner.ds))
    part = Part(runner, [program], [feed], {(0, LOADER): flow}, sequential=True)
    part.place_below(runner)
    return part


def _replicated(runner: Any) -> Part:
    """Each worker iterates the flow by itself, with random numbers of its own."""
    numbers = range(runner._replicas)
    flows = [runner._replica(replica) for replica in numbers]

    def feed_of(replica: int) -> Endless:
        def pass_of(epoch: Epoch) -> tuple[Epoch, None]:
            seed = int(generator(epoch.seed, "replica", replica).integers(1 << 32))
            return epoch.bare()._replace(seed=seed), None

        return Endless(replica, pass_of, replica)

    part = Part(
        runner,
        [Program(FlowLoader(flow)) for flow in flows],
        [feed_of(replica) for replica in numbers],
        {(replica, LOADER): flow for replica, flow in enumerate(flows)},
        sequential=True,
    )
    part.place_below(runner)
    return part
