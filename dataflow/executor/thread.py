"""Workers that are threads of this process."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Protocol

from dataflow.errors import DataFlowTerminated
from dataflow.executor.events import Event, Reported
from dataflow.executor.memory import keep_memory_of, size_of
from dataflow.transport.in_progress import Held
from dataflow.transport.traffic import Traffic

__all__ = ["ThreadExecutor"]


class _Worker(Protocol):
    def take(self, lease: Any) -> None: ...
    def work(self) -> None: ...
    def watch(self) -> None: ...
    def stop(self, threads: int) -> None: ...
    def close(self) -> None: ...


class ThreadExecutor:
    """One worker with so many threads, or several of them.

    Args:
        make_worker: builds a worker around a function that takes its reports.
        threads: the number of threads of each.
        workers: how many there are.
    """

    def __init__(
        self,
        make_worker: Callable[[Callable[..., None]], _Worker],
        threads: int,
        workers: int = 1,
    ) -> None:
        self._reports: SimpleQueue[Reported | BaseException | None] = SimpleQueue()
        self._workers = [make_worker(partial(_emit, self._reports, i)) for i in range(workers)]
        to_the_end = partial(_to_the_end, self._reports)
        self._threads = [
            threading.Thread(
                target=copy_context().run,  # the precision of `decimal`, say, is the program's
                args=(to_the_end, worker.work),
                name=f"dataflow-thread-{i}",
                daemon=True,
            )
            for worker in self._workers
            for i in range(threads)
        ]
        self._threads += [
            threading.Thread(
                target=to_the_end, args=(worker.watch,), name="dataflow-watch", daemon=True
            )
            for worker in self._workers
        ]
        for thread in self._threads:
            thread.start()
        self._threads_each = threads
        self.workers = list(range(workers))
        self.guests: set[int] = set()
        self.hesitant = False
        self.distance = 0.0
        self.traffic = Traffic()
        self.ready = set(self.workers)
        self.interrupted = False
        # The threads hold the workers, not this object: who forgets it ends them.
        self._finalizer = weakref.finalize(self, _end, self._workers, threads, self._threads)

    def start(self) -> int:
        raise NotImplementedError("threads do not die, so none is ever started anew")

    @property
    def closed(self) -> bool:
        return not self._finalizer.alive

    def send(self, worker: int, lease: Any) -> None:
        self._workers[worker].take(lease)

    def threads_of(self, worker: int) -> int:
        return self._threads_each

    def in_progress(self, worker: int) -> list[Held]:
        return []  # nobody asks: threads do not die

    def resident(self) -> int:
        return 0

    def kill(self, worker: int) -> None:
        raise NotImplementedError("a thread cannot be killed")

    def interrupt(self) -> None:
        """The threads go on with the datapoint that they are at, but nobody waits for it."""
        self.interrupted = True
        self._reports.put(None)

    def poll(self, timeout: float | None) -> list[Event]:
        if self.interrupted:
            raise DataFlowTerminated("another thread ended the pass")
        events: list[Event] = []
        try:
            events.append(self._received(timeout != 0, timeout))
            while True:
                events.append(self._received(False, None))
        except Empty:
            return events

    def _received(self, block: bool, timeout: float | None) -> Event:
        event = self._reports.get(block, timeout)
        if event is None:  # whoever put it there had this thread look at once
            if self.interrupted:
                raise DataFlowTerminated("another thread ended the pass")
            raise Empty
        if isinstance(event, BaseException):
            raise event
        # Nothing is copied here, so nobody knows how large it is. One of each run is looked at.
        for run in event.report.results:
            size = size_of(run.outcomes[-1])
            self.traffic.passed += len(run.outcomes) * size
            keep_memory_of(size)
        return event

    def close(self) -> None:
        self._finalizer()


def _to_the_end(
    reports: SimpleQueue[Reported | BaseException | None], work: Callable[[], None]
) -> None:
    """Work; where that fails, which is no datapoint's fault, the loop hears of it."""
    try:
        work()
    except BaseException as error:
        reports.put(error)


def _emit(
    reports: SimpleQueue[Reported | BaseException | None],
    worker: int,
    report: Any,
    block: Any = None,
) -> None:
    reports.put(Reported(worker, report))


def _end(workers: list[_Worker], each: int, threads: list[threading.Thread]) -> None:
    for worker in workers:
        worker.stop(each)
    for worker in workers:
        worker.close()
    # A thread cannot be killed: one that is deep in user code ends with its datapoint.
    end = monotonic() + 0.5
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(max(0.0, end - monotonic()))
