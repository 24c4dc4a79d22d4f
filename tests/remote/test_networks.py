"""What networks and others on them do: resets, partitions, silence, stalls, strangers."""

from __future__ import annotations

import os
import resource
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from hosts import Hosts, why_not
from network import ROOT, Start, line, until
from patience import patient

import dataflow as df
from dataflow.remote import Sender
from dataflow.transport import options
from dataflow.transport.keys import make_keys

LOOPBACK = "tcp://127.0.0.1:*"

# -- links that fail (row 17) -----------------------------------------------------------------

TRAINER = """
import time, dataflow as df
ds = df.receive("tcp://0.0.0.0:5000", senders=2, window=1 << 17, timeout=TIMEOUT, insecure=True)
for _ in range(2):
    for number, i, _ in ds:
        print(number, i, flush=True)
        time.sleep(PACE)
    print("over", flush=True)
"""

WORKER = """
import sys, dataflow as df
points = [[int(sys.argv[2]), i, bytes(2000)] for i in range(COUNT)]
ds = df.DataFromList(points, shuffle=True)
df.send(ds, f"tcp://{sys.argv[1]}:5000", epochs=2, timeout=TIMEOUT)
"""


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "")
@pytest.mark.parametrize(
    ("seconds", "timeout", "count"),
    [
        pytest.param(1.5, 1.5, 500, id="longer than the silence that is borne"),
        pytest.param(10.0, 60.0, 4000, marks=pytest.mark.soak, id="10 s, shorter than that"),
        pytest.param(10.0, 4.0, 4000, marks=pytest.mark.soak, id="10 s, longer than that"),
    ],
)
def test_resets_and_a_partition(seconds: float, timeout: float, count: int) -> None:
    """Between hosts, over links with delay and loss: nothing is lost, nothing comes twice."""
    told = {
        "TIMEOUT": str(timeout),
        "COUNT": str(count),
        "PACE": str(0.001 if count < 1000 else 0.003),
    }

    def words(program: str, *arguments: str) -> list[str]:
        for name, value in told.items():
            program = program.replace(name, value)
        return [sys.executable, "-c", program, *arguments]

    more = {"env": {**os.environ, "PYTHONPATH": str(ROOT)}, "text": True}
    found: Counter[tuple[int, str]] = Counter()
    overs = 0

    def follow(stream: Any) -> None:
        nonlocal overs
        for text in stream:
            if text == "over\n":
                overs += 1
            else:
                found[overs, text.strip()] += 1

    with Hosts(["trainer", "one", "two"], delay=0.004, loss=0.001) as hosts:
        trainer = hosts.start("trainer", words(TRAINER), stdout=-1, stderr=None, **more)
        address = hosts.address("trainer")
        workers = [
            hosts.start(name, words(WORKER, address, str(number)), **more)
            for number, name in enumerate(("one", "two"))
        ]
        thread = threading.Thread(target=follow, args=(trainer.stdout,), daemon=True)
        thread.start()
        until(lambda: len(found) > 100)
        resets = hosts.reset("one")
        seen = len(found)
        until(lambda: len(found) > seen + 100)
        hosts.cut("two")
        time.sleep(seconds)
        hosts.restore("two")
        seen = len(found)
        until(lambda: len(found) > seen + 100, 30)
        hosts.reset("trainer")
        assert trainer.wait(patient(90)) == 0
        assert [worker.wait(patient(20)) for worker in workers] == [0, 0]
        thread.join(patient(20))
    expected = {(e, f"{n} {i}") for e in range(2) for n in range(2) for i in range(count)}
    assert found == Counter(expected)
    if not resets:
        pytest.skip("this kernel cannot reset connections (INET_DIAG_DESTROY); the rest holds")


# -- nobody there (row 18) --------------------------------------------------------------------

ALONE = """
    import threading, time
    def memory():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096
    def images():
        for number in range(1000):
            taken.append(number)
            yield [number, np.full(100_000, number % 251, np.uint8)]
    taken = []
    sender = df.remote.Sender(address)
    df.remote.Sender("tcp://127.0.0.1:9").close()  # what is loaded at first use
    before = memory()
    thread = threading.Thread(target=sender.send, args=(df.DataFromGenerator(images),))
    thread.start()
    for _ in sys.stdin:
        print(len(taken), memory() - before, flush=True)
    thread.join()
    print("end", flush=True)
"""


def ask(process: Any) -> tuple[int, int]:
    process.stdin.write("\n")
    process.stdin.flush()
    taken, memory = line(process).split()
    return int(taken), int(memory)


@pytest.mark.parametrize("there", [False, True], ids=["never", "at first"])
@pytest.mark.parametrize("seconds", [0.7, pytest.param(60.0, marks=pytest.mark.soak)])
def test_no_receiver_for_a_while(start: Start, there: bool, seconds: float) -> None:
    """The sender waits, its memory does not grow beyond the window, and nothing is dropped."""
    window = 4 << 20
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    process = start(ALONE, address)
    had: list[int] = []
    if there:
        receiver = start(
            f"""
            for number, _ in df.receive(address, window={window}):
                print(number, flush=True)
                sys.stdin.readline()
            """,
            address,
        )
        had.append(int(line(receiver)))
        until(lambda: ask(process)[0] * 100_000 > window)
        receiver.kill()
        receiver.wait()
    until(lambda: ask(process)[0] * 100_000 > 8 << 20)
    taken = -1
    while taken != (taken := ask(process)[0]):  # it fills what may wait
        time.sleep(0.2)
    time.sleep(seconds)
    assert ask(process)[0] == taken, "it waits"
    packed = 8 << 20  # waits for a receiver's credit
    assert ask(process)[1] < (window if there else 0) + packed + (10 << 20)
    with df.receive(address, window=window) as ds:
        found = [number for number, array in ds if array[0] == array[-1] == number % 251]
    assert had == [0] * there
    # What the loop had for a moment was delivered, and perhaps acknowledged before the kill.
    assert found in [list(range(first, 1000)) for first in (0, len(had))], "nothing is dropped"
    process.stdin.close()  # type: ignore[union-attr]
    assert line(process) == "end"


# -- throughput of those who are in order (rows 19 and 22) --------------------------------------

PACE = 0.004  # seconds that a datapoint costs its receiver, whatever else the machine does


def chunks(size: int = 20_000) -> Iterator[list[Any]]:
    array = np.zeros(size, np.uint8)
    while True:
        yield [array]


def rate(counted: Counter[Any], who: Any, seconds: float) -> float:
    """Datapoints during a pause of this thread, of the median of some stretches.

    The pauses are as long as those of the receivers, and longer where they are: on a busy machine.
    """
    rates, pauses = [], int(seconds / 5 / PACE)
    for _ in range(5):
        before = sum(counted[one] for one in who)
        for _ in range(pauses):
            threading.Event().wait(PACE)
        rates.append((sum(counted[one] for one in who) - before) / pauses)
    return median(rates)


class Taker(threading.Thread):
    """A receiver's loop: each datapoint takes its time, until the test ends; or it stalls."""

    def __init__(self, ds: Any, counted: Counter[Any], who: Any, ending: threading.Event) -> None:
        super().__init__(daemon=True)
        self._work = ds, counted, who, ending
        self.going = threading.Event()
        self.going.set()
        self.start()

    def run(self) -> None:
        ds, counted, who, ending = self._work
        with suppress(df.DataFlowTerminated), ds:
            for _ in ds:
                counted[who] += 1
                ending.wait(PACE)
                self.going.wait()


@pytest.mark.alone
@pytest.mark.parametrize("seconds", [1.5, pytest.param(20.0, marks=pytest.mark.soak)])
def test_a_stalled_receiver_among_four(seconds: float) -> None:
    """The others keep at least nine tenths of their throughput."""
    counted: Counter[int] = Counter()
    ending = threading.Event()
    with Sender(LOOPBACK, bind=True, receivers=4) as sender:
        address = sender.addresses[0]
        flows = [df.receive(address, bind=False, window=1 << 20) for _ in range(4)]
        takers = [Taker(ds, counted, who, ending) for who, ds in enumerate(flows)]
        sending = threading.Thread(target=_send, args=(sender, _until(ending, chunks())))
        sending.start()
        until(lambda: len(counted) == 4)
        before = rate(counted, (1, 2, 3), seconds)
        takers[0].going.clear()
        have = counted[0]
        after = rate(counted, (1, 2, 3), seconds)
        assert counted[0] <= have + 1
        takers[0].going.set()
        ending.set()
        for thread in (sending, *takers):
            thread.join(patient(30))
            assert not thread.is_alive()
    assert after >= 0.9 * before > 0


def _until(ending: threading.Event, points: Iterator[Any]) -> Iterator[Any]:
    for point in points:
        if ending.is_set():
            return
        yield point


def _send(sender: Sender, points: Any) -> None:
    with suppress(df.DataFlowTerminated):
        sender.send(points)


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip(f"only {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def ended(connection: socket.socket) -> bool:
    """Whether the other side has ended a connection."""
    connection.setblocking(False)
    try:
        while connection.recv(1 << 10):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


@pytest.mark.alone
@pytest.mark.parametrize(
    ("seconds", "handshake", "encrypted"),
    [
        pytest.param(0.8, 1500, True, id="with keys"),
        pytest.param(8.0, 10_000, True, marks=pytest.mark.soak, id="with keys, as it is"),
        pytest.param(8.0, 10_000, False, marks=pytest.mark.soak, id="without keys, as it is"),
    ],
)
def test_a_thousand_half_open_connections_and_strangers(
    seconds: float,
    handshake: int,
    encrypted: bool,
    many_files: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """None of them is let in, the good sender keeps nine tenths, and they are thrown out."""
    monkeypatch.setattr(options, "_HANDSHAKE", handshake)
    for name in ("ours", "theirs"):
        make_keys(tmp_path / name)
    keys = tmp_path / "ours" if encrypted else None
    counted: Counter[int] = Counter()
    ending = threading.Event()
    with ExitStack() as stack:
        ds = df.receive(LOOPBACK, keys=keys, window=1 << 20)
        address = ds.addresses[0]
        good = stack.enter_context(Sender(address, keys=keys))
        taker = Taker(ds, counted, 0, ending)
        sending = threading.Thread(target=_send, args=(good, _until(ending, chunks())))
        sending.start()
        until(lambda: counted[0])
        before = rate(counted, (0,), seconds)
        connections = []
        for number in range(1000):
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))
            )
            connections.append(connection)
            if number % 3:  # the beginning of ZMTP's greeting, or all of it without a handshake
                greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0")
                connection.sendall((greeting + bytes(32))[: 9 if number % 3 == 1 else 64])
        strangers = []
        if encrypted:
            server = tmp_path / "ours/public.key"
            wrong = stack.enter_context(
                Sender(address, keys=tmp_path / "theirs", server_key=server)
            )
            strangers = [wrong, stack.enter_context(Sender(address))]
        after = rate(counted, (0,), seconds)
        assert [peer["name"] for peer in ds.peers()] == [good._exchange.name]
        assert [stranger.stats()["peers"] for stranger in strangers] == [[]] * len(strangers)
        if encrypted:
            refused = ds.stats()["stages"][0]["refused"]
            assert set(refused) == {"key"}
        until(lambda: all(map(ended, connections)), handshake / 1000 + 10)
        ending.set()
        for thread in (taker, sending):
            thread.join(patient(20))
            assert not thread.is_alive()
    assert after >= 0.9 * before > 0
