"""Which fetcher it is: over libcurl, or over a session of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflow.http.body import Check
from dataflow.http.cache import DiskCache
from dataflow.http.fetcher import Fetcher
from dataflow.http.policy import FetchPolicy

if TYPE_CHECKING:
    import requests

__all__ = ["make_fetcher"]


def make_fetcher(
    policy: FetchPolicy | None = None,
    *,
    concurrency: int,
    session: requests.Session | None = None,
    check: Check | None = None,
    cache: DiskCache | None = None,
) -> Fetcher:
    """A fetcher over libcurl, or over a `requests.Session` where one is given.

    Args:
        policy: the limits of each download.
        concurrency: how many transfers may be under way at a time.
        session: for what needs one (authentication plugins, transport adapters). It costs about
            thirty times the CPU time per image.
        check: called with each body and its Content-Type before it is cached or handed out, in
            the fetching thread; raises `FetchError` or `DecodeError` to refuse it for good.
        cache: bodies found there are not downloaded; those downloaded are put there.

    Raises:
        ConfigError: `concurrency` is not a positive integer.
    """
    policy = policy if policy is not None else FetchPolicy()
    # Imported where they are used: each is dear, and only one of them is needed.
    if session is not None:
        from dataflow.http.session import SessionFetcher

        return SessionFetcher(policy, session, concurrency=concurrency, check=check, cache=cache)
    from dataflow.http.curl import CurlFetcher

    return CurlFetcher(policy, concurrency=concurrency, check=check, cache=cache)
