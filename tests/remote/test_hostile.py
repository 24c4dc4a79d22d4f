"""Peers that mean harm: what they send is dropped, costs little, and is in nobody's way."""

from __future__ import annotations

import os
import pickle
import secrets
import socket
import statistics
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from network import Sending, Start, line, numbers, until
from test_protocol import Peer

import dataflow as df
from dataflow.codec import wire
from dataflow.codec.wire import Kind
from dataflow.remote import Sender

LOOPBACK = "tcp://127.0.0.1:*"


@pytest.fixture
def ds() -> Iterator[Any]:
    with df.receive(LOOPBACK, window=1 << 20, max_message_bytes=1 << 16) as flow:
        yield flow


def refused(ds: Any) -> dict[str, int]:
    return dict(ds.stats()["stages"][0]["refused"])


# -- malformed messages -----------------------------------------------------------------------


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


ARRAY = b"\x91\xc7\x00\x01"  # a body of one array


def table(dtype: str, *shape: Any) -> dict[str, Any]:
    return {"arrays": [[dtype, list(shape)]]}


def opening(first: bytes) -> bytes:
    """A head of OPEN with something as the number of the first item."""
    return b"DF\x01\x04\x82\xa6stream\xc4\x10" + bytes(16) + b"\xa5first" + first


Misbehave = Callable[[Peer], Any]
MALFORMED: list[tuple[str, str, Misbehave]] = [
    ("bad magic", "magic", lambda p: p.socket.send(b"XX\x01\x06\x80")),
    ("another version", "version", lambda p: p.socket.send(b"DF\x02\x06\x80")),
    ("an unknown kind", "kind", lambda p: p.socket.send(b"DF\x01\x63\x80")),
    ("random bytes", "magic", lambda p: p.socket.send(b"\x00" + secrets.token_bytes(60_000))),
    ("a random head", "header", lambda p: p.socket.send(b"DF\x01\x06\xc1" + bytes(999))),
    ("a pickle", "magic", lambda p: p.socket.send(pickle.dumps([1]))),
    ("nothing", "magic", lambda p: p.socket.send(b"")),
    ("a length below 0", "shape", lambda p: p.data(0, 1, frames=[ARRAY], **table("|u1", -1))),
    ("a count below 0", "header", lambda p: p.data(0, 1, count=-1)),
    ("a number beyond 63 bits", "header", lambda p: p.data(1 << 63, 1)),
    ("bytes beyond the end", "body", lambda p: p.data(0, 1, frames=[b"\x91\xc6\x7f\xff\xff\xff"])),
    ("text beyond the end", "header", lambda p: p.socket.send(opening(b"\xdb\xff\xff\xff\xff"))),
    ("rank", "shape", lambda p: p.data(0, 1, frames=[ARRAY, b"x"], **table("|u1", *[1] * 33))),
    ("shape × itemsize", "length", lambda p: p.data(0, 1, frames=[ARRAY, b"x"], **table("<f8", 9))),
    ("a huge shape", "shape", lambda p: p.data(0, 1, frames=[ARRAY], **table("<f8", 1 << 62))),
    (
        "a deep shape",
        "shape",
        lambda p: p.say_raw(b"\x91\x92\xa3|u1" + b"\x91" * 990 + b"\x90", ARRAY),
    ),
    ("too many arrays", "count", lambda p: p.data(0, 1, frames=[b"\x91\x01"], **table("|u1", 0))),
    ("deep msgpack", "body", lambda p: p.data(0, 1, frames=[b"\x91" * 60_000])),
    ("deep lists in a head", "header", lambda p: p.socket.send(opening(b"\x91" * 1000 + b"\xc0"))),
    ("huge lists", "body", lambda p: p.data(0, 1, frames=[b"\xdd\xff\xff\xff\xff" * 900])),
    ("long lists", "body", lambda p: p.data(0, 1, frames=[b"\xdc\xea\x60" * 900 + bytes(60_000)])),
    ("huge maps", "header", lambda p: p.socket.send(b"DF\x01\x04\xdf\xff\xff\xff\xff")),
    ("timestamps as keys", "body", lambda p: p.data(0, 1, frames=[b"\x91\x81\x91\xc0\xc0"])),
]


def say_raw(self: Peer, arrays: bytes, *frames: bytes) -> None:
    """DATA with a table of arrays that msgpack itself would not write."""
    fields = {"stream": self.stream, "seq": 0, "count": 1, "skip": 0, "epoch": 0, "position": 0}
    packed = msgpack.packb(fields)
    head = b"DF\x01\x06" + bytes([packed[0] + 1]) + packed[1:] + b"\xa6arrays" + arrays
    self.socket.send_multipart([head, *frames])
