"""Both fetchers behind one fixture, and a watch for what tests leave behind."""

from __future__ import annotations

import gc
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from patience import patient
from servers import Server

from dataflow.http import Fetcher, FetchPolicy, make_fetcher

MakeFetcher = Callable[..., Fetcher]


def _resources() -> tuple[int, int]:
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Every thread (of Python or not), socket and file is gone after each test."""
    files, threads = _resources()
    yield
    limit = time.monotonic() + patient(5)
    while True:
        now = _resources()
        if now[0] <= files and now[1] <= threads:
            return
        if time.monotonic() > limit:
            names = [thread.name for thread in threading.enumerate()]
            sockets = [o for o in gc.get_objects() if isinstance(o, socket.socket)]
            pytest.fail(f"left behind: {(files, threads)} became {now}; {names}; {sockets}")
        time.sleep(0.01)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def other() -> Iterator[Server]:
    """A server on another address."""
    with Server("127.0.0.2") as running:
        yield running


@pytest.fixture(params=["curl", "session"])
def make(request: pytest.FixtureRequest) -> Iterator[MakeFetcher]:
    """Makes a fetcher of each kind: ``make(concurrency=…, check=…, cache=…, **policy)``."""
    made: list[Any] = []

    def build(
        *, concurrency: int = 4, check: Any = None, cache: Any = None, **policy: Any
    ) -> Fetcher:
        session = None
        if request.param == "session":
            session = requests.Session()
            made.append(session)
        fetcher = make_fetcher(
            FetchPolicy(**{"backoff": 0.01, **policy}),
            concurrency=concurrency,
            session=session,
            check=check,
            cache=cache,
        )
        made.append(fetcher)
        return fetcher

    yield build
    for thing in reversed(made):
        thing.close()
