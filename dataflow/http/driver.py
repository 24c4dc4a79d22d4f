"""What all fetchers do the same way, whoever moves the bytes."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod

from dataflow.errors import ConfigError, DatapointError, FetchError
from dataflow.http.body import Answer, Check, accept, opted_out
from dataflow.http.cache import DiskCache
from dataflow.http.jobs import Job
from dataflow.http.policy import FetchPolicy, is_retried
from dataflow.http.redirects import follow
from dataflow.http.retry import Schedule
from dataflow.http.stats import Tally

__all__ = ["NOT_MODIFIED", "REDIRECTS", "Driver"]

log = logging.getLogger(__name__)

REDIRECTS = frozenset({301, 302, 303, 307, 308})
"""The statuses whose Location is followed."""

NOT_MODIFIED = 304
_GONE = frozenset({401, 403, 404, 410, 451})


class Driver(ABC):
    """The threads behind a `Fetcher`, and what becomes of their transfers.

    A subclass takes jobs from `schedule`, and ends each transfer with exactly one of
    `deliver_body`, `deliver_error`, `redirect` and `retry`. A subclass with several threads guards
    the schedule in `requeue` and `reschedule`.
    """

    def __init__(
        self,
        policy: FetchPolicy,
        concurrency: int,
        check: Check | None,
        cache: DiskCache | None,
        proxied: bool,
    ) -> None:
        if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
            raise ConfigError(f"concurrency={concurrency!r} is not a positive integer")
        self.policy = policy
        self.concurrency = concurrency
        self.check = check
        self.cache = cache
        self.tally = Tally()
        self.schedule = Schedule(policy, slots=concurrency, proxied=proxied)

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Queue a job, from any thread."""

    @abstractmethod
    def stop(self) -> None:
        """End all threads and fail all jobs. Idempotent, from any thread."""

    def cached(self, job: Job) -> bytes | None:
        """The body that the cache has for a job, if it has one that is not too old."""
        kept = None if self.cache is None else self.cache.kept(job.key)
        if kept is None:
            return None
        if self.policy.respect_opt_outs and (kept.robots is None or opted_out(kept.robots)):
            return None  # who kept it did not ask for that
        if kept.stale:
            job.kept = kept
            return None
        return kept.body

    def deliver_unchanged(self, job: Job) -> None:
        """The server says (304) that the body that the cache has is still the one."""
        assert job.kept is not None and self.cache is not None
        self.cache.put(job.key, job.kept.body, job.kept.etag, job.kept.modified, job.kept.robots)
        self.deliver_cached(job, job.kept.body)

    def deliver_cached(self, job: Job, body: bytes) -> None:
        """Hand out a body from the cache."""
        self.tally.deliver_cached()
        self._call(job, body)

    def deliver_body(self, job: Job, body: bytes, answer: Answer) -> None:
        """Check, keep and hand out what a 2xx answer brought."""
        try:
            body = accept(job, body, answer, policy=self.policy, check=self.check)
        except Exception as error:
            # What is no DatapointError is a bug of the check, for the caller to see.
            self.deliver_error(job, error)
            return
        if self.cache is not None:
            self.cache.put(job.key, body, answer.etag, answer.modified, answer.robots)
        self.tally.deliver(len(body))
        self._call(job, body)

    def deliver_error(self, job: Job, error: Exception) -> None:
        """Report that a URL has failed for good; a body that the cache has may take its place."""
        if job.kept is not None and isinstance(error, FetchError):
            if is_retried(error.reason, error.status):
                self.deliver_cached(job, job.kept.body)
                return
            if error.status in _GONE and self.cache is not None:
                self.cache.drop(job.key)
        if isinstance(error, DatapointError):
            # Its frames hold the body, and errors are kept in lists for a long time.
            error.__traceback__ = None
        self.tally.fail(_word(error))
        self._call(job, error)

    def redirect(self, job: Job, location: str, peer: str, status: int) -> None:
        """Go on to where a server sends us, if we may; see `follow`."""
        final: FetchError | None
        try:
            follow(job, location, peer, self.policy, status)
        except FetchError as error:
            final = error
        else:
            final = self.requeue(job)
        if final is not None:
            self.deliver_error(job, final)

    def retry(self, job: Job, error: FetchError, retry_after: float | None) -> None:
        """Queue a failed job again, or report the error where there is no point in it."""
        final = self.reschedule(job, error, retry_after)
        if final is not None:
            self.deliver_error(job, final)

    def requeue(self, job: Job) -> FetchError | None:
        """Put a redirected job back; returns an error where that is no longer possible."""
        self.schedule.push_first(job)
        return None

    def reschedule(
        self, job: Job, error: FetchError, retry_after: float | None
    ) -> FetchError | None:
        """Plan a failed job's next trial; returns the error to report if there is none."""
        return self.schedule.failed(job, error, retry_after=retry_after)

    def cancelled(self, job: Job) -> FetchError:
        """The error for a job that `stop` has ended."""
        return job.error("closed", "the fetcher was closed")

    def overdue(self, job: Job) -> FetchError:
        """The error for a job whose deadline passed between two transfers."""
        return job.error("timeout", f"not finished within timeout={self.policy.timeout:g} s")

    def settled(self, job: Job) -> list[Job]:
        """The jobs that have the outcome of this one; to be called once."""
        return self.schedule.settled(job)

    def _call(self, job: Job, result: bytes | Exception) -> None:
        followers = self.settled(job)
        for one in (job, *followers):
            if one is not job and isinstance(result, Exception):
                self.tally.fail(_word(result))
            elif one is not job:
                self.tally.deliver(0)
            try:
                one.done(result)
            except Exception:
                log.exception("the callback of a download raised")


def _word(error: Exception) -> str:
    return error.reason if isinstance(error, DatapointError) else type(error).__name__
