"""How fast datapoints come from another process over TCP, on this machine's loopback.

    python bench/remote.py [--quick] [--runs 5] [--python PEER=PATH]

A process of its own sends, this one receives: uint8 batches of 64×224×224×3 that lie in memory, and
small datapoints, [int, int]. The limits are a plain socket that is read into always the same
memory, and bare ZeroMQ without copies. (Loopback has no network's limit: what is measured is the
processors' work.)
"""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from harness import steady
from images import POOL, pool
from suite import Bench, Case, Column, Config, Target, main

BATCH = 64
BATCHES = POOL // BATCH
BYTES = 64 * 224 * 224 * 3


# -- what is sent, and what becomes of it -----------------------------------------------------


def batches() -> Iterator[list[Any]]:
    """[images, number], without end."""
    parts = np.split(pool(), BATCHES)
    for number in itertools.count():
        yield [parts[number % BATCHES], number]


def pairs() -> Iterator[list[int]]:
    """[number, number], without end."""
    for number in itertools.count():
        yield [number, number % 1000]


def stream_of(config: Config) -> Iterator[list[Any]]:
    return batches() if config["what"] == "batches" else pairs()


def timed(stream: Iterable[Any], config: Config) -> dict[str, Any]:
    """Time the stream; the first batches are compared with what was sent."""
    whole = config["what"] == "batches"
    parts = np.split(pool(), BATCHES) if whole else []
    seen = 0

    def see(datapoint: Any) -> None:
        nonlocal seen
        if whole and seen < 4:
            images, number = np.asarray(datapoint[0]), int(np.asarray(datapoint[1]).flat[0])
            assert np.array_equal(images, parts[number % BATCHES]), "a batch came out different"
        elif not whole and seen < 100:
            assert int(datapoint[1]) == int(datapoint[0]) % 1000
        seen += 1

    warm = 10 if whole else 5000
    found = steady(stream, see, warm=warm, stop=1 << 60, seconds=config["seconds"])
    rate = found["items"] / found["seconds"]
    return {
        "rate": rate * BYTES / 1e9 if whole else rate / 1000,
        "datapoints": rate,
        "cpu": found["cpu_of_all"] / found["seconds"],
    }


@contextmanager
def sending(cell: str, config: Config, address: str) -> Iterator[None]:
    """Another process, which runs this file's function `cell` with the address."""
    words = ["--send", json.dumps({**config, "cell": cell, "address": address})]
    process = subprocess.Popen([sys.executable, __file__, *words])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# -- the limits -------------------------------------------------------------------------------


def plain(config: Config) -> dict[str, Any]:
    """A socket: no messages, no protocol, one buffer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with sending("plain_sender", config, address), server.accept()[0] as connection:
            memory = memoryview(bytearray(BYTES))

            def whole() -> Iterator[list[Any]]:
                for number in itertools.count():
                    got = 0
                    while got < BYTES:
                        got += connection.recv_into(memory[got:])
                    yield [np.frombuffer(memory, np.uint8).reshape(BATCH, 224, 224, 3), number]

            return timed(whole(), config)


def plain_sender(config: Config) -> None:
    host, _, port = config["address"].partition(":")
    with socket.create_connection((host, int(port))) as connection:
        for images, _ in batches():
            connection.sendall(images)


def bare(config: Config) -> dict[str, Any]:
    """ZeroMQ: PUSH and PULL, the number and the array's bytes, no copies."""
    import zmq

    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.rcvhwm = 8
        port = pull.bind_to_random_port("tcp://127.0.0.1")

        def whole() -> Iterator[list[Any]]:
            while True:
                number, frame = pull.recv_multipart(copy=False)
                images = np.frombuffer(frame, np.uint8).reshape(BATCH, 224, 224, 3)
                yield [images, int(number.bytes)]

        with sending("bare_sender", config, f"tcp://127.0.0.1:{port}"):
            return timed(whole(), config)


def bare_sender(config: Config) -> None:
    import zmq

    push = zmq.Context().socket(zmq.PUSH)
    push.sndhwm = 8
    push.connect(config["address"])
    for images, number in batches():
        push.send_multipart([b"%d" % number, images], copy=False)


# -- this project -----------------------------------------------------------------------------


def ours(config: Config) -> dict[str, Any]:
    import dataflow as df
    from dataflow.transport.keys import make_keys

    with tempfile.TemporaryDirectory() as folder:
        if config["keys"]:
            make_keys(Path(folder))
        keys = folder if config["keys"] else None
        ds = df.receive("tcp://127.0.0.1:*", keys=keys)
        with ds, sending("our_sender", {**config, "folder": keys}, ds.addresses[0]):
            return timed(ds, config)


def our_sender(config: Config) -> None:
    import dataflow as df

    ds = df.DataFromGenerator(lambda: stream_of(config))
    df.send(ds, config["address"], keys=config["folder"])


def ours_pulled(config: Config) -> dict[str, Any]:
    """On tensorpack's wire."""
    import dataflow as df

    ds = df.RemoteDataZMQ("tcp://127.0.0.1:*", format=config["format"])
    with ds, sending("our_push_sender", config, ds.addresses[0]):
        return timed(ds, config)


def our_push_sender(config: Config) -> None:
    import dataflow as df

    ds = df.DataFromGenerator(lambda: stream_of(config))
    df.send_dataflow_zmq(ds, config["address"], format=config["format"])


def connection(config: Config) -> dict[str, Any]:
    """On Tensorcom's wire."""
    import dataflow as df

    with df.Connection("zpull://127.0.0.1:*") as ds:
        port = ds.addresses[0].rpartition(":")[2]
        with sending("connection_sender", config, f"zpush://127.0.0.1:{port}"):
            return timed(ds, config)


def connection_sender(config: Config) -> None:
    import dataflow as df

    connection = df.Connection(config["address"], copy=False)  # as `dataflow serve` does
    for images, number in batches():
        connection.send([images, np.array([number], np.int32)])


# -- peers ------------------------------------------------------------------------------------


def tensorpack(config: Config) -> dict[str, Any]:
    from tensorpack.dataflow import RemoteDataZMQ

    port = free_port()
    ds = RemoteDataZMQ(f"tcp://127.0.0.1:{port}")
    ds.reset_state()
    with sending("tensorpack_sender", config, f"tcp://127.0.0.1:{port}"):
        return timed(ds, config)


def tensorpack_sender(config: Config) -> None:
    from tensorpack.dataflow import DataFlow, send_dataflow_zmq

    class Endless(DataFlow):  # type: ignore[misc]
        """(Its own DataFromGenerator has to have a length.)"""

        def __iter__(self) -> Iterator[list[Any]]:
            return stream_of(config)

    send_dataflow_zmq(Endless(), config["address"])


def tensorcom(config: Config) -> dict[str, Any]:
    """As arrays; numbers beside them, too."""
    from tensorcom import Connection

    port = free_port()
    connection = Connection(f"zpull://127.0.0.1:{port}")
    with sending("tensorcom_sender", config, f"zpush://127.0.0.1:{port}"):
        return timed(connection.items(), config)


def tensorcom_sender(config: Config) -> None:
    from tensorcom import Connection

    connection = Connection(config["address"], allow64=True)
    for images, number in batches():
        connection.send([images, np.array([number], np.int32)])


def cases(quick: bool) -> list[Case]:
    seconds = 0.2 if quick else 4.0
    whole = {"what": "batches", "seconds": seconds, "keys": False}
    small = {**whole, "what": "pairs"}
    return [
        Case("plain socket, batches", "bare", "plain", whole),
        Case("bare ZeroMQ, batches", "bare", "bare", whole),
        Case("dataflow, batches", "dataflow", "ours", whole),
        Case("dataflow with keys, batches", "dataflow", "ours", {**whole, "keys": True}),
        Case("dataflow by tensorcom's wire, batches", "dataflow", "connection", whole),
        Case("tensorcom, batches", "tensorcom", "tensorcom", whole),
        Case("tensorpack, batches", "tensorpack", "tensorpack", {**whole, "format": "pickle"}),
        Case(
            "tensorpack by msgpack, batches",
            "tensorpack",
            "tensorpack",
            {**whole, "format": "msgpack"},
        ),
        Case(
            "dataflow by tensorpack's msgpack, batches",
            "dataflow",
            "ours_pulled",
            {**whole, "format": "msgpack"},
        ),
        Case("dataflow, small datapoints", "dataflow", "ours", small),
        Case(
            "dataflow by tensorpack's msgpack, small datapoints",
            "dataflow",
            "ours_pulled",
            {**small, "format": "msgpack"},
        ),
        Case(
            "tensorpack, small datapoints",
            "tensorpack",
            "tensorpack",
            {**small, "format": "pickle"},
        ),
        Case(
            "tensorpack by msgpack, small datapoints",
            "tensorpack",
            "tensorpack",
            {**small, "format": "msgpack"},
        ),
    ]


CELLS: dict[str, Callable[[Config], Any]] = {
    "plain": plain,
    "bare": bare,
    "ours": ours,
    "ours_pulled": ours_pulled,
    "connection": connection,
    "tensorpack": tensorpack,
    "tensorcom": tensorcom,
}

SENDERS: dict[str, Callable[[Config], None]] = {
    "plain_sender": plain_sender,
    "bare_sender": bare_sender,
    "our_sender": our_sender,
    "our_push_sender": our_push_sender,
    "connection_sender": connection_sender,
    "tensorpack_sender": tensorpack_sender,
    "tensorcom_sender": tensorcom_sender,
}


def with_format(cell: Callable[[Config], Any]) -> Callable[[Config], Any]:
    """tensorpack reads its serializer's name from the environment, in both processes."""

    def run(config: Config) -> Any:
        import os

        if "format" in config:
            os.environ["TENSORPACK_SERIALIZE"] = config["format"]
        return cell(config)

    return run


BENCH = Bench(
    name="remote",
    timeout=30.0,
    title="datapoints from another process over TCP on loopback: uint8 batches of 64×224×224×3, "
    "and [int, int]",
    columns=(
        Column("rate", "GB/s, or thousand small datapoints/s", 2),
        Column("datapoints", "datapoints/s", 0),
        Column("cpu", "cores busy in both processes", 2),
    ),
    cells={name: with_format(cell) for name, cell in CELLS.items()},
    cases=cases,
    targets=(
        Target("batches, of bare ZeroMQ", "dataflow, batches", 0.85, "bare ZeroMQ, batches"),
        Target("batches, of tensorcom", "dataflow, batches", 1.4, "tensorcom, batches"),
        Target(
            "batches by tensorcom's wire, of tensorcom",
            "dataflow by tensorcom's wire, batches",
            1.3,
            "tensorcom, batches",
        ),
        Target("batches, of tensorpack", "dataflow, batches", 2, "tensorpack, batches"),
        Target(
            "batches, of tensorpack by msgpack",
            "dataflow, batches",
            2,
            "tensorpack by msgpack, batches",
        ),
        Target("thousand small datapoints/s", "dataflow, small datapoints", 100),
    ),
    references={
        None: "bare ZeroMQ, batches",
        "dataflow, small datapoints": "tensorpack, small datapoints",
        "dataflow by tensorpack's msgpack, small datapoints": "tensorpack, small datapoints",
        "tensorpack by msgpack, small datapoints": "tensorpack, small datapoints",
        "tensorpack, small datapoints": "tensorpack, small datapoints",
    },
)

if __name__ == "__main__":
    if sys.argv[1:2] == ["--send"]:
        wanted = json.loads(sys.argv[2])
        with_format(SENDERS[wanted["cell"]])(wanted)
    else:
        main(BENCH)
