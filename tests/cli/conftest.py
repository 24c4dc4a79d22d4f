"""Runs the command as a user does, and sees that nothing of it is left."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import dataflow as df

ROOT = Path(__file__).resolve().parents[2]
MARK = "DATAFLOW_TEST_MARK"

Run: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]
Start: TypeAlias = Callable[..., "subprocess.Popen[str]"]


def marked(mark: str) -> list[str]:
    """The command lines of processes that descend from a test."""
    if sys.platform != "linux":
        return []
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for all tests, so that the photos are drawn once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def start(tmp_path: Path, cache: Path) -> Iterator[Start]:
    """Start ``dataflow`` with the given words in the test's folder."""
    mark = uuid.uuid4().hex
    environment = {**os.environ, MARK: mark, "DATAFLOW_CACHE": str(cache)}
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    started: list[subprocess.Popen[str]] = []

    def start(*words: object, **changes: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "dataflow", *map(str, words)],
            cwd=tmp_path,
            env={**environment, **changes},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    deadline = time.monotonic() + 5
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


@pytest.fixture
def run(start: Start) -> Run:
    """Run ``dataflow`` to its end."""

    def run(*words: object, **changes: str) -> subprocess.CompletedProcess[str]:
        process = start(*words, **changes)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


Send: TypeAlias = Callable[..., None]


@pytest.fixture
def send() -> Iterator[Send]:
    """Send lists of arrays to Tensorcom's URL, once or again and again, until the test ends."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def send(url: str, messages: Sequence[Any], *, again: bool = False, **options: Any) -> None:
        connection = df.Connection(url, linger=0, timeout=0.2, **options)

        def work() -> None:
            with connection:
                rounds = itertools.count() if again else range(1)
                for message in (message for _ in rounds for message in messages):
                    while not over.is_set():
                        with suppress(df.PeerTimeout):  # nobody is there yet, or any more
                            connection.send(message)
                            break
                    if over.is_set() or (again and over.wait(0.005)):
                        return
                over.wait()

        threads.append(threading.Thread(target=work))
        threads[-1].start()

    yield send
    over.set()
    for thread in threads:
        thread.join()
