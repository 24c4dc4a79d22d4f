"""The other side, made of a bare socket."""

from __future__ import annotations

import secrets
import socket
import struct
from typing import Any

import msgpack
import zmq

from dataflow.codec import wire
from dataflow.codec.wire import Kind


class Peer:
    """A DEALER that says what a test wants."""

    def __init__(self, address: str, role: str = "sender") -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.rcvtimeo = 10_000
        self.socket.connect(address)
        self.greeting = {
            "role": role,
            "id": secrets.token_bytes(16),
            "heartbeat": 1000,
            "name": "peer",
            "limit": 1 << 20,
        }
        self.stream = secrets.token_bytes(16)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()
        self._context.term()

    def say(self, kind: Kind, *frames: bytes, **fields: Any) -> None:
        self.socket.send_multipart([wire.pack(kind, **fields), *frames])

    def hear(self, *kinds: Kind) -> dict[str, Any]:
        """The next message of such a kind."""
        while True:
            message = wire.unpack(self.socket.recv_multipart()[0])
            if message.kind in kinds:
                return message.fields

    def greet(self) -> None:
        self.say(Kind.HELLO, versions=[1], **self.greeting)
        assert self.hear(Kind.WELCOME)["role"] != self.greeting["role"]

    def open(self) -> int:
        """A stream; returns its credit."""
        self.greet()
        self.say(Kind.OPEN, stream=self.stream, first=0)
        granted = self.hear(Kind.GRANT)
        assert granted["stream"] == self.stream and granted["next"] == granted["acked"] == 0
        return int(granted["limit"])

    def data(self, seq: int, *points: Any, **changes: Any) -> None:
        fields = {
            "seq": seq,
            "count": len(points),
            "skip": 0,
            "epoch": 0,
            "position": 0,
            "arrays": [],
        }
        body = msgpack.packb(list(points))
        frames = changes.pop("frames", [body])
        self.say(Kind.DATA, *frames, stream=self.stream, **{**fields, **changes})

    def end(self, seq: int) -> None:
        self.say(Kind.END, stream=self.stream, seq=seq, epoch=0, items=seq)


class Raw:
    """A connection that speaks ZMTP by itself: frames without an end, or of any size."""

    def __init__(self, end: str | socket.socket, kind: bytes | None = None) -> None:
        """To an address, or from where a connection came that was accepted; as a kind of socket."""
        kind = kind or (b"DEALER" if isinstance(end, str) else b"ROUTER")
        if isinstance(end, str):
            host, port = end.removeprefix("tcp://").rsplit(":", 1)
            end = socket.create_connection((host, int(port)))
        self.socket = end
        self.socket.settimeout(10)
        greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
        ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
        self.socket.sendall(greeting + bytes([4, len(ready)]) + ready)
        self._read(64)
        self.hear()

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def say(self, *frames: bytes) -> None:
        self.begin(*frames[:-1])
        self.socket.sendall(b"\x02" + struct.pack(">Q", len(frames[-1])) + frames[-1])

    def begin(self, *frames: bytes) -> None:
        """Frames that more ones follow."""
        for frame in frames:
            self.socket.sendall(b"\x03" + struct.pack(">Q", len(frame)) + frame)

    def hear(self) -> bytes:
        """The next frame."""
        flags = self._read(1)[0]
        size = struct.unpack(">Q", self._read(8))[0] if flags & 2 else self._read(1)[0]
        return self._read(size)

    def greet(self) -> None:
        fields = {"id": secrets.token_bytes(16), "heartbeat": 1000, "name": "raw", "limit": 1 << 20}
        self.say(wire.pack(Kind.HELLO, versions=[1], role="sender", **fields))
        assert wire.unpack(self.hear()).kind is Kind.WELCOME

    def _read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            more = self.socket.recv(size - len(found))
            if not more:
                raise ConnectionResetError("the other side has closed")
            found += more
        return found
