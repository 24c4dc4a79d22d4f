"""Which stage holds a run back."""

from __future__ import annotations

from typing import Any

__all__ = ["explain"]

_FULL = 0.85  # a share from which on a stage counts as fully busy


def explain(stats: dict[str, Any]) -> str:
    """One paragraph about ``ds.stats()``; its first sentence names the limiting stage."""
    seconds = stats["seconds"]
    away = seconds["away"]
    elapsed = seconds["waiting"] + away - seconds["starting"]
    if not stats["items"] or elapsed <= 0:
        return "Nothing was delivered yet, so nothing can be said."
    rows = [row for row in stats["stages"] if row["busy"] > 0]
    figures = ", ".join(f"{row['name']} {row['share']:.0%}" for row in rows)
    # What the user's loop gets may be batches: count what the stages below worked on.
    rate = max([stats["items"], *(row["items"] for row in stats["stages"])]) / elapsed
    facts = (
        f" {rate:,.1f} datapoints/s over {elapsed:.1f} s; busy: {figures or 'nothing measured'}; "
        f"the consumer's loop {away / elapsed:.0%}."
    )
    if away / elapsed > _FULL:
        return (
            "The consumer's own loop holds the run back: it is away "
            f"{away / elapsed:.0%} of the time, and data is ready when it comes back."
        ) + facts
    transfers = [row for row in rows if "bytes" in row]
    work = [row for row in rows if "bytes" not in row]
    # Stages in the same workers share their hands: together they are at most fully busy.
    shared = sum(row["share"] for row in work if row["units"] > 1)
    alone = max((row for row in work if row["units"] == 1), key=_share, default=None)
    flight = max(transfers, key=_share, default=None)
    if flight is not None and flight["share"] > max(shared, alone["share"] if alone else 0):
        return (
            f"{flight['name']} holds the run back: on average "
            f"{flight['share'] * flight['units']:.0f} of {flight['units']} transfers are under "
            "way while the stages after it wait; more transfers help as far as the servers and "
            "the network allow."
        ) + facts
    if alone is not None and alone["share"] > shared:
        return (
            f"{alone['name']} holds the run back: it runs on one core and is busy "
            f"{alone['share']:.0%} of the time."
        ) + facts
    dearest = max(work, key=lambda row: float(row["busy"]), default=None)
    if dearest is None:
        return "No stage was measured to take time." + facts
    return (
        f"{dearest['name']} holds the run back: the workers are busy {min(shared, 1):.0%} of the "
        f"time, most of it there; more processes help as far as there are cores."
    ) + facts


def _share(row: dict[str, Any]) -> float:
    return float(row["share"])
