"""Workers that are actors of a Ray cluster."""

from __future__ import annotations

import logging
import math
import os
import pickle
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from time import monotonic, perf_counter
from typing import Any

from dataflow.codec import local
from dataflow.errors import ConfigError
from dataflow.executor.events import Died, Event, Reported, Started
from dataflow.transport.in_progress import Held
from dataflow.transport.traffic import Traffic
from dataflow.utils.extras import need

__all__ = ["RayExecutor", "actor_class"]

logger = logging.getLogger(__name__)

_PATIENCE = 0.5
# Where an actor has not started after this time, whoever waits is told; and again, more rarely.
_LATE_SECONDS = 10.0
_LATER_SECONDS = 60.0
# At least so often, and so often within task_timeout, actors say what is in progress.
_BEAT_SECONDS = 0.25
_BEATS = 4
# Leases and reports pass at the same time; leases stay in order.
_GROUPS = {"leases": 1, "reports": 1}
# What would make another thing of the actors: who restarts, repeats and ends them is the ledger.
_OURS = (
    *("allow_out_of_order_execution", "concurrency_groups", "get_if_exists", "lifetime"),
    *("max_concurrency", "max_pending_calls", "max_restarts", "max_task_retries"),
    *("name", "namespace"),
)


def actor_class(program: type, options: Mapping[str, Any]) -> Any:
    """The actor class of `program`, which says when and where Ray starts one.

    Without options its actors are spread over the nodes and reserve nothing.

    Raises:
        ConfigError: an option is none of Ray's, or would take the actors out of our threads.
        MissingExtra: Ray is not installed.
    """
    ray = need("ray")
    if ours := sorted(set(options) & set(_OURS)):
        raise ConfigError(f"actor_options={dict(options)!r}: {ours[0]} is not for the user to set")
    try:
        made = ray.remote(concurrency_groups=_GROUPS)(program)
        return made.options(**{"scheduling_strategy": "SPREAD", **options})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"actor_options={dict(options)!r}: {error}") from error


@dataclass
class _Actor:
    """What is known of an actor.

    Attributes:
        handle: Ray's.
        reports: yields references to what it says.
        had: indices of the tasks that it had and did not report, by lease.
        held: what was in progress when it was last heard of.
        heard: when that was.
        pid: its process id.
        host: its node's address.
        trouble: why it was ended, if not because somebody asked for it.
    """

    handle: Any
    reports: Any
    had: dict[int, set[int]] = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)
    heard: float = 0.0
    pid: int = 0
    host: str = ""
    trouble: Exception | None = None

    def enter(self, report: Any) -> None:
        """What is in a report, it has no longer."""
        settled = [
            (run.lease, range(run.first, run.first + len(run.outcomes))) for run in report.results
        ]
        for lease, indices in (*settled, *((lease, [index]) for lease, index in report.returned)):
            if lease in self.had:
                self.had[lease].difference_update(indices)
                if not self.had[lease]:
                    del self.had[lease]


class RayExecutor:
    """Starts actors, talks to them, notices when they die, and ends them.

    A lease is a call of an actor. Its reports are what one call of it yields, through Ray's object
    store, out of which arrays are copied once: they are the consumer's own and can be written.

    No memory outlives an actor that may be on any node, so it is not known what one that died was
    working on: it may have been anything that it had and had not reported, and all of that counts
    as in progress. For deadlines, living actors say now and then what is in progress; one that does
    not any more may be at anything that it has.

    An actor that the cluster has no room for waits until it has, maybe for ever. So leases are for
    those that have started.

    Args:
        actors: the actors' class, from `actor_class`.
        wants: the resources that each asks for.
        address: of the cluster, where this process is not connected to one.
        chains: the workers' op chains, pickled.
        threads: in each.
        timeout: seconds that a task may be in progress, where anybody asks.
    """

    def __init__(
        self,
        actors: Any,
        *,
        wants: Mapping[str, Any],
        address: str | None,
        chains: bytes,
        threads: int,
        timeout: float | None,
    ) -> None:
        self._ray = need("ray")
        leave = _join(address)
        self._beat = None if timeout is None else min(_BEAT_SECONDS, timeout / _BEATS)
        # Once in the store, for all actors.
        self._setup = (self._ray.put(chains), threads, sys.path, self._beat)
        self._class = actors
        self._actors: dict[int, _Actor] = {}
        self._waits: dict[Any, int] = {}  # what may become ready, and whose it is
        self._number = 0
        # Time that was spent listening: who is away hears nothing, which is nobody's fault.
        self._listened = 0.0
        self._wants = dict(wants)
        self._late = math.inf  # when it is told that actors do not start
        self.traffic = Traffic()
        self.workers: list[int] = []
        self.guests: set[int] = set()
        self.hesitant = True
        self.distance = 0.0
        self._threads = threads
        self.ready: set[int] = set()
        self.interrupted = False
        # Not a bound method: the finalizer must not keep alive what it waits for.
        self._finalizer = weakref.finalize(self, _shut_down, os.getpid(), self._actors, leave)

    def start(self) -> int:
        number, self._number = self._number, self._number + 1
        handle = self._class.remote(*self._setup)
        call = handle.reports.options(concurrency_group="reports", num_returns="streaming")
        actor = self._actors[number] = _Actor(handle, call.remote())
        self._waits[actor.reports] = number
        self.workers.append(number)
        self._late = min(self._late, monotonic() + _LATE_SECONDS)
        return number

    @property
    def closed(self) -> bool:
        return not self._finalizer.alive

    def send(self, worker: int, lease: Any) -> None:
        if worker not in self.ready:
            return  # it has nothing that it could be asked to give back
        actor = self._actors[worker]
        if tasks := getattr(lease, "tasks", None):
            if not actor.had:
                actor.heard = self._listened  # until now it had nothing to say
            actor.had[lease.number] = set(range(len(tasks)))
        structure, buffers = local.encode(lease)
        self.traffic.passed += len(structure) + sum(buffer.nbytes for buffer in buffers)
        call = actor.handle.take.options(concurrency_group="leases")
        # Looked at when it is done: it may have got lost.
        self._waits[call.remote(structure, list(map(pickle.PickleBuffer, buffers)))] = worker

    def threads_of(self, worker: int) -> int:
        return self._threads

    def in_progress(self, worker: int) -> list[Held]:
        actor = self._actors[worker]
        silent = self._listened - actor.heard
        known = {(held.lease, held.task): held.seconds + silent for held in actor.held}
        mute = silent if self._beat is not None and silent >= 2 * self._beat else 0.0
        return [
            Held(lease, task, max(known.get((lease, task), 0.0), mute))
            for lease, tasks in actor.had.items()
            for task in sorted(tasks)
            if mute or (lease, task) in known
        ]

    def resident(self) -> int:
        return 0  # Ray's own store has them

    def kill(self, worker: int) -> None:
        self._ray.kill(self._actors[worker].handle)

    def interrupt(self) -> None:
        """Nothing: the datapoints that actors are at are waited for."""

    def poll(self, timeout: float | None) -> list[Event]:
        events: list[Event] = []
        if len(self.ready) < len(self.workers):
            timeout = _LATE_SECONDS if timeout is None else min(timeout, _LATE_SECONDS)
        while ready := self._wait(timeout):
            timeout = 0
            for what in ready:
                events += self._received(what)
        self._complain()
        return events

    def _wait(self, timeout: float | None) -> list[Any]:
        """What is ready, once anything is."""
        waits = list(self._waits)
        if not waits:
            return []
        begun = monotonic()
        ready, others = self._ray.wait(waits, timeout=timeout)
        self._listened += monotonic() - begun
        if ready and others:
            ready += self._ray.wait(others, num_returns=len(others), timeout=0)[0]
        return list(ready)

    def _received(self, what: Any) -> list[Event]:
        """What a call has brought."""
        worker = self._waits.get(what)
        if worker is None:
            return []  # of an actor that was buried a moment ago
        actor = self._actors[worker]
        if what is not actor.reports:
            del self._waits[what]
            try:
                self._ray.get(what)
            except self._ray.exceptions.RayError as error:
                # The lease did not arrive. What was reported still counts; then it is buried.
                actor.trouble = actor.trouble or error
                self.kill(worker)
            return []
        try:
            message = self._ray.get(next(what))
        except (self._ray.exceptions.RayError, StopIteration) as error:
            return [self._bury(worker, error)]
        actor.heard = self._listened
        if worker not in self.ready:
            actor.pid, actor.host = message
            self.ready.add(worker)
            return [Started(worker)]
        parcels, actor.held = message
        return [Reported(worker, self._opened(actor, *parcel)) for parcel in parcels]

    def _opened(self, actor: _Actor, structure: bytes, buffers: list[Any]) -> Any:
        begun = perf_counter()
        # The store's memory is read-only, and it is to be free again.
        copies = list(map(bytearray, buffers))
        report = local.decode(structure, copies)
        size = len(structure) + sum(map(len, copies))
        self.traffic.bytes += size
        self.traffic.passed += size
        self.traffic.seconds += perf_counter() - begun
        if hasattr(report, "results"):
            actor.enter(report)
        return report

    def _bury(self, worker: int, error: BaseException) -> Died:
        actor = self._actors.pop(worker)
        self._ray.kill(actor.handle)  # it may only be out of reach
        self._waits = {what: whose for what, whose in self._waits.items() if whose != worker}
        self.workers.remove(worker)
        self.ready.discard(worker)
        error = actor.trouble or error
        last = str(error).strip().rpartition("\n")[2] or type(error).__name__
        where = f"on {actor.host} " if actor.host else ""
        how = f"{where}died ({textwrap.shorten(last, 200, placeholder=' …')})"
        in_progress = [
            Held(lease, task, 0.0) for lease, tasks in actor.had.items() for task in tasks
        ]
        return Died(worker, actor.pid, how, in_progress)

    def _complain(self) -> None:
        """Say now and then that actors do not start."""
        missing = len(self.workers) - len(self.ready)
        if not missing or monotonic() <= self._late:
            return
        self._late = monotonic() + _LATER_SECONDS
        wants = f"for {self._wants}" if self._wants else "to be started"
        logger.warning(
            "%d of %d actors run, %d wait%s %s: `ray status` says what the cluster has free. Those "
            "that run do the work, and others join when there is room; fewer actors, or other "
            "actor_options, would not wait",
            len(self.ready),
            len(self.workers),
            missing,
            "s" if missing == 1 else "",
            wants,
        )

    def close(self) -> None:
        self._finalizer()
        self._waits.clear()
        self.workers.clear()
        self.ready.clear()


def _shut_down(owner: int, actors: dict[int, _Actor], leave: Callable[[], None]) -> None:
    """End all actors at once, then let go of Ray."""
    if os.getpid() != owner:
        return  # a forked child: the actors are its parent's
    ray = need("ray")
    if ray.is_initialized():  # otherwise they are gone with the connection
        calls = [
            actor.handle.leave.options(concurrency_group="leases").remote()
            for actor in actors.values()
            if actor.pid
        ]
        if calls:
            ray.wait(calls, num_returns=len(calls), timeout=_PATIENCE)
        for actor in actors.values():
            ray.kill(actor.handle)
    actors.clear()
    leave()


_joining = threading.Lock()
_guests = 0  # executors that need the connection that was made here


def _join(address: str | None) -> Callable[[], None]:
    """Connect to a cluster, or start one, unless the user did; returns what undoes that."""
    global _guests
    ray = need("ray")
    with _joining:
        if not ray.is_initialized():
            _guests = 0
            address = address or os.environ.get("RAY_ADDRESS") or "local"
            # Nobody who starts one this way expects to be counted by its makers.
            here = {"include_dashboard": False} if address == "local" else {}
            if here:
                os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            # What actors write is shown; what Ray says of itself only if something is wrong.
            options = {"logging_level": logging.ERROR, "log_to_driver": True, **here}
            _begin(partial(ray.init, address=address, **options))
        elif not _guests:
            return lambda: None
        _guests += 1
    return _leave


def _leave() -> None:
    global _guests
    ray = need("ray")
    with _joining:
        _guests -= 1
        if _guests == 0 and ray.is_initialized():
            ray.shutdown()
            _over.set()


_over = threading.Event()  # what was begun


def _begin(init: Callable[[], object]) -> None:
    """Start Ray from a thread that lives as long as it.

    Linux kills its processes when the thread ends that started them (PR_SET_PDEATHSIG), and then
    Ray ends this process, without a word. A loop may be driven by a thread that ends before.
    """
    global _over
    if threading.current_thread() is threading.main_thread():
        init()
        return
    over = _over = threading.Event()
    outcome: Future[None] = Future()

    def live() -> None:
        try:
            init()
        except BaseException as error:
            outcome.set_exception(error)
            return
        outcome.set_result(None)
        over.wait()

    threading.Thread(target=live, name="dataflow-ray", daemon=True).start()
    outcome.result()
