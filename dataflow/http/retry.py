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

from dataflow.chance import Chance
from dataflow.errors import FetchError
from dataflow.http.hosts import Hosts
from dataflow.http.jobs import Job
from dataflow.http.policy import FetchPolicy, is_retried

__all__ = ["Schedule", "parse_retry_after"]

MAX_BACKOFF = 10.0
_MAX_HOSTS = 1000


class Schedule:
    """The URLs that wait: for a slot in the order of arrival, or for their time. Not thread-safe.

    Hosts that never answered get no more than half of the slots while others have URLs, too.

    Args:
        policy: how often, and how long at most.
        slots: transfers under way at a time. Where it is one, nobody waits for a host that does
            not answer but whoever wants just that, and so it is tried like any.
        proxied: a proxy makes them.
        clock: a monotonic clock in seconds.
        draw: a function of (low, high) that draws the waits.
    """

    def __init__(
        self,
        policy: FetchPolicy,
        *,
        slots: int = 1,
        proxied: bool = False,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._draw = draw
        self._hosts = Hosts(policy, clock, proxied)
        self._alone = slots == 1
        self._most_strangers = -(-slots // 2)
        self._ready: deque[Job] = deque()
        self._strange: deque[Job] = deque()  # the same, but their hosts never answered
        self._same: dict[str, list[Job]] = {}
        self._failed: deque[tuple[Job, FetchError]] = deque()
        self._later: list[tuple[float, int, Job]] = []
        self._order = itertools.count()
        self._paused: dict[str, float] = {}

    def __len__(self) -> int:
        ready = len(self._ready) + len(self._strange) + len(self._failed)
        return ready + len(self._later) + self._hosts.waiting

    def push(self, job: Job) -> None:
        """Put a new URL at the end of the queue; one that is under way already is not got twice."""
        if self._alone:
            job.chance = None
        if job.problem is None:
            followers = self._same.get(job.key)
            if followers is not None:
                followers.append(job)
                return
            self._same[job.key] = []
        self._ready.append(job)

    def settled(self, job: Job) -> list[Job]:
        """A job has its body or its error, and so have these, which are of the same URL."""
        return self._same.pop(job.key, [])

    def push_first(self, job: Job) -> None:
        """Put a URL that was redirected before all others: it holds its place."""
        self._ready.appendleft(job)

    def pop(self) -> tuple[Job, FetchError | None] | None:
        """What to do now, if anything: a job to start, or one that has failed while it waited."""
        if self._failed:
            return self._failed.popleft()
        while (job := self._next()) is not None:
            if job.problem is not None:
                return job, job.problem
            if self._paused and (until := self._pause_end(job.host)) is not None:
                error = self._pause_error(job, until)
                if error is not None:
                    return job, error
                self._excuse(job, until)
                heapq.heappush(self._later, (until, next(self._order), job))
                continue
            if (until := self._hosts.not_before(job)) > self._clock():
                heapq.heappush(self._later, (until, next(self._order), job))
                continue
            admitted = self._hosts.admit(job)
            if isinstance(admitted, FetchError):
                return job, admitted
            if admitted:
                return job, None
        return None

    def _next(self) -> Job | None:
        """Whose turn it is."""
        ready, strange = self._ready, self._strange
        if self._later and self._later[0][0] <= self._clock():
            return heapq.heappop(self._later)[2]
        room = self._hosts.strangers < self._most_strangers
        if strange and room:
            return strange.popleft()
        while ready:
            job = ready.popleft()
            if room or job.chance is None or self._hosts.knows(job):
                return job
            strange.append(job)
        return strange.popleft() if strange else None

    def wait(self) -> float | None:
        """Seconds until `pop` has something new; 0 if it has now, None if it waits for nothing."""
        if self._ready or self._strange or self._failed:
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
        job.begun = now
        self._hosts.began(job)
        return max(0.0, job.deadline - now)

    def ended(self, job: Job, reason: str | None = None, reached: bool = False) -> None:
        """A transfer that `begin` counted has ended; to be told before anything else about it.

        Args:
            job: the job.
            reason: why no answer came; None where one came, whatever it says.
            reached: there was a connection.
        """
        released, failed = self._hosts.ended(job, reason, reached)
        if released or failed:
            self._ready.extendleft(reversed(released))
            self._failed += failed

    @property
    def pressed(self) -> int:
        """How many wait for nothing but a slot."""
        return len(self._ready) + len(self._strange)

    def may_give_way(self, job: Job) -> bool:
        """Whether a transfer that is silent so far takes a slot that others wait for.

        It may where they can hope for more: its host never answered, while others did.
        """
        if job.chance is not Chance.FIRST:
            return False
        return self._hosts.hopeful and not self._hosts.knows(job)

    def skipped(self, job: Job) -> None:
        """A job that `pop` gave out needed no transfer."""
        self._ready.extendleft(reversed(self._hosts.skipped(job)))

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
        if self._hosts.silent(job, error.reason):
            error.passing = True
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
        if not self._hosts.lines_up(job):
            heapq.heappush(self._later, (until, next(self._order), job))
        return None

    def drain(self) -> list[Job]:
        """Take everything out, to cancel it."""
        jobs = [*self._ready, *self._strange, *(job for job, _ in self._failed)]
        jobs += [*(entry[2] for entry in sorted(self._later)), *self._hosts.drain()]
        jobs += [job for followers in self._same.values() for job in followers]
        self._same.clear()
        for waiting in (self._ready, self._strange, self._failed, self._later):
            waiting.clear()
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
