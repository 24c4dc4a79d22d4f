"""Drivers with a thread for each transfer."""

from __future__ import annotations

import logging
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

from dataflow.errors import FetchError
from dataflow.http.body import Check
from dataflow.http.cache import DiskCache
from dataflow.http.driver import Driver
from dataflow.http.jobs import Job
from dataflow.http.policy import FetchPolicy

__all__ = ["ThreadsDriver"]

log = logging.getLogger(__name__)

# Seconds that `stop` waits for threads whose transfers cannot be broken off.
_PATIENCE = 1.0


class ThreadsDriver(Driver):
    """As many daemon threads as transfers, each of which makes one at a time.

    A subclass makes transfers (`_transfer`), and breaks one off (`_cut`).

    Args:
        policy: the limits of each download.
        concurrency: how many transfers may be under way.
        check: see `make_fetcher`.
        cache: see `make_fetcher`.
        proxied: requests go by a proxy.

    Attributes:
        active: the jobs under way, with what `_cut` needs to break them off; to be changed under
            `turn`.
        turn: guards that, and the schedule.
    """

    def __init__(
        self,
        policy: FetchPolicy,
        concurrency: int,
        check: Check | None,
        cache: DiskCache | None,
        *,
        proxied: bool = False,
    ) -> None:
        super().__init__(policy, concurrency, check, cache, proxied)
        self.turn = threading.Condition()
        self.active: dict[Job, Any] = {}
        self._threads: list[threading.Thread] = []
        self._waiting = 0
        self._closed = False

    @abstractmethod
    def _transfer(self, job: Job, left: float) -> Callable[[], None]:
        """Make one request, in so many seconds; returns what to do about its outcome.

        It counts the transfer in `tally`, and calls `_ended`.
        """

    def _cut(self, under_way: Any) -> None:
        """Break a transfer off."""

    def submit(self, job: Job) -> None:
        with self.turn:
            if self._closed or (self._threads and not self._threads[0].is_alive()):
                # Not alive: this process was forked from the fetcher's.
                raise job.error("closed", "the fetcher is closed")
            self.schedule.push(job)
            self.turn.notify()
            if len(self.schedule) > self._waiting and len(self._threads) < self.concurrency:
                name = f"dataflow-fetch-{len(self._threads)}"
                thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def stop(self) -> None:
        with self.turn:
            self._closed = True
            cancelled = [*self.schedule.drain(), *self.active]
            under_way = [one for one in self.active.values() if one is not None]
            self.active.clear()
            self.turn.notify_all()
        for one in under_way:
            self._cut(one)
        for job in cancelled:
            self.deliver_error(job, self.cancelled(job))
        limit = time.monotonic() + _PATIENCE
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, limit - time.monotonic()))

    def settled(self, job: Job) -> list[Job]:
        with self.turn:
            return super().settled(job)

    def requeue(self, job: Job) -> FetchError | None:
        with self.turn:
            return self.cancelled(job) if self._closed else super().requeue(job)

    def reschedule(
        self, job: Job, error: FetchError, retry_after: float | None
    ) -> FetchError | None:
        with self.turn:
            if self._closed:
                return self.cancelled(job)
            return super().reschedule(job, error, retry_after)

    def _run(self) -> None:
        while True:
            with self.turn:
                item = None
                while not self._closed and (item := self.schedule.pop()) is None:
                    self._waiting += 1
                    self.turn.wait(self.schedule.wait())
                    self._waiting -= 1
                if item is None:
                    return
                if len(self.schedule):
                    # Another must look after what is left, a retry that falls due for instance.
                    self.turn.notify()
                job, error = item
                self.active[job] = None
                fresh = not job.deadline
                left = self.schedule.begin(job) if error is None else 0.0
            finish: Callable[[], None]
            if error is not None:
                finish = partial(self.deliver_error, job, error)
            elif fresh and (body := self.cached(job)) is not None:
                self._ended(job, "cached")
                finish = partial(self.deliver_cached, job, body)
            else:
                finish = self._transfer(job, left)
            with self.turn:
                mine = job in self.active
                self.active.pop(job, None)
            if not mine:
                continue  # `stop` has dealt with it
            try:
                finish()
            except Exception as error:  # a bug of ours, for which nobody shall wait for ever
                log.exception("the end of a transfer failed")
                self.deliver_error(job, error)

    def _ended(self, job: Job, reason: str | None, reached: bool = False) -> None:
        with self.turn:
            self.schedule.ended(job, reason, reached)
            self.turn.notify()  # it may have let others go
