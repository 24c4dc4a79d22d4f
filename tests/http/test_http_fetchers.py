"""What both fetchers promise when servers behave."""

from __future__ import annotations

import gc
import queue
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from forked import exit_status_of
from patience import patient
from servers import JPEG, Server, chunked, endless, gzip_bomb, ok, silence, status

from dataflow.errors import ConfigError, FetchError
from dataflow.http import FetchPolicy, make_fetcher
from dataflow.http.curl import CurlFetcher
from dataflow.http.driver import Driver


def collect(results: queue.SimpleQueue[Any], count: int) -> list[Any]:
    return [results.get(timeout=patient(20)) for _ in range(count)]


def test_every_url_is_answered_once(make: Any, server: Server) -> None:
    for index in range(10):
        server.routes[f"/{index}"] = ok(JPEG + bytes([index]) * 1000 * index)
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    fetcher = make(concurrency=4)

    def submit() -> None:
        for index in range(50):
            kind = index % 12
            url = server.url(f"/{kind}") if kind < 11 else "http://"
            fetcher.submit(url, lambda result, kind=kind: results.put((kind, result)))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    answers = collect(results, 200)
    for thread in threads:
        thread.join()
    assert results.empty()
    for kind, result in answers:
        if kind < 10:
            assert result == JPEG + bytes([kind]) * 1000 * kind
        else:
            assert result.reason == ("http_404" if kind == 10 else "bad_url")
    stats = fetcher.stats()
    assert stats["done"] + sum(stats["errors"].values()) == 200
    assert stats["in_flight"] == fetcher.in_flight == 0
    bodies = [result for _, result in answers if isinstance(result, bytes)]
    assert sum({len(body) for body in bodies}) <= stats["bytes"] <= sum(map(len, bodies)), (
        "what was under way is not got twice"
    )
    assert server.connections <= 4, "connections are kept alive"


def test_concurrency_is_used_and_kept(make: Any, server: Server) -> None:
    gate = threading.Event()
    inside = threading.Semaphore(0)

    def wait(exchange: Any) -> None:
        inside.release()
        gate.wait(patient(20))
        status(200, {"Content-Type": "image/jpeg"}, JPEG)(exchange)

    server.routes.update({f"/{i}": wait for i in range(7)})
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    fetcher = make(concurrency=3)
    for i in range(7):
        fetcher.submit(server.url(f"/{i}"), results.put)
    for _ in range(3):
        assert inside.acquire(timeout=patient(10))
    assert not inside.acquire(timeout=0.2), "a fourth transfer"
    assert fetcher.in_flight == 3
    gate.set()
    assert collect(results, 7) == [JPEG] * 7
    assert 0.6 <= fetcher.stats()["busy_seconds"] < 30


def test_a_callback_that_raises(
    make: Any, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.routes["/a"] = ok(JPEG)
    fetcher = make(concurrency=1)

    def done(result: Any) -> None:
        raise RuntimeError("from the callback")

    fetcher.submit(server.url("/a"), done)
    assert fetcher.fetch(server.url("/a")) == JPEG
    assert "from the callback" in caplog.text


def test_a_bug_of_ours_keeps_nobody_waiting(
    make: Any, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server.routes["/a"] = ok(JPEG)
    fetcher = make(concurrency=1)
    with monkeypatch.context() as broken:
        broken.setattr(Driver, "deliver_body", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fetcher.fetch(server.url("/a"))
    assert "the end of a transfer failed" in caplog.text
    assert fetcher.fetch(server.url("/a")) == JPEG, "it goes on"


def test_a_callback_can_submit(make: Any, server: Server) -> None:
    server.routes["/a"] = ok(JPEG)
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    fetcher = make(concurrency=1)
    fetcher.submit(server.url("/a"), lambda result: fetcher.submit(server.url("/a"), results.put))
    assert collect(results, 1) == [JPEG]


def test_close_cancels_everything(make: Any, server: Server) -> None:
    server.routes.update({f"/{i}": silence for i in range(4)})
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    fetcher = make(concurrency=2, stall_timeout=3.0)
    for i in (0, 1, 2, 3, 0):  # the last one waits for the first
        fetcher.submit(server.url(f"/{i}"), results.put)
    limit = time.monotonic() + patient(10)
    while server.requests.total() < 2 and time.monotonic() < limit:
        time.sleep(0.005)
    start = time.monotonic()
    fetcher.close()
    fetcher.close()
    assert time.monotonic() - start < patient(2)
    assert [result.reason for result in collect(results, 5)] == ["closed"] * 5
    assert results.empty()
    with pytest.raises(FetchError) as caught:
        fetcher.submit(server.url("/a"), results.put)
    assert caught.value.reason == "closed"


def test_a_callback_can_close(make: Any, server: Server) -> None:
    server.routes["/a"] = ok(JPEG)
    closed = threading.Event()
    fetcher = make(concurrency=1)

    def done(result: Any) -> None:
        fetcher.close()
        closed.set()

    fetcher.submit(server.url("/a"), done)
    assert closed.wait(patient(10))


def test_an_idle_fetcher_uses_no_cpu(make: Any, server: Server) -> None:
    server.routes["/a"] = ok(JPEG)
    server.routes["/slow"] = silence
    fetcher = make()
    fetcher.fetch(server.url("/a"))
    fetcher.submit(server.url("/slow"), lambda result: None)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.05


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/é ü.jpg", "/%C3%A9%20%C3%BC.jpg"),
        ('/"<>\\^`{|}', "/%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("/a%20b%zz?x=1&y=100%", "/a%20b%25zz?x=1&y=100%25"),
    ],
)
def test_what_is_sent_for_odd_urls(make: Any, server: Server, path: str, sent: str) -> None:
    fetcher = make()
    with pytest.raises(FetchError, match="404"):
        fetcher.fetch(server.url(path))
    assert server.seen[-1].path == sent


def test_nothing_can_be_injected(make: Any, server: Server) -> None:
    fetcher = make()
    for text in ("\r\nX-Injected: 1", "\n", "\0", "\t", "\x7f", " ", "\udcff"):
        # (White space at the end of a URL is no part of it.)
        inside = server.url("/a") + text + "b", server.url("/").replace(":", text + ":")
        for url in inside if text != " " else inside[1:]:  # a path may have one: it is encoded
            with pytest.raises(FetchError) as caught:
                fetcher.fetch(url)
            assert caught.value.reason == "bad_url"
            assert caught.value.url == url
    assert not server.requests


def test_abandoned_fetchers_are_stopped(server: Server) -> None:
    server.routes["/a"] = silence
    fetcher = CurlFetcher(FetchPolicy(), concurrency=1)
    fetcher.submit(server.url("/a"), lambda result: None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del fetcher
        gc.collect()
    assert any(issubclass(warning.category, ResourceWarning) for warning in caught)


def test_a_forked_child_is_told(make: Any, server: Server) -> None:
    server.routes["/a"] = ok(JPEG)
    fetcher = make()
    fetcher.fetch(server.url("/a"))

    def submit() -> int:
        try:
            fetcher.submit(server.url("/a"), print)
        except FetchError as error:
            return 0 if error.reason == "closed" else 2
        return 1

    assert exit_status_of(submit) == 0


def test_concurrency_is_checked() -> None:
    bad: Any
    for bad in (0, -1, 1.5, True, "4"):
        with pytest.raises(ConfigError, match="concurrency"):
            make_fetcher(concurrency=bad)


CAP = 48 << 20


@pytest.mark.parametrize("kind", ["curl", "session"])
@pytest.mark.parametrize(
    "route",
    [endless, gzip_bomb(1 << 30), gzip_bomb(CAP), chunked(bytes(CAP), 1 << 20)],
    ids=["endless", "bomb", "good gzip", "good chunked"],
)
def test_memory_stays_within_twice_the_cap(server: Server, kind: str, route: Any) -> None:
    server.routes["/warm"] = ok(JPEG)
    server.routes["/a"] = route
    script = f"""
        import resource, sys
        sys.path[:0] = {sys.path!r}
        import requests
        from dataflow.http import FetchPolicy, make_fetcher
        session = requests.Session() if {kind!r} == "session" else None
        fetcher = make_fetcher(FetchPolicy(max_bytes={CAP}), concurrency=1, session=session)
        fetcher.fetch({server.url("/warm")!r})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            print(len(fetcher.fetch({server.url("/a")!r})))
        except Exception as error:
            print(error.reason)
        print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
        fetcher.close()
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=True,
    )
    outcome, growth = ran.stdout.split()
    assert outcome in ("too_large", str(CAP))
    assert int(growth) <= 2.1 * CAP


def test_no_thread_outlives_the_interpreter(server: Server, tmp_path: Path) -> None:
    server.routes["/a"] = silence
    script = f"""
        import sys
        sys.path[:0] = {sys.path!r}
        from dataflow.http import make_fetcher
        fetcher = make_fetcher(concurrency=2)
        fetcher.submit({server.url("/a")!r}, lambda result: print(result.reason))
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=patient(20),
        check=True,
    )
    assert ran.stdout == "closed\n"
    assert ran.stderr == ""
