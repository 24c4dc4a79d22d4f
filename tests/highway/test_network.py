"""Batches over the network: topologies, the real msgpack-numpy, hostile messages."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from optional import library
from patience import patient

import dataflow as df
from dataflow.highway import (
    Augmentations,
    FlowSource,
    ImageFileReader,
    Pipeline,
    ZMQSink,
    ZMQSource,
)
from dataflow.highway.modules.network import _decoded
from dataflow.highway.transforms import FlipX

from .conftest import SIZE

msgpack_numpy = library("msgpack_numpy")

ROOT = Path(__file__).parents[2]
ANY = "tcp://127.0.0.1:*"

BATCH = {
    "images": np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3),
    "labels": np.eye(2, dtype=np.float32),
    "keys": np.array(["a/1.jpg", "b/é.jpg"]),
}
LISTS = {"images": [np.zeros((2, 3, 3)), np.ones((4, 1, 3), "f4")], "keys": [7, "x"]}


@pytest.fixture
def socket() -> Iterator[Any]:
    """Makes sockets of ZeroMQ's own."""
    with zmq.Context() as context:
        made = []

        def make(kind: int, address: str) -> Any:
            made.append(context.socket(kind))
            made[-1].linger = 0
            made[-1].rcvtimeo = made[-1].sndtimeo = 30_000
            made[-1].connect(address)
            return made[-1]

        yield make
        for one in made:
            one.close()


def theirs(value: Any) -> bytes:
    """What Highway sends."""
    packed: bytes = msgpack.packb(value, default=msgpack_numpy.encode, use_bin_type=True)
    return packed


def assert_same(one: Any, other: Any) -> None:
    assert list(one.keys()) == list(other.keys())
    for name in other:
        pairs = zip(one[name], other[name], strict=True)
        assert type(one[name]) is type(other[name])
        assert all(np.array_equal(a, b) for a, b in pairs)
        if isinstance(other[name], np.ndarray):
            assert one[name].dtype == other[name].dtype and one[name].flags.writeable


def test_three_machines_lose_nothing(photos: Path) -> None:
    trainer_source = ZMQSource(ANY, bind=True, timeout=30)
    with Pipeline([trainer_source]) as trainer:
        reader = ImageFileReader(photos, 2, (8, 8), once=True, n_worker=0)
        sink = ZMQSink(ANY)
        with Pipeline([reader, sink]) as machine:
            workers = [
                Pipeline(
                    [
                        ZMQSource(sink.address),
                        Augmentations([FlipX()], n_worker=0),
                        ZMQSink(trainer_source.address, bind=False),
                    ]
                )
                for _ in range(2)
            ]
            batches = [trainer.dequeue() for _ in range(SIZE // 2)]
            assert machine.wait(patient(30))
            for worker in workers:
                worker.stop()
    keys = sorted(key for batch in batches for key in batch["keys"].tolist())
    assert keys == sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    for images, labels in batches:
        assert images.shape == (2, 8, 8, 3) and labels.sum(1).tolist() == [1, 1]


WORKER = """
import os, sys
import numpy as np
from dataflow.highway import Map, Pipeline, ZMQSink, ZMQSource

class Signed(Map):
    def apply(self, batch):
        return {**batch, "worker": np.full(len(batch["images"]), os.getpid())}

Pipeline([ZMQSource(sys.argv[1]), Signed(n_worker=0), ZMQSink(sys.argv[2], bind=False)])
"""


def test_a_trainer_collects_from_all_workers(photos: Path) -> None:
    """Programs that do nothing but build their pipeline go on; a worker that dies is missed."""
    source = ZMQSource(ANY, bind=True, timeout=60)
    sink = ZMQSink(ANY, queue_size=1)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    reader = ImageFileReader(photos, 2, (8, 8), n_worker=0)
    workers = []
    with Pipeline([source]) as trainer, Pipeline([reader, sink]):
        try:
            for _ in range(2):
                command = [sys.executable, "-c", WORKER, sink.address, source.address]
                workers.append(subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}))
            pids = {worker.pid for worker in workers}
            while pids:
                pids -= set(trainer.dequeue()["worker"].tolist())
            workers[0].kill()
            workers[0].wait()
            left = workers[1].pid
            while trainer.dequeue()["worker"].tolist() != [left, left]:
                pass
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()


@pytest.mark.parametrize("batch", [BATCH, LISTS])
def test_the_real_msgpack_numpy_on_the_other_side(batch: dict[str, Any], socket: Any) -> None:
    source = ZMQSource(ANY, bind=True, timeout=30)
    with Pipeline([source]) as p:
        push = socket(zmq.PUSH, source.address)
        push.send(theirs(batch))
        assert_same(p.dequeue(), batch)
        push.send(
            msgpack.packb({k.encode(): v for k, v in batch.items()}, default=msgpack_numpy.encode)
        )
        assert_same(p.dequeue(), batch)
    sink = ZMQSink(ANY)
    flow = df.DataFromList([batch])
    with Pipeline([FlowSource(flow, once=True), sink]):
        message = socket(zmq.PULL, sink.address).recv()
        found = msgpack.unpackb(message, object_hook=msgpack_numpy.decode, strict_map_key=False)
        for name, part in batch.items():
            assert all(np.array_equal(a, b) for a, b in zip(found[name], part, strict=True))


class Mark:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_malformed_messages_are_dropped_and_counted(
    socket: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mark = tmp_path / "mark"
    evil = np.empty(1, object)
    evil[0] = Mark(mark)
    good = theirs(BATCH)
    bad = {
        "corrupt": [b"", b"\xc1", good[:-1], good + b"\0", theirs([1, 2]), theirs({}), theirs(5)],
        "unsupported": [
            theirs({"images": evil}),
            theirs({"images": {"a": 1}}),
            theirs({"images": 3}),
            theirs({"images": np.zeros(2, "i4,f8")}),
        ],
        "size": [theirs({"images": np.zeros(100_000, np.uint8)})],
    }
    with caplog.at_level(logging.WARNING):
        source = ZMQSource(ANY, bind=True, timeout=30, max_message_bytes=1 << 16)
        with Pipeline([source]) as p:
            push = socket(zmq.PUSH, source.address)
            for message in (message for messages in bad.values() for message in messages):
                push.send(message)
            push.send_multipart([good, good])
            push.send(good)
            assert_same(p.dequeue(), BATCH)
            counts = p.flow.stats()["errors"]
    expected = {reason: len(messages) for reason, messages in bad.items()} | {"count": 1}
    assert counts == expected
    assert caplog.text.count("a message was refused") == 10, "of each so many"
    assert not mark.exists()


@given(
    st.binary(max_size=8), st.integers(0, 200), st.integers(0, 8), st.sampled_from([BATCH, LISTS])
)
def test_whatever_comes_is_a_batch_or_a_codec_error(
    data: bytes, place: int, cut: int, batch: dict[str, Any]
) -> None:
    good = theirs(batch)
    spoilt = good[:place] + data + good[place + cut :]
    try:
        found = _decoded([zmq.Frame(spoilt)], 1 << 16)
    except df.CodecError:
        return
    assert found and all(type(name) is str for name in found)
    for part in found.values():
        for one in part if isinstance(part, list) else [part]:
            assert not isinstance(one, np.ndarray) or one.dtype.kind in "biufcSU"
            assert isinstance(one, np.ndarray | np.generic | str | bytes | int | float)


def test_batches_beyond_the_limit_are_not_sent() -> None:
    flow = df.DataFromList([{"images": np.zeros(1 << 16, np.uint8)}])
    sink = ZMQSink("ipc:///nowhere", bind=False, max_message_bytes=1 << 16)
    with (
        Pipeline([FlowSource(flow, once=True), sink]) as p,
        pytest.raises(df.CodecError, match="max_message_bytes"),
    ):
        p.wait()


def test_stop_ends_who_waits_for_the_network() -> None:
    source = ZMQSource(ANY, bind=True)
    relay = Pipeline([source, Augmentations([FlipX()], n_worker=1), ZMQSink(ANY)])
    relay.stop()
    p = Pipeline([ZMQSource(ANY, bind=True)])
    ended = threading.Event()

    def wait() -> None:
        try:
            p.dequeue()
        except df.DataFlowTerminated:
            ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    p.stop()
    thread.join(patient(30))
    assert ended.is_set()
    full = Pipeline([FlowSource(df.DataFromList([BATCH])), ZMQSink(ANY)])  # nobody takes them
    assert full.wait(0) is False
    full.stop()


def test_waiting_has_an_end_where_it_is_wanted() -> None:
    source = ZMQSource(ANY, bind=True, timeout=0.05)
    with Pipeline([source]) as p:
        for _ in range(2):
            with pytest.raises(df.PeerTimeout):
                p.dequeue()
        flow = df.DataFromList([BATCH])
        with Pipeline([FlowSource(flow, once=True), ZMQSink(source.address, bind=False)]) as other:
            while True:
                with suppress(df.PeerTimeout):
                    assert_same(p.dequeue(), BATCH)
                    break
            assert other.wait(patient(30))


def test_a_pipeline_that_nobody_has_any_more_gives_its_address_back() -> None:
    source = ZMQSource(ANY, bind=True)
    p = Pipeline([source])
    address = source.address
    del p, source
    gc.collect()
    Pipeline([ZMQSource(address, bind=True)]).stop()


def test_addresses() -> None:
    source = ZMQSource(ANY, bind=True)
    assert source.address == ANY
    with Pipeline([source]):
        with pytest.raises(df.ConfigError, match="in use"):
            Pipeline([ZMQSource(source.address, bind=True)])
        with pytest.raises(df.ConfigError, match="in use"):
            Pipeline([ZMQSource(source.address), ZMQSink(source.address)])
    for make in (ZMQSource, ZMQSink):
        with pytest.raises(df.ConfigError, match="neither tcp"):
            make("somewhere")
        with pytest.raises(df.ConfigError, match="max_message_bytes=5"):
            make("tcp://127.0.0.1:1", max_message_bytes=5)
    with pytest.raises(df.ConfigError, match="connected to"):
        ZMQSource("tcp://*:1")


def test_a_bind_that_others_reach_warns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        with Pipeline([ZMQSource(ANY, bind=True)]):
            assert not caplog.records
        with pytest.raises(df.ConfigError):  # nobody's address, so that none is opened
            Pipeline([ZMQSource("tcp://192.0.2.1:5555", bind=True)])
    assert "lets every host that reaches it connect" in caplog.text
