"""The embedded web server: real requests over real sockets."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from patience import patient

from dataflow.demo.server import serve

BODIES = {f"{index}.jpg": os.urandom(100_000 + index) for index in range(8)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.txt").write_text("secret")
    folder = outside / "public"
    (folder / "a b").mkdir(parents=True)
    for name, body in BODIES.items():
        (folder / name).write_bytes(body)
    (folder / "a b" / "ü.txt").write_text("deep")
    (folder / "empty.txt").touch()
    (folder / "big.bin").write_bytes(bytes(20_000_000))
    (folder / "leak.txt").symlink_to(outside / "secret.txt")
    return folder


@pytest.fixture(scope="module")
def base(folder: Path) -> Iterator[str]:
    with serve(folder) as url:
        yield url


def address(base: str) -> tuple[str, int]:
    parts = urlsplit(base)
    assert parts.hostname is not None and parts.port is not None
    return parts.hostname, parts.port


def get(base: str, path: str, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*address(base), timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def raw(base: str, request: bytes) -> bytes:
    """Send bytes, read until the server closes."""
    with socket.create_connection(address(base), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
    return answer


def gone(base: str, within: float = 3.0) -> bool:
    deadline = time.monotonic() + patient(within)
    while time.monotonic() < deadline:
        try:
            socket.create_connection(address(base), timeout=1).close()
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_many_at_once(base: str) -> None:
    def fetch(number: int) -> None:
        connection = http.client.HTTPConnection(*address(base), timeout=10)
        for step in range(20):
            name = f"{(number + step) % 8}.jpg"
            connection.request("GET", f"/{name}")
            answer = connection.getresponse()
            assert answer.getheader("Content-Type") == "image/jpeg"
            assert answer.read() == BODIES[name]
        connection.close()

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(fetch, range(32)))


def test_keep_alive(base: str) -> None:
    connection = http.client.HTTPConnection(*address(base), timeout=10)
    connection.connect()
    used = connection.sock
    for _ in range(3):
        connection.request("GET", "/0.jpg")
        connection.getresponse().read()
        assert connection.sock is used
    connection.close()


def test_pipelined_requests_are_answered_in_order(base: str) -> None:
    answer = raw(
        base,
        b"GET /0.jpg HTTP/1.1\r\nHost: x\r\n\r\n"
        b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
        b"GET /1.jpg HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    places = [answer.index(part) for part in (BODIES["0.jpg"], b"404", BODIES["1.jpg"])]
    assert places == sorted(places)


def test_what_is_there(base: str) -> None:
    assert get(base, "/a%20b/%C3%BC.txt") == (200, b"deep")
    assert get(base, "/empty.txt") == (200, b"")
    assert get(base, "/0.jpg?7") == (200, BODIES["0.jpg"])
    status, body = get(base, "/big.bin")
    assert (status, len(body)) == (200, 20_000_000)
    assert get(base, "/0.jpg", "HEAD") == (200, b"")


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/", "/a%20b", "/%ff", "/%00"]
    + [f"/{up}secret.txt" for up in ("../", "%2e%2e/", "..%2f", "..%5c", "a%20b/../../", "//../")]
    + ["/leak.txt", "//etc/passwd", "/../../../../../../../../etc/passwd"],
)
def test_nothing_else(base: str, path: str) -> None:
    status, body = get(base, path)
    assert (status, body) == (404, b"")


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"400"),
        (b"GET /0.jpg\r\n\r\n", b"400"),
        (b"\x16\x03\x01 garbage\r\n\r\n", b"400"),
        (b"DELETE /0.jpg HTTP/1.1\r\nConnection: close\r\n\r\n", b"405"),
    ],
)
def test_bad_requests(base: str, request_head: bytes, status: bytes) -> None:
    assert raw(base, request_head).startswith(b"HTTP/1.1 " + status)


def test_endless_head_is_cut_off(base: str) -> None:
    with pytest.raises((AssertionError, ConnectionError)):
        answer = raw(base, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000)
        assert answer
    assert get(base, "/empty.txt") == (200, b"")


@pytest.mark.alone
def test_latency_is_waited_for_by_all_at_once(folder: Path) -> None:
    with serve(folder, latency=0.2) as base:
        start = time.perf_counter()
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda _: get(base, "/0.jpg"), range(16)))
        seconds = time.perf_counter() - start
    assert 0.2 <= seconds < patient(1.2)


def test_only_this_machine(base: str) -> None:
    assert base.startswith("http://127.0.0.1:")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; tells this machine's own address
            own = probe.getsockname()[0]
        except OSError:
            pytest.skip("no network")
    if own.startswith("127."):
        pytest.skip("no other address")
    with pytest.raises(OSError):
        socket.create_connection((own, address(base)[1]), timeout=2).close()


def test_ends_with_the_block(folder: Path) -> None:
    with serve(folder) as base:
        assert get(base, "/empty.txt") == (200, b"")
    assert gone(base, within=0.2)


def test_ends_where_the_block_raises(folder: Path) -> None:
    with pytest.raises(KeyError), serve(folder) as base:
        raise KeyError
    assert gone(base, within=0.2)


HOLDER = """
import os, sys, time
from dataflow.demo.server import serve
with serve(sys.argv[1]) as base:
    if sys.argv[2] == "fork" and os.fork() == 0:
        time.sleep(30)  # holds the other end of the server's pipe
        os._exit(0)
    print(base, flush=True)
    time.sleep(30)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("how", ["plain", "fork"])
def test_dies_with_its_parent(folder: Path, how: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), how],
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    try:
        base = parent.stdout.readline().strip()
        assert get(base, "/empty.txt") == (200, b"")
        parent.kill()
        parent.wait()
        assert gone(base)
    finally:
        os.killpg(parent.pid, signal.SIGKILL) if how == "fork" else parent.kill()
        parent.stdout.close()


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError), serve(tmp_path / "nothing"):
        pass
    with pytest.raises(ValueError, match="latency=-1"), serve(tmp_path, latency=-1):
        pass
