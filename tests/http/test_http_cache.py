"""The cache: nothing half-written is ever read, whatever happens to disks and processes."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import JPEG, Server, ok, status

from dataflow.errors import ConfigError, FetchError
from dataflow.http import DiskCache

URL = "http://host/{}.jpg"


def body_of(index: int, size: int = 50_000) -> bytes:
    return random.Random(index).randbytes(size)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "ledger"]


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in files(folder))


def writer(folder: Path, *, count: int, max_bytes: int | None = None) -> subprocess.Popen[str]:
    """A process that writes bodies over and over, and says when it has begun."""
    script = (
        "import random, sys\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from dataflow.http import DiskCache\n"
        f"cache = DiskCache({str(folder)!r}, max_bytes={max_bytes!r})\n"
        f"bodies = [random.Random(i).randbytes(50_000) for i in range({count})]\n"
        "for turn in range(10**9):\n"
        "    for i, body in enumerate(bodies):\n"
        f"        cache.put({URL!r}.format(i), body)\n"
        "    if turn == 0: print('begun', flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_bodies_come_back(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "deep" / "cache")
    assert cache.get(URL) is None
    for body in (b"", b"x", body_of(1)):
        cache.put(URL, body)
        assert cache.get(URL) == body
        assert DiskCache(cache.folder).get(URL) == body


def test_odd_urls_stay_inside(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    cache = DiskCache(folder)
    odd = ["../../etc/passwd", "http://h/../../x", "/etc/passwd", "a\0b", "x" * 5000, "é\udcff", ""]
    for index, url in enumerate(odd):
        cache.put(url, body_of(index))
    assert [cache.get(url) for url in odd] == [body_of(index) for index in range(len(odd))]
    assert len(files(tmp_path)) == len(files(folder)) == len(odd)


def test_damaged_files_are_not_read(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path)
    cache.put(URL, body_of(1))
    (path,) = files(tmp_path)
    good = path.read_bytes()
    for bad in (b"", good[:10], good[:-1], good + b"x", bytes(len(good)), good[:-1] + b"\0"):
        path.write_bytes(bad)
        assert cache.get(URL) is None
    cache.put(URL, body_of(1))
    assert cache.get(URL) == body_of(1)


def test_killed_while_writing(tmp_path: Path) -> None:
    for attempt in range(6):
        process = writer(tmp_path, count=5)
        time.sleep(random.Random(attempt).uniform(0, 0.02))  # somewhere within a write
        kill(process)
        cache = DiskCache(tmp_path)
        assert [cache.get(URL.format(i)) for i in range(5)] == [body_of(i) for i in range(5)]
    left = list((tmp_path / "drafts").iterdir())
    for draft in left:
        os.utime(draft, (1, 1))
    DiskCache(tmp_path)
    assert not list((tmp_path / "drafts").iterdir()), "old drafts are swept"


@pytest.mark.parametrize("max_bytes", [None, 300_000])
def test_two_writers_and_a_reader(tmp_path: Path, max_bytes: int | None) -> None:
    processes = [writer(tmp_path, count=10, max_bytes=max_bytes) for _ in range(2)]
    try:
        cache = DiskCache(tmp_path, max_bytes=max_bytes)
        bodies = [body_of(i) for i in range(10)]
        hits = 0
        for turn in range(500):
            found = cache.get(URL.format(turn % 10))
            assert found is None or found == bodies[turn % 10]
            hits += found is not None
        assert hits > (490 if max_bytes is None else 10)
    finally:
        for process in processes:
            kill(process)
    if max_bytes is not None:
        # Each process can have died between moving one file and writing it down.
        assert size_of(tmp_path) <= max_bytes + 4 * 50_100


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, max_bytes=10 * 50_030)
    for index in range(10):
        cache.put(URL.format(index), body_of(index))
        # The file system's clock may be coarser than our writes.
        os.utime(max(files(tmp_path), key=lambda path: path.stat().st_mtime), (index, index))
    assert size_of(tmp_path) == 10 * 50_030
    assert cache.get(URL.format(0)) == body_of(0)
    cache.put(URL.format(10), body_of(10))
    kept = [index for index in range(11) if cache.get(URL.format(index)) is not None]
    assert kept == [0, *range(4, 11)], "room for one body, and an eighth of the bound to spare"
    for index in range(100):
        cache.put(URL.format(index), body_of(index))
        assert size_of(tmp_path) <= 10 * 50_030


def test_large_caches_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataflow.http.cache._SAMPLE", 8)
    cache = DiskCache(tmp_path, max_bytes=100_000)
    for index in range(600):
        cache.put(URL.format(index), body_of(index, 984))
        if index % 50 == 0:
            assert size_of(tmp_path) <= 100_000
    assert size_of(tmp_path) > 70_000
    assert cache.get(URL.format(599)) is not None


def test_a_lost_ledger_is_made_up_for(tmp_path: Path) -> None:
    bound = 10 * 50_030
    cache = DiskCache(tmp_path, max_bytes=bound)
    for index in range(10):
        cache.put(URL.format(index), body_of(index))
    for damage in (None, b"", b"?", bytes(16), bytes(100)):
        ledger = tmp_path / "ledger"
        ledger.unlink() if damage is None else ledger.write_bytes(damage)
        cache.put(URL.format(11), body_of(11))
        assert 0 < size_of(tmp_path) <= bound


def test_bodies_larger_than_the_bound(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, max_bytes=1000)
    cache.put(URL, bytes(1000))
    assert cache.get(URL) is None
    assert not files(tmp_path)


def test_arguments(tmp_path: Path) -> None:
    bad: Any
    for bad in (0, -1, 1.5, True, "1"):
        with pytest.raises(ConfigError, match="max_bytes"):
            DiskCache(tmp_path, max_bytes=bad)


def test_the_folder_may_be_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    DiskCache("~/images").put("http://h/a", b"abc")
    assert (tmp_path / "images").is_dir()
    assert DiskCache(tmp_path / "images").get("http://h/a") == b"abc"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(
    make: Any, server: Server, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bodies = {f"/{i}": JPEG + body_of(i) for i in range(5)}
    server.routes.update({path: ok(body) for path, body in bodies.items()})
    cache = DiskCache(small_disk)
    fetcher = make(cache=cache)
    with caplog.at_level(logging.DEBUG, "dataflow"):
        for path, body in bodies.items():
            assert fetcher.fetch(server.url(path)) == body
    assert fetcher.stats()["done"] == 5
    # The last put comes before its callback, so all are done by now.
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "No space left" in caplog.text
    found = {path: cache.get(server.url(path)) for path in bodies}
    assert sum(body is not None for body in found.values()) == 2
    assert all(body in (None, bodies[path]) for path, body in found.items())
    assert not list((small_disk / "drafts").iterdir())


def test_a_folder_that_cannot_be_made(
    tmp_path: Path, make: Any, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    server.routes["/a"] = ok(JPEG)
    fetcher = make(cache=DiskCache(tmp_path / "file" / "cache"))
    assert fetcher.fetch(server.url("/a")) == fetcher.fetch(server.url("/a")) == JPEG
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_what_is_cached_is_not_downloaded(make: Any, server: Server, tmp_path: Path) -> None:
    server.routes["/a"] = ok(JPEG)
    fetcher = make(cache=DiskCache(tmp_path))
    assert [fetcher.fetch(server.url("/a")) for _ in range(20)] == [JPEG] * 20
    assert server.requests["/a"] == 1
    stats = fetcher.stats()
    assert (stats["done"], stats["cached"], stats["transfers"]) == (20, 19, 1)
    # What is not sent makes no other entry.
    for url in (f" {server.url('/a')}\n", server.url("/a#top"), "\ufeff" + server.url("/a")):
        assert fetcher.fetch(url) == JPEG
    assert server.requests["/a"] == 1


def conditional(bodies: list[bytes], *, etags: bool) -> Any:
    """A page that changes with each of the bodies; asked whether it has, it tells."""

    def route(exchange: Any) -> None:
        mark = f'"{bodies[-1][-1]}"' if etags else f"Mon, 0{bodies[-1][-1]} Jun 2026 10:00:00 GMT"
        name, asked = ("ETag", "if-none-match") if etags else ("Last-Modified", "if-modified-since")
        if exchange.headers.get(asked) == mark:
            status(304, {name: mark}, b"")(exchange)
        else:
            status(200, {name: mark}, bodies[-1])(exchange)

    return route


@pytest.mark.parametrize("etags", [True, False])
def test_old_ones_are_asked_about(make: Any, server: Server, tmp_path: Path, etags: bool) -> None:
    bodies = [JPEG + bytes([1])]
    server.routes["/a"] = conditional(bodies, etags=etags)
    url = server.url("/a")
    fetch = make(cache=DiskCache(tmp_path, max_age=0.0)).fetch
    assert fetch(url) == bodies[0] == fetch(url)
    names = {"if-none-match", "if-modified-since"}
    assert [len(names & one.headers.keys()) for one in server.seen] == [0, 1]
    bodies.append(JPEG + bytes([2]))
    assert fetch(url) == bodies[1] == fetch(url)
    assert make(cache=DiskCache(tmp_path, max_age=1000.0)).fetch(url) == bodies[1]
    assert make(cache=DiskCache(tmp_path)).fetch(url) == bodies[1]
    assert server.requests["/a"] == 4, "young ones, and without an age all, are not asked about"


def test_an_old_one_serves_where_nobody_answers(make: Any, server: Server, tmp_path: Path) -> None:
    server.routes["/a"] = ok(JPEG)
    fetcher = make(cache=DiskCache(tmp_path, max_age=0.0), max_trials=2)
    url = server.url("/a")
    assert fetcher.fetch(url) == JPEG
    server.routes["/a"] = status(503)
    assert fetcher.fetch(url) == JPEG
    assert fetcher.stats()["cached"] == 1 and not fetcher.stats()["errors"]
    server.routes["/a"] = status(404)
    with pytest.raises(FetchError, match="404"):
        fetcher.fetch(url)
    assert DiskCache(tmp_path).get(url) is None, "it is gone, and is kept no longer"


def test_bodies_of_the_version_before(tmp_path: Path) -> None:
    import struct
    import zlib

    cache = DiskCache(tmp_path)
    cache.put("http://h/a", JPEG)
    (path,) = files(tmp_path)
    path.write_bytes(struct.pack("<4sIQ", b"DFC1", zlib.crc32(JPEG), len(JPEG)) + JPEG)
    assert cache.get("http://h/a") == JPEG
    kept = DiskCache(tmp_path, max_age=1e9).kept("http://h/a")
    assert kept is not None and kept.stale, "nobody knows how old it is"


@pytest.mark.parametrize("max_age", [-1, "1", True])
def test_ages_that_cannot_be(tmp_path: Path, max_age: Any) -> None:
    with pytest.raises(ConfigError, match="max_age="):
        DiskCache(tmp_path, max_age=max_age)
