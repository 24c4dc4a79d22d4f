"""Downloads of published files: mirrors, checksums, broken transfers, many processes at once."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from patience import patient
from published import md5, publish, ranged
from servers import Server, chunked, gzip_bomb, ok, redirect, reset_within, sequence, status

import dataflow as df
from dataflow.dataset import PublishedFile
from dataflow.dataset.download import mirrored, obtain

BODY = bytes(range(256)) * 500
NAME = "file.bin"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_downloaded_once(server: Server, tmp_path: Path) -> None:
    file = publish(server, NAME, BODY)
    folder = tmp_path / "new" / "folder"
    assert obtain(file, folder) == folder / NAME
    assert (folder / NAME).read_bytes() == BODY
    assert obtain(file, folder).read_bytes() == BODY
    assert server.requests == {f"/{NAME}": 1} and names(folder) == [NAME]


def test_what_is_there_is_used_as_it_is(server: Server, tmp_path: Path) -> None:
    file = PublishedFile((server.url(f"/{NAME}"),), md5(BODY))
    (tmp_path / NAME).write_bytes(b"packed anew by somebody")
    assert obtain(file, tmp_path).read_bytes() == b"packed anew by somebody"
    assert not server.requests


def test_what_has_not_the_published_size_is_downloaded_again(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = publish(server, NAME, BODY)
    (tmp_path / NAME).write_bytes(BODY[:1000])
    assert obtain(file, tmp_path).read_bytes() == BODY
    assert f"has not the published size of {len(BODY)}" in caplog.text
    (tmp_path / NAME).write_bytes(BODY[:1000])
    server.routes.clear()
    with pytest.raises(df.MissingData):
        obtain(file, tmp_path)
    assert (tmp_path / NAME).read_bytes() == BODY[:1000], "the user's own file stays"


@pytest.mark.parametrize(
    "first",
    [
        status(404),
        status(503),
        ok(b"<html>Please log in</html>", "text/html"),
        ok(b"", "text/plain"),
        ok(BODY[:-1] + b"!"),
        ok(BODY + b"!"),
        reset_within(BODY[:100]),
        redirect("file:///etc/passwd"),
        redirect("http://169.254.169.254/latest"),
    ],
)
def test_the_next_mirror(first, server: Server, tmp_path: Path) -> None:
    server.routes[f"/1/{NAME}"] = first
    server.routes[f"/2/{NAME}"] = ranged(BODY)
    file = mirrored((server.url("/1/"), server.url("/2/")), {NAME: md5(BODY)})[NAME]
    assert obtain(file, tmp_path).read_bytes() == BODY
    assert server.requests[f"/1/{NAME}"] == server.requests[f"/2/{NAME}"] == 1
    assert names(tmp_path) == [NAME]


def test_a_wrong_checksum_is_refused_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.routes[f"/{NAME}"] = ok(b"something else")
    file = PublishedFile((server.url(f"/{NAME}"),), md5(BODY))
    with pytest.raises(df.MissingData, match=rf"{NAME}.*its md5 is .*{tmp_path}"):
        obtain(file, tmp_path)
    assert server.requests[f"/{NAME}"] == 1 and names(tmp_path) == []
    publish(server, NAME, BODY)
    assert obtain(file, tmp_path).read_bytes() == BODY


def test_redirects_are_followed(server: Server, tmp_path: Path) -> None:
    file = publish(server, NAME, BODY)
    server.routes["/moved"] = redirect(f"/{NAME}", 301)
    server.routes["/round"] = redirect("/round")
    moved = PublishedFile((server.url("/round"), server.url("/moved")), file.checksum)
    assert obtain(moved, tmp_path).read_bytes() == BODY


def test_a_gzip_file_stays_one_whatever_the_server_calls_it(server: Server, tmp_path: Path) -> None:
    """Some servers declare the content of a .gz file as encoded, which clients would undo."""
    server.routes[f"/{NAME}"] = gzip_bomb(1 << 20)
    path = obtain(PublishedFile((server.url(f"/{NAME}"),)), tmp_path)
    assert path.read_bytes()[:2] == b"\x1f\x8b" and path.stat().st_size < 10_000


def test_a_body_without_length(server: Server, tmp_path: Path) -> None:
    server.routes[f"/{NAME}"] = chunked(BODY)
    file = PublishedFile((server.url(f"/{NAME}"),), md5(BODY), len(BODY))
    assert obtain(file, tmp_path).read_bytes() == BODY


# -- broken off -------------------------------------------------------------------------------


def test_a_broken_transfer_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.routes[f"/{NAME}"] = sequence(reset_within(BODY[:70_000]), ranged(BODY))
    file = PublishedFile((server.url(f"/{NAME}"),), md5(BODY))
    assert obtain(file, tmp_path).read_bytes() == BODY
    asked = [exchange.headers.get("range", "") for exchange in server.seen]
    assert asked[0] == "" and asked[1].startswith("bytes=") and asked[1] != "bytes=0-"


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, len(BODY)), same=st.booleans(), ranges=st.booleans(), known=st.booleans())
def test_whatever_an_earlier_process_left(
    cut: int, same: bool, ranges: bool, known: bool, server: Server, tmp_path: Path
) -> None:
    """Parts of the same or another file, servers with and without ranges, a known size or not."""
    (tmp_path / NAME).unlink(missing_ok=True)
    (tmp_path / f"{NAME}.part").write_bytes(BODY[:cut] if same else bytes(cut))
    server.routes[f"/{NAME}"] = ranged(BODY) if ranges else ok(BODY)
    file = PublishedFile((server.url(f"/{NAME}"),), md5(BODY), len(BODY) if known else None)
    assert obtain(file, tmp_path).read_bytes() == BODY
    assert names(tmp_path) == [NAME]


def test_without_a_checksum_it_starts_afresh(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(b"of yesterday's file")
    publish(server, NAME, BODY)
    assert obtain(PublishedFile((server.url(f"/{NAME}"),)), tmp_path).read_bytes() == BODY


def test_what_was_received_is_kept_for_the_next_time(server: Server, tmp_path: Path) -> None:
    server.routes[f"/{NAME}"] = sequence(reset_within(BODY[:70_000]), status(503))
    file = PublishedFile((server.url(f"/{NAME}"),), md5(BODY))
    with pytest.raises(df.MissingData, match="http_503"):
        obtain(file, tmp_path)
    assert names(tmp_path) == [f"{NAME}.part"]
    publish(server, NAME, BODY)
    assert obtain(file, tmp_path).read_bytes() == BODY
    assert server.seen[-1].headers["range"] != "bytes=0-"


# -- at once ----------------------------------------------------------------------------------


def test_threads_at_once_download_once(server: Server, tmp_path: Path) -> None:
    file = publish(server, NAME, BODY)
    bodies: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: bodies.append(obtain(file, tmp_path).read_bytes()))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bodies == [BODY] * 8
    assert server.requests[f"/{NAME}"] == 1 and names(tmp_path) == [NAME]


def test_where_there_are_no_locks(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSYS, "no locks on this file system")

    monkeypatch.setattr(fcntl, "flock", refuse)
    file = publish(server, NAME, BODY)
    assert obtain(file, tmp_path).read_bytes() == BODY
    server.routes[f"/{NAME}"] = reset_within(BODY[:70_000])
    with pytest.raises(df.MissingData):
        obtain(file, tmp_path / "other")
    assert names(tmp_path) == [NAME, "other"] and names(tmp_path / "other") == []


def test_processes_at_once_download_once(server: Server, tmp_path: Path) -> None:
    """The first one's transfer takes until all have asked."""
    publish(server, NAME, BODY)
    begun, go_on = threading.Event(), threading.Event()

    def route(exchange) -> None:
        exchange.start(200, {"Content-Length": str(len(BODY))})
        exchange.send(BODY[:1000])
        begun.set()
        go_on.wait(patient(60))
        exchange.send(BODY[1000:])

    server.routes[f"/{NAME}"] = route
    script = (
        "import sys; from pathlib import Path; from dataflow.dataset.download import *; "
        "print('ready', flush=True); sys.stdin.readline(); "
        "print(obtain(PublishedFile((sys.argv[1],)), Path(sys.argv[2])).stat().st_size)"
    )
    command = [sys.executable, "-c", script, server.url(f"/{NAME}"), str(tmp_path)]
    pipe = subprocess.PIPE
    some = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(3)]
    try:
        for process in some:
            assert process.stdout is not None and process.stdin is not None
            assert process.stdout.readline() == "ready\n"
            process.stdin.write("go\n")
            process.stdin.flush()
        assert begun.wait(patient(60))
        go_on.set()
        for process in some:
            assert process.communicate(timeout=patient(60))[0] == f"{len(BODY)}\n"
    finally:
        for process in some:
            process.kill()
            process.communicate()
    assert server.requests[f"/{NAME}"] == 1 and names(tmp_path) == [NAME]
