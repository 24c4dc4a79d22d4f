"""A plan as users see it: each flow of a chain, and where it runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from dataflow.plan.fingerprint import described
from dataflow.plan.fragment import Fragment
from dataflow.plan.planner import (
    BATCH_TO_WORKERS,
    FILL_BEHIND,
    FUSE,
    ORDER_TO_KEYS,
    SOURCE_TO_WORKER,
    Site,
    fills_behind,
    fragment_of,
    lower,
    ops_over_stream,
    stages_for_workers,
)
from dataflow.plan.tasks import LOADER
from dataflow.records import BatchOp, ItemOp, KeySource, OrderOp, Record, RunnerOp

__all__ = ["Plan", "Step", "plan_of"]

_HERE = "in the loop's thread"


class Step(NamedTuple):
    """A flow in a plan.

    Attributes:
        depth: how far it is indented: 0 for the flow that is iterated.
        flow: the flow in words.
        where: where and how it runs.
    """

    depth: int
    flow: str
    where: str


@dataclass(frozen=True, repr=False)
class Plan:
    """What a chain is turned into before it runs; printed, a line for each flow.

    Attributes:
        steps: the flows, from the one that is iterated up to the sources.
        rewrites: what the planner did, by name; see `dataflow.plan.planner`.
        version: eight hexadecimal digits, others where a stage has changed, as
            far as it can be pickled.
    """

    steps: tuple[Step, ...]
    rewrites: tuple[str, ...]
    version: str

    def __str__(self) -> str:
        names = ["  " * step.depth + _shortened(step.flow) for step in self.steps]
        width = max(map(len, names))
        lines = [
            f"{name:{width}}  {step.where}" for name, step in zip(names, self.steps, strict=True)
        ]
        rewrites = f"; rewrites: {', '.join(self.rewrites)}" if self.rewrites else ""
        return "\n".join([*lines, f"plan {self.version}{rewrites}"])

    def __repr__(self) -> str:
        return str(self)


def plan_of(flow: Any) -> Plan:
    """How a chain would be run now."""
    drawing = _Drawing()
    steps = tuple(drawing.steps(lower(flow), Site(), 0))
    for fragment in drawing.fragments:
        fragment.send_all()  # what runs here counts, too
    packed = [fragment.version() or "" for fragment in drawing.fragments]
    lines = [f"{step.depth} {step.flow} {step.where}" for step in steps]
    digest = hashlib.sha256("\n".join([*lines, *packed]).encode()).hexdigest()
    return Plan(steps, tuple(drawing.rewrites), digest[:8])


class _Drawing:
    """A plan as far as it is drawn."""

    def __init__(self) -> None:
        self.fragments: list[Fragment] = []
        self.rewrites: list[str] = []

    def _note(self, rewrites: list[str]) -> None:
        self.rewrites += [one for one in rewrites if one not in self.rewrites]

    def steps(self, record: Record, site: Site, depth: int) -> Iterator[Step]:
        """A record and those upstream, from a place in the chain on."""
        fragment = fragment_of(record, site)
        if fragment is not None:
            self.fragments.append(fragment)
            self._note(fragment.rewrites)
            yield from self._within(record, fragment, site, depth)
            return
        where = _HERE
        match record:
            case RunnerOp(flow=runner):
                others = () if record.stays else site.runners
                site = Site((*others, runner), runner._policy, site.pools)
                where = self._workers(record.inputs[0], site)
            case BatchOp(own=False) if not site.runners and fills_behind(record.inputs[0]):
                self._note([FILL_BEHIND])
                where = f"here, by a thread behind the loop ({FILL_BEHIND})"
            case ItemOp():
                ops, _ = ops_over_stream(record, site.policy)
                self.fragments.append(ops)
                self._note(ops.rewrites)
        yield Step(depth, described(record.flow, defaults=False), where)
        for one in record.inputs:
            yield from self.steps(one, site, depth + 1)

    def _workers(self, record: Record, site: Site) -> str:
        """The workers of a runner whose fragments are further upstream."""
        runner = site.runners[0]
        fragment = fragment_of(record, site)
        if fragment is not None:
            return str(runner._workers_in_words(fragment))
        for fragment in stages_for_workers(record):
            fragment.run_on(runner)
            return f"{runner._workers_in_words(fragment)}, for what can go there"
        return "none: nothing upstream can go to workers"

    def _within(self, record: Record, fragment: Fragment, site: Site, depth: int) -> Iterator[Step]:
        """The records of a fragment."""
        yield Step(depth, described(record.flow, defaults=False), _where(record, fragment))
        leaf = any(
            flow is record.flow and stage == LOADER for (_, stage), flow in fragment.owners.items()
        )
        ours = not leaf or isinstance(record, BatchOp) or fragment.sequential
        if not ours and isinstance(record, RunnerOp):  # a pool, which streams
            site = Site((record.flow,), record.flow._policy)
        elif fragment.runner is not None and not site.runners:
            site = Site((fragment.runner,), fragment.runner._policy, site.pools)
        for one in record.inputs:
            if ours:
                yield from self._within(one, fragment, site, depth + 1)
            else:
                yield from self.steps(one, site, depth + 1)


def _where(record: Record, fragment: Fragment) -> str:
    """Where one record of a fragment runs, and how."""
    runner = fragment.runner
    if runner is None or (fragment.batching is None and fragment.idle):
        return _HERE if runner is not record.flow else "none: its workers would have nothing to do"
    name = type(runner).__name__
    sent = any(
        flow is record.flow and stage < fragment.sent[chain]
        for (chain, stage), flow in fragment.owners.items()
    )
    match record:
        case RunnerOp() if record.flow is runner:
            return str(runner._workers_in_words(fragment))
        case RunnerOp():
            return f"says how {name}'s workers are made"
        case _ if fragment.sequential:
            return f"iterated in {name}'s worker ({SOURCE_TO_WORKER})"
        case OrderOp():
            return f"here, on keys ({ORDER_TO_KEYS})"
        case KeySource():
            loads = record.flow.loader() is not None or record.flow._stages()
            return f"keys here, loaded by {name}'s workers" if loads else "here, which is all keys"
        case BatchOp():
            return f"built by {name}'s workers ({BATCH_TO_WORKERS})"
        case ItemOp() if sent:
            fused = f" ({FUSE})" if FUSE in fragment.rewrites else ""
            return f"in {name}'s workers{fused}"
        case ItemOp():
            return _HERE
        case _:
            return f"read here, its datapoints go to {name}'s workers"


def _shortened(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
