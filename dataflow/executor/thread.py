"""Workers that are threads of this process."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Protocol

from dataflow.executor.events import Event, Reported
from dataflow.executor.memory import keep_freed_memory
from dataflow.transport.in_hand import Held
from dataflow.transport.traffic import Traffic

__all__ = ["ThreadExecutor"]


class _Worker(Protocol):
    def take(self, lease: Any) -> None: ...
    def work(self) -> None: ...
    def watch(self) -> None: ...
    def stop(self, hands: int) -> None: ...
    def close(self) -> None: ...


class ThreadExecutor:
    """One worker whose hands are threads.

    Args:
        make_worker: builds the worker around a function that takes its reports.
        hands: the number of threads.
    """

    def __init__(self, make_worker: Callable[[Callable[..., None]], _Worker], hands: int) -> None:
        keep_freed_memory()
        self._reports: SimpleQueue[Any] = SimpleQueue()
        reports = self._reports

        def emit(report: Any, block: Any = None) -> None:
            reports.put(report)

        self._worker = make_worker(emit)
        self._threads = [
            threading.Thread(target=self._worker.work, name=f"dataflow-hand-{i}", daemon=True)
            for i in range(hands)
        ]
        watch = threading.Thread(target=self._worker.watch, name="dataflow-watch", daemon=True)
        self._threads.append(watch)
        for thread in self._threads:
            thread.start()
        self.workers = [0]
        self.traffic = Traffic()
        self.ready = {0}
        # The threads hold the worker, not this object: who forgets it ends them.
        self._finalizer = weakref.finalize(self, _end, self._worker, self._threads)

    def start(self) -> int:
        raise NotImplementedError("threads do not die, so none is ever started anew")

    def send(self, worker: int, lease: Any) -> None:
        self._worker.take(lease)

    def in_hand(self, worker: int) -> list[Held]:
        return []  # nobody asks: threads do not die

    def kill(self, worker: int) -> None:
        raise NotImplementedError("a thread cannot be killed")

    def poll(self, timeout: float | None) -> list[Event]:
        events: list[Event] = []
        try:
            events.append(Reported(0, self._reports.get(timeout != 0, timeout)))
            while True:
                events.append(Reported(0, self._reports.get_nowait()))
        except Empty:
            return events

    def close(self) -> None:
        self._finalizer()


def _end(worker: _Worker, threads: list[threading.Thread]) -> None:
    worker.stop(len(threads))
    worker.close()
    # A thread cannot be killed: one that is deep in user code ends with its datapoint.
    end = monotonic() + 0.5
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(max(0.0, end - monotonic()))
