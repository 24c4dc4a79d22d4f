"""What servers do wrong, really done, and what becomes of it. Each test runs on both fetchers."""

from __future__ import annotations

import queue
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from patience import patient
from servers import (
    JPEG,
    Server,
    certificate,
    chunked,
    drip,
    endless,
    gzip_bomb,
    ok,
    redirect,
    reset_within,
    sequence,
    short,
    silence,
    status,
)

from dataflow.errors import DatapointError, DecodeError, FetchError
from dataflow.http import DiskCache, Fetcher


def failure(fetcher: Fetcher, url: str) -> DatapointError:
    with pytest.raises(DatapointError) as caught:
        fetcher.fetch(url)
    error = caught.value
    assert error.url == url
    assert fetcher.stats()["errors"] == {error.reason: 1}
    return error


def image_check(body: bytes, content_type: str | None) -> None:
    if body[:2] != b"\xff\xd8":
        raise DecodeError("no JPEG", reason="not_image")
    if body[-2:] != b"\xff\xd9":
        raise DecodeError("half a JPEG", reason="truncated")


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"<!doctype html><p>Please log in", "text/html", "not_image"),
        (b"", "image/jpeg", "empty"),
        (JPEG[: len(JPEG) // 2], "image/jpeg", "truncated"),
    ],
)
def test_a_200_that_is_no_image(
    make: Any, server: Server, tmp_path: Path, body: bytes, content_type: str, reason: str
) -> None:
    server.routes["/a"] = ok(body, content_type)
    cache = DiskCache(tmp_path)
    error = failure(make(check=image_check, cache=cache), server.url("/a"))
    assert (error.reason, error.status) == (reason, 200)
    assert server.requests["/a"] == 1, "not retried"
    assert cache.get(server.url("/a")) is None, "not cached"


def test_a_bug_in_the_check_reaches_the_caller(make: Any, server: Server) -> None:
    server.routes["/a"] = ok(JPEG)

    def check(body: bytes, content_type: str | None) -> None:
        raise KeyError("oops")

    with pytest.raises(KeyError, match="oops"):
        make(check=check).fetch(server.url("/a"))


@pytest.mark.alone
@pytest.mark.parametrize(
    ("make", "code", "as_date"),
    [("curl", 429, False), ("curl", 503, True), ("session", 503, False)],
    indirect=["make"],
)
def test_retry_after_pauses_the_host_only(
    make: Any, server: Server, other: Server, code: int, as_date: bool
) -> None:
    times: dict[str, float] = {}

    def answered(name: str, results: Any) -> Any:
        return lambda result: (times.setdefault(name, time.monotonic()), results.put(result))

    # Dates have whole seconds, so this one lies 2 to 3 seconds ahead.
    pause = formatdate(time.time() + 3, usegmt=True) if as_date else "2"
    server.routes["/busy"] = sequence(status(code, {"Retry-After": pause}), ok(JPEG))
    server.routes["/later"] = ok(JPEG)
    other.routes["/a"] = ok(JPEG)
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    fetcher = make(concurrency=1, timeout=10.0)
    start = time.monotonic()
    fetcher.submit(server.url("/busy"), answered("busy", results))
    fetcher.submit(server.url("/later"), answered("later", results))
    fetcher.submit(other.url("/a"), answered("other", results))
    assert [results.get(timeout=patient(10)) for _ in range(3)] == [JPEG] * 3
    least = 1.9 if as_date else 2.0
    assert times["other"] - start < 1.5
    assert least <= times["busy"] - start < 4.5
    assert times["later"] - start >= least, "the whole host is left alone"
    assert fetcher.stats()["retries"] == 1


@pytest.mark.alone
def test_retry_after_beyond_the_cap(make: Any, server: Server, other: Server) -> None:
    server.routes["/busy"] = status(503, {"Retry-After": "86400"})
    server.routes["/a"] = ok(JPEG)
    other.routes["/a"] = ok(JPEG)
    fetcher = make()
    start = time.monotonic()
    error = failure(fetcher, server.url("/busy"))
    assert (error.reason, error.status) == ("retry_after", 503)
    with pytest.raises(FetchError, match="asked for a pause") as caught:
        fetcher.fetch(server.url("/a"))
    assert caught.value.reason == "retry_after"
    assert time.monotonic() - start < patient(2)
    assert server.requests == {"/busy": 1}, "the host is left alone"
    assert fetcher.fetch(other.url("/a")) == JPEG


def test_a_pause_is_waited_for_beyond_the_deadline(make: Any, server: Server) -> None:
    server.routes["/busy"] = sequence(status(429, {"Retry-After": "2"}), ok(JPEG))
    start = time.monotonic()
    assert make(timeout=1.0).fetch(server.url("/busy")) == JPEG
    assert time.monotonic() - start >= 2


@pytest.mark.alone
def test_a_dripping_body(make: Any, server: Server, tmp_path: Path) -> None:
    server.routes["/drip"] = drip(bytes(10_000), 1.0)
    cache = DiskCache(tmp_path)
    fetcher = make(timeout=1.5, cache=cache)
    start = time.monotonic()
    assert failure(fetcher, server.url("/drip")).reason == "timeout"
    assert 0.5 <= time.monotonic() - start <= patient(2.5)
    assert cache.get(server.url("/drip")) is None


def test_silence_is_tried_again_within_the_deadline(make: Any, server: Server) -> None:
    server.routes["/a"] = sequence(silence, ok(JPEG))
    fetcher = make(timeout=20.0, stall_timeout=1.0)
    assert fetcher.fetch(server.url("/a")) == JPEG
    assert fetcher.stats()["retries"] == 1


@pytest.mark.alone
def test_the_deadline_covers_all_trials(make: Any, server: Server) -> None:
    server.routes["/a"] = silence
    start = time.monotonic()
    fetcher = make(timeout=1.5, stall_timeout=1.0, max_trials=100)
    assert failure(fetcher, server.url("/a")).reason == "timeout"
    assert 0.5 <= time.monotonic() - start <= patient(2.5)
    assert server.requests["/a"] == 2


@pytest.mark.parametrize(
    ("fault", "reasons"),
    [
        (short(JPEG, 100), {"truncated"}),
        (reset_within(JPEG), {"reset"}),
        (lambda exchange: exchange.reset(), {"reset"}),
        (status(500), {"http_500"}),
        (status(503), {"http_503"}),
        (status(408), {"http_408"}),
        (status(429), {"http_429"}),
    ],
)
def test_what_is_worth_another_trial(
    make: Any, server: Server, tmp_path: Path, fault: Any, reasons: set[str]
) -> None:
    server.routes["/always"] = fault
    server.routes["/once"] = sequence(fault, ok(JPEG))
    cache = DiskCache(tmp_path)
    fetcher = make(max_trials=3, cache=cache)
    error = failure(fetcher, server.url("/always"))
    assert error.reason in reasons
    assert server.requests["/always"] == 3
    assert cache.get(server.url("/always")) is None
    assert fetcher.fetch(server.url("/once")) == JPEG
    assert server.requests["/once"] == 2
    assert cache.get(server.url("/once")) == JPEG


def test_what_is_not(make: Any, server: Server) -> None:
    for code in (400, 401, 403, 404, 410, 304):
        path = f"/{code}"
        server.routes[path] = status(code, body=b"" if code == 304 else b"no such thing")
        error = failure(make(), server.url(path))
        assert (error.reason, error.status) == (f"http_{code}", code)
        assert server.requests[path] == 1


def test_nobody_listens(make: Any) -> None:
    with Server() as server:
        url = server.url("/a")
    fetcher = make(max_trials=2)
    assert failure(fetcher, url).reason == "refused"
    assert fetcher.stats()["transfers"] == 2


def test_a_name_that_does_not_exist(make: Any) -> None:
    assert failure(make(max_trials=1), "http://no-such-host.invalid/a.jpg").reason == "dns"


def test_no_http_at_all(make: Any, server: Server) -> None:
    def nonsense(exchange: Any) -> None:
        exchange.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        exchange.keep = False

    server.routes["/a"] = nonsense
    assert failure(make(), server.url("/a")).reason == "protocol"
    assert server.requests["/a"] == 1


CAP = 1 << 20


@pytest.mark.parametrize(
    "route",
    [endless, gzip_bomb(64 << 20), ok(bytes(CAP + 1)), chunked(bytes(CAP + 1), 8192)],
    ids=["endless", "bomb", "announced", "chunked"],
)
def test_bodies_beyond_the_cap(make: Any, server: Server, tmp_path: Path, route: Any) -> None:
    server.routes["/a"] = route
    cache = DiskCache(tmp_path)
    error = failure(make(max_bytes=CAP, cache=cache), server.url("/a"))
    assert error.reason == "too_large"
    assert server.requests["/a"] == 1
    assert cache.get(server.url("/a")) is None


def test_bodies_of_the_size_of_the_cap(make: Any, server: Server) -> None:
    server.routes["/a"] = ok(bytes(CAP))
    server.routes["/b"] = chunked(bytes(CAP), 8192)
    fetcher = make(max_bytes=CAP)
    assert fetcher.fetch(server.url("/a")) == bytes(CAP)
    assert fetcher.fetch(server.url("/b")) == bytes(CAP)


def test_compression_that_nobody_asked_for(make: Any, server: Server) -> None:
    server.routes["/bomb"] = gzip_bomb(1 << 20)
    server.routes["/damaged"] = ok(b"\x1f\x8b" + bytes(100), Content_Encoding="gzip")
    server.routes["/file"] = ok(b"\x1f\x8b" + bytes(100), "application/gzip")
    fetcher = make()
    assert fetcher.fetch(server.url("/bomb")) == bytes(1 << 20)
    assert fetcher.fetch(server.url("/file")) == b"\x1f\x8b" + bytes(100)
    assert "gzip" not in server.seen[0].headers.get("accept-encoding", "")
    assert failure(fetcher, server.url("/damaged")).reason == "encoding"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("file:///etc/passwd", "blocked"),
        ("gopher://127.0.0.1/", "blocked"),
        ("ftp://127.0.0.1/", "blocked"),
        ("http://169.254.169.254/latest/meta-data/", "blocked"),
        ("http://[::ffff:169.254.169.254]/", "blocked"),
        ("http://[fe80::1]/", "blocked"),
        ("http://a b/", "bad_url"),
    ],
)
def test_redirects_that_lead_nowhere_good(
    make: Any, server: Server, target: str, reason: str
) -> None:
    server.routes["/a"] = redirect(target)
    start = time.monotonic()
    assert failure(make(), server.url("/a")).reason == reason
    assert server.requests["/a"] == 1
    assert time.monotonic() - start < patient(2)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "0x7f000001", "[::ffff:127.0.0.1]"])
@pytest.mark.parametrize("connected", [False, True])
def test_no_redirect_from_a_public_host_to_a_private_one(
    make: Any, server: Server, other: Server, name: str, connected: bool
) -> None:
    # 127.0.0.2 passes for a public address here; with real ones: test_http_networks.py
    fetcher = make(is_private=lambda address: address != "127.0.0.2")
    server.routes["/secret"] = ok(JPEG)
    target = server.url("/secret").replace("127.0.0.1", name)
    other.routes["/a"] = redirect(target)
    if connected:
        # Then there is an open connection, which needs no connecting.
        assert fetcher.fetch(target) == JPEG
    before = server.connections, server.requests["/secret"]
    assert failure(fetcher, other.url("/a")).reason == "blocked"
    assert (server.connections, server.requests["/secret"]) == before


def test_redirects_that_are_fine(make: Any, server: Server, other: Server) -> None:
    fetcher = make(is_private=lambda address: address != "127.0.0.2")
    server.routes["/to-private"] = redirect("/image?a=1")
    server.routes["/to-public"] = redirect(other.url("/image"), 307)
    server.routes["/image"] = other.routes["/image"] = ok(JPEG)
    other.routes["/within"] = redirect("image", 301)
    for url in (server.url("/to-private"), server.url("/to-public"), other.url("/within")):
        assert fetcher.fetch(url) == JPEG
    assert fetcher.stats()["retries"] == 0


def test_a_redirect_loop(make: Any, server: Server) -> None:
    server.routes["/a"] = redirect("/b")
    server.routes["/b"] = redirect("/a")
    assert failure(make(max_redirects=5), server.url("/a")).reason == "redirects"
    assert server.requests["/a"] + server.requests["/b"] == 6


def test_a_trial_after_a_redirect_starts_at_the_beginning(make: Any, server: Server) -> None:
    server.routes["/a"] = redirect("/b")
    server.routes["/b"] = sequence(status(500), ok(JPEG))
    assert make().fetch(server.url("/a")) == JPEG
    assert server.requests == {"/a": 2, "/b": 2}


def test_secrets_stay_with_their_host(make: Any, server: Server, other: Server) -> None:
    server.routes["/a"] = redirect(other.url("/b"))
    other.routes["/b"] = redirect(server.url("/c"))
    server.routes["/c"] = server.routes["/d"] = ok(JPEG)
    headers = {"Authorization": "Bearer s3cret", "cookie": "a=b", "X-Kind": "test"}
    fetcher = make(headers=headers, concurrency=1)
    fetcher.fetch(server.url("/a"))
    fetcher.fetch(server.url("/d"))
    first, abroad, back, direct = server.seen[0], other.seen[0], *server.seen[1:]
    assert first.headers["authorization"] == direct.headers["authorization"] == "Bearer s3cret"
    assert all(exchange.headers["x-kind"] == "test" for exchange in (first, abroad, back, direct))
    for exchange in (abroad, back):
        assert not {"authorization", "cookie"} & set(exchange.headers)
    with pytest.raises(FetchError) as caught:
        fetcher.fetch(server.url("/e?token=s3cret").replace("//", "//me:s3cret@"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["self-signed", "expired", "other name"])
def test_certificates_that_are_not_to_be_trusted(make: Any, tmp_path: Path, kind: str) -> None:
    days = (-3, -1) if kind == "expired" else (-1, 1)
    address = "127.0.0.9" if kind == "other name" else "127.0.0.1"
    pem = certificate(tmp_path, "elsewhere", days=days, address=address)
    with Server(tls=pem) as server:
        server.routes["/a"] = ok(JPEG)
        # The last two are trusted, so that nothing else is wrong with them.
        policy = {} if kind == "self-signed" else {"cainfo": str(pem)}
        start = time.monotonic()
        assert failure(make(**policy), server.url("/a")).reason == "tls"
        assert time.monotonic() - start < patient(2)
        assert server.connections == 1, "no second trial, no insecure fallback"
        assert not server.requests


def test_a_private_authority(make: Any, tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    with Server(tls=pem) as server:
        server.routes["/a"] = ok(JPEG)
        assert make(cainfo=str(pem)).fetch(server.url("/a")) == JPEG
