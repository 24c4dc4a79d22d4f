"""Hosts that do not answer, and what becomes of their URLs.

A transfer to a host whose name is unknown, that refuses, or that never says anything takes a slot
for as long as its timeouts last. Of lists with many dead links these would be most of the time. So
a host that never answered gets a few transfers at once, and after as many failures in a row it is
left alone for a while: its other URLs fail at once, or wait for one that tries.

Nothing in this module does I/O, starts threads or sleeps.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from dataflow.chance import Chance
from dataflow.errors import FetchError
from dataflow.http.jobs import Job
from dataflow.http.policy import FetchPolicy

__all__ = ["Hosts"]

# Transfers at once to a host that never answered, and failures in a row that tell it is dead.
PROBES = 4
# A dead host is left alone for as long as the last try took, and for so many seconds at least.
_LEAST_REST = 1.0
_MOST_HOSTS = 10_000
_SILENT = frozenset({"dns", "refused", "connect", "timeout"})


class _Host:
    """What is known of one.

    Attributes:
        active: transfers under way.
        begun: when the last of them began.
        answered: when it answered last; None: never.
        failures: in a row since then.
        reason: of the last of them.
        rest: until when it is left alone.
        last_rest: the same for URLs that have their last chance, which a first one does not begin.
        waiting: URLs that wait for the outcome of a transfer.
    """

    __slots__ = (
        *("active", "answered", "begun", "failures", "last_rest", "reason", "rest", "waiting"),
    )

    def __init__(self) -> None:
        self.active = 0
        self.begun = 0.0
        self.answered: float | None = None
        self.failures = 0
        self.reason = ""
        self.rest = self.last_rest = 0.0
        self.waiting: deque[Job] = deque()


class Hosts:
    """Which URL may be transferred now, as far as its host goes. Not thread-safe.

    Args:
        policy: a host that answered once is dead only after nothing came for `timeout` seconds.
        clock: a monotonic clock in seconds.

    Attributes:
        hopeful: some host answered.
        strangers: transfers under way to hosts that never answered.
        waiting: how many jobs wait here.
    """

    def __init__(self, policy: FetchPolicy, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._hosts: dict[str, _Host] = {}
        self.hopeful = False
        self.strangers = 0
        self.waiting = 0

    def knows(self, job: Job) -> bool:
        """Whether the host of a job has answered before."""
        host = self._hosts.get(job.host)
        return host is not None and host.answered is not None

    def admit(self, job: Job) -> FetchError | bool:
        """Whether a job may be transferred now.

        Returns:
            True; or False where it waits here, until `ended` or `skipped` gives it out; or why it
            has failed.
        """
        host = self._hosts.get(job.host)
        if host is None:
            return True
        most = self._policy.max_per_host or math.inf
        if job.chance is None:
            pass
        elif self._is_dead(host, job):
            if self._clock() < (host.last_rest if job.chance is Chance.LAST else host.rest):
                return self._dead(host, job)
            most = 1
        elif host.answered is None:
            most = min(most, PROBES)
        if host.active < most:
            return True
        host.waiting.append(job)
        self.waiting += 1
        return False

    def not_before(self, job: Job) -> float:
        """When the pause between two transfers of a job's host ends; 0 where there is none."""
        pause = self._policy.pause_per_host
        host = self._hosts.get(job.host) if pause else None
        return 0.0 if host is None else host.begun + pause

    def began(self, job: Job) -> None:
        """A transfer of a job begins."""
        host = self._hosts.get(job.host)
        if host is None:
            if len(self._hosts) >= _MOST_HOSTS:
                self._forget()
            host = self._hosts[job.host] = _Host()
        host.active += 1
        host.begun = job.begun
        self.strangers += host.answered is None

    def ended(self, job: Job, reason: str | None) -> tuple[list[Job], list[tuple[Job, FetchError]]]:
        """A transfer of a job has ended.

        Args:
            job: the job, before it is redirected.
            reason: why it brought no answer at all; None where it brought one.

        Returns:
            The jobs that waited for it and may be asked about again, and those that have failed.
        """
        host = self._hosts.get(job.host)
        if host is None:
            return [], []  # everything was drained
        host.active -= 1
        now = self._clock()
        if host.answered is None:
            self.strangers -= 1
            if reason is None:
                self.strangers -= host.active
        if reason is None:
            self.hopeful = True
            known = host.answered is not None and host.failures < PROBES
            host.answered, host.failures, host.rest, host.last_rest = now, 0, 0.0, 0.0
            return self._released(host, 1 if known else len(host.waiting)), []
        if reason in _SILENT:
            host.failures += 1
            host.reason = reason
            host.rest = now + max(_LEAST_REST, now - job.begun)
            if self._is_dead(host):
                last = job.chance is Chance.LAST
                if last:
                    host.last_rest = host.rest
                failed = self._failed(host, but=None if last else Chance.LAST)
                return self._released(host, 1), failed
            if host.answered is None and host.active:
                return [], []  # what else was begun at the same time tells more
        return self._released(host, 1), []

    def skipped(self, job: Job) -> list[Job]:
        """A job that was given out needs no transfer; who waits behind it."""
        host = self._hosts.get(job.host)
        return [] if host is None else self._released(host, 1)

    def silent(self, job: Job, reason: str) -> bool:
        """Whether a job that failed for this reason has no other trial coming now."""
        host = self._hosts.get(job.host)
        if host is None or job.chance is None or reason not in _SILENT:
            return False
        if job.chance is Chance.ONLY or host.answered is not None:
            return self._is_dead(host, job)
        return True

    def drain(self) -> list[Job]:
        """Take out all that wait."""
        jobs = [job for host in self._hosts.values() for job in host.waiting]
        self._hosts.clear()
        self.waiting = self.strangers = 0
        return jobs

    def _is_dead(self, host: _Host, job: Job | None = None) -> bool:
        """Whether a host is dead; for a job that was tried, others must have failed as well."""
        tried = job.trial if job is not None else 0
        if host.failures < PROBES or host.failures - tried < PROBES - 1:
            return False
        return host.answered is None or self._clock() - host.answered > self._policy.timeout

    def _dead(self, host: _Host, job: Job) -> FetchError:
        times = "once" if host.failures == 1 else f"{host.failures} times in a row"
        what = f"not tried, as {job.host} did not answer {times} (the last: {host.reason})"
        error = job.error(host.reason, what)
        error.passing = True
        return error

    def _failed(self, host: _Host, but: Chance | None = None) -> list[tuple[Job, FetchError]]:
        """All that wait for a dead host have failed, but those of one kind."""
        self.waiting -= len(host.waiting)
        failed = [(job, self._dead(host, job)) for job in host.waiting if job.chance is not but]
        host.waiting = deque(job for job in host.waiting if job.chance is but)
        self.waiting += len(host.waiting)
        return failed

    def _released(self, host: _Host, most: int) -> list[Job]:
        released = [host.waiting.popleft() for _ in range(min(most, len(host.waiting)))]
        self.waiting -= len(released)
        return released

    def _forget(self) -> None:
        """Make room: the longest known of those that have nothing under way."""
        idle = [name for name, host in self._hosts.items() if not (host.active or host.waiting)]
        for name in idle[: _MOST_HOSTS // 2]:
            del self._hosts[name]
