"""Tensorcom's connections, ours at both ends or something hostile at one."""

from __future__ import annotations

import linecache
import logging
import pickle
import socket as network
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from forked import exit_status_of
from network import until
from optional import library
from patience import patient

import dataflow as df

LIMIT = 1 << 16


def message(i: int) -> list[np.ndarray]:
    return [np.full((2, 3, 4), i % 256, "u1"), np.array([i, -i], "i4")]


def number(found: Any) -> int:
    assert (found[0] == found[1][0] % 256).all() and found[1][1] == -found[1][0]
    return int(found[1][0])


@contextmanager
def pair(sender: Any = (), **options: Any) -> Iterator[tuple[df.Connection, df.Connection]]:
    """A sender and a receiver, which has the options."""
    with df.Connection("zpull://127.0.0.1:*", **{"timeout": 30, **options}) as receiver:
        url = receiver.addresses[0].replace("tcp", "zpush")
        with df.Connection(url, **dict(sender)) as source:
            yield source, receiver


# -- as a dataflow -----------------------------------------------------------------------------


def test_it_is_a_dataflow() -> None:
    with pair() as (sender, receiver):
        for i in range(20):
            sender.send(message(i))
        ds = receiver.map(lambda dp: [dp[0], dp[1] * 2])
        assert [int(dp[1][0]) for dp in ds.take(5)] == [0, 2, 4, 6, 8]
        # What was not taken is still there for the next pass.
        (images, numbers) = next(iter(receiver.batch(4)))
        assert images.shape == (4, 2, 3, 4) and numbers[:, 0].tolist() == [5, 6, 7, 8]
        with df.MultiThreadMapData(receiver, 1, lambda dp: dp, buffer_size=1) as ds:
            assert number(next(iter(ds))) == 9
        until(lambda: receiver.stats()["stages"][0]["connects"] == 1)
    assert receiver.stats()["stages"][0]["bytes"] > 0


def test_arrays_are_writable_and_nobody_elses() -> None:
    with pair() as (sender, receiver):
        for size in (1, 7, 40, 5000, 100_000):
            given = [np.arange(size).astype(kind) for kind in ("u1", "f4")]
            sender.send(given)
            for one, other in zip(given, receiver.recv(), strict=True):
                np.testing.assert_array_equal(one, other)
                assert other.flags.writeable and other.flags.aligned
                other[:] = 0


def test_what_was_sent_may_be_written_to() -> None:
    with pair() as (sender, receiver):
        array = np.zeros(1 << 20, "u1")
        for i in range(10):
            array[:] = i
            sender.send([array])
        assert [int(a.max()) for (a,) in receiver.take(10)] == [*range(10)]


def test_it_cannot_be_resumed_nor_sent_to_other_processes() -> None:
    with pair() as (sender, receiver):
        sender.send(message(0))
        next(iter(receiver))
        with pytest.raises(df.NotResumable, match="does not come again"):
            receiver.state_dict()
        with pytest.raises(TypeError, match="can only be iterated"):
            receiver[0]
        with pytest.raises(df.ConfigError, match="stays in the process"):
            pickle.dumps(receiver)


def test_len_says_what_it_was_told_and_total_ends_a_pass() -> None:
    with pair(epoch=7, total=4) as (sender, receiver):
        assert len(receiver) == 7
        for i in range(9):
            sender.send(message(i))
        # Two samples a message.
        assert [number(found) for found in receiver] == [0, 1]
        receiver.batch_count = False
        assert [number(found) for found in receiver] == [2, 3, 4, 5]
        receiver.total = 1
        assert [number(found) for found in receiver.items()] == [6]


def test_reports(capsys: pytest.CaptureFixture[str]) -> None:
    with pair({"report": 4}, total=6) as (sender, receiver):
        sender.serve(message(i) for i in range(5))
        told = [line.split()[:3] for line in capsys.readouterr().err.splitlines()]
        assert told == [["count", "0", "rate"], ["count", "4", "rate"], ["count", "8", "rate"]]
        assert len(list(receiver.items(report=4))) == 3
        assert capsys.readouterr().err.count("msg/s throughput") == 2
        assert sender.stats.count == 5 and sender.stats.total == 5 * (48 + 24 + 8 + 32)
        assert receiver.stats.count == 3
        stats = sender.stats
        assert all(rate > 0 for rate in (stats.rate(), stats.throughput(), stats.recent_rate()))
        stats.reset()
        assert stats.rate() == stats.recent_rate() == stats.recent_throughput() == 0


def test_transforms_and_converters() -> None:
    def doubled(array: np.ndarray) -> np.ndarray:
        return array * 2

    with pair(batch_transforms=[None, doubled], converters=[np.sum, None]) as (sender, receiver):
        sender.send(message(3))
        found = receiver.recv()
        assert found[0] == 24 * 3 and found[1].tolist() == [6, -6]
        sender.send([*message(1), *message(2)])
        assert [np.max(array) for array in receiver.recv()] == [24, 2, 48, 4]
        sender.send(message(3)[:1])
        with pytest.raises(df.ConfigError, match="2 batch_transforms for 1 arrays"):
            receiver.recv()
    with pair(batch_transforms=lambda array: array.ndim) as (sender, receiver):
        sender.send(message(3))
        assert receiver.recv() == [3, 1]


def test_tensors() -> None:
    torch = library("torch")
    image, batch = np.zeros((5, 6, 3), "u1"), np.zeros((2, 5, 6, 4), "f2")
    rest = [np.arange(3, dtype=kind) for kind in ("u2", "u4", "i2", "f8", "u1")]
    for options in ({"converters": "torch"}, {"device": "cpu"}):
        with pair({"allow64": True}, **options) as (sender, receiver):
            sender.send([image, batch, *rest])
            found = receiver.recv()
        assert found[0].shape == (3, 5, 6) and found[0].dtype == torch.uint8
        assert found[1].shape == (2, 4, 5, 6) and found[1].dtype == torch.float32
        kinds = [torch.int64] * 3 + [torch.float32, torch.uint8]
        assert [tensor.dtype for tensor in found[2:]] == kinds
        assert all(tensor.tolist() == [0, 1, 2] for tensor in found[2:])
    with pair(batch_transforms=torch.as_tensor, converters="numpy") as (sender, receiver):
        sender.send([image.transpose(2, 0, 1), batch.transpose(0, 3, 1, 2), rest[0]])
        assert [a.shape for a in receiver.recv()] == [image.shape, batch.shape, (3,)]


def test_raw() -> None:
    with pair({"raw": True}, raw=True) as (sender, receiver):
        sender.send([b"one", bytearray(b"two"), np.zeros(2, "u1")])
        assert receiver.recv() == [b"one", b"two", b"\0\0"]
    with pair(raw=True) as (sender, receiver):
        sender.send(message(5))
        from dataflow.codec import tenbin

        assert number(tenbin.decode_frames(receiver.recv())) == 5


def test_raw_frames_that_cannot_be_sent_leave_nothing_behind() -> None:
    with pair({"raw": True}, raw=True) as (sender, receiver):
        for odd in (np.zeros((4, 4), "u1")[:, 1], "text", 1, None):
            with pytest.raises(df.CodecError, match=r"contiguous|bytes"):
                sender.send([b"first", odd])
        sender.send([b"a", np.zeros(0), np.arange(3, dtype="u1")])
        assert receiver.recv() == [b"a", b"", b"\0\1\2"]


def test_numbers_beyond_what_sockets_can_say() -> None:
    with df.Connection("zpull://127.0.0.1:*", hwm=1 << 40, max_message_bytes=1 << 62) as one:
        assert one.addresses


def test_infos() -> None:
    with pair({"infos": ["image", "number"]}, infos=["image"]) as (sender, receiver):
        sender.send(message(1))
        assert number(receiver.recv()) == 1
        with pytest.raises(df.CodecError, match="1 arrays, but infos="):
            sender.send(message(1)[:1])
    with pair({"infos": ["image", "number"], "multipart": False}, infos=True) as (one, other):
        one.send(message(2))
        (found, infos) = next(iter(other))
        assert number(found) == 2 and infos == ["image", "number"]
    with pair(infos=["label"], on_error="raise") as (one, other):
        one.send(message(2))
        with pytest.raises(df.CodecError, match=r"\['', ''\], where infos=\['label'\]"):
            next(iter(other))
    with pair(infos=["label"]) as (one, other):
        for i in range(50):
            one.send(message(i))
        with pytest.raises(df.TooManyErrors, match=r"all of the first 50 .*infos 50"):
            next(iter(other))


def test_wide_types() -> None:
    wide = [np.zeros(2), np.zeros(2, "i8"), np.zeros(2, "u8"), np.zeros(2, ">f8")]
    with pair() as (sender, receiver):
        for array in wide:
            with pytest.raises(df.CodecError, match=r"component 1: .*64 needs allow64=True"):
                sender.send([np.zeros(2, "u1"), array])
        sender.send(wide, allow64=True)
        assert [array.itemsize for array in receiver.recv()] == [8] * 4
    with pair({"allow64": True}) as (sender, receiver):
        sender.write(wide)
        assert len(receiver.recv()) == 4


# -- URLs --------------------------------------------------------------------------------------


def test_topics(tmp_path: Path) -> None:
    url = f"+ipc://{tmp_path}/s"
    with (
        df.Connection(f"zpub{url}#train", hwm=1000) as sender,
        df.Connection(timeout=30) as train,
        df.Connection(f"zsub{url}", timeout=30) as both,
        df.Connection(f"zsub{url}#test", timeout=0) as test,
    ):
        train.connect(f"zsub{url}", topic="tra")
        threads = sending(sender)
        with threads:
            for receiver in (train, both):
                first = number(receiver.recv())
                assert number(receiver.recv()) == first + 1
            with pytest.raises(df.PeerTimeout):
                test.recv()


@contextmanager
def sending(connection: df.Connection) -> Iterator[None]:
    """Message after message, as long as the context lasts."""
    over = threading.Event()

    def send() -> None:
        i = 0
        while not over.wait(0.002):
            connection.send(message(i))
            i += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_braces_and_lists(tmp_path: Path) -> None:
    with (
        df.Connection(f"zpull+ipc://{tmp_path}/{{a,b}}", timeout=30) as receiver,
        df.Connection([f"zpush+ipc://{tmp_path}/a", f"zpush+ipc://{tmp_path}/b"]) as sender,
    ):
        assert receiver.addresses == sender.addresses
        assert [Path(a).name for a in sender.addresses] == ["a", "b"]
        for i in range(4):
            sender.send(message(i))
        assert sorted(map(number, receiver.take(4))) == [0, 1, 2, 3]
    with df.Connection(f"zpull+ipc://{tmp_path}/{{a,b}}", noexpand=True) as receiver:
        assert Path(receiver.addresses[0]).name == "{a,b}"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"url": "127.0.0.1:7880"}, "is not SCHEME"),
        ({"url": "zpop://127.0.0.1:7880"}, "'zpop' is none of zpush, zpull, zpub, zsub"),
        ({"url": "zsub+udp://127.0.0.1:7880"}, "'udp' is none of tcp, ipc"),
        ({"url": "zsub://127.0.0.1"}, "neither tcp://HOST:PORT nor ipc://PATH"),
        ({"url": "zsub://127.0.0.1:99999"}, "up to 65535"),
        ({"url": "zsub://*:7880"}, "not connected to"),
        ({"url": "zsub+ipc://"}, "neither"),
        ({"url": "zpush://127.0.0.1:7880#x"}, "have topics"),
        ({"url": "zpub://127.0.0.1:*#x", "multipart": False}, "multipart=True is needed"),
        ({"url": ["zpub://127.0.0.1:*#x", "zpub://127.0.0.1:*"]}, "one topic"),
        ({"url": ["zsub://127.0.0.1:7880", "zpull://127.0.0.1:*"]}, "one kind of socket"),
        ({"url": []}, "one kind of socket, not 0"),
        ({"url": [b"x"]}, "is not text"),
        ({"url": "zsub://127.0.0.1:{1..3"}, "partner"),
        ({"epoch": 0}, "epoch=0"),
        ({"hwm": 0}, "hwm=0"),
        ({"timeout": -1}, "timeout=-1"),
        ({"linger": -1}, "linger=-1"),
        ({"max_message_bytes": 10}, "max_message_bytes=10"),
        ({"infos": "image"}, "infos='image'"),
        ({"infos": 5}, "infos=5"),
        ({"infos": [1]}, r"infos=\[1\]"),
        ({"url": 5}, "url=5 is not text"),
        ({"total": "x"}, "total='x' must be an integer"),
        ({"report": None}, "report=None"),
        ({"hwm": 1.5}, "hwm=1.5"),
        ({"stats_horizon": 2.5}, "stats_horizon=2.5"),
        ({"max_message_bytes": 1e6}, "max_message_bytes=1000000.0"),
        ({"timeout": float("nan")}, "timeout=nan must be seconds"),
        ({"linger": float("inf")}, "linger=inf"),
        ({"linger": None}, "linger=None"),
        ({"converters": "jax"}, "converters='jax' must be a function, or one of torch, "),
        ({"batch_transforms": ["torch"]}, "batch_transforms='torch' must be a function, or a"),
        ({"on_error": "ignore"}, "on_error='ignore'"),
    ],
)
def test_arguments_that_make_no_sense(options: dict[str, Any], text: str) -> None:
    with pytest.raises(df.ConfigError, match=text):
        df.Connection(**options)


def test_addresses_that_are_taken() -> None:
    with network.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(df.ConfigError, match=f"127.0.0.1:{port}: Address already in use"):
            df.Connection(f"zpull://127.0.0.1:{port}")


def test_who_may_reach_it(caplog: pytest.LogCaptureFixture) -> None:
    """By an address that no machine has, so that none is bound."""
    url = "zpull://192.0.2.1:7880"
    for options, warned in (({}, True), ({"insecure": True}, False)):
        caplog.clear()
        with pytest.raises(df.ConfigError, match="Cannot assign"):
            df.Connection(url, **options)
        assert ("lets every host that reaches it connect" in caplog.text) is warned
    with pytest.raises(df.ConfigError, match="insecure=True"):
        df.Connection(url, insecure=False)
    with pytest.raises(df.ConfigError, match="insecure=True"):
        df.serve([], "zpub://*:7880")


def test_both_directions_are_told_apart() -> None:
    with pair() as (sender, receiver):
        with pytest.raises(df.ConfigError, match="is for sending"):
            sender.recv()
        with pytest.raises(df.ConfigError, match="is for receiving"):
            receiver.send(message(0))
    with df.Connection() as connection, pytest.raises(df.ConfigError, match=r"connect\(url\)"):
        connection.recv()


# -- the end -----------------------------------------------------------------------------------


def test_timeouts(tmp_path: Path) -> None:
    with pair(timeout=0.1) as (_, receiver):
        with pytest.raises(df.PeerTimeout, match=r"no message came within 0.1 s at tcp://127"):
            receiver.recv()
        with pytest.raises(TimeoutError):
            next(iter(receiver))
    with (
        df.Connection(f"zrpush+ipc://{tmp_path}/s", timeout=0.1) as sender,
        pytest.raises(df.PeerTimeout, match=r"nobody took a message within 0\.1 s"),
    ):
        sender.send(message(0))


def test_closing_ends_who_waits() -> None:
    ended = []

    def wait() -> None:
        try:
            next(iter(receiver))
        except df.DataFlowTerminated as error:
            ended.append(str(error))

    with pair(timeout=None) as (_, receiver):
        thread = threading.Thread(target=wait)
        thread.start()
        while receiver._line is None or receiver._line._lock.acquire(blocking=False):
            receiver._line._lock.release()  # it does not wait yet
        receiver.close()
        thread.join(patient(10))
    assert ended == ["the connection was closed"]
    receiver.close()
    with pytest.raises(df.DataFlowTerminated):
        receiver.recv()


def test_an_interrupt_within_a_message() -> None:
    """What was left of the message is not the next one, though it would look like one."""

    def interrupt(frame: Any, event: str, _: Any) -> Any:
        if frame.f_code.co_name != "_received":
            return interrupt if event == "call" else None
        if "frames.append" in linecache.getline(frame.f_code.co_filename, frame.f_lineno):
            sys.settrace(None)
            raise KeyboardInterrupt
        return interrupt

    with pair() as (sender, receiver):
        for i in range(3):
            sender.send(message(i))
        assert number(receiver.recv()) == 0
        tracing = sys.gettrace()
        sys.settrace(interrupt)
        try:
            with pytest.raises(KeyboardInterrupt):
                receiver.recv()
        finally:
            sys.settrace(tracing)
        assert number(receiver.recv()) == 2
        assert receiver.stats()["errors"] == {}


def test_a_forked_process_has_no_part_in_it() -> None:
    """It says so, also where a thread of its parent waited, and takes nothing away."""
    with pair() as (sender, receiver):
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.extend(receiver.take(3)))
        thread.start()
        until(lambda: receiver._line._watch.idle)

        def use_all() -> int:
            told = 0
            for use in (
                receiver.recv,
                lambda: next(iter(receiver)),
                lambda: sender.send(message(0)),
            ):
                try:
                    use()
                except df.DataFlowError as error:
                    told += "forked process" in str(error)
            receiver.close()
            return told

        assert exit_status_of(use_all) == 3
        for i in range(3):
            sender.send(message(i))
        thread.join()
        assert [number(one) for one in found] == [0, 1, 2]


def test_what_was_sent_gets_out_before_it_closes() -> None:
    with network.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}"

    def send() -> None:
        with df.Connection(f"zpush://{place}", linger=30) as sender:
            for i in range(50):
                sender.send(message(i))

    thread = threading.Thread(target=send)
    thread.start()  # before there is anybody
    with df.Connection(f"zpull://{place}", timeout=30) as receiver:
        assert [number(found) for found in receiver.take(50)] == [*range(50)]
        thread.join()


def test_nothing_waits_after_an_exception() -> None:
    begun = time.monotonic()
    with pytest.raises(ZeroDivisionError), df.Connection("zpush://127.0.0.1:9", linger=60) as one:
        one.send(message(0))
        raise ZeroDivisionError
    assert time.monotonic() - begun < patient(30)


def test_what_nobody_has_any_more_closes() -> None:
    connection = df.Connection("zpull://127.0.0.1:*")
    host, port = connection.addresses[0].removeprefix("tcp://").split(":")
    network.create_connection((host, int(port))).close()
    iterator = iter(connection.items())
    del connection, iterator
    with pytest.raises(ConnectionRefusedError):
        network.create_connection((host, int(port)))


def test_serving_ends_the_pass_where_it_fails() -> None:
    ended = []

    def source() -> Iterator[Any]:
        try:
            for i in range(100):
                yield message(i) if i < 2 else ["text"]
        finally:
            ended.append(True)

    with pair() as (sender, receiver):
        with pytest.raises(df.CodecError, match="component 0: a str"):
            sender.serve(df.DataFromGenerator(source))
        assert ended
        assert [number(found) for found in receiver.take(2)] == [0, 1]


def test_serve() -> None:
    with df.Connection("zpull://127.0.0.1:*", timeout=30) as receiver:
        url = receiver.addresses[0].replace("tcp", "zpush")
        ds = df.DataFromList([message(i) for i in range(4)], shuffle=False)
        stats = df.serve(ds, url, epochs=2, multipart=False)
        assert stats["messages"] == 8 and stats["rate"] > 0
        assert [number(found) for found in receiver.take(8)] == [0, 1, 2, 3] * 2
        with pytest.raises(df.ConfigError, match="empty"):
            df.serve([], url, epochs=None)
        with pytest.raises(df.ConfigError, match="epochs=0"):
            df.serve(ds, url, epochs=0)


# -- what others send --------------------------------------------------------------------------


@contextmanager
def stranger(kind: int, address: str, *, bind: bool = False) -> Iterator[Any]:
    """A socket that sends what it likes."""
    with zmq.Context() as context, context.socket(kind) as socket:
        socket.linger = 0
        (socket.bind if bind else socket.connect)(address)
        yield socket


HEAD = struct.pack("<8s8sqq", b"u1", b"", 1, 2)
GOOD = [HEAD, b"ab"]


@pytest.mark.parametrize(
    ("reason", "frames"),
    [
        ("foreign", [b"\x80\x05."]),
        ("foreign", [b"hello"]),
        ("truncated", [b"~TenBin~"]),
        ("truncated", [b""]),
        ("corrupt", [b"x", b""]),
        ("corrupt", [HEAD, b"abc"]),
        ("corrupt", [b"topic", HEAD, b"abc"]),
        ("unsupported", [HEAD.replace(b"u1", b"O1"), b"ab"]),
        ("size", [HEAD, bytes(LIMIT)]),
        ("size", [bytes(LIMIT // 2 + 1)] * 2),
    ],
)
def test_what_is_malformed_is_dropped_and_counted(
    reason: str, frames: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    url = "zpull://127.0.0.1:*"
    with df.Connection(url, max_message_bytes=LIMIT, timeout=30) as receiver:
        with stranger(zmq.PUSH, receiver.addresses[0]) as socket:
            for parts in (frames, GOOD, frames, GOOD):
                socket.send_multipart(parts)
            for (array,) in receiver.take(2):
                assert array.tolist() == [97, 98]
        assert receiver.stats()["errors"] == {reason: 2}
        assert [failure.reason for failure in receiver.errors()] == [reason] * 2
        assert caplog.text.count(f"a message was refused ({reason}): ") == 2


def test_random_messages_stop_nothing() -> None:
    rng = np.random.default_rng(0)
    kinds = [HEAD, b"~TenBin~" + struct.pack("<q", 24) + HEAD, b""]
    with (
        df.Connection("zpull://127.0.0.1:*", max_message_bytes=LIMIT, timeout=30) as receiver,
        stranger(zmq.PUSH, receiver.addresses[0]) as socket,
    ):
        for i in range(300):
            socket.send_multipart(GOOD)
            parts = [kinds[i % 3] + rng.bytes(i % 70) for _ in range(1 + i % 4)]
            socket.send_multipart(parts)
        socket.send_multipart(GOOD)
        whole = [found for found in receiver.take(301) if found[0].tolist() == [97, 98]]
        counts = receiver.stats()["errors"]
        assert len(whole) == 301
        assert sum(counts.values()) == 300 and len(counts) > 2


def test_what_is_far_too_large_ends_the_connection() -> None:
    url = "zpull://127.0.0.1:*"
    with (
        df.Connection(url, max_message_bytes=LIMIT, timeout=30) as receiver,
        stranger(zmq.PUSH, receiver.addresses[0]) as one,
        stranger(zmq.PUSH, receiver.addresses[0]) as other,
        one.get_monitor_socket(zmq.EVENT_DISCONNECTED) as ended,
    ):
        one.send_multipart([HEAD, bytes(3 * LIMIT)])
        other.send_multipart(GOOD)
        assert receiver.recv()[0].tolist() == [97, 98]
        while not receiver.stats()["stages"][0]["disconnects"]:
            other.send_multipart(GOOD)
            receiver.recv()
        # What it sends before it knows is lost, as always with ZeroMQ.
        assert ended.poll(patient(20) * 1000), "its own side does not know"
        one.send_multipart(GOOD)  # it connects again
        assert receiver.recv()[0].tolist() == [97, 98]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_connection_that_was_broken_off_begins_again(
    host: str, caplog: pytest.LogCaptureFixture
) -> None:
    """libzmq does not connect again to who sent a frame that was too large."""
    with stranger(zmq.PUB, "tcp://127.0.0.1:*", bind=True) as socket:
        port = socket.last_endpoint.rpartition(b":")[2].rstrip(b"\0").decode()
        socket.sndtimeo = 1000
        over = threading.Event()

        def send() -> None:
            while not over.wait(0.01):
                socket.send_multipart(GOOD if caplog.records else [HEAD, bytes(3 * LIMIT)])

        thread = threading.Thread(target=send)
        url = f"zsub://{host}:{port}"
        with df.Connection(url, max_message_bytes=LIMIT, timeout=30) as receiver:
            thread.start()
            try:
                for (array,) in islice(receiver, 3):
                    assert array.tolist() == [97, 98]
            finally:
                over.set()
                thread.join()
        assert "was broken off, and begins again" in caplog.text
        assert receiver.stats()["stages"][0]["disconnects"] >= 1


def test_a_sender_that_starts_again_is_found_again(tmp_path: Path) -> None:
    url = f"+ipc://{tmp_path}/s"
    with df.Connection(f"zsub{url}", timeout=30) as receiver:
        for _ in range(2):
            with df.Connection(f"zpub{url}") as sender, sending(sender):
                first = number(receiver.recv())
                assert number(receiver.recv()) == first + 1
            receiver.timeout = 0
            with pytest.raises(df.PeerTimeout):
                for _ in receiver:
                    pass
            receiver.timeout = 30


def test_our_own_limit() -> None:
    with pair({"max_message_bytes": LIMIT}) as (sender, receiver):
        with pytest.raises(df.CodecError, match="2 frames and 65568 bytes") as caught:
            sender.send([np.zeros(LIMIT, "u1")])
        assert caught.value.reason == "size"
        with pytest.raises(df.CodecError, match="0 frames"):
            sender.send([])
        sender.send(message(1))
        assert number(receiver.recv()) == 1


def test_waiting_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with pair(timeout=0.2) as (_, receiver), caplog.at_level(logging.WARNING):
        receiver._notice._patience = 0.0
        with pytest.raises(df.PeerTimeout):
            receiver.recv()
        assert f"waiting for a message at {receiver.addresses[0]}" in caplog.text
