"""Peers of sockets for messages one way that mean harm: messages without an end, and any number."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import zmq
from network import until
from patience import patient
from peer import Raw

import dataflow as df
from dataflow.highway import Pipeline, ZMQSource
from dataflow.remote.tensorpack import PushSender
from dataflow.transport import watch
from dataflow.transport.oneway import OneWay

LOOPBACK = "tcp://127.0.0.1:*"
LIMIT = 1 << 16
FRAMES = {"empty": b"\x01\x00", "large": b"\x03" + struct.pack(">Q", LIMIT) + bytes(LIMIT)}

GOOD = [struct.pack("<8s8sqq", b"u1", b"", 1, 2), b"ab"]


def flood(raw: Raw, frame: bytes) -> None:
    """Send frames that more ones follow until the connection is cut."""
    many = frame * max(1, LIMIT // len(frame))
    with pytest.raises(OSError):
        for _ in range((8 << 30) // len(many)):
            raw.socket.sendall(many)


CONNECTION = {"max_message_bytes": LIMIT, "hwm": 4}
ENDS: dict[str, tuple[bytes, Callable[[], Any]]] = {
    "tensorpack": (
        b"PUSH",
        lambda: df.RemoteDataZMQ(LOOPBACK, format="msgpack", max_message_bytes=LIMIT, hwm=4),
    ),
    "zpull": (b"PUSH", lambda: df.Connection("zpull://127.0.0.1:*", **CONNECTION)),
    "zrsub": (b"PUB", lambda: df.Connection("zrsub://127.0.0.1:*", **CONNECTION)),
    "zrpush": (b"PULL", lambda: df.Connection("zrpush://127.0.0.1:*", **CONNECTION)),
    "zpub": (b"SUB", lambda: df.Connection("zpub://127.0.0.1:*", **CONNECTION)),
    "tensorpack's sender": (b"PULL", lambda: PushSender(LOOPBACK, format="msgpack", bind=True)),
}


def way_of(end: Any) -> OneWay:
    """Its sockets."""
    end = getattr(end, "_receiver", end)
    way: OneWay = getattr(end, "_way", None) or end._line
    return way


@pytest.mark.parametrize(
    ("name", "frame"), [*((name, "empty") for name in ENDS), ("zpull", "large")]
)
def test_a_message_without_an_end(name: str, frame: str, caplog: pytest.LogCaptureFixture) -> None:
    """... to who does not even look."""
    kind, make = ENDS[name]
    with make() as end:
        address = end.addresses[0]
        way = way_of(end)
        with Raw(address, kind) as raw:
            flood(raw, FRAMES[frame])
        until(lambda: way.cut == way.disconnects == 1)
        assert f"a peer at {address} was cut off: its message did not come" in caplog.text


def test_a_message_without_an_end_among_good_ones() -> None:
    """A loop that has nothing left to read knows that all whole messages were read."""
    with (
        df.Connection("zpull://127.0.0.1:*", max_message_bytes=LIMIT, timeout=30) as receiver,
        zmq.Context() as context,
        context.socket(zmq.PUSH) as good,
        Raw(receiver.addresses[0], b"PUSH") as raw,
    ):
        good.linger = 0
        good.connect(receiver.addresses[0])
        sent = 0
        with pytest.raises(OSError):
            while True:
                sent += raw.socket.send(FRAMES["empty"] * 128)
                good.send_multipart(GOOD)
                assert receiver.recv()[0].tolist() == [97, 98]
        assert 2 * LIMIT < sent < 1000 * LIMIT  # 100 are the messages that might wait
        assert receiver.stats()["stages"][0]["cut"] == 1


def test_what_waits_to_be_read_is_no_offence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the limit, while the loop is elsewhere, then while it is behind."""
    monkeypatch.setattr(watch, "PAUSE", 0.01)
    with (
        df.Connection("zpull://127.0.0.1:*", **{**CONNECTION, "hwm": 10}) as receiver,
        zmq.Context() as context,
        context.socket(zmq.PUSH) as good,
    ):
        good.linger = 0
        good.connect(receiver.addresses[0])
        message = [struct.pack("<8s8sqq", b"u1", b"", 1, 60_000), bytes(60_000)]
        sent = 0
        for _ in range(20):
            while good.poll(0, zmq.POLLOUT):
                good.send_multipart(message)
                sent += 1
            looks = {0.0}
            until(lambda looks=looks: looks.add(receiver._line._watch._looked) or len(looks) > 6)
            receiver.recv()
        assert sent > 20 and receiver._line.connects == 1
        assert receiver._line.cut == receiver._line.disconnects == 0


def test_the_side_that_connects_cuts_and_connects_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with df.Connection(
            f"zsub://127.0.0.1:{port}", **CONNECTION, timeout=patient(2)
        ) as receiver:
            with Raw(server.accept()[0], b"PUB") as raw:
                raw.hear()  # what it subscribes to
                flood(raw, FRAMES["empty"])
            found = None
            while found is None:  # one that libzmq begins by itself may be ended by ours
                with suppress(OSError, df.PeerTimeout), Raw(server.accept()[0], b"PUB") as raw:
                    raw.say(*GOOD)
                    found = receiver.recv()
            assert found[0].tolist() == [97, 98]
            assert receiver.stats()["stages"][0]["cut"] == 1


def test_highway() -> None:
    source = ZMQSource(LOOPBACK, bind=True, max_message_bytes=LIMIT, queue_size=4)
    with Pipeline([source]) as p:
        with Raw(source.address, b"PUSH") as raw:
            flood(raw, FRAMES["empty"])
        until(lambda: source._line.cut)
        assert p.flow.stats()["stages"][0]["cut"] == 1
