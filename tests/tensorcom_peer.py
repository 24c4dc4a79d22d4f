"""The package tensorcom, in a process of its own.

It is the one of this environment, or that of the Python which TENSORCOM_PYTHON names.
"""

from __future__ import annotations

import importlib.util
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from optional import how_to_get

_PEER = """
import io, json, sys, threading, time
import numpy as np
from tensorcom import Connection, tenbin

def told(arrays):
    return [[a.dtype.name, list(a.shape), a.tobytes().hex()] for a in arrays]

def made(rows):
    return [np.frombuffer(bytes.fromhex(text), dtype).reshape(shape) for dtype, shape, text in rows]

def message(i):
    return [np.full((2, 3, 4), i % 256, "u1"), np.array([i, -i], "i4")]

class Sending(threading.Thread):  # message after message, until it is told to stop
    def __init__(self, connection):
        super().__init__()
        self.connection, self.over = connection, False
        self.start()

    def run(self):
        i = 0
        while not self.over:
            self.connection.send(message(i))
            i += 1
            time.sleep(0.002)

    def stop(self):
        self.over = True
        self.join()
        self.connection.close()

names = dict(globals())
for line in sys.stdin:
    request = json.loads(line)
    try:
        names.update(request["values"], result=None)
        exec(request["code"], names)
        answer = {"result": names["result"]}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
"""


class TheirError(Exception):
    """What was raised there."""


class Peer:
    """Runs code there, which finds NumPy, `Connection` and `tenbin` and sets `result`."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, "-c", _PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, code: str, **values: Any) -> Any:
        """Run it, and wait for what it says."""
        self.begin(code, **values)
        return self.end()

    def begin(self, code: str, **values: Any) -> None:
        assert self._process.stdin is not None
        print(json.dumps({"code": code, "values": values}), file=self._process.stdin, flush=True)

    def ready(self, seconds: float) -> bool:
        """Whether it has something to say."""
        return bool(select.select([self._process.stdout], [], [], seconds)[0])

    def end(self) -> Any:
        assert self._process.stdout is not None
        assert self.ready(60), "the peer does not answer"
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise TheirError(answer["error"])
        return answer["result"]

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def peer() -> Iterator[Peer]:
    """The process; a test without one is skipped."""
    python = os.environ.get("TENSORCOM_PYTHON")
    if python is None:
        if importlib.util.find_spec("tensorcom") is None:
            pytest.skip(f"{how_to_get('tensorcom')}, or TENSORCOM_PYTHON=an/environment/bin/python")
        python = sys.executable
    other = Peer(python)
    try:
        yield other
    finally:
        other.close()


def told(arrays: Sequence[Any]) -> list[list[Any]]:
    """Arrays as the peer tells them, and as its `made` takes them."""
    return [[a.dtype.name, list(a.shape), a.tobytes().hex()] for a in map(np.asarray, arrays)]


def message(i: int) -> list[np.ndarray]:
    """As the peer's: number `i`."""
    return [np.full((2, 3, 4), i % 256, "u1"), np.array([i, -i], "i4")]
