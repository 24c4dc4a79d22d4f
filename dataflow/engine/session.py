"""A session: what the engine does and keeps in one pass over a chain."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, suppress
from itertools import chain, islice
from time import perf_counter
from types import TracebackType
from typing import Any

from dataflow.engine.behind import behind
from dataflow.engine.consumer import Consumer
from dataflow.engine.cursors import Cursors
from dataflow.engine.deliveries import Deliveries
from dataflow.engine.messages import Failed, Whole
from dataflow.engine.progress import Progress
from dataflow.engine.regroup import grouped, regrouped
from dataflow.epoch import DROPPED, Epoch, Stream
from dataflow.executor.memory import keep_memory_of, size_of
from dataflow.meter import Meter
from dataflow.node import inputs, is_runner, meter_of
from dataflow.opening import at, stream
from dataflow.plan.fragment import Fragment
from dataflow.plan.index import Outputs
from dataflow.plan.planner import (
    Site,
    fills_behind,
    fragment_for_access,
    fragment_of,
    fragment_of_source,
    lower,
    ops_over_stream,
)
from dataflow.plan.tasks import LOADER, Feed, Members, Task
from dataflow.randomness import Tag
from dataflow.sources.keyed import KeyedSource
from dataflow.stages.copies import copy_of
from dataflow.stages.order import IndexSource

__all__ = ["Session"]

_EVERYWHERE = -1  # a number of a stage upstream of all
_LOOKED_AT = 4  # datapoints of a pass whose size decides about the allocator


class Session(Cursors):
    """What the engine does in one pass.

    Args:
        saved: the cursors of the pass that is resumed, as `state` gave them.
        before: the session of the pass before.
        resumed: the chain's state was loaded.
        pools: machines of a pool may be waited for; not for `ds[i]`, which is made here.

    Attributes:
        pools: as given.
    """

    def __init__(
        self,
        saved: Mapping[str, Any],
        before: Session | None = None,
        *,
        resumed: bool = False,
        pools: bool = True,
    ) -> None:
        super().__init__(saved, before, resumed=resumed)
        self.pools = pools
        self.why_dropped: Exception | None = None
        self.visit = 0  # of `ds[i]`: each number draws its own random numbers
        # For `ds[i]`, by the flow's number; with the flow, whose number another may get later.
        self._looked_at: dict[int, tuple[Any, IndexSource, Consumer]] = {}
        self._looked_through: dict[int, tuple[Any, Any, Consumer]] = {}

    def _another(self, saved: Mapping[str, Any]) -> Session:
        return Session(saved, resumed=self.resumed, pools=self.pools)

    # -- what flows ask for ------------------------------------------------------------------

    def open(self, flow: Any, epoch: Epoch) -> Stream | None:
        """The stream of a flow that is run as a fragment; None where the flow streams by itself."""
        fragment = fragment_of(lower(flow), Site(epoch.runners, epoch.policy, self.pools))
        return None if fragment is None else self._run(fragment, epoch)

    def ops(self, flow: Any, epoch: Epoch) -> Stream:
        """The stream of a per-item stage over a flow that streams."""
        fragment, upstream = self._ops_of(flow, epoch)
        consumer = Consumer(fragment, epoch, alone=True, keeps_count=False)

        def datapoints() -> Stream:
            for tag, datapoint in stream(upstream, epoch):
                if datapoint is not DROPPED:
                    datapoint = consumer.apply(Task(tag, 0, None), datapoint)
                yield tag, datapoint

        return consumer.watch(datapoints())

    def op_at(self, flow: Any, epoch: Epoch, index: int) -> tuple[Tag, Any]:
        """One datapoint of such a stage, DROPPED included."""
        known = self._looked_through.get(id(flow))
        if known is None:
            fragment, upstream = self._ops_of(flow, epoch)
            consumer = Consumer(fragment, epoch, alone=True, keeps_count=False)
            known = self._looked_through[id(flow)] = flow, upstream, consumer
        _, upstream, consumer = known
        tag, datapoint = at(upstream, epoch, index)
        if datapoint is not DROPPED:
            datapoint = consumer.apply(Task(tag, 0, None), datapoint)
        return tag, datapoint

    def _ops_of(self, flow: Any, epoch: Epoch) -> tuple[Fragment, Any]:
        # As the stage that it is, also where a method of the user's iterates it.
        record = flow._to_record(tuple(map(lower, inputs(flow))))
        return ops_over_stream(record, epoch.policy)

    def behind(self, flow: Any, epoch: Epoch, made_of: Callable[[Stream], Stream]) -> Stream:
        """What `made_of` makes of the stream of a flow; where workers make that, behind the loop.

        While the loop has one, a thread of its own takes what the next is made of from the workers
        and makes it. The pass is where the loop is: what lies ready does not count.
        """
        if not self.pools or epoch.runners or not fills_behind(lower(flow)):
            return made_of(stream(flow, epoch))
        settled: list[tuple[Any, int]] = []
        made = made_of(stream(flow, epoch._replace(settled=settled)))

        def parcels() -> Iterator[Any]:
            with closing(made):  # type: ignore[type-var]
                for tag, *one in made:  # in a list, as in `_alone`
                    noted = settled.copy()
                    settled.clear()
                    yield tag, one, noted

        return _taken(behind(parcels(), flow._interrupt), meter_of(flow))

    def at(self, flow: Any, epoch: Epoch, index: int) -> tuple[Tag, Any] | None:
        """One datapoint of such a flow, DROPPED included; None as above.

        Raises:
            IndexError: where there is no such place.
            TypeError: where the flow's datapoints can only be had in turn.
        """
        known = self._looked_at.get(id(flow))
        if known is None:
            site = Site(policy=epoch.policy, pools=self.pools)
            fragment = fragment_for_access(lower(flow), site)
            if fragment is None:
                return None
            consumer = Consumer(fragment, epoch, alone=True)
            known = self._looked_at[id(flow)] = flow, fragment.index_sources[0], consumer
        _, source, consumer = known
        size = source.places()
        if size is not None and index >= size:
            raise IndexError(f"index {index} of a dataflow with {size} datapoints")
        tag, (chain, key) = source.at(epoch, index)
        tag = copy_of(tag, self.visit, _EVERYWHERE)
        return tag, consumer.make(Task(tag, chain, key))

    def alone(self, source: KeyedSource, epoch: Epoch) -> Stream:
        """The stream of a source whose class iterates by itself, as if it did not."""
        return self._alone(fragment_of_source(source), epoch, Progress({}))

    # -- running a fragment ------------------------------------------------------------------

    def _run(self, fragment: Fragment, epoch: Epoch) -> Stream:
        runner, flow = fragment.runner, fragment.top
        # A pool that another runner reads has no number of its own, and what is upstream a cursor.
        pool = is_runner(flow) and fragment.owners.get((0, LOADER)) is flow
        progress = self.cursor(flow, epoch, Progress, beside=".pool" if pool else "")
        if runner is not None and not epoch.runners:  # it helps those further upstream, too
            epoch = epoch._replace(runners=(runner,))
        if runner is None or (fragment.batching is None and fragment.idle):
            return self._alone(fragment, epoch, progress)
        for source in fragment.read_here:
            runner._reads_here(source)
        ordered = epoch.in_order or runner._is_ordered(epoch)
        self._unordered = self._unordered or not ordered
        if fragment.batching is not None:
            return self._batches(runner, fragment, epoch, progress, ordered)
        if len(fragment.index_sources) > 1:
            self.refuse("replicate=True runs the flow in each process at its own flow")
            self._unordered = True
        return self._with(runner, fragment, epoch, progress, ordered)

    def _alone(self, fragment: Fragment, epoch: Epoch, progress: Progress) -> Stream:
        """Without workers: one after the other, here."""
        consumer = Consumer(fragment, epoch, alone=True)
        in_step = type(fragment.index_sources[0]) is Outputs and not self._apart
        epoch = epoch._replace(in_step=in_step and not epoch.runners)
        remaining = progress.remaining()
        places = remaining.places()

        def datapoints() -> Stream:
            tasks = remaining.of(fragment.tasks(fragment.index_sources[0], epoch, remaining.start))
            made = consumer.make_all(tasks)
            # In a list, so that nothing here holds the datapoint while others have it: they may
            # count who does, see `dataflow.ownership`.
            for task, *one in islice(made, _LOOKED_AT):
                keep_memory_of(size_of(one[0]))
                progress.deliver(next(places))
                yield task.tag, one.pop()
            for task, *one in made:
                progress.deliver(next(places))
                yield task.tag, one.pop()

        return consumer.watch(datapoints())

    def _batches(
        self,
        runner: Any,
        fragment: Fragment,
        epoch: Epoch,
        progress: Progress,
        ordered: bool,
    ) -> Stream:
        """Batches that workers build."""
        number, stage = fragment.batching, fragment.batch
        assert number is not None and stage is not None, "it has them"
        consumer = Consumer(fragment, epoch)
        remaining = progress.remaining()
        on_batches = bool(fragment.chains[number].stages)

        def current_chain() -> int:
            # In a fixed order one dropped datapoint changes the members of all later batches: from
            # then on (also in later epochs) stages on batches run here.
            return number + (ordered and on_batches and runner._drops)

        def build(tags: list[Tag], held: list[Any]) -> Any:
            runner._drops = True
            return consumer.batch(Task(tags, number + 1, Members()), stage, held)

        again: list[tuple[int, Task]] = []

        def redo(place: int, task: Task) -> None:
            again.append((place, task._replace(chain=number + 1)))

        def whole(task: Task, outcome: Any) -> Any:
            return consumer.settle(task, outcome.batch if isinstance(outcome, Whole) else outcome)

        def datapoints() -> Stream:
            tasks = remaining.of(fragment.tasks(fragment.index_sources[0], epoch, remaining.start))
            groups = Feed(grouped(tasks, stage.batch_size, current_chain))
            with _ToldOfErrors(
                runner._outcomes(fragment, epoch, [groups], ordered, again)
            ) as outcomes:
                for places, tags, *batch in regrouped(
                    chain.from_iterable(bunch.drained() for bunch in outcomes),
                    stage,
                    ordered=ordered,
                    member=consumer.settle,
                    redo=redo,
                    whole=whole,
                    build=build,
                ):
                    progress.deliver_all(remaining.all_of(places))
                    yield tags, batch.pop()

        return consumer.watch(datapoints())

    def _with(
        self, runner: Any, fragment: Fragment, epoch: Epoch, progress: Progress, ordered: bool
    ) -> Iterator[Any]:
        consumer = Consumer(fragment, epoch)
        remaining = progress.remaining()

        def datapoints() -> Stream:
            tasks = [
                fragment.feed(source, epoch, remaining.start, remaining.of)
                for source in fragment.index_sources
            ]
            idle, place, settled = consumer.is_idle, remaining.place, epoch.settled
            with _ToldOfErrors(runner._outcomes(fragment, epoch, tasks, ordered, [])) as outcomes:
                for bunch in outcomes:
                    several = len(bunch) > 1 and idle and settled is None
                    if several and Failed not in map(type, bunch.outcomes):
                        # Of cheap ones, taking each out of the list would be a tenth of all.
                        left = iter(bunch.outcomes)
                        progress.expect(remaining.all_of(bunch.numbers), left)
                        yield from zip(bunch.tags, left, strict=True)
                        continue
                    for number, task, *one in bunch.drained():  # in a list, as in `_alone`
                        if not idle or type(one[0]) is Failed:
                            one = [consumer.settle(task, one.pop())]
                        if settled is None:
                            progress.deliver(place(number))
                        else:
                            settled.append((progress, place(number)))
                        yield task.tag, one.pop()

        return consumer.watch(datapoints())


class _ToldOfErrors:
    """What a runner delivers; it hears of an error here, which a loop that was just left is not.

    A class, as before Python 3.11 what `contextmanager` makes keeps the frames of a loop that was
    left alive in a circle, and the workers with them.
    """

    def __init__(self, outcomes: Generator[Deliveries, None, None]) -> None:
        self._outcomes = outcomes

    def __enter__(self) -> Iterator[Deliveries]:
        return self._outcomes

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception):
            with suppress(type(error)):
                self._outcomes.throw(error)
            error.__traceback__ = trace  # without the frames of here
        self._outcomes.close()


def _taken(parcels: Iterator[tuple[Tag, list[Any], list[tuple[Any, int]]]], meter: Meter) -> Stream:
    """What was made behind the loop; its places are entered as it goes to the loop.

    Meanwhile the workers are waited for as long as the loop waits here.
    """
    with closing(parcels):  # type: ignore[type-var]
        while True:
            begun, starting = perf_counter(), meter.starting
            parcel = next(parcels, None)
            meter.idle += max(0.0, perf_counter() - begun - (meter.starting - starting))
            if parcel is None:
                return
            tag, one, noted = parcel
            for progress, place in noted:
                progress.deliver(place)
            yield tag, one.pop()
