"""Batches that workers build.

Where a batch stands upstream of a runner, a task is a whole batch: its members are made one after
the other in one worker, and the batch is built there, in the memory that carries it to the loop.
A batch counts delivered datapoints, so where one of its members is dropped or fails the worker
hands over the members as they are, and the consumer groups again from there on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from dataflow.engine.messages import Loose, Whole
from dataflow.epoch import DROPPED, Datapoint
from dataflow.plan.tasks import Members, Task
from dataflow.randomness import Tag
from dataflow.stages.batch import BatchData

__all__ = ["grouped", "regrouped"]


def grouped(tasks: Iterator[Task], size: int, chain: Callable[[], int]) -> Iterator[Task]:
    """Tasks of `size` members each, for the op chain of the moment; the last may have fewer."""
    while members := Members(islice(tasks, size)):
        yield Task([member.tag for member in members], chain(), members)


def regrouped(
    outcomes: Iterator[tuple[int, Task, Any]],
    stage: BatchData,
    *,
    ordered: bool,
    member: Callable[[Task, Any], Any],
    redo: Callable[[int, Task], None],
    whole: Callable[[Task, Any], Any],
    build: Callable[[list[Tag], list[Datapoint]], Any],
) -> Iterator[tuple[Sequence[int], list[Tag], Any]]:
    """The batches, as they would be if they were built here from all members in turn.

    Yields:
        The numbers and tags of all members, dropped ones too, and the batch or DROPPED.

    Args:
        outcomes: number, task and outcome of each group.
        stage: the batch.
        ordered: each batch has the very members that it would have without workers. Otherwise
            those that workers built stay as they are.
        member: settles one member's outcome.
        redo: has the last group done again, without the stages on it.
        whole: settles a batch that a worker built.
        build: makes one from members.
    """
    size = stage.batch_size
    numbers: list[int] = []
    tags: list[Tag] = []
    held: list[Datapoint] = []
    for number, task, *made in outcomes:
        members: list[Task] = task.key
        places = range(number * size, number * size + len(members))
        if not isinstance(made[0], Loose) and not (ordered and numbers):
            yield places, task.tag, whole(task, made.pop())  # which nothing here holds then
            continue
        outcome = made.pop()
        if isinstance(outcome, Loose):
            parts = outcome.outcomes
        elif isinstance(outcome, Whole):
            parts = outcome.members(len(members))
        else:  # the stages on the batch have changed it; this ends soon, when all know of it
            redo(number, task)
            continue
        for place, one, part in zip(places, members, parts, strict=True):
            datapoint = member(one, part)
            numbers.append(place)
            tags.append(one.tag)
            if datapoint is not DROPPED:
                held.append(datapoint)
            if len(held) == size:
                yield numbers, tags, build(tags, held)
                numbers, tags, held = [], [], []
    if held and stage.remainder:
        yield numbers, tags, build(tags, held)
    elif numbers:
        yield numbers, tags, DROPPED
