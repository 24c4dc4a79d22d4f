"""The figures of a chain: what `ds.stats()` returns."""

from __future__ import annotations

from typing import Any

from dataflow.failures import error_policies
from dataflow.flow import DataFlow
from dataflow.node import inputs, meter_of, walk
from dataflow.utils.machine import usable_cores

__all__ = ["summarise"]


def summarise(flow: DataFlow) -> dict[str, Any]:
    """Gather the meters of `flow` and everything upstream; see `DataFlow.stats`."""
    chain = list(walk(flow))
    flows = [one for one in chain if isinstance(one, DataFlow)]
    meters = [one._meter for one in flows]
    if (iterator := flow._iterator()) is not None:
        iterator.flush()
    own = flow._meter
    errors: dict[str, int] = {}
    for policy in error_policies(flows):
        for reason, count in policy.counts.items():
            errors[reason] = errors.get(reason, 0) + count
    starting = sum(meter.starting for meter in meters)
    idle = sum(meter.idle for meter in meters)
    rows = [row for one in reversed(chain) for row in _rows(one)]
    _relate(rows, max(0.0, own.waiting + own.away - starting), idle)
    return {
        "items": own.delivered + (iterator.counted if iterator is not None else 0),
        "errors": errors,
        "worker_restarts": sum(meter.restarts for meter in meters),
        "seed": flow._seed_of_chain()[0],
        "cores": usable_cores(),
        "seconds": {
            "waiting": own.waiting,
            "starting": starting,
            "idle": idle,
            "away": own.away,
            "cpu": own.cpu + sum(meter.worker_cpu for meter in meters),
        },
        "stages": rows,
    }


def _rows(flow: Any) -> list[dict[str, Any]]:
    if isinstance(flow, DataFlow):
        return flow._stage_rows()
    if not (meter := meter_of(flow)).items:
        return []  # another foreign flow runs it
    return [meter.row(type(flow).__name__, "stage" if inputs(flow) else "iterator")]


def _relate(rows: list[dict[str, Any]], elapsed: float, idle: float) -> None:
    """Add to each row its ``share`` and ``waiting``, which follow from all rows together.

    Args:
        rows: those of a chain.
        elapsed: seconds that it ran.
        idle: seconds of them in which the consumer's thread waited for workers.
    """
    for row in rows:
        busiest = max((row["busy"] - row["here"]) / row["units"], row["here"])
        row["share"] = busiest / elapsed if elapsed else 0.0
        # The rows of a runner share its threads, transfers apart.
        same = [r for r in rows if _threads(r) == _threads(row)] if _threads(row) else [row]
        elsewhere = sum(r["busy"] - r["here"] for r in same)
        free = max(0.0, elapsed * row["units"] - elsewhere)
        row["waiting"] = idle if row["runner"] is None else free


def _threads(row: dict[str, Any]) -> str | None:
    return None if row["kind"] == "transfers" else row["runner"]
