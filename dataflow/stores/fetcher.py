"""Fetches objects of stores, as the others fetch what is behind http URLs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dataflow.chance import Chance
from dataflow.errors import FetchError
from dataflow.http import DiskCache, Fetcher, FetchPolicy
from dataflow.http.body import Answer, Check
from dataflow.http.jobs import Done, Job
from dataflow.http.threads import ThreadsDriver
from dataflow.stores.objects import is_object, read_object, shown_object

__all__ = ["ObjectFetcher"]


class ObjectFetcher(Fetcher):
    """Fetches objects by their URLs (see `dataflow.stores`), with a thread for each transfer.

    Of the policy hold `max_bytes`, `max_trials` and the pauses between trials; the time that a
    request may take is the affair of the library that makes it, `timeout` ends the trials.

    Args:
        policy: the limits of each download.
        concurrency: how many transfers may be under way at a time.
        check: see `dataflow.http.make_fetcher`.
        cache: see there.
        options: for the library, such as ``{"anon": True}``.

    Raises:
        ConfigError: `concurrency` is not a positive integer.
    """

    def __init__(
        self,
        policy: FetchPolicy,
        *,
        concurrency: int,
        check: Check | None = None,
        cache: DiskCache | None = None,
        options: Mapping[str, Any],
    ) -> None:
        driver = _ObjectDriver(policy, concurrency, check, cache)
        driver.options = options
        super().__init__(driver)

    def submit(self, url: str, done: Done, chance: Chance | None = None) -> None:
        self._driver.submit(_ObjectJob(url, done, chance))

    def forget(self, url: str) -> None:
        if (cache := self._driver.cache) is not None:
            cache.drop(_ObjectJob(url, done=id).key)


class _ObjectJob(Job):
    """An object on its way; what is like a host is its bucket."""

    def __init__(self, url: str, done: Done, chance: Chance | None = None) -> None:
        super().__init__("http://store/", done, chance)
        self.url = self.first = self.target = url
        scheme, _, rest = url.partition("://")
        self.home = self.host = f"{scheme}://{rest.partition('/')[0]}" if rest else scheme
        if not is_object(url):
            what = f"{url[:200]}: not a URL of an object to fetch"
            self.problem = FetchError(what, reason="bad_url", url=url)

    @property
    def key(self) -> str:
        return self.url


class _ObjectDriver(ThreadsDriver):
    options: Mapping[str, Any]

    def _transfer(self, job: Job, left: float) -> Callable[[], None]:
        if left <= 0:
            self._ended(job, "closed")
            return partial(self.deliver_error, job, self.overdue(job))
        self.tally.begin(retry=job.trial > 1)
        silent: str | None = "internal"
        try:
            body = read_object(job.target, self.policy.max_bytes, self.options)
            silent = None
            return partial(self.deliver_body, job, body, Answer(200, None, [], []))
        except FetchError as error:
            silent = error.reason if error.reason in ("connect", "timeout") else None
            error.__cause__ = error.__traceback__ = None  # its frames hold connections
            # Without the address, which `Job.error` puts before it.
            what = str(error).removeprefix(f"{shown_object(job.target)}: ")
            return partial(self.retry, job, job.error(error.reason, what), None)
        except Exception as error:  # such as a library that is missing
            return partial(self.deliver_error, job, error)
        finally:
            self.tally.end(0.0 if silent is None else time.monotonic() - job.begun)
            self._ended(job, silent, silent is None)
