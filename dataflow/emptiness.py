"""Why an epoch delivered nothing, in a sentence: a loop that runs no times says nothing itself."""

from __future__ import annotations

from typing import Any

from dataflow.failures import error_policies
from dataflow.flow import DataFlow
from dataflow.node import inputs, meter_of, walk

__all__ = ["why_nothing"]


def why_nothing(flow: DataFlow, dropped: bool) -> str:
    """What became of the datapoints of a chain that has just delivered none.

    Args:
        flow: the one that was iterated.
        dropped: it has no end, and stages drop all that there is.
    """
    when = "in two rounds, and goes on" if dropped else "in this epoch"
    return f"{type(flow).__name__} delivered nothing {when}: " + (
        _failures(flow)
        or _no_data(flow)
        or _batches(flow)
        or _dropped(flow)
        or ("its stages drop every datapoint" if dropped else "it is empty")
    )


def _failures(flow: DataFlow) -> str | None:
    """Datapoints failed, and were left out."""
    counts: dict[str, int] = {}
    for policy in error_policies(walk(flow)):
        for reason, count in policy.counts.items():
            counts[reason] = counts.get(reason, 0) + count
    if not counts:
        return None
    reasons = ", ".join(f"{reason} {count}" for reason, count in counts.items())
    return (
        f"{sum(counts.values())} datapoints failed ({reasons}) and were left out, as on_error "
        "says. ds.errors() has them; on_error='raise' raises the first"
    )


def _no_data(flow: DataFlow) -> str | None:
    """There is a source without datapoints."""
    for one in walk(flow):
        if not inputs(one) and _length(one) == 0:
            return f"{type(one).__name__}, its source, has no datapoints"
    return None


def _batches(flow: DataFlow) -> str | None:
    """The last, smaller batch is dropped, and is the only one."""
    for one in walk(flow):
        size, upstream = getattr(one, "batch_size", None), inputs(one)
        count = _length(upstream[0]) if len(upstream) == 1 else None
        if size is None or getattr(one, "remainder", True):
            continue
        what = f"{count} datapoints make no batch of {size}, and a smaller one is dropped"
        if count is None or count >= size:
            what = (
                f"not enough datapoints for a batch of {size} came through the stages upstream, "
                "and a smaller one is dropped"
            )
        return f"{what}. Give it remainder=True, or a smaller batch_size"
    return None


def _dropped(flow: DataFlow) -> str | None:
    """A stage, the last one that had any, let none through."""
    for one in walk(flow):
        if inputs(one) and hasattr(one, "apply") and (items := meter_of(one).items):
            func = getattr(one, "func", None) or getattr(one, "predicate", None)
            name = getattr(func, "__name__", None)
            who = f"{type(one).__name__}{f' with {name}' if name else ''}"
            return f"{who} returned None, which drops a datapoint, for all {items} that it got"
    return None


def _length(flow: Any) -> int | None:
    try:
        return len(flow)
    except Exception:  # whatever the user's `__len__` does
        return None
