"""When a URL is tried again, and which hosts are left alone meanwhile.

Both fetchers keep their waiting URLs here. Nothing in this module does I/O, starts threads or
sleeps; the caller asks what to start now and how long it may sleep.
"""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from dataflow.errors import FetchError
from dataflow.http.policy import FetchPolicy, is_retried
from dataflow.http.urls import BadURLError, parse, shown

__all__ = ["Done", "Job", "Schedule", "parse_retry_after"]

Done: TypeAlias = Callable[[bytes | Exception], object]
"""Takes the body of a URL, or the exception that there was instead."""

MAX_BACKOFF = 10.0
_MAX_HOSTS = 1000


class Job:
    """One URL on its way.

    Attributes:
        url: as it was submitted.
        target: what to request now; after a redirect, its target.
        host: the host of `target`, with the port where it has one.
        trial: how many trials were begun.
        hops: how many redirects this trial has followed.
        fenced: a public host redirected here, so that private addresses are out of bounds.
        foreign: a redirect left the host of the submitted URL, whose secrets must not follow.
        deadline: when to give up, on the schedule's clock; 0 before the first transfer.
        problem: why it cannot be requested at all.
    """

    __slots__ = (
        "deadline",
        "done",
        "fenced",
        "first",
        "foreign",
        "home",
        "hops",
        "host",
        "problem",
        "target",
        "trial",
        "url",
    )

    def __init__(self, url: str, done: Done) -> None:
        self.url = url
        self.problem: FetchError | None = None
        try:
            target, host = parse(url)
        except BadURLError as error:
            target = host = ""
            what = f"{shown(url)}: not a URL to fetch: {error}"
            self.problem = FetchError(what, reason="bad_url", url=url)
        self.first = self.target = target
        self.home = self.host = host
        self.done = done
        self.trial = 0
        self.hops = 0
        self.fenced = False
        self.foreign = False
        self.deadline = 0.0

    @property
    def key(self) -> str:
        """What a cache knows it by: URLs that differ in nothing that is sent have the same."""
        return self.first.partition("#")[0]

    def rewind(self) -> None:
        """Go back to before the redirects."""
        self.target, self.host = self.first, self.home
        self.hops = 0
        self.fenced = self.foreign = False

    def error(self, reason: str, what: str, status: int | None = None) -> FetchError:
        """A `FetchError` for this URL; `what` continues a sentence that begins with it."""
        where = shown(self.url)
        if self.target is not self.first:
            where += f" (redirected to {shown(self.target)})"
        if self.trial > 1:
            what += f" (trial {self.trial})"
        message, trials = f"{where}: {what}", self.trial or None
        return FetchError(message, reason=reason, url=self.url, status=status, trials=trials)


class Schedule:
    """The URLs that wait: for a slot in the order of arrival, or for their time. Not thread-safe.

    Args:
        policy: how often, and how long at most.
        clock: a monotonic clock in seconds.
        draw: a function of (low, high) that draws the waits.
    """

    def __init__(
        self,
        policy: FetchPolicy,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._draw = draw
        self._ready: deque[Job] = deque()
        self._later: list[tuple[float, int, Job]] = []
        self._order = itertools.count()
        self._paused: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._ready) + len(self._later)

    def push(self, job: Job) -> None:
        """Put a new URL at the end of the queue."""
        self._ready.append(job)

    def push_first(self, job: Job) -> None:
        """Put a URL that was redirected before all others: it holds its place."""
        self._ready.appendleft(job)

    def pop(self) -> tuple[Job, FetchError | None] | None:
        """What to do now, if anything: a job to start, or one that has failed while it waited."""
        later, ready = self._later, self._ready
        while True:
            if later and later[0][0] <= self._clock():
                job = heapq.heappop(later)[2]
            elif ready:
                job = ready.popleft()
            else:
                return None
            if job.problem is not None or not self._paused:
                return job, job.problem
            until = self._pause_end(job.host)
            if until is None:
                return job, None
            error = self._pause_error(job, until)
            if error is not None:
                return job, error
            self._excuse(job, until)
            heapq.heappush(later, (until, next(self._order), job))

    def wait(self) -> float | None:
        """Seconds until `pop` has something new; 0 if it has now, None if it waits for nothing."""
        if self._ready:
            return 0.0
        if self._later:
            return max(0.0, self._later[0][0] - self._clock())
        return None

    def begin(self, job: Job) -> float:
        """Count a transfer of a job; returns the seconds that it may take, 0 if none are left."""
        now = self._clock()
        if not job.deadline:
            job.deadline = now + self._policy.timeout
        if not job.hops:
            job.trial += 1
        return max(0.0, job.deadline - now)

    def failed(
        self, job: Job, error: FetchError, *, retry_after: float | None = None
    ) -> FetchError | None:
        """Take back a job whose transfer failed.

        Args:
            job: the job.
            error: why it failed.
            retry_after: the pause in seconds that the server asked for.

        Returns:
            The error to report, or None where the URL will be tried again.
        """
        if not is_retried(error.reason, error.status):
            return error
        now = self._clock()
        until = now
        if retry_after is not None and retry_after > 0:
            until += retry_after
            self._pause(job.host, until)
            refusal = self._pause_error(job, until, error.status)
            if refusal is not None:
                return refusal
            self._excuse(job, until)
        if job.trial >= self._policy.max_trials:
            return error
        limit = min(MAX_BACKOFF, self._policy.backoff * 2.0 ** min(job.trial - 1, 30))
        until = max(until, now + self._draw(0.0, limit))
        if until >= job.deadline:
            return error
        job.rewind()
        heapq.heappush(self._later, (until, next(self._order), job))
        return None

    def drain(self) -> list[Job]:
        """Take everything out, to cancel it."""
        jobs = [*self._ready, *(entry[2] for entry in sorted(self._later))]
        self._ready.clear()
        self._later.clear()
        return jobs

    def _pause(self, host: str, until: float) -> None:
        if len(self._paused) >= _MAX_HOSTS:
            now = self._clock()
            self._paused = {name: end for name, end in self._paused.items() if end > now}
        self._paused[host] = max(until, self._paused.get(host, until))

    def _pause_end(self, host: str) -> float | None:
        until = self._paused.get(host)
        if until is not None and until <= self._clock():
            del self._paused[host]
            return None
        return until

    def _excuse(self, job: Job, until: float) -> None:
        """A pause that the server asked for is not the job's own time."""
        if job.deadline:
            job.deadline += max(0.0, until - self._clock())

    def _pause_error(self, job: Job, until: float, status: int | None = None) -> FetchError | None:
        """Why a job cannot wait for the end of its host's pause, if it cannot."""
        rest = until - self._clock()
        cap = self._policy.retry_after_cap
        if rest <= cap:
            return None
        what = f"{job.host} asked for a pause of {rest:.0f} s, more than retry_after_cap={cap:g}"
        return job.error("retry_after", what, status)


def parse_retry_after(text: str | None) -> float | None:
    """The seconds of a Retry-After header: a number, or an HTTP date; None where it is neither."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    from email.utils import mktime_tz, parsedate_tz  # dear, and servers seldom send a date

    moment = parsedate_tz(text)
    if moment is None:
        return None
    try:
        return max(0.0, mktime_tz(moment) - time.time())
    except (ValueError, OverflowError):
        return None
