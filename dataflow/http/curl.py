"""Downloads over libcurl: one thread drives all transfers of a fetcher."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

import pycurl

from dataflow.http.body import Check
from dataflow.http.cache import DiskCache
from dataflow.http.driver import NOT_MODIFIED, REDIRECTS, Driver
from dataflow.http.easy_handle import EasyHandle, HandleOptions
from dataflow.http.fetcher import Fetcher
from dataflow.http.jobs import Job
from dataflow.http.loop import CurlLoop
from dataflow.http.policy import FetchPolicy

__all__ = ["CurlFetcher"]

log = logging.getLogger(__name__)

# How many bodies in a row may come from the cache before the transfers get their turn.
_CACHED_IN_A_ROW = 8
_LOOK_SECONDS = 0.5  # between two looks at whether transfers move
# How long a host that never answered keeps others waiting; it is asked again at the end.
_IMPATIENCE = 3.0


class CurlFetcher(Fetcher):
    """Fetches over libcurl's multi interface, in one daemon thread.

    Connections are kept alive, names resolved once a minute, HTTP/2 is used where a server offers
    it over TLS. An idle fetcher uses no CPU. Behind a proxy it is the proxy that decides which
    addresses can be reached, here only those written as numbers are checked.

    Args:
        policy: the limits of each download.
        concurrency: how many transfers may be under way at a time.
        check: see `make_fetcher`.
        cache: see `make_fetcher`. It is read and written in the fetching thread.

    Raises:
        ConfigError: `concurrency` is not a positive integer.
    """

    def __init__(
        self,
        policy: FetchPolicy | None = None,
        *,
        concurrency: int,
        check: Check | None = None,
        cache: DiskCache | None = None,
    ) -> None:
        super().__init__(_CurlDriver(policy or FetchPolicy(), concurrency, check, cache))


class _CurlDriver(Driver):
    """The thread and what it works on. Only `submit` and `stop` are called from elsewhere."""

    def __init__(
        self,
        policy: FetchPolicy,
        concurrency: int,
        check: Check | None,
        cache: DiskCache | None,
    ) -> None:
        wants_head = policy.respect_opt_outs or cache is not None
        self._options = HandleOptions(policy, wants_head=wants_head)
        super().__init__(policy, concurrency, check, cache, self._options.proxied)
        self._idle: list[EasyHandle] = []
        self._handles: dict[pycurl.Curl, EasyHandle] = {}
        self._busy = 0
        # libcurl's own limit of speed measures over whole seconds, and begins some of them late.
        self._look_seconds = min(_LOOK_SECONDS, policy.stall_timeout / 4)
        self._next_look = 0.0
        self._inbox: deque[Job] = deque()
        self._lock = threading.Lock()
        self._closed = False
        self._loop = CurlLoop(connections=concurrency)
        self._thread = threading.Thread(target=self._run, name="dataflow-fetch", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        with self._lock:
            if self._closed or not self._thread.is_alive():
                # Not alive: this process was forked from the fetcher's.
                raise job.error("closed", "the fetcher is closed")
            self._inbox.append(job)
            self._loop.wake()

    def stop(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._loop.wake(force=True)
        # A callback may close the fetcher, or drop the last reference to it.
        if threading.current_thread() is not self._thread and self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        loop = self._loop
        try:
            while not self._closed:
                more = self._fill()
                running = loop.fire(self._busy)
                if running >= self._busy:
                    free = self._busy < self.concurrency
                    loop.announce(wakeable=free)
                    if more or self._closed or (free and self._inbox):
                        sleep: float | None = 0.0
                    else:
                        sleep = self._nap(self.schedule.wait() if free else None)
                    running = loop.turn(sleep, running)
                if running < self._busy:
                    self._reap()
                if self._busy and time.monotonic() >= self._next_look:
                    self._end_silent()
        except BaseException:
            log.exception("the fetching thread failed")
            raise
        finally:
            self._tear_down()

    def _nap(self, wait: float | None) -> float | None:
        """How long to sleep, where nothing happens, if the schedule has something after `wait`."""
        if not self._busy:
            return wait
        left = max(0.0, self._next_look - time.monotonic())
        return left if wait is None else min(wait, left)

    def _end_silent(self) -> None:
        """End the transfers in which nothing moves, or in whose place others could be made."""
        now = time.monotonic()
        self._next_look = now + self._look_seconds
        limit, pressed = self.policy.stall_timeout, self.schedule.pressed
        for handle in list(self._handles.values()):
            if handle.job is None:
                continue
            silence = handle.silence(now)
            if silence >= limit:
                self._finish(handle, pycurl.E_OPERATION_TIMEDOUT, f"no byte for {limit:g} s")
            elif pressed > 0 and silence >= _IMPATIENCE and self.schedule.may_give_way(handle.job):
                pressed -= 1
                text = f"no answer for {_IMPATIENCE:g} s, while others waited"
                self._finish(handle, pycurl.E_OPERATION_TIMEDOUT, text)

    def _fill(self) -> bool:
        """Start what there is room for; returns whether it stopped before that was done."""
        inbox, schedule = self._inbox, self.schedule
        while inbox:
            schedule.push(inbox.popleft())
        cached = 0
        while self._busy < self.concurrency and not self._closed:
            item = schedule.pop()
            if item is None:
                return False
            job, error = item
            if error is not None:
                self.deliver_error(job, error)
            elif not job.deadline and (body := self.cached(job)) is not None:
                schedule.skipped(job)
                self.deliver_cached(job, body)
                cached += 1
                if cached >= _CACHED_IN_A_ROW:
                    return True
            else:
                self._start(job)
        return False

    def _start(self, job: Job) -> None:
        left = self.schedule.begin(job)
        if left <= 0:
            self.schedule.ended(job, "closed")
            self.deliver_error(job, self.overdue(job))
            return
        if self._idle:
            handle = self._idle.pop()
        else:
            handle = EasyHandle(self._options)
            self._handles[handle.curl] = handle
        try:
            handle.prepare(job, left)
            self._loop.multi.add_handle(handle.curl)
        except (pycurl.error, ValueError) as error:
            handle.release()
            self._idle.append(handle)
            self.schedule.ended(job, "bad_url")
            self.deliver_error(job, job.error("bad_url", f"libcurl refuses it: {error}"))
            return
        self._busy += 1
        self.tally.begin(retry=job.trial > 1 and not job.hops)

    def _reap(self) -> None:
        """Take finished transfers out of libcurl."""
        info_read, handles = self._loop.multi.info_read, self._handles
        while True:
            queued, good, bad = info_read()
            for curl in good:
                self._finish(handles[curl], 0, "")
            for curl, code, text in bad:
                self._finish(handles[curl], code, text)
            if not queued:
                return

    def _finish(self, handle: EasyHandle, code: int, text: str) -> None:
        self._loop.multi.remove_handle(handle.curl)
        self._busy -= 1
        job = handle.job
        assert job is not None
        try:
            self._conclude(handle, job, code, text)
        except Exception as error:  # a bug of ours, for which nobody shall wait for ever
            log.exception("the end of a transfer failed")
            if handle.job is not None:
                self._release(handle)
            self.deliver_error(job, error)

    def _conclude(self, handle: EasyHandle, job: Job, code: int, text: str) -> None:
        """See to what a transfer that is over has brought."""
        status = handle.status()
        good = not code and 200 <= status < 300
        unchanged = not code and status == NOT_MODIFIED and job.kept is not None
        location = handle.location() if status in REDIRECTS else ""
        error = None if good or location or unchanged else handle.failure(code, text, status)
        reason = None if status or error is None else error.reason
        self.tally.end(0.0 if reason is None else time.monotonic() - job.begun)
        self.schedule.ended(job, reason, handle.reached())
        if error is not None:
            retry_after = handle.retry_after(status)
            self._release(handle)
            self.retry(job, error, retry_after)
        elif unchanged:
            self._release(handle)
            self.deliver_unchanged(job)
        elif good:
            answer = handle.answer(status)
            body = handle.body()
            self._release(handle)
            self.deliver_body(job, body, answer)
        else:
            peer, job.cookies = handle.peer(), handle.cookies()
            self._release(handle)
            self.redirect(job, location, peer, status)

    def _release(self, handle: EasyHandle) -> None:
        handle.release()
        self._idle.append(handle)

    def _tear_down(self) -> None:
        with self._lock:
            self._closed = True
        cancelled = [*self.schedule.drain(), *self._inbox]
        self._inbox.clear()
        for handle in self._handles.values():
            if handle.job is not None:
                cancelled.append(handle.job)
                self._loop.multi.remove_handle(handle.curl)
                self.tally.end()
                handle.release()
            handle.curl.close()
        self._handles.clear()
        self._idle.clear()
        self._loop.close()
        for job in cancelled:
            self.deliver_error(job, self.cancelled(job))
