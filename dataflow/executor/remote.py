"""Workers that are processes of other machines, and of this one where that is wanted."""

from __future__ import annotations

import select
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from dataflow.errors import DataFlowTerminated
from dataflow.executor.events import Died, Event, Left, Started
from dataflow.transport.bell import Bell
from dataflow.transport.in_progress import Held
from dataflow.transport.traffic import Traffic

if TYPE_CHECKING:
    from dataflow.executor.process import ProcessExecutor
    from dataflow.remote.pool import Pool

__all__ = ["RemoteExecutor"]

_LOOK_SECONDS = 1.0


class RemoteExecutor:
    """The workers of one part of the chain.

    Args:
        pool: what knows the other machines; it calls `happened`.
        part: the part's number.
        local: workers of this machine.
        on_wait: called now and then with the seconds for which there was no worker at all.
    """

    hesitant = False
    distance = 0.05

    def __init__(
        self,
        pool: Pool,
        part: int,
        local: ProcessExecutor | None,
        on_wait: Callable[[float], None],
    ) -> None:
        self._pool = pool
        self._part = part
        self._local = local
        self._on_wait = on_wait
        self._events: deque[tuple[Event, int]] = deque()
        self._bell = Bell()
        self._threads: dict[int, int] = {}
        self.interrupted = False
        self._alone = monotonic()  # since when there is no worker
        self.guests: set[int] = set()
        self.ready: set[int] = set()
        self.workers: list[int] = []
        self.traffic = Traffic()
        if local is not None:
            local.listen(self._bell.ear)
        self._finalizer = weakref.finalize(self, _shut_down, pool, part, local, self._bell)
        pool.open(part, self._events, self._bell)

    def start(self) -> int:
        assert self._local is not None, "other machines' workers come by themselves"
        worker = self._local.start()
        self.workers.append(worker)
        return worker

    @property
    def closed(self) -> bool:
        return not self._finalizer.alive

    def send(self, worker: int, lease: Any) -> None:
        if worker in self.guests:
            self.traffic.passed += self._pool.send(self._part, worker, lease)
        elif self._local is not None:
            self._local.send(worker, lease)

    def threads_of(self, worker: int) -> int:
        if worker in self._threads:
            return self._threads[worker]
        return self._local.threads_of(worker) if self._local is not None else 1

    def in_progress(self, worker: int) -> list[Held]:
        if worker in self.guests:
            return self._pool.in_progress(worker)
        return self._local.in_progress(worker) if self._local is not None else []

    def resident(self) -> int:
        return self._local.resident() if self._local is not None else 0

    def kill(self, worker: int) -> None:
        if worker in self.guests:
            self._pool.kill(self._part, worker)
        elif self._local is not None:
            self._local.kill(worker)

    def interrupt(self) -> None:
        """Make the thread that is in `poll`, or comes there next, give up."""
        self.interrupted = True
        self._bell.ring()

    def poll(self, timeout: float | None) -> list[Event]:
        self._pool.check()
        if self.interrupted:
            raise DataFlowTerminated("another thread ended the pass")
        events = self._happened()
        if events:
            timeout = 0
        if timeout is None or timeout > _LOOK_SECONDS:
            timeout = _LOOK_SECONDS
        if self._local is not None:
            before = replace(self._local.traffic)
            told = self._local.poll(timeout)
            self.traffic.passed += self._local.traffic.passed - before.passed
            self.traffic.bytes += self._local.traffic.bytes - before.bytes
            self.traffic.seconds += self._local.traffic.seconds - before.seconds
            events += [self._of_mine(event) for event in told]
        elif timeout:
            waiting = select.poll()
            waiting.register(self._bell.ear, select.POLLIN)
            waiting.poll(timeout * 1000)
        events += self._happened()
        if self.workers:
            self._alone = monotonic()
        else:
            self._on_wait(monotonic() - self._alone)
        return events

    def _of_mine(self, event: Event) -> Event:
        """An event of a worker of this machine."""
        if isinstance(event, Died):
            self.workers.remove(event.worker)
            self.ready.discard(event.worker)
        elif isinstance(event, Started):
            self.ready.add(event.worker)
        return event

    def _happened(self) -> list[Event]:
        """What other machines told."""
        self._bell.quiet()
        events: list[Event] = []
        while self._events:
            event, size = self._events.popleft()
            self.traffic.bytes += size
            self.traffic.passed += size
            if isinstance(event, Started):
                self.guests.add(event.worker)
                self.ready.add(event.worker)
                self.workers.append(event.worker)
                self._threads[event.worker] = event.threads
            elif isinstance(event, Died | Left):
                self.guests.remove(event.worker)
                self.ready.remove(event.worker)
                self.workers.remove(event.worker)
                del self._threads[event.worker]
            events.append(event)
        return events

    def close(self) -> None:
        self._finalizer()
        self.workers.clear()
        self.guests.clear()
        self.ready.clear()


def _shut_down(pool: Pool, part: int, local: ProcessExecutor | None, bell: Bell) -> None:
    pool.release(part)
    if local is not None:
        local.close()
    bell.close()
