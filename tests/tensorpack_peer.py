"""The package tensorpack, in a process of its own, which sends and receives what it is told to.

    python -m tensorpack_peer msgpack

It is killed in the end: tensorpack may hang.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

DTYPES = "?bBhHiIlLefdFD"  # all numbers, and bool


def datapoints() -> list[Any]:
    """All that can be in a message, in either format."""
    rng = np.random.default_rng(0)
    numbers = [(rng.random((2, 3)) * 9).astype(code) for code in DTYPES]
    whole = rng.integers(0, 256, (300, 400, 3), np.uint8)
    return [
        *([number, array] for number, array in enumerate(numbers)),
        [array.astype(array.dtype.newbyteorder(">")) for array in numbers],
        [array.reshape(-1)[2].copy().reshape(()) for array in numbers],  # rank 0
        [array.reshape(-1)[1] for array in numbers],  # scalars
        [np.zeros((0, 3), "f4"), np.zeros(0, "i8"), np.zeros((2, 0, 1), "?")],
        [whole[::2, ::-1, 1], np.asfortranarray(whole[:5]), whole.transpose(2, 0, 1)],
        [whole, 7],
        [0, -1, 2**63, -(2**63), 0.5, float("inf"), True, False, None, 1 + 2j],
        [b"", b"\x00\xff" * 9, "", "né ☃", "x" * 300],
        [[1, [2, [3, []]]], {"a": {"b": np.arange(3)}, "c": None}, {}],
        {"image": whole[:4, :4], "label": 3, "name": "n01440764", "boxes": [[1.0, 2.0]]},
    ]


def told(value: Any) -> Any:
    """A value for JSON: types, dtypes, shapes and bytes."""
    if isinstance(value, np.ndarray):
        return ["array", value.dtype.str, list(value.shape), value.tobytes().hex()]
    if isinstance(value, np.generic) and not isinstance(value, (float, complex)):
        return ["scalar", value.dtype.str, value.tobytes().hex()]
    if isinstance(value, (list, tuple)):
        return ["list", *map(told, value)]
    if isinstance(value, dict):
        return ["dict", *([key, told(item)] for key, item in value.items())]
    if isinstance(value, (float, complex)):  # msgpack takes NumPy's for these
        return [value.__class__.__mro__[-2].__name__, repr(complex(value))]
    return [type(value).__name__, repr(value)]


class Peer:
    """tensorpack with one of its serializers, ``"msgpack"`` or ``"pickle"``."""

    def __init__(self, format: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tensorpack_peer", format],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def send(self, address: str, *, bind: bool = False, only: int | None = None) -> None:
        """Send `datapoints` there without end, or just that one of them."""
        self._ask(send=address, bind=bind, only=only)

    def receive(self, *addresses: str, count: int, bind: bool = True) -> None:
        """Receive so many there; `heard` returns them."""
        self._ask(receive=addresses, count=count, bind=bind)

    def heard(self) -> list[Any]:
        """What was received, `told`."""
        found = self._process.stdout
        assert found is not None and select.select([found], [], [], 60)[0], "it says nothing"
        rows: list[Any] = json.loads(found.readline())
        return rows

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _ask(self, **request: Any) -> None:
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)


@contextmanager
def peer(format: str) -> Iterator[Peer]:
    other = Peer(format)
    try:
        yield other
    finally:
        other.close()


def main() -> None:
    os.environ["TENSORPACK_SERIALIZE"] = sys.argv[1]
    answers, sys.stdout = sys.stdout, sys.stderr  # it prints when it is imported
    from tensorpack.dataflow import DataFlow, RemoteDataZMQ, send_dataflow_zmq

    class Points(DataFlow):  # type: ignore[misc]
        def __init__(self, only: int | None) -> None:
            self.rows = datapoints() if only is None else [datapoints()[only]]

        def __iter__(self) -> Iterator[Any]:
            return iter(self.rows)

    for line in sys.stdin:
        request = json.loads(line)
        if "send" in request:
            words = (Points(request["only"]), request["send"], 50, None, request["bind"])
            threading.Thread(target=send_dataflow_zmq, args=words, daemon=True).start()
            continue
        ds = RemoteDataZMQ(*request["receive"], bind=request["bind"])
        ds.reset_state()
        rows = [told(datapoint) for datapoint, _ in zip(ds, range(request["count"]), strict=False)]
        print(json.dumps(rows), file=answers, flush=True)


if __name__ == "__main__":
    main()
