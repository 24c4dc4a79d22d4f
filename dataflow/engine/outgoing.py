"""A report on its way out of a worker's process."""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol

from dataflow.codec import local
from dataflow.engine.messages import UNSENT, Failed, Loose, Report
from dataflow.transport.traffic import Traffic

__all__ = ["Spent", "fit", "seal"]


class _End(Protocol):
    @property
    def traffic(self) -> Traffic: ...


class Spent:
    """What this process spent, and what of it was told already.

    Args:
        end: what sends the reports.
    """

    def __init__(self, end: _End) -> None:
        self._end = end
        self._told = time.process_time(), 0.0
        self._lock = threading.Lock()

    def enter(self, report: Report) -> None:
        """Tell what is new in a report."""
        with self._lock:
            before = self._told
            self._told = now = time.process_time(), self._end.traffic.seconds
        report.cpu, report.sending = now[0] - before[0], now[1] - before[1]


def seal(report: Report) -> None:
    """Make failures fit for another process."""
    for _, _, outcomes in report.results:
        if {Failed, Loose} & set(map(type, outcomes)):
            outcomes[:] = map(_sealed, outcomes)


def fit(report: Report) -> None:
    """Put failures that say why in the places of results that cannot be pickled."""
    for _, _, outcomes in report.results:
        outcomes[:] = map(_fit, outcomes)


def _sealed(outcome: Any) -> Any:
    if isinstance(outcome, Loose):
        return Loose([_sealed(one) for one in outcome.outcomes])
    return outcome.sealed() if isinstance(outcome, Failed) else outcome


def _fit(outcome: Any) -> Any:
    if isinstance(outcome, Loose):
        return Loose([_fit(one) for one in outcome.outcomes])
    try:
        local.encode(outcome)
    except Exception as error:  # pickling the user's objects raises anything
        failure = TypeError(f"the resulting datapoint cannot be pickled: {error}")
        return Failed.of(failure, UNSENT).sealed()
    return outcome
