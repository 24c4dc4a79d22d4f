"""The graph of flows: what lies upstream of one, ours or a foreign one such as tensorpack's.

A flow of this package is a `Node`: it answers the questions that are asked here. `DataFlow` is the
node that users see, and builds on this module; so what walks a graph need not know it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dataflow.meter import Meter
from dataflow.records import Record

__all__ = [
    "Node",
    "branches",
    "inputs",
    "is_flow",
    "is_native",
    "is_runner",
    "mark_ready",
    "may_come_short",
    "may_drop",
    "meter_of",
    "reset",
    "seeds_of",
    "set_seeds",
    "stage_number",
    "stays",
    "walk",
]


class Node:
    """What the functions of this module ask of a flow of this package."""

    # Attributes that stay behind when a stage is sent to a worker: what is upstream, and keys.
    _consumer_only: tuple[str, ...] = ("ds",)

    # It is read where the loop is, whatever runs upstream and downstream of it.
    _stays = False

    # It is an ordered set of keys.
    _has_keys = False

    # `len()` is that of its input, of which it leaves out some.
    _thins_out = False

    # `len()` datapoints come, whatever is left out upstream.
    _keeps_length = False

    # It goes on where a pass left it, so no two passes can be under way.
    _one_at_a_time = False

    def _is_native(self) -> bool:
        """Whether the engine iterates it, and not a method of the user's."""
        raise NotImplementedError

    def _inputs(self) -> list[Any]:
        """The flows directly upstream."""
        upstream = getattr(self, "ds", None)
        return [] if upstream is None else [upstream]

    def _to_record(self, inputs: tuple[Record, ...]) -> Record:
        """What this flow is to the planner, over the records of its inputs."""
        raise NotImplementedError

    def _stage_number(self) -> int:
        """Counted from the source; part of the key of random numbers. Runners do not count."""
        return 1 + max((stage_number(flow) for flow in self._inputs()), default=-1)

    def _prepare(self) -> None:
        """Call `reset_state` if nobody did."""
        raise NotImplementedError

    def _count_as_ready(self) -> None:
        """Getting ready was seen to, or is somebody else's business."""
        raise NotImplementedError

    def _state_for_worker(self, *, ready: bool) -> dict[str, Any]:
        """What a worker needs of it: nothing of the passes that were made here.

        Args:
            ready: with what `reset_state` made; otherwise it is made anew there.
        """
        raise NotImplementedError

    def _own_seed(self) -> int | None:
        """The seed that this very flow was given."""
        raise NotImplementedError

    def _set_own_seed(self, seed: int | None) -> None:
        raise NotImplementedError

    def _join_pass(self, epoch: int, seed: int, path: tuple[int, ...]) -> None:
        """Take number and seed of a pass that somebody else opened, and the branch it is in."""
        raise NotImplementedError

    @property
    def _meter(self) -> Meter:
        raise NotImplementedError


def is_native(flow: Any) -> bool:
    """Whether `flow` is one of ours that overrides neither `__iter__` nor `get_data`."""
    return isinstance(flow, Node) and flow._is_native()


def is_runner(flow: Any) -> bool:
    """Whether `flow` is one of the engine's runners."""
    return hasattr(flow, "_threads_in_worker")


def stays(flow: Any) -> bool:
    """Whether `flow` is read in the consumer, whatever runs upstream and downstream."""
    return bool(getattr(flow, "_stays", False))


def inputs(flow: Any) -> list[Any]:
    """The flows directly upstream of `flow`, which may be a foreign one such as tensorpack's."""
    if isinstance(flow, Node):
        return flow._inputs()
    upstream = getattr(flow, "ds", None)
    return [] if upstream is None else [upstream]


def walk(flow: Any, *, foreign: bool = False) -> Iterator[Any]:
    """`flow` and everything upstream, itself first; where `foreign`, to the first of ours."""
    yield flow
    for one in () if foreign and isinstance(flow, Node) else inputs(flow):
        yield from walk(one, foreign=foreign)


def branches(flow: Any, path: tuple[int, ...]) -> Iterator[tuple[Any, tuple[int, ...]]]:
    """`flow` and everything upstream, each with the branch it is in, where `flow` is in `path`."""
    yield flow, path
    upstream = inputs(flow)
    for number, one in enumerate(upstream):
        yield from branches(one, (*path, number) if len(upstream) > 1 else path)


def stage_number(flow: Any) -> int:
    """The flow's number, counted from the source."""
    if isinstance(flow, Node):
        return flow._stage_number()
    return 1 + max((stage_number(one) for one in inputs(flow)), default=-1)


def may_come_short(flow: Any) -> bool:
    """Whether a pass may have fewer datapoints than `len(flow)`, as far as is known before.

    Functions of the user's, which may return None, are believed not to.
    """
    if getattr(flow, "_keeps_length", False):
        return False
    return _drops(flow) or any(map(may_come_short, inputs(flow)))


def may_drop(flow: Any) -> bool:
    """Whether stages may drop datapoints, made up for or not, as far as is known before."""
    return any(map(_drops, walk(flow)))


def _drops(flow: Any) -> bool:
    policy = getattr(flow, "_policy", None)
    skips = policy is not None and policy.on_error == "skip"
    return skips or getattr(flow, "_thins_out", False)


def reset(flow: Any) -> None:
    """`flow.reset_state()`; once only for foreign flows, most of which cannot bear a second."""
    if isinstance(flow, Node):
        flow._prepare()
    elif not getattr(flow, "_dataflow_ready", False):
        if callable(reset_state := getattr(flow, "reset_state", None)):
            reset_state()
        for one in walk(flow, foreign=True):  # theirs go down the chain by themselves
            mark_ready(one)


def mark_ready(flow: Any) -> None:
    """`flow` is ready, or its getting ready is somebody else's business."""
    if isinstance(flow, Node):
        flow._count_as_ready()
    else:
        flow._dataflow_ready = True


def seeds_of(flow: Any) -> tuple[int | None, ...]:
    """The seeds that `flow` and those upstream were given, each of its own."""
    return tuple(one._own_seed() for one in walk(flow) if isinstance(one, Node))


def set_seeds(flow: Any, seeds: tuple[int | None, ...]) -> None:
    """Give them to a copy of `flow`."""
    flows = [one for one in walk(flow) if isinstance(one, Node)]
    for one, seed in zip(flows, seeds, strict=True):
        one._set_own_seed(seed)


def is_flow(value: Any) -> bool:
    """Whether `value` is a dataflow, ours or one of tensorpack's kind."""
    return isinstance(value, Node) or any(
        hasattr(value, name) and not isinstance(value, (list, tuple, dict, set, str, bytes))
        for name in ("get_data", "reset_state")
    )


def meter_of(flow: Any) -> Meter:
    """The flow's counters; a foreign one gets some."""
    if isinstance(flow, Node):
        return flow._meter
    meter: Meter | None = getattr(flow, "_dataflow_meter", None)
    if meter is None:
        meter = flow._dataflow_meter = Meter()
    return meter
