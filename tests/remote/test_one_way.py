"""tensorpack's wire with this package at both ends, and with peers that send anything.

(`tests/interop/test_remote.py` has the real tensorpack at the other end.)
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from network import Start, numbers, until
from patience import patient

import dataflow as df
from dataflow.codec import msgpack_numpy
from dataflow.remote.setup import Notice
from dataflow.remote.tensorpack import PullReceiver, PushSender

LOOPBACK = "tcp://127.0.0.1:*"


@contextmanager
def push(address: str, **options: Any) -> Iterator[zmq.Socket[bytes]]:
    """A bare socket that connects there."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.linger = 0
        socket.sndtimeo = 10_000
        for name, value in options.items():
            setattr(socket, name, value)
        socket.connect(address)
        yield socket


def receiver(address: str = LOOPBACK, **options: Any) -> df.RemoteDataZMQ:
    return df.RemoteDataZMQ(address, format="msgpack", **options)


def test_a_flow_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    """Chains, workers, passes, figures; not a length, nor a state."""
    with receiver() as remote:
        remote.reset_state()
        address = remote.addresses[0]
        ds = df.BatchData(df.PrefetchDataZMQ(df.MapData(remote, lambda dp: [dp[0] * 2]), 1), 5)
        with pytest.raises(NotImplementedError, match="not known"):
            len(ds)
        with push(address) as peer:
            for number in range(1000):
                peer.send(msgpack_numpy.encode([number]))
            found = [int(n) for (batch,) in islice(ds, 4) for n in batch]
            assert sorted(found) == sorted(set(found)) and all(n % 2 == 0 for n in found)
        assert remote.addresses == (address,)
        with pytest.raises(df.NotResumable, match="does not come again"):
            ds.state_dict()
        assert ds.stats()["items"] == 4 and "PrefetchDataZMQ" in ds.explain()
        again = pickle.loads(pickle.dumps(remote))
    with again, push(again.addresses[0]) as peer:
        for number in range(3):
            peer.send(msgpack_numpy.encode([number]))
        assert [n for (n,) in islice(again, 3)] == [0, 1, 2]
        iterator = iter(again)  # another pass
        peer.send(msgpack_numpy.encode(["next"]))
        assert next(iterator) == ["next"]
        (row,) = again.stats()["stages"]
        assert (row["name"], row["refused"]) == ("RemoteDataZMQ", {})
        assert row["peers"] == again.peers() == [{"address": 0, "datapoints": 1, "bytes": 6}]
        assert "RemoteDataZMQ" in again.explain()
    again.close()
    assert again.peers() == [] and not caplog.text


# -- who may do what --------------------------------------------------------------------------


def test_pickle_only_where_it_is_allowed(caplog: pytest.LogCaptureFixture) -> None:
    for make in (df.RemoteDataZMQ, lambda *a, **b: df.send_dataflow_zmq(numbers(1), *a, **b)):
        with pytest.raises(df.ConfigError, match=r"runs the code.*allow_pickle=True.*msgpack"):
            make("tcp://127.0.0.1:1", format="pickle")
        for format in ("zmq_ops", "zmq_op", "json"):
            with pytest.raises(df.ConfigError, match=f"format='{format}' must be None, 'msgpack'"):
                make("tcp://127.0.0.1:1", format=format)
        with pytest.raises(df.ConfigError, match="hwm=-1"):
            make("tcp://127.0.0.1:1", hwm=-1, format="msgpack")
        with pytest.raises(df.ConfigError, match="max_message_bytes=5"):
            make("tcp://127.0.0.1:1", max_message_bytes=5, format="msgpack")
        with pytest.raises(df.ConfigError, match="neither tcp"):
            make("127.0.0.1:1", format="msgpack")
        with pytest.raises(df.ConfigError, match="hwm=-1"):
            make("tcp://127.0.0.1:1", hwm=-1)
    assert not caplog.records
    with df.RemoteDataZMQ(LOOPBACK, format="pickle", allow_pickle=True) as ds:
        (record,) = caplog.records
        assert "whoever reaches tcp://127.0.0.1:* can run any code here" in record.message
        with PushSender(ds.addresses[0], format="pickle", allow_pickle=True) as sender:
            assert "run the code of whoever reaches them" in caplog.records[1].message
            sender.send([[{1, 2}]])
            assert next(iter(ds)) == [{1, 2}]
    assert len(caplog.records) == 2


def test_listening_for_everybody_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with receiver("tcp://0.0.0.0:*") as ds:
        assert ds.addresses and caplog.text.count("lets every host that reaches it connect") == 1
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(df.ConfigError, match="in use"):
            receiver(address).addresses  # noqa: B018


# -- what anybody may send --------------------------------------------------------------------


class Bomb:
    """Makes a file when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


def map_of(**fields: Any) -> bytes:
    return bytes(msgpack.packb({key.encode(): value for key, value in fields.items()}))


def array(**changes: Any) -> bytes:
    fields = {"nd": True, "type": "<i4", "kind": b"", "shape": [2], "data": bytes(8)}
    return map_of(**{**fields, **changes})


MALFORMED = {
    b"": "corrupt",
    b"\xc1 reserved": "corrupt",
    b"\x93\x01\x02": "corrupt",
    np.random.default_rng(1).bytes(300): "corrupt",
    b"\x91" * 5000: "corrupt",
    b"\xdd\xff\xff\xff\xff": "corrupt",
    b"\xc6\xff\xff\xff\xff" + bytes(99): "corrupt",
    array(shape=[-2]): "corrupt",
    array(shape=[3]): "corrupt",
    array(shape=[1 << 40, 1 << 40]): "corrupt",
    array(shape=[1] * 40): "corrupt",
    array(type="<i9"): "corrupt",
    array(type="|O", kind=b"O", data=pickle.dumps(np.array([Bomb()]))): "unsupported",
    array(type="|O"): "unsupported",
    pickle.dumps([Bomb()]): "pickle",
}


def test_malformed_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is dropped and counted, nothing runs, and the next good one arrives."""
    monkeypatch.chdir(tmp_path)
    with receiver(max_message_bytes=1 << 16) as ds, push(ds.addresses[0]) as peer:
        iterator = iter(ds)
        reasons: dict[str, int] = {}
        for number, (data, reason) in enumerate(MALFORMED.items()):
            peer.send(data)
            peer.send(msgpack_numpy.encode([number]))
            assert next(iterator) == [number]
            reasons[reason] = reasons.get(reason, 0) + 1
            assert ds.stats()["errors"] == reasons, data[:20]
        peer.send_multipart([msgpack_numpy.encode([1])] * 3)
        peer.send(msgpack_numpy.encode(bytes(1 << 16)))
        peer.send(msgpack_numpy.encode(["last"]))
        assert next(iterator) == ["last"]
        reasons |= {"foreign": 1, "size": 1}
        assert ds.stats()["stages"][0]["refused"] == ds.stats()["errors"] == reasons
        assert len(ds.errors()) == len(MALFORMED) + 2
        assert ds.cnt1 == len(MALFORMED) + 1
    assert not os.listdir(tmp_path), "something was run"
    assert "start the sender with TENSORPACK_SERIALIZE=msgpack" in caplog.text
    assert caplog.text.count("(corrupt)") == 10, "the others are only counted"


def test_pickles_that_are_none() -> None:
    with df.RemoteDataZMQ(LOOPBACK, format="pickle", allow_pickle=True) as ds:
        iterator = iter(ds)
        with push(ds.addresses[0]) as peer:
            for data in (b"", pickle.dumps([1])[:-3], b"\x80\x05cnowhere\n", b"\x91\x01"):
                peer.send(data)
            peer.send(pickle.dumps([5]))
            assert next(iterator) == [5]
        assert ds.stats()["errors"] == {"foreign": 2, "corrupt": 2}


def test_what_is_far_too_large_ends_the_connection() -> None:
    """... and the others go on; where this side connects, it comes back."""
    limit = 1 << 16
    good, huge = msgpack_numpy.encode([1]), bytes(3 * limit)
    with receiver(max_message_bytes=limit) as ds, push(ds.addresses[0]) as other:
        iterator = iter(ds)
        with push(ds.addresses[0]) as peer:
            peer.send(huge)
            while not ds.stats()["stages"][0]["disconnects"]:
                other.send(good)
                assert next(iterator) == [1]
            peer.send(good)  # libzmq has connected again
            assert next(iterator) == [1]
    with pytest.raises(df.CodecError, match="more than 65536"), PushSender(
        "tcp://127.0.0.1:1", format="msgpack", max_message_bytes=limit
    ) as sender:  # fmt: skip
        sender.send([[bytes(limit)]])
    with zmq.Context() as context, context.socket(zmq.PUSH) as peer:
        peer.linger = 0
        port = peer.bind_to_random_port("tcp://127.0.0.1")
        with receiver(f"tcp://127.0.0.1:{port}", bind=False, max_message_bytes=limit) as ds:
            assert ds.addresses == (f"tcp://127.0.0.1:{port}",)
            iterator = iter(ds)
            peer.send(good)
            assert next(iterator) == [1]
            peer.send(huge)
            # What is behind it in the same connection is lost.
            thread = threading.Thread(target=lambda: [next(iterator) for _ in range(3)])
            thread.start()
            while thread.is_alive():
                with suppress(zmq.Again):  # it may break off at any moment
                    if peer.poll(50, zmq.POLLOUT):
                        peer.send(good, zmq.NOBLOCK)
            until(lambda: ds.stats()["stages"][0]["disconnects"] == 1)


# -- how much is under way --------------------------------------------------------------------


def test_the_high_water_mark_of_the_sender(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(Notice, "_patience", 0.1)
    address = f"ipc://{tmp_path}/nobody"
    sender = PushSender(address, format="msgpack", hwm=3)
    thread = threading.Thread(target=lambda: sender.send(numbers(100)))
    thread.start()
    until(lambda: f"waiting for a receiver at {address}" in caplog.text)
    assert sender.stats()["datapoints"] == 3
    with receiver(address) as ds:
        assert [n for (n,) in islice(ds, 100)] == list(range(100))
        thread.join(patient(20))
    sender.close()
    assert sender.stats()["datapoints"] == 100


def test_the_high_water_mark_of_the_receiver(tmp_path: Path) -> None:
    taken = []
    for hwm in (2, 40):
        address = f"ipc://{tmp_path}/{hwm}"
        with receiver(address, hwm=hwm) as ds, push(address, sndhwm=1) as peer:
            assert ds.addresses == (address,)
            count = 0
            while peer.poll(300, zmq.POLLOUT):
                peer.send(bytes(1 << 18))
                count += 1
            taken.append(count)
    assert taken[0] <= 10 < 40 <= taken[1] <= 50


# -- the end ----------------------------------------------------------------------------------

CLOSED: dict[str, Callable[[], Any]] = {
    "receive": lambda: df.receive(LOOPBACK),
    "RemoteDataZMQ": lambda: df.RemoteDataZMQ(LOOPBACK, LOOPBACK),
    "msgpack": receiver,
    "below a stage": lambda: df.BatchData(receiver(), 3),
    "two below a stage": lambda: df.JoinData([df.receive(LOOPBACK), receiver()]),
    "below a runner": lambda: df.PrefetchDataZMQ(df.MapData(receiver(), abs), 1),
}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_by_another_thread_while_the_loop_waits(name: str) -> None:
    ds = CLOSED[name]()
    ended: list[BaseException] = []

    def loop() -> None:
        try:
            for _ in ds:
                pass
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=loop)
    thread.start()
    until(lambda: waits(thread))
    ds.close()
    thread.join(patient(10))
    assert not thread.is_alive()
    assert [type(error) for error in ended] == [df.DataFlowTerminated]


def test_another_pass_while_the_loop_waits() -> None:
    with receiver() as ds, push(ds.addresses[0]) as peer:
        ended: list[BaseException] = []
        first = iter(ds)

        def loop() -> None:
            try:
                next(first)
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=loop)
        thread.start()
        until(lambda: waits(thread))
        second = iter(ds)
        thread.join(patient(10))
        assert [type(error) for error in ended] == [df.DataFlowTerminated]
        peer.send(msgpack_numpy.encode([1]))
        assert next(second) == [1]


def waits(thread: threading.Thread) -> bool:
    """Whether it is where threads wait."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if frame.f_code.co_name in ("wait", "_wait"):
            return True
        frame = frame.f_back
    return False


SEND = """
    import logging
    logging.basicConfig()
    ds = df.DataFromList([[np.arange(3)]])
    df.send_dataflow_zmq(ds, address, format="msgpack")
"""

RECEIVE = """
    ds = df.RemoteDataZMQ("tcp://127.0.0.1:*", format="msgpack")
    print(ds.addresses[0], flush=True)
    for dp in ds:
        print(len(dp), flush=True)
"""


def test_ctrl_c(start: Start) -> None:
    """Both ends, while they work and while they wait."""
    receiving = start(RECEIVE)
    assert receiving.stdout is not None
    sending = start(SEND, receiving.stdout.readline().strip())
    alone = start(RECEIVE)
    assert alone.stdout is not None and alone.stdout.readline()
    assert receiving.stdout.readline() == "1\n"
    for process in (receiving, alone, sending):  # the last one waits, or will
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=patient(20))
        assert process.returncode in (1, -signal.SIGINT, 130)
        assert err.rstrip().endswith("KeyboardInterrupt"), err
        assert time.monotonic() - begun < patient(5)


def test_an_empty_flow_is_not_sent_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    with pytest.raises(df.ConfigError, match="is empty"):
        df.send_dataflow_zmq(numbers(0), "tcp://127.0.0.1:1", format="msgpack")
    with pytest.raises(df.CodecError, match="nothing for a"):
        df.send_dataflow_zmq(df.DataFromList([[object()]]), "tcp://127.0.0.1:1", format="msgpack")


def test_nobody_takes_what_was_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataflow.remote.tensorpack._TELL_SECONDS", 0.05)
    address = f"ipc://{tmp_path}/here"
    sender = PushSender(address, format="msgpack")
    sender.send([[1]])
    thread = threading.Thread(target=sender.close)
    thread.start()
    until(lambda: f"waiting for a receiver at {address}" in caplog.text)
    with df.RemoteDataZMQ(address, format="msgpack") as ds:
        assert next(iter(ds)) == [1]
        thread.join(patient(10))
    assert not thread.is_alive()


def test_who_forgets_to_close(tmp_path: Path) -> None:
    ds = PullReceiver([f"ipc://{tmp_path}/s"], format="msgpack")
    sender = PushSender(ds.addresses[0], format="msgpack")
    sender.send([[1], [2]])
    assert next(iter(ds)) == [1]
    del ds, sender  # the check for what is left behind does the rest
