"""The program of a Ray actor: calls bring leases, and what one endless call yields are reports."""

from __future__ import annotations

import gc
import os
import pickle
import sys
import threading
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from time import monotonic, perf_counter
from typing import Any, TypeAlias

from dataflow.codec import local
from dataflow.engine.messages import Failed, Lease, Report
from dataflow.engine.outgoing import Spent, fit, seal
from dataflow.engine.worker import Worker
from dataflow.executor.memory import keep_freed_memory
from dataflow.plan.tasks import LOADER
from dataflow.transport.in_progress import InProgress
from dataflow.transport.slots import Block
from dataflow.transport.traffic import Traffic
from dataflow.utils.extras import need

__all__ = ["RayWorker"]

_PATIENCE = 0.4

_Parcel: TypeAlias = tuple[bytes, list[pickle.PickleBuffer]]
"""A message: its structure, and its arrays, which Ray copies into its store and nowhere else."""


class RayWorker:
    """A worker in an actor. Its three methods run at the same time.

    Args:
        chains: its chains, pickled.
        threads: threads that work.
        path: the consumer's sys.path; what is not in the actor's is added behind it.
        beat: while it has something to do, it says at least every so many seconds what is in
            progress; None: only together with results.
    """

    def __init__(self, chains: bytes, threads: int, path: list[str], beat: float | None) -> None:
        sys.path += [folder for folder in path if folder not in sys.path]
        keep_freed_memory()
        self.traffic = Traffic()
        self._counting = threading.Lock()
        self._spent = Spent(self)
        self._in_progress = InProgress(threads)
        self._beat = beat
        # What was accepted is counted by one method, what was handed over by another.
        self._accepted = self._settled = 0
        self._outgoing: SimpleQueue[tuple[_Parcel, int] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        try:
            # The user's modules are imported here, and the stages' reset_state is called.
            self._worker = Worker(pickle.loads(chains), self._emit, self._in_progress)
        except BaseException as error:  # told to the consumer, which raises it
            self._outgoing.put((_parcel(Failed.of(error, LOADER).sealed()), 0))
            return
        if (cv2 := sys.modules.get("cv2")) is not None:
            cv2.setNumThreads(1)  # the parallelism of a pipeline is its workers
        gc.freeze()  # what was imported stays: no need to look through it again and again
        for task in (self._worker.watch, *[self._worker.work] * threads):
            self._threads.append(threading.Thread(target=task, daemon=True))
        for thread in self._threads:
            thread.start()

    def take(self, structure: bytes, buffers: list[Any]) -> None:
        """Accept a lease, or give back what was not begun."""
        if not self._threads:
            return  # it could not start
        message = local.decode(structure, map(bytearray, buffers))
        if isinstance(message, Lease):
            self._accepted += len(message.tasks)
        self._worker.take(message)

    def reports(self) -> Iterator[tuple[Any, Any]]:
        """First the process id and the node's address; then reports, and what is in progress."""
        address: str = need("ray.util").get_node_ip_address()
        yield os.getpid(), address
        while (found := self._gathered()) is not None:
            self._settled += sum(settled for _, settled in found)
            begun = perf_counter()
            yield [parcel for parcel, _ in found], self._in_progress.held()
            del found  # while waiting for more, hold nothing of it
            with self._counting:
                self.traffic.seconds += perf_counter() - begun

    def _gathered(self) -> list[tuple[_Parcel, int]] | None:
        """What waits to be sent; nothing where a beat is due, None at the end."""
        found: list[tuple[_Parcel, int]] = []
        while not found:
            try:
                one = self._outgoing.get(timeout=self._beat)
                while one is not None:
                    found.append(one)
                    one = self._outgoing.get_nowait()
                return None
            except Empty:
                if self._accepted > self._settled:
                    break
        return found

    def leave(self) -> None:
        """Let the threads finish what they are at, as far as that is soon, and close the stages."""
        if self._threads:
            self._worker.stop(self._in_progress.threads)
            end = monotonic() + _PATIENCE
            for thread in self._threads:
                thread.join(max(0.0, end - monotonic()))
            self._worker.close()
        self._outgoing.put(None)

    def _emit(self, report: Report, block: Block | None = None) -> None:
        """Put a report on its way; a result that cannot be pickled becomes a failure of its own."""
        assert block is None, "none is handed out"
        self._spent.enter(report)
        seal(report)
        begun = perf_counter()
        try:
            parcel = _parcel(report)
        except Exception:  # pickling the user's objects raises anything
            fit(report)
            parcel = _parcel(report)
        with self._counting:
            self.traffic.seconds += perf_counter() - begun
        self._outgoing.put((parcel, report.items + len(report.returned)))


def _parcel(message: Any) -> _Parcel:
    structure, buffers = local.encode(message)
    return structure, list(map(pickle.PickleBuffer, buffers))
