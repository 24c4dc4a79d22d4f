"""What a pool of worker machines costs its trainer, as the machines become more.

    python bench/pool.py [--quick] [--runs 5]

The machines are simulated: one process with so many connections, which answer each lease at once
with the same image, or with [int, int]. So the trainer is the limit, or that process; how many
datapoints a second that is, and how much processor time of the trainer each takes, is what is told.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import deque
from typing import Any

import numpy as np
from harness import steady
from suite import Bench, Case, Column, Config, main

COUNT = 10_000_000
IMAGE = np.zeros((224, 224, 3), np.uint8)


def chain() -> Any:
    import dataflow as df

    return df.FakeData([[1]], size=COUNT).map(as_it_is)


def as_it_is(datapoint: Any) -> Any:
    return datapoint


def trainer(config: Config) -> dict[str, Any]:
    import dataflow as df

    with df.PrefetchDataRemote(chain(), "tcp://127.0.0.1:*", hwm=64, max_peers=100) as ds:
        words = json.dumps({**config, "address": ds.addresses[0]})
        process = subprocess.Popen([sys.executable, __file__, "--machines", words])
        try:
            found = steady(
                ds,
                lambda datapoint: None,
                warm=5000,
                stop=1 << 60,
                seconds=config["seconds"],
                warm_seconds=3.0,
            )
            joined = sum(peer["datapoints"] > 0 for peer in ds.peers())
        finally:
            process.kill()
            process.wait()
    if joined < config["machines"]:
        raise RuntimeError(f"{joined} of {config['machines']} machines took part")
    rate = found["items"] / found["seconds"]
    return {
        "rate": rate / 1000,
        "us": 1e6 * found["cpu_seconds"] / found["items"],
        "bytes": rate * (IMAGE.nbytes if config["what"] == "images" else 0) / 1e9,
        "share": found["cpu_seconds"] / found["seconds"],
    }


def machines(config: Config) -> None:
    """So many simulated machines, until this process is killed."""
    import time

    from dataflow.engine.messages import Outcomes, Report
    from dataflow.remote.forms import pack_report, read_lease
    from dataflow.remote.setup import options_of
    from dataflow.resume import fingerprint
    from dataflow.transport.exchange import Exchange

    lines = fingerprint(chain())
    result = [IMAGE, 1] if config["what"] == "images" else [1, 2]

    class Machine:
        """A worker that has done its work as it gets it."""

        role, partner = "worker", "trainer"

        def __init__(self) -> None:
            self.link: Any = None
            self.outgoing: deque[Any] = deque()

        def joined(self, link: Any) -> None:
            from dataflow.codec import wire

            link.send(wire.pack(wire.Kind.JOIN, chain=lines, procs=1, threads=1))

        def received(self, link: Any, message: Any, frames: Any) -> None:
            from dataflow.codec import wire

            if message.kind is wire.Kind.START:
                link.send(wire.pack(wire.Kind.UP, part=0, worker=0, hands=1, pid=1))
            elif message.kind is wire.Kind.LEASE:
                lease = read_lease(message.fields, frames, 1)
                count = len(lease.tasks)
                outcomes = Outcomes(lease.number, 0, [result] * count)
                report = Report([outcomes], [(0, 0, count, 1e-5 * count)], finished=count)
                for sent in pack_report(0, 0, report, link.limit):
                    link.send(*sent)

        def tick(self, now: float) -> float:
            return 1.0

        def left(self, link: Any) -> None: ...
        def refused(self, error: Any) -> None: ...
        def closing(self) -> None: ...
        def failed(self, error: BaseException) -> None:
            raise error

    options = options_of(
        config["address"],
        bind=False,
        keys=None,
        server_key=None,
        insecure=False,
        timeout=5.0,
        max_message_bytes=1 << 29,
        max_peers=1,
    )
    for _ in range(config["machines"]):
        Exchange(options, Machine()).start()
    while True:
        time.sleep(1)


def cases(quick: bool) -> list[Case]:
    seconds = 0.2 if quick else 4.0
    return [
        Case(
            f"{what}, {count} machines",
            "dataflow",
            "trainer",
            {"what": what, "machines": count, "seconds": seconds},
        )
        for what in ("images", "pairs")
        for count in ((1, 4) if quick else (1, 4, 16, 64))
    ]


BENCH = Bench(
    name="pool",
    timeout=40.0,
    title="A trainer with simulated worker machines: images of 224×224×3, and [int, int]",
    columns=(
        Column("rate", "thousand datapoints/s", 1),
        Column("us", "µs of the trainer's CPU a datapoint", 1),
        Column("bytes", "GB/s", 2),
        Column("share", "cores that the trainer uses", 2),
    ),
    cells={"trainer": trainer},
    cases=cases,
    targets=(),
    references={None: None},
)

if __name__ == "__main__":
    if sys.argv[1:2] == ["--machines"]:
        machines(json.loads(sys.argv[2]))
    else:
        main(BENCH)
