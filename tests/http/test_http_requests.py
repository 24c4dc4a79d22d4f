"""What requests look like to servers, and what answers say of their bodies."""

from __future__ import annotations

import base64
import gzip
import queue
import subprocess
import sys
import textwrap
import time
import zlib
from pathlib import Path
from typing import Any

import brotli
import pycurl
import pytest
from patience import patient
from servers import JPEG, Server, certificate, ok, redirect, sequence, status

import dataflow
from dataflow.errors import ConfigError, DatapointError, FetchError
from dataflow.http import FetchPolicy, make_fetcher
from dataflow.image.decode import check_image


def fetch_all(fetcher: Any, urls: list[str]) -> list[Any]:
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for url in urls:
        fetcher.submit(url, answers.put)
    return [answers.get(timeout=patient(20)) for _ in urls]


# -- who asks ---------------------------------------------------------------------------------


def test_the_user_agent(make: Any, server: Server) -> None:
    server.routes["/a"] = ok(JPEG)
    for policy in ({}, {"contact": "me@example.org"}, {"user_agent": "crawler/1", "contact": "x"}):
        make(**policy).fetch(server.url("/a"))
    name = f"dataflow-feeder/{dataflow.__version__}"
    agents = [exchange.headers["user-agent"] for exchange in server.seen]
    assert agents == [name, f"{name} (+me@example.org)", "crawler/1 (+x)"]


def login(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_auth(make: Any, server: Server, other: Server) -> None:
    server.routes["/a"] = ok(JPEG)
    server.routes["/b"] = redirect(other.url("/c"))
    other.routes["/c"] = ok(JPEG)
    fetcher = make(auth=("mé", "s3cret:x"))
    fetcher.fetch(server.url("/a"))
    fetcher.fetch(server.url("/b"))
    fetcher.fetch(server.url("/a").replace("//", "//you:pw@"))
    sent = [exchange.headers.get("authorization") for exchange in server.seen]
    assert sent[1] == sent[0] and sent[2] == login("you", "pw"), "that of the URL comes first"
    assert base64.b64decode(sent[0].split()[1]).decode("utf-8", "replace").endswith(":s3cret:x")
    assert "authorization" not in other.seen[0].headers


def test_a_login_stays_on_its_host(make: Any, server: Server, other: Server) -> None:
    server.routes["/a"] = redirect("/b")
    server.routes["/b"] = ok(JPEG)
    server.routes["/away"] = redirect(other.url("/c"))
    other.routes["/c"] = redirect(server.url("/b"))
    fetcher = make()
    fetcher.fetch(server.url("/a").replace("//", "//me:pw@"))
    assert [e.headers.get("authorization") for e in server.seen] == [login("me", "pw")] * 2
    server.seen.clear()
    fetcher.fetch(server.url("/away").replace("//", "//me:pw@"))
    assert [e.headers.get("authorization") for e in server.seen] == [login("me", "pw"), None]
    assert "authorization" not in other.seen[0].headers


def test_a_secret_that_is_the_only_header_stays_with_its_host(
    make: Any, server: Server, other: Server
) -> None:
    server.routes["/a"] = redirect(other.url("/b"))
    other.routes["/b"] = ok(JPEG)
    make(headers={"Authorization": "Bearer s3cret"}, concurrency=1).fetch(server.url("/a"))
    assert server.seen[0].headers["authorization"] == "Bearer s3cret"
    assert "authorization" not in other.seen[0].headers


def test_netrc(server: Server, other: Server, tmp_path: Path) -> None:
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login me password pw\n")
    for one in (server, other):
        one.routes["/a"] = ok(JPEG)
    with make_fetcher(FetchPolicy(netrc=path), concurrency=1) as fetcher:
        fetcher.fetch(server.url("/a"))
        fetcher.fetch(other.url("/a"))
    assert server.seen[0].headers["authorization"] == login("me", "pw")
    assert "authorization" not in other.seen[0].headers


@pytest.mark.parametrize("set_by", ["policy", "environment", "neither"])
def test_proxies(
    make: Any, server: Server, other: Server, set_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second server is the proxy, which is asked for whole URLs."""
    server.routes["/a"] = ok(JPEG)
    other.routes[server.url("/a")] = ok(JPEG + b"by the proxy")
    if set_by != "policy":
        monkeypatch.setenv("http_proxy", other.url(""))
    policy = {"policy": {"proxy": other.url("")}, "environment": {}, "neither": {"proxy": ""}}
    body = make(**policy[set_by]).fetch(server.url("/a"))
    assert body == (JPEG if set_by == "neither" else JPEG + b"by the proxy")


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_authorities_of_the_environment(
    make: Any, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path)
    for other_name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(other_name, raising=False)
    monkeypatch.setenv(name, str(pem))
    with Server(tls=pem) as server:
        server.routes["/a"] = ok(JPEG)
        assert make().fetch(server.url("/a")) == JPEG


def test_a_folder_of_authorities(tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    folder = tmp_path / "authorities"
    folder.mkdir()
    (folder / "one.pem").write_bytes(pem.read_bytes())
    ran = subprocess.run(["openssl", "rehash", folder], check=False, capture_output=True)
    if ran.returncode:
        pytest.skip("needs openssl rehash")
    with Server(tls=pem) as server:
        server.routes["/a"] = ok(JPEG)
        with make_fetcher(FetchPolicy(cainfo=folder), concurrency=1) as fetcher:
            assert fetcher.fetch(server.url("/a")) == JPEG


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        ({"auth": "me:pw"}, "auth is not a pair"),
        ({"auth": ("a:b", "c")}, "without a colon"),
        ({"proxy": "host:3128"}, 'such as "http://host:3128"'),
        ({"proxy": "ftp://host"}, "must begin with one of http"),
        ({"netrc": "/no/such/file"}, "netrc='/no/such/file' cannot be read"),
        ({"cainfo": "/no/such/file"}, "cainfo='/no/such/file' cannot be read"),
        ({"max_per_host": 0}, "max_per_host=0"),
        ({"pause_per_host": -1}, "pause_per_host=-1"),
        ({"contact": "a\nb"}, "contact is not text"),
    ],
)
def test_arguments(policy: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        FetchPolicy(**policy)


def test_secrets_are_not_shown() -> None:
    policy = FetchPolicy(
        auth=("me", "s3cret"), proxy="http://me:s3cret@host:1", headers={"Authorization": "s3cret"}
    )
    assert "s3cret" not in repr(policy)


# -- how often --------------------------------------------------------------------------------


def test_a_bound_for_each_host(make: Any, server: Server, other: Server) -> None:
    at_once = {"most": 0, "now": 0}

    def counting(exchange: Any) -> None:
        at_once["now"] += 1
        at_once["most"] = max(at_once["most"], at_once["now"])
        exchange.pause(0.05)
        at_once["now"] -= 1
        ok(JPEG)(exchange)

    server.routes.update({f"/{i}": counting for i in range(12)})
    other.routes.update({f"/{i}": ok(JPEG) for i in range(12)})
    fetcher = make(concurrency=8, max_per_host=2)
    urls = [one.url(f"/{i}") for i in range(12) for one in (server, other)]
    assert fetch_all(fetcher, urls) == [JPEG] * 24
    assert at_once["most"] == 2


def test_a_pause_for_each_host(make: Any, server: Server, other: Server) -> None:
    times: list[float] = []

    def noting(exchange: Any) -> None:
        times.append(time.monotonic())
        ok(JPEG)(exchange)

    server.routes.update({f"/{i}": noting for i in range(5)})
    other.routes.update({f"/{i}": ok(JPEG) for i in range(5)})
    fetcher = make(concurrency=8, pause_per_host=0.2)
    urls = [one.url(f"/{i}") for i in range(5) for one in (server, other)]
    assert fetch_all(fetcher, urls) == [JPEG] * 10
    assert times[-1] - times[0] > 0.7
    assert fetch_all(fetcher, [server.url("/0")]) == [JPEG]


def test_what_is_under_way_is_not_got_twice(make: Any, server: Server) -> None:
    def slow(exchange: Any) -> None:
        exchange.pause(0.3)
        ok(JPEG)(exchange)

    server.routes["/a"] = slow
    fetcher = make()
    assert fetch_all(fetcher, [server.url("/a"), server.url("/a#x")] * 3) == [JPEG] * 6
    assert server.requests["/a"] == 1
    stats = fetcher.stats()
    assert (stats["done"], stats["bytes"]) == (6, len(JPEG))
    errors = fetch_all(fetcher, [server.url("/gone")] * 3)
    assert {error.reason for error in errors} == {"http_404"}
    assert fetcher.stats()["errors"] == {"http_404": 3}


# -- what is sent back ------------------------------------------------------------------------


def cookie(target: str, *cookies: str) -> Any:
    def route(exchange: Any) -> None:
        head = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n"
        exchange.send((head + "".join(f"Set-Cookie: {c}\r\n" for c in cookies) + "\r\n").encode())

    return route


def test_cookies_of_a_redirect_come_back_within_it(server: Server, other: Server) -> None:
    server.routes["/a"] = cookie("/b", "seen=1; Path=/", "k=v; Path=/")
    server.routes["/b"] = cookie("/c", "more=2; Path=/")
    server.routes["/c"] = ok(JPEG)
    server.routes["/away"] = cookie(other.url("/c"), "seen=1; Path=/")
    other.routes["/c"] = ok(JPEG)
    with make_fetcher(concurrency=1) as fetcher:
        fetcher.fetch(server.url("/a"))
        first, second, third = (e.headers.get("cookie", "") for e in server.seen)
        assert first == "" and set(second.split("; ")) == {"seen=1", "k=v"}
        assert set(third.split("; ")) == {"seen=1", "k=v", "more=2"}
        fetcher.fetch(server.url("/c"))
        assert "cookie" not in server.seen[-1].headers, "the next download knows nothing of them"
        fetcher.fetch(server.url("/away"))
        assert "cookie" not in other.seen[0].headers


# -- how bodies are packed --------------------------------------------------------------------


def needs(encoding: str) -> None:
    if "br" in encoding and "brotli" not in pycurl.version:
        pytest.skip("this libcurl knows no brotli")


def bare_deflate(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(data) + deflate.flush()


@pytest.mark.parametrize("kind", ["image/jpeg", "application/octet-stream", None])
@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("X-GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", bare_deflate),
        ("br", brotli.compress),
        ("gzip, br", lambda data: brotli.compress(gzip.compress(data))),
        ("identity", bytes),
    ],
)
def test_the_encoding_is_what_the_header_says(
    make: Any, server: Server, encoding: str, pack: Any, kind: str | None
) -> None:
    needs(encoding)
    headers = {"Content-Encoding": encoding} | ({"Content-Type": kind} if kind else {})
    server.routes["/a"] = status(200, headers, pack(JPEG * 5))
    assert make().fetch(server.url("/a")) == JPEG * 5


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [
        ("gzip", gzip.compress(JPEG * 9)[:30] + bytes(40), "encoding"),
        ("deflate", zlib.compress(JPEG * 9)[:20] + bytes(40), "encoding"),
        ("br", b"no brotli at all", "encoding"),
        ("nonsense", b"anything", "encoding"),
        ("gzip", JPEG, "encoding"),
        ("gzip", gzip.compress(bytes(2 << 20)), "too_large"),
        ("deflate", zlib.compress(bytes(2 << 20)), "too_large"),
        ("br", brotli.compress(bytes(2 << 20)), "too_large"),
    ],
)
def test_what_cannot_be_unpacked(
    make: Any, server: Server, encoding: str, body: bytes, reason: str
) -> None:
    needs(encoding)
    server.routes["/a"] = status(200, {"Content-Encoding": encoding}, body)
    with pytest.raises(FetchError) as caught:
        make(max_bytes=1 << 20).fetch(server.url("/a"))
    assert caught.value.reason == reason


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, brotli.compress])
def test_what_ends_early_is_no_whole_image(make: Any, server: Server, pack: Any) -> None:
    """libcurl hands out what it could unpack, without a word."""
    encoding = {gzip.compress: "gzip", zlib.compress: "deflate", brotli.compress: "br"}[pack]
    needs(encoding)
    noise = bytes(range(256)) * 8
    body = pack(JPEG[:-2] + noise + JPEG[-2:])
    server.routes["/a"] = status(200, {"Content-Encoding": encoding}, body[: len(body) // 2])
    with pytest.raises(DatapointError) as caught:
        make(check=check_image).fetch(server.url("/a"))
    assert caught.value.reason in ("encoding", "truncated", "not_image")


def test_without_brotli_the_error_says_what_to_install() -> None:
    script = """
        import sys
        sys.modules["brotli"] = None
        from dataflow.errors import FetchError
        from dataflow.http.body import Answer, accept
        from dataflow.http.jobs import Job
        from dataflow.http import FetchPolicy
        job = Job("http://h/a", print)
        try:
            accept(job, b"x", Answer(200, None, ["br"], []), policy=FetchPolicy(), check=None)
        except FetchError as error:
            print(error)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, text=True, check=True, timeout=patient(60),
    )  # fmt: skip
    assert "pip install brotli" in ran.stdout


# -- what must not be used --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "refused"),
    [
        ("noai", True),
        ("noarchive, NoImageAI", True),
        ("noindex", True),
        ("dataflow-feeder: noimageindex", True),
        ("googlebot: noai", False),
        ("all", False),
        ("noarchive", False),
    ],
)
def test_opt_outs(make: Any, server: Server, mark: str, refused: bool) -> None:
    server.routes["/a"] = status(200, {"X-Robots-Tag": mark}, JPEG)
    assert make().fetch(server.url("/a")) == JPEG, "unless asked for, they do not count"
    fetcher = make(respect_opt_outs=True)
    if not refused:
        assert fetcher.fetch(server.url("/a")) == JPEG
        return
    with pytest.raises(DatapointError, match="X-Robots-Tag says no") as caught:
        fetcher.fetch(server.url("/a"))
    assert caught.value.reason == "opted_out"


def test_headers_before_a_redirect_do_not_count(make: Any, server: Server) -> None:
    server.routes["/a"] = status(302, {"Location": "/b", "X-Robots-Tag": "noai"})
    server.routes["/b"] = ok(JPEG)
    assert make(respect_opt_outs=True).fetch(server.url("/a")) == JPEG


def test_a_pause_in_an_answer_is_read_with_any_libcurl(make: Any, server: Server) -> None:
    server.routes["/a"] = sequence(status(503, {"rETRY-aFTER": " 1 "}), ok(JPEG))
    begun = time.monotonic()
    assert make().fetch(server.url("/a")) == JPEG
    assert time.monotonic() - begun >= 1
