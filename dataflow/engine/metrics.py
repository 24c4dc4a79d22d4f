"""What a pass of a runner measures: of its workers, of the way between, and of its source.

Everything is counted a report, a lease or a look at the workers at a time, never a datapoint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from time import perf_counter
from typing import TypeAlias

from dataflow.engine.ledger import Ledger
from dataflow.engine.messages import Lease, Report
from dataflow.executor.events import Event, Executor
from dataflow.meter import Meter
from dataflow.node import meter_of
from dataflow.plan.fragment import Fragment
from dataflow.plan.ops import BatchChain
from dataflow.plan.tasks import LOADER, Tasks, members_of
from dataflow.transport.traffic import Traffic

__all__ = ["Gauges", "Metrics"]

_RESIDENT_SECONDS = 0.02  # between two looks at the shared memory

Gauges: TypeAlias = dict[tuple[int, int, int], dict[str, float]]
"""A stage's own figures, by (worker, chain, stage index)."""


class Metrics:
    """Counts one pass into the meters of the runner and of the flows that it runs.

    Args:
        fragment: what is run.
        executor: the workers.
        meter: the runner's.
        gauges: what the stages' own figures were in each worker, kept over the executor's life.
        workers: how many there shall be.
        threads: in each.
        buffer_size: datapoints that may wait to be delivered.
        loops: it is the user's loop that waits here, and not a thread behind it.
    """

    def __init__(
        self,
        fragment: Fragment,
        executor: Executor,
        meter: Meter,
        gauges: Gauges,
        *,
        workers: int,
        threads: int,
        buffer_size: int,
        loops: bool,
    ) -> None:
        self._fragment = fragment
        self._executor = executor
        self._meter = meter
        self._gauges = gauges
        self._threads = threads
        self._buffer_size = buffer_size
        self._loops = loops
        self._heard: set[int] = set()
        self._meters = {key: meter_of(owner) for key, owner in fragment.owners.items()}
        self._sources = [meter for (_, stage), meter in self._meters.items() if stage == LOADER]
        self._seen = Traffic(executor.traffic.bytes, executor.traffic.seconds)
        # Until the first result of new workers all time is `starting`, and nothing else counts.
        self._is_new = not executor.workers
        self._begun: float | None = perf_counter() if self._is_new else None
        self._ready = 0
        self._next_resident = 0.0
        self._looked = self._started = perf_counter()
        self.staff(workers, workers * threads)

    def staff(self, workers: int, threads: int) -> None:
        """So many workers there are now, with so many threads together."""
        fragment, meter = self._fragment, self._meter
        meter.units, meter.workers = threads, workers
        for (chain, stage), owner in self._meters.items():
            if stage >= fragment.sent[chain]:
                continue  # the consumer runs it
            runs = fragment.chains[chain]
            if stage == LOADER and runs.loader is None and not isinstance(runs, BatchChain):
                continue  # its datapoints are read here
            concurrency = stage != LOADER and getattr(runs.stages[stage], "concurrency", None)
            owner.units = workers * concurrency if concurrency else threads
            owner.runner = meter.runner

    def wait(self, timeout: float | None) -> list[Event]:
        """Wait for something to happen, for so many seconds at most."""
        begun, decoding = perf_counter(), self._executor.traffic.seconds
        events = self._executor.poll(timeout)
        if self._begun is None and self._loops:
            idle = perf_counter() - begun - (self._executor.traffic.seconds - decoding)
            self._meter.idle += max(0.0, idle)
        return events

    def lease(self, ledger: Ledger, worker: int, size: int) -> Lease | None:
        """`Ledger.lease`, with the time that the source takes for keys or datapoints."""
        begun, before = perf_counter() - self._below(), ledger.issued
        lease = ledger.lease(worker, size)
        fresh = ledger.issued - before
        if lease is not None and fresh:
            if self._begun is None:
                chain = (members_of(lease.tasks[-1]) or lease.tasks)[-1].chain
                self._meters[chain, LOADER].here += perf_counter() - self._below() - begun
            for chain, count in self._by_chain(lease.tasks[-fresh:]):
                if self._fragment.chains[chain].loader is None:  # otherwise the workers count
                    self._meters[chain, LOADER].items += count
        return lease

    def _below(self) -> float:
        """Seconds that flows upstream of the sources took so far."""
        return sum(meter.below for meter in self._sources)

    def _by_chain(self, tasks: Tasks) -> Iterable[tuple[int, int]]:
        if len(self._fragment.chains) == 1:
            return [(0, len(tasks))]
        each = (one.chain for task in tasks for one in members_of(task) or (task,))
        return Counter(each).items()

    def count(self, worker: int, report: Report) -> float:
        """Enter a worker's report; returns the seconds of work in it."""
        meter, traffic = self._meter, self._executor.traffic
        if self._begun is not None:
            self._looked = self._started = perf_counter()
            meter.starting += self._started - self._begun
            self._begun = None
        seconds = 0.0
        for work in report.work:
            seconds += work[3]
        known = worker in self._heard or not report.work
        within = 1.0 if known else self._since_start(worker, seconds)
        meter.items += report.items
        if traffic.bytes:
            meter.busy += report.sending * within
            meter.worker_cpu += report.cpu * within
            meter.here += traffic.seconds - self._seen.seconds
            meter.add("bytes", traffic.bytes - self._seen.bytes)
            self._seen = Traffic(traffic.bytes, traffic.seconds)
        for chain, stage, items, busy in report.work:
            owner = self._meters[chain, stage]
            owner.items += items
            owner.busy += busy * within
        for chain, stage, figures in report.gauges:
            before = self._gauges.get((worker, chain, stage), {})
            # A worker's hands overtake each other, but its figures only grow.
            figures = {name: max(value, before.get(name, 0)) for name, value in figures.items()}
            self._gauges[worker, chain, stage] = figures
            for name, value in figures.items():
                self._meters[chain, stage].add(name, value - before.get(name, 0))
        return seconds

    def _since_start(self, worker: int, seconds: float) -> float:
        """The share of a worker's first work that falls into the time that counts."""
        self._heard.add(worker)
        if not self._is_new:
            return 1.0
        most = self._threads * (perf_counter() - self._started)
        return min(1.0, most / seconds) if seconds else 1.0

    def look(self, ready: int) -> None:
        """`ready` results can be delivered from now on without waiting."""
        now = perf_counter()
        since, self._looked = now - self._looked, now
        if self._begun is None:
            self._meter.watched += since
            self._meter.filled += since * min(1.0, self._ready / self._buffer_size)
        self._ready = ready
        if now >= self._next_resident:
            self._next_resident = now + _RESIDENT_SECONDS
            self._meter.shared = max(self._meter.shared, self._executor.resident())
