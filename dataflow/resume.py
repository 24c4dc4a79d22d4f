"""The state of a chain: what it holds, and whether it fits another chain.

A state is a dict of numbers and text:

=========== =======================================================================
dataflow    version of this format
seed        the chain's seed
seeded      whether it was asked for (otherwise it was drawn)
epoch       the pass that goes on, or begins
chain       a line for each flow from the outermost down, runners left out: class,
            length of a source, and those of its arguments that are numbers or text
cursors     the places of the flows that have one, by branch and stage number
replay      instead of cursors: how many datapoints of the pass to go through again
rank        whose share it is, where ranks may have come to different places at a step
failures    of each error policy that has some: what failed, by source and place
=========== =======================================================================

Neither code nor data are compared: a map function may have been corrected in between.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from difflib import unified_diff
from typing import Any

from dataflow.epoch import Epoch, Pass
from dataflow.errors import NotResumable, StateError
from dataflow.failures import error_policies, policy_of
from dataflow.flow import DataFlow
from dataflow.node import inputs, is_native, is_runner, may_drop, walk
from dataflow.plan.fingerprint import fingerprint
from dataflow.stages.shard import rank_of, resharded

__all__ = ["after_pass", "checked", "in_fixed_order", "restore_failures", "state_of"]

logger = logging.getLogger(__name__)

_VERSION = 1


def state_of(flow: DataFlow, current: Pass | None, next_epoch: int) -> dict[str, Any]:
    """The state of a chain.

    Args:
        flow: the outermost flow.
        current: its pass; None where there was none yet.
        next_epoch: the epoch that would begin otherwise.

    Raises:
        NotResumable: see `DataFlow.state_dict`.
    """
    if not is_native(flow):
        raise NotResumable(
            f"{type(flow).__name__} iterates by itself, so nobody knows its place. Iterate it "
            "through another flow, such as df.ProxyDataFlow(ds), and ask that one"
        )
    seed, seeded = flow._seed_of_chain()
    state: dict[str, Any] = {"dataflow": _VERSION, "seed": seed, "seeded": seeded}
    if any(failures := [policy.log.state() for policy in error_policies(walk(flow))]):
        state["failures"] = failures
    if may_drop(flow) and (rank := rank_of(flow)) is not None:
        state["rank"] = rank
    if current is None or current.epoch.number + 1 != next_epoch:
        return state | {"epoch": next_epoch, "chain": fingerprint(flow), "cursors": {}}
    with current.turn:
        session = current.epoch.session
        state["epoch"] = current.epoch.number + current.finished
        state["chain"] = fingerprint(flow)
        if (why := session.replays(finished=current.finished)) is not None:
            _check_repeatable(flow, why)
            return state | {"replay": current.delivered}
        return state | {"cursors": session.state(finished=current.finished)}


def after_pass(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a chain that was left there, for its next pass.

    Args:
        state: one of within a pass.
    """
    cursors = {key: one for key, one in state.get("cursors", {}).items() if "sticky" in one}
    rest = {name: one for name, one in state.items() if name != "replay"}
    return copy.deepcopy({**rest, "epoch": state["epoch"] + 1, "cursors": cursors})


def checked(flow: DataFlow, state: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `state`, if it is one of this chain.

    Raises:
        StateError: where it is not; says what differs.
    """
    if not isinstance(state, Mapping) or "dataflow" not in state:
        raise StateError(f"this is no state of a dataflow: {str(state)[:100]}")
    if state["dataflow"] != _VERSION:
        raise StateError(
            f"the state has format {state['dataflow']!r}, this version reads {_VERSION}"
        )
    seed = flow._given_seed()
    if seed is not None and seed != state["seed"]:
        raise StateError(f"the chain was given seed {seed}, the state has {state['seed']}")
    before, now = state["chain"], fingerprint(flow)
    if before != now:
        lines = unified_diff(before, now, "the state", "this chain", n=0, lineterm="")
        differences = [line for line in lines if not line.startswith("@@")]
        raise StateError("the state is of another chain:\n" + "\n".join(differences))
    if (rank := state.get("rank")) is not None and rank != rank_of(flow):
        logger.warning(
            "the state is of rank %s, and stages may drop datapoints, of which it may have had "
            "more or fewer than this one: load each rank's own",
            rank,
        )
    fitting = copy.deepcopy(dict(state))
    if "cursors" in fitting:
        fitting["cursors"] = resharded(flow, fitting["cursors"])
    return fitting


def restore_failures(flow: DataFlow, state: Mapping[str, Any]) -> None:
    """Let `errors()` and `retry_failed` have what had failed when a state was told."""
    flows = list(walk(flow))
    policies, known = error_policies(flows), state.get("failures", ())
    if known and policies and len(known) != len(policies):
        # Other runners than then, which have policies of their own: the source's tells of all.
        own = [policy_of(one) for one in flows if getattr(one, "_has_keys", False)]
        whose = next((policy for policy in own if policy is not None), policies[-1])
        together = _together(known)
        known = [together if policy is whose else {} for policy in policies]
    if not policies:
        return
    keys = {one._stage_number(): one.keys() for one in flows if getattr(one, "_has_keys", False)}
    for policy, failures in zip(policies, known or [{}] * len(policies), strict=True):
        policy.restore(failures, keys)


def _together(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Failures of several policies as those of one."""
    kinds: list[Any] = []
    rows: list[Any] = []
    for state in states:
        rows += [[len(kinds) + kind, *places] for kind, *places in state.get("rows", ())]
        kinds += state.get("kinds", ())
    return {"kinds": kinds, "rows": rows} if rows else {}


def in_fixed_order(flow: DataFlow) -> bool:
    """Whether what is left of a pass comes in the same order wherever its state is loaded."""
    seed, seeded = flow._seed_of_chain()
    runners = [one for one in _walk(flow) if hasattr(one, "_is_ordered")]
    return all(runner._is_ordered(Epoch(seed, 0, seeded)) for runner in runners)


def _check_repeatable(flow: Any, why: str) -> None:
    for one in _walk(flow):
        if not is_native(one) and any(map(is_runner, _walk(one))):
            raise NotResumable(
                f"{why}; and {type(one).__name__}, which iterates by itself, has a runner upstream"
            )


def _walk(flow: Any) -> Iterator[Any]:
    yield flow
    for one in inputs(flow):
        yield from _walk(one)
