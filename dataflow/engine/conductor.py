"""A pass over a chain: opens its parts and keeps their places."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from dataflow.base import stage_number
from dataflow.engine.consumer import Consumer
from dataflow.engine.messages import Task
from dataflow.engine.part import Part, is_part, make_part, source_part
from dataflow.engine.progress import Progress
from dataflow.epoch import Epoch, Stream
from dataflow.errors import NotResumable
from dataflow.randomness import Tag
from dataflow.sources.keyed import KeyedSource

__all__ = ["Conductor"]

_Cursor = TypeVar("_Cursor")


class Conductor:
    """What the engine does in one pass.

    Args:
        saved: the cursors of the pass that is resumed, as `state` gave them.
    """

    def __init__(self, saved: Mapping[str, Any]) -> None:
        self._saved = dict(saved)
        self._cursors: dict[str, tuple[int, bool, Any]] = {}  # epoch number, sticky, cursor
        self._nested: list[Conductor] = []
        self._refused: str | None = None
        self._unordered = False

    # -- what flows ask for ------------------------------------------------------------------

    def open(self, flow: Any, epoch: Epoch) -> Stream | None:
        """The stream of a flow that the engine runs; None where the flow streams by itself."""
        if not is_part(flow, below_runner=bool(epoch.runners)):
            return None
        return self._run(flow, epoch)

    def at(self, flow: Any, epoch: Epoch, index: int) -> tuple[Tag, Any] | None:
        """One datapoint of such a flow, DROPPED included; None as above.

        Raises:
            IndexError: where there is no such place.
            TypeError: where the flow's datapoints can only be had in turn.
        """
        if not is_part(flow, below_runner=True):
            return None
        part = make_part(flow, below_runner=True)
        (feed,) = part.feeds
        size = feed.places()
        if size is not None and index >= size:
            raise IndexError(f"index {index} of a dataflow with {size} datapoints")
        tag, (program, key) = feed.at(epoch, index)
        return tag, Consumer(part, epoch.seed, alone=True).make(Task(tag, program, key))

    def alone(self, source: KeyedSource, epoch: Epoch) -> Stream:
        """The stream of a source whose class iterates by itself, as if it did not."""
        return self._alone(source_part(source), epoch, Progress({}))

    def cursor(
        self,
        flow: Any,
        epoch: Epoch,
        make: Callable[[dict[str, Any]], _Cursor],
        *,
        sticky: bool = False,
    ) -> _Cursor:
        """A stage's place in an epoch, which is part of the pass's state.

        Args:
            flow: the stage.
            epoch: the epoch that it was opened with.
            make: builds the cursor from what its `state()` was, from {} at the beginning.
            sticky: it stays in force when the pass is over.
        """
        key = ".".join(map(str, (*epoch.path, stage_number(flow))))
        saved = self._saved.pop(key, {})
        if saved and not sticky and saved["epoch"] != epoch.number:
            saved = {}
        cursor = make(saved)
        self._cursors[key] = (epoch.number, sticky, cursor)
        return cursor

    def nested(self, saved: Mapping[str, Any]) -> Conductor:
        """One for a pass below a stage that goes on over several passes of its own."""
        inner = Conductor(saved)
        self._nested.append(inner)
        return inner

    def refuse(self, why: str) -> None:
        """Some stage cannot tell its place: the pass can only be resumed by doing it again."""
        self._refused = self._refused or why

    # -- what the outermost flow asks for ----------------------------------------------------

    def state(self, *, finished: bool = False) -> dict[str, Any]:
        """Every cursor, in numbers and text; after the end of the pass, those that go on."""
        cursors = {
            key: {"epoch": number, **cursor.state()}
            for key, (number, sticky, cursor) in self._cursors.items()
            if sticky or not finished
        }
        return cursors if finished else self._saved | cursors

    @property
    def replays(self) -> str | None:
        """Why the pass can only be resumed by doing it again; None where it need not be.

        Raises:
            NotResumable: where even that would not lead to the same place.
        """
        for inner in (self, *self._nested):
            if inner._refused is not None and any(c._unordered for c in (self, *self._nested)):
                raise NotResumable(
                    f"{inner._refused}, and a runner below delivers in no fixed order. Give it "
                    "ordered=True, set a seed, or put that stage below the batches"
                )
        return next((c._refused for c in (self, *self._nested) if c._refused), None)

    # -- running a part ----------------------------------------------------------------------

    def _run(self, flow: Any, epoch: Epoch) -> Stream:
        part = make_part(flow, below_runner=bool(epoch.runners))
        for above in reversed(epoch.runners):
            part.place_below(above)
        runner = part.runner
        progress = self.cursor(flow, epoch, Progress)
        if runner is None:
            return self._alone(part, epoch, progress)
        ordered = epoch.in_order or runner._is_ordered(epoch)
        if not ordered:
            self._unordered = True
        if len(part.feeds) > 1:
            self.refuse("replicate=True runs the flow in each process at its own pace")
            self._unordered = True
        return self._with(runner, part, epoch, progress, ordered)

    def _alone(self, part: Part, epoch: Epoch, progress: Progress) -> Stream:
        """Without workers: one after the other, here."""
        consumer = Consumer(part, epoch.seed, alone=True)
        remaining = progress.remaining()
        places = remaining.places()

        def datapoints() -> Stream:
            tasks = part.tasks(part.feeds[0], epoch, remaining)
            for task, datapoint in consumer.make_all(tasks):
                progress.deliver(next(places))
                yield task.tag, datapoint

        return consumer.watch(datapoints())

    def _with(
        self, runner: Any, part: Part, epoch: Epoch, progress: Progress, ordered: bool
    ) -> Iterator[Any]:
        consumer = Consumer(part, epoch.seed)
        remaining = progress.remaining()

        def datapoints() -> Stream:
            tasks = [part.tasks(feed, epoch, remaining) for feed in part.feeds]
            for number, task, outcome in runner._outcomes(part, epoch, tasks, ordered):
                datapoint = consumer.settle(task, outcome)
                progress.deliver(remaining[number])
                yield task.tag, datapoint

        return consumer.watch(datapoints())
