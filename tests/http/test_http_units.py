"""The parts that need no network: policy, addresses, URLs, and the schedule of trials."""

from __future__ import annotations

import ast
import pickle
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from patience import patient

import dataflow.http
from dataflow.errors import ConfigError, FetchError
from dataflow.http import REASONS, FetchPolicy, is_private
from dataflow.http.addresses import is_forbidden
from dataflow.http.easy_handle import _REASONS as CURL_REASONS
from dataflow.http.easy_handle import _capped
from dataflow.http.jobs import Job
from dataflow.http.retry import Schedule, parse_retry_after
from dataflow.http.urls import BadURLError, parse, shown

BAD_ARGUMENTS: list[tuple[str, Any]] = [
    ("timeout", 0),
    ("timeout", float("nan")),
    ("timeout", 1e9),
    ("timeout", "30"),
    ("connect_timeout", -1),
    ("stall_timeout", 0),
    ("max_trials", 0),
    ("max_trials", 2.0),
    ("max_bytes", 0),
    ("max_redirects", -1),
    ("retry_after_cap", -1),
    ("backoff", -0.1),
    ("backoff", True),
    ("user_agent", "a\r\nX: 1"),
    ("user_agent", "ä"),
    ("headers", {"X\n": "1"}),
    ("headers", {"": "1"}),
    ("headers", {"X": "1\r\nY: 2"}),
    ("headers", [("X", "1")]),
    ("cainfo", "/no/such/file.pem"),
    ("is_private", None),
]


def test_policy_arguments() -> None:
    for name, value in BAD_ARGUMENTS:
        with pytest.raises(ConfigError, match=name):
            FetchPolicy(**{name: value})


def test_a_policy_is_frozen_and_travels() -> None:
    policy = FetchPolicy(headers={"X": "1"}, timeout=3)
    assert pickle.loads(pickle.dumps(policy)) == policy
    with pytest.raises(AttributeError):
        policy.timeout = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        FetchPolicy(30.0)  # type: ignore[misc]


def test_reasons_are_documented_and_used() -> None:
    assert list(REASONS) == sorted(set(REASONS))
    source = Path(dataflow.http.policy.__file__).read_text()
    table = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    text = max((value for value in table if isinstance(value, str)), key=lambda v: v.count("===="))
    for reason in REASONS:
        assert f"\n{reason} " in text
    assert set(CURL_REASONS.values()) <= set(REASONS)


def test_exports() -> None:
    assert len(set(dataflow.http.__all__)) == len(dataflow.http.__all__)
    assert all(hasattr(dataflow.http, name) for name in dataflow.http.__all__)


PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fc00::1",
    "fe80::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "nonsense",
    "",
]
FORBIDDEN = [
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
]


def test_addresses() -> None:
    assert [a for a in PUBLIC if is_private(a) or is_forbidden(a)] == []
    assert [a for a in PRIVATE if not is_private(a)] == []
    assert [a for a in FORBIDDEN if not is_forbidden(a)] == []
    assert not is_forbidden("127.0.0.1")


URLS = [
    ("http://h/a.jpg", "http://h/a.jpg", "h"),
    ("HTTPS://Host:8080?x=1", "HTTPS://Host:8080?x=1", "host:8080"),
    ("http://me:p%40ss@h_1/a", "http://me:p%40ss@h_1/a", "h_1"),
    ("http://[::1]:80/a", "http://[::1]:80/a", "[::1]:80"),
    (
        "http://bücher.de/ü?ü#ü",
        "http://xn--bcher-kva.de/%C3%BC?%C3%BC#%C3%BC",
        "xn--bcher-kva.de",
    ),
    ("http://h/a b\\c", "http://h/a%20b%5Cc", "h"),
    ("\ufeff http://h/a\r\n", "http://h/a", "h"),
    ("\thttp://h/a \u3000", "http://h/a", "h"),
    ("http://h:/a", "http://h/a", "h"),
    ("http://me:@h:/a", "http://me:@h/a", "h"),
    ("http://faß.de:81/", "http://xn--fa-hia.de:81/", "xn--fa-hia.de:81"),
    ("http://BÜCHER.example/", "http://xn--bcher-kva.example/", "xn--bcher-kva.example"),
    ("http://☃.net/", "http://xn--n3h.net/", "xn--n3h.net"),
]


def test_urls() -> None:
    for url, sent, host in URLS:
        assert parse(url) == (sent, host)


BAD_URLS: list[Any] = [
    "",
    "a.jpg",
    "//h/a",
    "ftp://h/a",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "http://",
    "http:///a",
    "http://h:0/",
    "http://h:65536/",
    "http://h:x/",
    "http:/h",
    "http:h/a",
    "http://:/",
    "http://a b/",
    "http://a%2eb/",
    "http://good\\@evil/",
    "http://[::1/",
    "http://h/\na",
    "http://h\t/",
    " \ufeff\n",
    "http://h/" + "a" * 70_000,
    "http://\udcff/",
    "http://h/\udcff",
    None,
    b"http://h/",
]


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(BadURLError, match="no // after http:"):
        parse("http:/h/a.jpg")
    with pytest.raises(BadURLError, match="nothing but white space"):
        parse("\n")


def test_bad_urls() -> None:
    for url in BAD_URLS:
        with pytest.raises(BadURLError):
            parse(url)
        error = Job(url, lambda result: None).problem
        assert error is not None, url
        assert error.reason == "bad_url"


def test_long_hostile_urls_are_refused_quickly() -> None:
    start = time.monotonic()
    for piece in ("a", "%41", "a%41", "a.", "@", ":"):
        with pytest.raises(BadURLError):
            parse("http://" + piece * 20_000 + '"\\')
            parse("http://h/" + piece * 20_000 + "\x00")
    assert time.monotonic() - start < patient(2)


def test_shown_urls_keep_secrets() -> None:
    assert shown("https://me:p@ss@h/a?token=1#x") == "https://***@h/a?..."
    assert "\n" not in shown("http://h/\n")
    assert len(shown("http://h/" + "a" * 5000)) <= 200
    assert shown(None) == "None"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def scheduled(**policy: Any) -> tuple[Schedule, Clock]:
    clock = Clock()
    return Schedule(FetchPolicy(**policy), clock=clock, draw=lambda low, high: high), clock


def job(name: str = "http://h/a") -> Job:
    return Job(name, lambda result: None)


def pop(schedule: Schedule) -> Any:
    item = schedule.pop()
    if item and item[1]:
        schedule.settled(item[0])
    return item and (item[0].url, item[1] and item[1].reason)


def test_waits_double_up_to_a_limit() -> None:
    schedule, clock = scheduled(backoff=1.0, max_trials=8, timeout=1000.0)
    one = job()
    waits = []
    while True:
        schedule.begin(one)
        if schedule.failed(one, one.error("reset", "x")) is not None:
            break
        wait = schedule.wait()
        assert wait is not None
        waits.append(wait)
        assert schedule.pop() is None
        clock.now += wait
        assert schedule.pop() == (one, None)
    assert waits == [1, 2, 4, 8, 10, 10, 10]


def test_no_trial_begins_after_the_deadline() -> None:
    schedule, clock = scheduled(backoff=1.0, timeout=2.5)
    one = job()
    assert schedule.begin(one) == 2.5
    assert schedule.failed(one, one.error("reset", "x")) is None
    clock.now += 1
    schedule.pop()
    assert schedule.begin(one) == 1.5
    error = one.error("reset", "x")
    assert schedule.failed(one, error) is error
    clock.now += 2
    assert schedule.begin(one) == 0


def test_a_paused_host_keeps_its_order() -> None:
    schedule, clock = scheduled(backoff=0.0)
    first = job("http://h/1")
    schedule.begin(first)
    assert schedule.failed(first, first.error("http_503", "x", 503), retry_after=5) is None
    for name in ("http://h/2", "http://other/3", "http://h:80/4", "http://h/5"):
        schedule.push(job(name))
    assert pop(schedule) == ("http://other/3", None)
    assert pop(schedule) == ("http://h:80/4", None), "another port may be another server"
    assert pop(schedule) is None
    assert schedule.wait() == 5
    clock.now += 5
    assert [pop(schedule) for _ in range(4)] == [
        ("http://h/1", None),
        ("http://h/2", None),
        ("http://h/5", None),
        None,
    ]


def test_pauses_do_not_count_towards_the_deadline() -> None:
    schedule, clock = scheduled(timeout=30.0, backoff=0.0)
    one, other = job("http://h/1"), job("http://h/2")
    for waiting in (one, other):
        schedule.begin(waiting)
    clock.now += 10
    assert schedule.failed(other, other.error("reset", "x")) is None
    assert schedule.failed(one, one.error("http_429", "x", 429), retry_after=55) is None
    assert pop(schedule) is None
    clock.now += 55
    assert sorted(pop(schedule)[0] for _ in range(2)) == ["http://h/1", "http://h/2"]
    assert schedule.begin(one) == schedule.begin(other) == 20


def test_a_refused_host_comes_back() -> None:
    schedule, clock = scheduled(retry_after_cap=60.0, timeout=100.0)
    one = job()
    schedule.begin(one)
    error = schedule.failed(one, one.error("http_429", "x", 429), retry_after=100)
    assert error is not None
    assert (error.reason, error.status) == ("retry_after", 429)
    schedule.push(job())
    assert pop(schedule) == ("http://h/a", "retry_after")
    clock.now += 50
    schedule.push(job())
    assert pop(schedule) is None, "the rest of the pause can be waited for"
    clock.now += 50
    assert pop(schedule) == ("http://h/a", None)


def test_only_answers_that_say_busy_pause_a_host() -> None:
    schedule, _ = scheduled()
    one = job()
    schedule.begin(one)
    error = one.error("http_404", "x", 404)
    assert schedule.failed(one, error, retry_after=5) is error
    schedule.push(job())
    assert pop(schedule) == ("http://h/a", None)


def test_retry_after_headers() -> None:
    assert parse_retry_after("2") == 2
    assert parse_retry_after(" 120 ") == 120
    for bad in (None, "", "soon", "-1", "1.5", "²", "Mon, 99 Foo 2000"):
        assert parse_retry_after(bad) is None
    ahead = parse_retry_after(formatdate(time.time() + 10, usegmt=True))
    assert ahead is not None
    assert 8 < ahead <= 10
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_errors_name_what_was_wrong() -> None:
    one = job("http://me:pw@h/a?secret")
    one.trial = 3
    error = one.error("http_500", "the server answered with status 500", 500)
    assert isinstance(error, FetchError)
    text = "http://***@h/a?...: the server answered with status 500 (trial 3)"
    assert str(error) == text
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.reason, copy.status, copy.url) == (text, "http_500", 500, one.url)


def test_the_cap_of_older_libcurls() -> None:
    parts: list[bytes] = []
    write = _capped(parts, 10)
    assert write(b"12345") is None
    assert write(b"67890") is None
    assert write(b"x") == -1
    assert b"".join(parts) == b"1234567890"
