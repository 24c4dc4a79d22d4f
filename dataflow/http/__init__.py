"""Downloads: many at a time, each under a `FetchPolicy`, over libcurl or a `requests.Session`."""

from dataflow.http.addresses import is_private
from dataflow.http.body import Check
from dataflow.http.cache import DiskCache
from dataflow.http.fetcher import Fetcher
from dataflow.http.make import make_fetcher
from dataflow.http.policy import REASONS, FetchPolicy
from dataflow.http.stats import FetchStats

__all__ = [
    "REASONS",
    "Check",
    "DiskCache",
    "FetchPolicy",
    "FetchStats",
    "Fetcher",
    "is_private",
    "make_fetcher",
]
