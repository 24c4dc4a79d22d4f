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
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from network import Sending, Start, line, numbers, until
from patience import patient
from peer import Peer, Raw

import dataflow as df
from dataflow.codec import wire
from dataflow.codec.wire import Kind
from dataflow.remote import Sender
from dataflow.transport import guard

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


def deep_shape(peer: Peer) -> bytes:
    """A head of DATA with lists in lists as the shape of an array; msgpack would not write it."""
    fields = {"seq": 0, "count": 1, "skip": 0, "epoch": 0, "position": 0, "arrays": 0}
    head = wire.pack(Kind.DATA, stream=peer.stream, **fields)
    return head[:-1] + b"\x91\x92\xa3|u1" + b"\x91" * 990 + b"\x90"


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
        lambda p: p.socket.send_multipart([deep_shape(p), ARRAY]),
    ),
    ("too many arrays", "count", lambda p: p.data(0, 1, frames=[b"\x91\x01"], **table("|u1", 0))),
    ("deep msgpack", "body", lambda p: p.data(0, 1, frames=[b"\x91" * 60_000])),
    ("deep lists in a head", "header", lambda p: p.socket.send(opening(b"\x91" * 1000 + b"\xc0"))),
    ("huge lists", "body", lambda p: p.data(0, 1, frames=[b"\xdd\xff\xff\xff\xff" * 900])),
    ("long lists", "body", lambda p: p.data(0, 1, frames=[b"\xdc\xea\x60" * 900 + bytes(60_000)])),
    ("huge maps", "header", lambda p: p.socket.send(b"DF\x01\x04\xdf\xff\xff\xff\xff")),
    ("lists as keys", "body", lambda p: p.data(0, 1, frames=[b"\x91\x81\x91\xc0\xc0"])),
]


@pytest.mark.alone
def test_malformed_messages_are_dropped_soon_and_counted(ds: Any) -> None:
    """Row 20 of the faults, each kind of it, on connections of their own; a good one in between."""
    address = ds.addresses[0]
    for name, reason, misbehave in MALFORMED:
        before = refused(ds).get(reason, 0)
        seconds = []
        for _ in range(5):
            with Peer(address) as peer:
                peer.open()
                begun = time.perf_counter()
                misbehave(peer)
                told = peer.hear(Kind.REFUSE)
                seconds.append(time.perf_counter() - begun)
                assert told["reason"] == reason, f"{name}: {told}"
                peer.socket.send(wire.pack(Kind.PING))
                peer.hear(Kind.RESET)  # the side that binds is well
                fields = {"acked": 0, "complete": False, "reason": ""}
                peer.say(Kind.CLOSE, stream=peer.stream, **fields)
        assert statistics.median(seconds) < patient(0.01), f"{name}: {seconds}"
        assert refused(ds)[reason] == before + 5, name
    sender = Sending(numbers(10), address)
    assert [n for (n,) in ds] == list(range(10))
    sender.join()


@pytest.mark.parametrize("dtype", ["|O", "O", "object", "|V8"])
def test_a_pickle_within_an_array_of_objects_is_not_read(
    ds: Any, dtype: str, tmp_path: Path
) -> None:
    bomb = pickle.dumps(np.array([Bomb(tmp_path / "made")], dtype=object))
    with Peer(ds.addresses[0]) as peer, Peer(ds.addresses[0]) as good:
        peer.open()
        peer.data(0, [1], frames=[ARRAY, bomb], **table(dtype, 1))
        assert peer.hear(Kind.REFUSE)["reason"] == "dtype"
        fields = {"acked": 0, "complete": False, "reason": ""}
        peer.say(Kind.CLOSE, stream=peer.stream, **fields)
        good.open()
        good.data(0, [bomb])  # as bytes it may come
        good.end(1)
        assert list(ds) == [[bomb]]
    assert not list(tmp_path.iterdir()), "nothing was executed"
    pickle.loads(bomb)
    assert list(tmp_path.iterdir()), "it would have been"


# -- messages that are too large --------------------------------------------------------------


def test_a_message_over_the_limit(ds: Any) -> None:
    """Ours is not sent at all; a foreign one ends its connection."""
    address = ds.addresses[0]
    large = df.DataFromList([[np.zeros(1 << 16, np.uint8)]], shuffle=False)
    with pytest.raises(df.CodecError, match=r"max_message_bytes"):
        Sending(large, address).join()
    with pytest.raises(df.CodecError, match=r"more than 49152 \(see max_message_bytes\)"):
        Sending(large, address, max_message_bytes=1 << 16).join()
    with Peer(address) as good, Raw(address) as raw:
        good.open()
        raw.greet()
        before = refused(ds)
        with pytest.raises(OSError):
            raw.begin(bytes(1 << 18))
            while True:
                raw.hear()
        until(lambda: refused(ds).get("size", 0) == before.get("size", 0) + 1)
        good.data(0, [1])
        good.end(1)
        assert list(ds) == [[1]]


# -- messages without an end ------------------------------------------------------------------


ATTACKED = """
    with df.receive(address, max_message_bytes=1 << 20) as ds:
        print(ds.addresses[0], flush=True)
        for (number,) in ds:
            print(number, flush=True)
        print(ds.stats()["stages"][0]["refused"], flush=True)
"""


FRAMES = {"empty": b"\x01\x00", "large": b"\x03" + struct.pack(">Q", 1 << 20) + bytes(1 << 20)}


def memory(pid: int) -> int:
    """Bytes that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("greeted", [False, True])
@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_a_message_without_an_end(start: Start, frame: bytes, greeted: bool) -> None:
    """Frames for ever, of nothing or of the largest size: the connection is cut in time."""
    process = start(ATTACKED, LOOPBACK)
    address = line(process)
    with Raw(address) as raw:
        if greeted:
            raw.greet()
        before = memory(process.pid)
        many = frame * max(1, (1 << 16) // len(frame))
        with pytest.raises(OSError):
            for _ in range((2 << 30) // len(many)):  # two gigabytes, 64 of memory
                raw.socket.sendall(many)
        grown = memory(process.pid) - before
    sender = Sending(numbers(3), address)
    assert [line(process) for _ in range(3)] == ["0", "1", "2"]
    sender.join()
    assert line(process) == "{'endless': 1}"
    assert grown < 1 << 30


def next_head(server: socket.socket) -> wire.Message:
    """What a new connection says first; libzmq may have begun one that was ended at once."""
    while True:
        with suppress(OSError), Raw(server.accept()[0]) as raw:
            return wire.unpack(raw.hear())


@pytest.mark.parametrize("greeted", [False, True])
@pytest.mark.parametrize("who", ["receiver", "sender"])
def test_a_message_without_an_end_from_who_binds(who: str, greeted: bool) -> None:
    """The side that connects cuts it, and connects again."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        if who == "sender":
            end = stack.enter_context(Sender(address))
        else:
            end = stack.enter_context(df.receive(address, bind=False, max_message_bytes=1 << 20))
            assert end.addresses
        with Raw(server.accept()[0]) as raw:
            hello = wire.unpack(raw.hear()).fields
            if greeted:
                role = "receiver" if who == "sender" else "sender"
                fields = {name: hello[name] for name in ("id", "name", "limit", "heartbeat")}
                raw.say(wire.pack(Kind.WELCOME, role=role, **fields))
                raw.hear()  # OPEN or PING
            with pytest.raises(OSError):
                while True:
                    raw.socket.sendall(FRAMES["empty"] * (1 << 15))
        assert next_head(server).kind is Kind.HELLO
        refused = end.stats()["refused"] if who == "sender" else end.stats()["stages"][0]["refused"]
        assert refused == {"endless": 1}


def test_answers_that_nobody_reads(ds: Any) -> None:
    """What says nothing but nonsense, and does not listen, is cut off."""
    with Raw(ds.addresses[0]) as raw, pytest.raises(OSError):
        while True:
            raw.socket.sendall(b"\x00\x04DF\x01\x08" * 100)
    sender = Sending(numbers(3), ds.addresses[0])
    assert len(list(ds)) == 3
    sender.join()


# -- open doors -------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:{}", "tcp://*:{}", "tcp://[::]:{}"])
def test_no_listening_for_everybody_without_keys(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    address = address.format(port)
    for make in (
        lambda: df.receive(address).addresses,
        lambda: Sender(address, bind=True),
        lambda: df.send(numbers(1), address, bind=True),
    ):
        with pytest.raises(df.ConfigError, match="let every host"):
            make()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    if "[" in address:
        return  # there may be no IPv6
    with df.receive(address, insecure=True) as ds:
        assert ds.addresses
        socket.create_connection(("127.0.0.1", port)).close()
    assert "lets every host" not in caplog.text
    with df.RemoteDataZMQ(address) as older:
        assert older.addresses and "lets every host that reaches it connect" in caplog.text


def test_a_connection_that_does_not_greet_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_SILENCE", 0.3)
    with df.receive("tcp://127.0.0.1:*") as ds:
        with Peer(ds.addresses[0]) as silent, Peer(ds.addresses[0]) as good:
            good.greet()
            assert silent.socket.poll(0) == 0
            refusals = ds._end.exchange.refusals
            until(lambda: refusals["silent"] >= 2)  # libzmq connects again
            assert [peer["connected"] for peer in ds.peers()] in ([], [True])
            good.say(Kind.PING)
            assert good.hear(Kind.PING) == {}
        assert set(refusals) == {"silent"}
