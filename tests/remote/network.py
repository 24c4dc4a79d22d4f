"""What tests of both ends share: senders in threads, programs, a network that misbehaves."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from patience import patient

import dataflow as df

ROOT = Path(__file__).resolve().parents[2]


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait for something to become true, and return it."""
    deadline = time.monotonic() + patient(seconds)
    while not (found := condition()):
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.005)
    return found


def numbers(count: int, start: int = 0) -> df.DataFlow:
    """[start], [start + 1], …"""
    return df.DataFromList([[number] for number in range(start, start + count)], shuffle=False)


class Sending(threading.Thread):
    """`df.send` in a thread; `join` raises what it raised."""

    def __init__(self, ds: Any, address: Any, **options: Any) -> None:
        super().__init__(name="test-sender", daemon=True)
        self._work = lambda: df.send(ds, address, **options)
        self.result: dict[str, Any] = {}
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self._work()
        except BaseException as error:
            self.error = error

    def join(self, timeout: float | None = 20.0) -> None:
        super().join(timeout and patient(timeout))
        assert not self.is_alive(), "it still sends"
        if self.error is not None:
            raise self.error


class Proxy:
    """A TCP connection's way through this process, which can be cut, and can stall.

    Args:
        address: where to, ``tcp://127.0.0.1:PORT``.
        rate: bytes a second in each direction of a connection; None: as fast as it goes.
    """

    def __init__(self, address: str, rate: float | None = None) -> None:
        self._rate = rate
        self._to = ("127.0.0.1", int(address.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.flowing = threading.Event()
        self.flowing.set()
        self.passed = 0
        self.connections = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """Reset all connections."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for sock in pair:
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.flowing.set()
        self.cut()
        for thread in self._threads:
            thread.join(patient(10))

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._to)
            except OSError:
                near.close()
                continue
            self.connections += 1
            self._pairs.append((near, far))
            for one, other in ((near, far), (far, near)):
                thread = threading.Thread(target=self._pass, args=(one, other), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 16):
                self.flowing.wait()
                if self._rate is not None:
                    time.sleep(len(data) / self._rate)
                other.sendall(data)
                self.passed += len(data)
        for sock in (one, other):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        one.close()


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a Python program with `df`, `np` and `address` in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, address: str = "", *words: str) -> subprocess.Popen[str]:
        head = f"import sys, numpy as np, dataflow as df\naddress = {address!r}\n"
        process = subprocess.Popen(
            [sys.executable, "-c", head + textwrap.dedent(program), *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:  # which waits, and closes its files
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints; where there is none, what it says of it."""
    assert process.stdout is not None
    text = process.stdout.readline().strip()
    assert text, f"status {process.wait(patient(10))}: {process.communicate()[1]}"
    return text
