"""Hosts that do not answer, and what becomes of their URLs.

A transfer to a host whose name is unknown, that refuses, or that never says anything takes a slot
for as long as its timeouts last. Of lists with many dead links these would be most of the time. So
a host that never answered gets a few transfers at once, and after some failures in a row it is left
alone for a while: its other URLs fail at once, or wait for those that try.

What cannot be reached cannot be reached for any of its URLs. What was reached and is silent may be
so for some of them only, pages that hang: then more are tried, at random, before all have failed,
and a host that answered once is never given up for that.

Nothing in this module does I/O, starts threads or sleeps.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable

from dataflow.chance import Chance
from dataflow.errors import FetchError
from dataflow.http.jobs import Job
from dataflow.http.policy import FetchPolicy

__all__ = ["Hosts"]

# Transfers at once to a host that never answered, and URLs in a row that tell it cannot be reached.
PROBES = 4
# The same of silent ones: what has another chance needs no certainty.
_SILENT_URLS = {Chance.FIRST: PROBES, Chance.ONLY: 12, Chance.LAST: 8}
_NOBODY: tuple[list[Job], list[tuple[Job, FetchError]]] = ([], [])
_FORGIVEN = 30.0  # seconds without an answer that are nothing, after there was one
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
        failures: URLs in a row since then that brought nothing.
        late: of those that had their last chance.
        mute: it was reached, at the last of them.
        reason: of the last of them.
        rest: until when it is left alone.
        last_rest: the same for URLs that have their last chance, which a first one does not begin.
        waiting: URLs that wait for the outcome of a transfer.
    """

    __slots__ = (
        *("active", "answered", "begun", "failures", "last_rest", "late", "mute", "reason"),
        *("rest", "waiting"),
    )

    def __init__(self) -> None:
        self.active = 0
        self.begun = 0.0
        self.answered: float | None = None
        self.failures = self.late = 0
        self.mute = False
        self.reason = ""
        self.rest = self.last_rest = 0.0
        self.waiting: deque[Job] = deque()


class Hosts:
    """Which URL may be transferred now, as far as its host goes. Not thread-safe.

    Args:
        policy: the bounds for each host.
        clock: a monotonic clock in seconds.
        proxied: it is a proxy that goes to them.

    Attributes:
        hopeful: some host answered.
        strangers: transfers under way to hosts that never answered.
        waiting: how many jobs wait here.
    """

    def __init__(
        self, policy: FetchPolicy, clock: Callable[[], float], proxied: bool = False
    ) -> None:
        self._policy = policy
        self._proxied = proxied
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
        late = job.chance is Chance.LAST and host.mute
        at_once = _SILENT_URLS[Chance.LAST] if late else PROBES
        if job.chance is None:
            pass
        elif self._is_dead(host, job.chance):
            if self._clock() < (host.last_rest if job.chance is Chance.LAST else host.rest):
                return self._dead(host, job)
            most = min(most, at_once if late else 1)
        elif host.answered is None:
            most = min(most, at_once)
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

    def ended(
        self, job: Job, reason: str | None, reached: bool = False
    ) -> tuple[list[Job], list[tuple[Job, FetchError]]]:
        """A transfer of a job has ended.

        Args:
            job: the job, before it is redirected.
            reason: why it brought no answer at all; None where it brought one.
            reached: there was a connection.

        Returns:
            The jobs that waited for it and may be asked about again, and those that have failed.
        """
        host = self._hosts.get(job.host)
        if host is None:
            return _NOBODY  # everything was drained
        host.active -= 1
        now = self._clock()
        if reason is None and host.answered and not (host.failures or host.waiting):
            host.answered = now  # as nearly always
            return _NOBODY
        if host.answered is None:
            self.strangers -= 1
            if reason is None:
                self.strangers -= host.active
        if reason is None:
            self.hopeful = True
            known = host.answered is not None and host.failures < PROBES
            host.answered, host.failures, host.late = now, 0, 0
            host.rest = host.last_rest = 0.0
            return self._released(host, 1 if known else len(host.waiting)), []
        if reason not in _SILENT:
            return self._released(host, 1), []
        host.reason, host.mute = reason, reached
        host.failures += job.trial == 1  # each URL counts once
        last = job.chance is Chance.LAST
        host.late += last
        host.rest = now + max(_LEAST_REST, now - job.begun)
        enough = not reached or host.late >= _SILENT_URLS[Chance.LAST]
        if last and enough and host.answered is None:
            host.last_rest, host.late = host.rest, 0
            return [], self._failed(host, set(Chance))
        hopeless = {one for one in (Chance.FIRST, Chance.ONLY) if self._is_dead(host, one)}
        failed = self._failed(host, hopeless)
        if host.answered is None and host.active:
            return [], failed  # what else was begun at the same time tells more
        return self._released(host, PROBES), failed

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
            return self._is_dead(host, job.chance)
        return True

    def lines_up(self, job: Job) -> bool:
        """Whether a job that failed waits here for its next trial, as others come first.

        They do at a host that never answered, while something is under way there.
        """
        host = self._hosts.get(job.host)
        if host is None or job.chance is None or host.answered is not None or not host.active:
            return False
        host.waiting.append(job)
        self.waiting += 1
        return True

    def drain(self) -> list[Job]:
        """Take out all that wait."""
        jobs = [job for host in self._hosts.values() for job in host.waiting]
        self._hosts.clear()
        self.waiting = self.strangers = 0
        return jobs

    def _is_dead(self, host: _Host, chance: Chance) -> bool:
        """Whether URLs with this chance need not be tried."""
        if host.answered is not None:
            silence = self._clock() - host.answered
            return host.failures >= PROBES and not host.mute and silence > _FORGIVEN
        return host.failures >= (_SILENT_URLS[chance] if host.mute else PROBES)

    def _dead(self, host: _Host, job: Job) -> FetchError:
        times = "once" if host.failures == 1 else f"{host.failures} times in a row"
        how = " through the proxy" if self._proxied else ""
        what = f"not tried, as {job.host} did not answer{how} {times} (the last: {host.reason})"
        error = job.error(host.reason, what)
        error.passing = True
        return error

    def _failed(self, host: _Host, kinds: set[Chance]) -> list[tuple[Job, FetchError]]:
        """All that wait for a host have failed, of these kinds."""
        if not kinds or not host.waiting:
            return []
        failed = [(job, self._dead(host, job)) for job in host.waiting if job.chance in kinds]
        host.waiting = deque(job for job in host.waiting if job.chance not in kinds)
        self.waiting -= len(failed)
        return failed

    def _released(self, host: _Host, most: int) -> list[Job]:
        """Some of those that wait; at random, where it is to be found out whether it answers."""
        waiting, released = host.waiting, list[Job]()
        while waiting and len(released) < most:
            if host.answered is None:
                waiting.rotate(random.randrange(len(waiting)))
            released.append(waiting.popleft())
        self.waiting -= len(released)
        return released

    def _forget(self) -> None:
        """Make room: the longest known of those that have nothing under way."""
        idle = [name for name, host in self._hosts.items() if not (host.active or host.waiting)]
        for name in idle[: _MOST_HOSTS // 2]:
            del self._hosts[name]
