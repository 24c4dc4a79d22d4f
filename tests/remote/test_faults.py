"""Networks and peers that fail: nothing is lost, nothing comes twice, and everybody is told."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from contextlib import ExitStack
from itertools import islice
from typing import Any

import numpy as np
import pytest
from network import Proxy, Sending, Start, line, numbers, until
from patience import patient

import dataflow as df
from dataflow.remote import Sender
from dataflow.transport import exchange

LOOPBACK = "tcp://127.0.0.1:*"


def arrays(count: int, size: int = 100_000) -> df.DataFlow:
    """[number, array of it]."""
    return df.DataFromGenerator(
        lambda: ([i, np.full(size, i % 251, np.uint8)] for i in range(count))
    )


def check(found: list[Any], expected: range) -> None:
    assert [number for number, _ in found] == list(expected)
    assert all(array[0] == array[-1] == number % 251 for number, array in found)


@pytest.mark.parametrize("sender_binds", [False, True])
def test_a_connection_that_is_cut_again_and_again(sender_binds: bool) -> None:
    with ExitStack() as stack:
        if sender_binds:
            sender = stack.enter_context(Sender(LOOPBACK, bind=True))
            proxy = stack.enter_context(Proxy(sender.addresses[0]))
            ds = stack.enter_context(df.receive(proxy.address, bind=False, window=2 << 20))
            thread = threading.Thread(target=sender.send, args=(arrays(400), 2), daemon=True)
            thread.start()
        else:
            ds = stack.enter_context(df.receive(LOOPBACK, window=2 << 20))
            proxy = stack.enter_context(Proxy(ds.addresses[0]))
            thread = Sending(arrays(400), proxy.address, epochs=2)
        for _ in range(2):
            found = []
            for datapoint in ds:
                found.append(datapoint)
                if len(found) % 100 == 50:
                    proxy.cut()
            check(found, range(400))
        thread.join(patient(20))
        assert not thread.is_alive()
        assert proxy.connections >= 4


def test_a_connection_that_stalls() -> None:
    """Longer than the silence after which it is given up; then it is another one."""
    with (
        df.receive(LOOPBACK, timeout=patient(1.0), window=1 << 20) as ds,
        Proxy(ds.addresses[0]) as proxy,
    ):
        sender = Sending(arrays(100), proxy.address, timeout=patient(1.0))
        iterator = iter(ds)
        found = list(islice(iterator, 20))
        proxy.flowing.clear()
        before = proxy.connections
        until(lambda: proxy.connections >= before + 2)
        proxy.flowing.set()
        check(found + list(iterator), range(100))
        sender.join()


def test_a_cut_in_a_greeting_or_an_acknowledgement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut after every so many bytes, wherever that is."""
    monkeypatch.setattr(exchange, "_LAST_DELAY", 0.05)
    with df.receive(LOOPBACK) as ds, Proxy(ds.addresses[0]) as proxy:
        ended = threading.Event()

        def cutter() -> None:
            for step in range(25):
                seen = proxy.passed
                limit = 20 * (step + 1)
                while proxy.passed < seen + limit and not ended.wait(0.001):
                    pass
                proxy.cut()

        thread = threading.Thread(target=cutter, daemon=True)
        thread.start()
        sender = Sending(numbers(2000), proxy.address, epochs=2)
        for _ in range(2):
            assert [n for (n,) in ds] == list(range(2000))
        ended.set()
        sender.join()
        thread.join(patient(20))


SEND = """
    def slowly():
        for number in range(1_000_000):
            yield [number]
    df.send(df.DataFromGenerator(slowly), address)
"""


def test_a_sender_that_is_killed(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    with df.receive(LOOPBACK, timeout=patient(2.0), window=1 << 20) as ds:
        process = start(SEND, ds.addresses[0])
        iterator = iter(ds)
        first = [n for (n,) in islice(iterator, 5000)]
        process.kill()
        process.wait()
        other = Sending(numbers(10), ds.addresses[0])
        rest = [n for (n,) in iterator]
        other.join()
        # What had arrived of the dead one, and all of the one that took its place.
        assert sorted(rest)[-1] >= 5000 and [n for n in rest if n < 10] == list(range(10))
        more = sorted(n for n in rest if n >= 10)
        assert first + more == list(range(5000 + len(more)))
        lines = [r.getMessage() for r in caplog.records if "is cut off, or dead" in r.getMessage()]
        assert len(lines) == 1, "told once"
        assert f"after {5000 + len(more)} datapoints, in its epoch 0" in lines[0]


def test_a_sender_that_is_killed_and_started_again_at_its_address(start: Start) -> None:
    """Where the receiver connects, it knows at once that the first one does not come back."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    program = SEND.replace("address)", "address, bind=True)")
    with df.receive(address, bind=False, window=1 << 20) as ds:
        process = start(program, address)
        iterator = iter(ds)
        first = [n for (n,) in islice(iterator, 5000)]
        process.kill()
        process.wait()
        with Sender(address, bind=True) as sender:
            thread = threading.Thread(target=sender.send, args=(numbers(10),), daemon=True)
            thread.start()
            rest = [n for (n,) in iterator]
            thread.join(patient(20))
    assert rest[-10:] == list(range(10))
    assert first + rest[:-10] == list(range(len(first + rest) - 10))


RECEIVE = """
    ds = df.receive(address, window=1 << 20)
    print(ds.addresses[0], flush=True)
    for number, array in ds:
        assert array[0] == array[-1] == number % 251
        print(number, flush=True)
    print("end", flush=True)
"""


def test_a_receiver_that_is_killed(start: Start) -> None:
    """The next one gets the rest; at most a window comes twice."""
    process = start(RECEIVE, LOOPBACK)
    assert process.stdout is not None
    address = line(process)
    sender = Sending(arrays(300), address)
    first = [int(line(process)) for _ in range(100)]
    process.kill()
    process.wait()
    first += [int(text) for text in process.stdout.read().split("\n")[:-1]]
    assert first == list(range(len(first)))
    with df.receive(address) as ds:
        rest = list(ds)
        sender.join()
    begin = rest[0][0]
    # (There may be a message more than the window has room for.)
    assert len(first) - (1 << 20) // 100_000 - 4 <= begin <= len(first)
    check(rest, range(begin, 300))


def test_a_receiver_that_dies_among_others(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    with Sender(LOOPBACK, bind=True, receivers=2, timeout=patient(1.0)) as sender:
        process = start(
            """
            for number, array in df.receive(address, bind=False, window=1 << 20):
                print(number, flush=True)
                sys.stdin.read() if number > 20 else None
            """,
            sender.addresses[0],
        )
        with df.receive(sender.addresses[0], bind=False, window=1 << 20) as ds:
            assert ds.addresses  # it is there
            thread = threading.Thread(target=sender.send, args=(arrays(200),), daemon=True)
            thread.start()
            assert process.stdout is not None
            seen = {int(line(process))}
            process.kill()
            found = [number for number, _ in ds]
            seen |= {int(text) for text in process.stdout.read().split()}
            thread.join(patient(20))
    assert seen | set(found) == set(range(200)), "nothing is lost"
    assert found == sorted(found) or len(set(found)) == len(found)
    assert f"is gone, it has been away for {patient(1.0):g} s" in caplog.text


def test_a_stalled_receiver_does_not_hold_others_up() -> None:
    with Sender(LOOPBACK, bind=True, receivers=2) as sender:
        slow, fast = (df.receive(sender.addresses[0], bind=False, window=1 << 20) for _ in "12")
        thread = threading.Thread(target=sender.send, args=(arrays(400),), daemon=True)
        thread.start()
        begun = threading.Event()
        go_on = threading.Event()
        stalled: list[int] = []

        def stall() -> None:
            with slow:
                for number, _ in slow:
                    stalled.append(number)
                    begun.set()
                    go_on.wait(patient(20))

        other = threading.Thread(target=stall, daemon=True)
        other.start()
        with fast:
            iterator = iter(fast)
            found = [number for number, _ in islice(iterator, 350)]
            assert begun.wait(patient(10))
            go_on.set()
            found += [number for number, _ in iterator]
        other.join(patient(20))
        thread.join(patient(20))
    assert sorted(found + stalled) == list(range(400))


def test_a_receiver_process_that_is_stopped(start: Start) -> None:
    """It costs time, and nothing else."""
    process = start(RECEIVE.replace("window", f"timeout={patient(2.0)}, window"), LOOPBACK)
    assert process.stdout is not None
    address = line(process)
    sender = Sending(arrays(200), address, timeout=patient(2.0))
    found = [int(line(process)) for _ in range(20)]
    process.send_signal(signal.SIGSTOP)
    threading.Event().wait(patient(1.5))  # longer than the silence that is borne
    process.send_signal(signal.SIGCONT)
    assert process.stderr is not None
    out, err = process.stdout.read(), process.stderr.read()
    assert err == ""
    assert [*found, *map(int, out.split()[:-1])] == list(range(200))
    sender.join()


def test_nobody_is_there_yet(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataflow.remote.setup import Notice

    monkeypatch.setattr(Notice, "_patience", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    sender = Sending(numbers(5), address)
    until(lambda: f"waiting for a receiver at {address}" in caplog.text)
    with df.receive(address) as ds:
        assert len(list(ds)) == 5
        sender.join()
        thread = threading.Thread(target=lambda: list(ds), daemon=True)
        thread.start()
        until(lambda: f"waiting for a sender at {address}" in caplog.text)
        last = Sending(numbers(5), address)
        thread.join(patient(20))
        last.join()
    assert all(record.levelno == logging.WARNING for record in caplog.records)


def test_half_open_connections_and_noise() -> None:
    """Connections that say nothing, or anything, are in nobody's way."""
    with df.receive(LOOPBACK) as ds, ExitStack() as stack:
        to = ("127.0.0.1", int(ds.addresses[0].rpartition(":")[2]))
        for number in range(60):
            connection = stack.enter_context(socket.create_connection(to))
            if number % 3:
                connection.sendall(b"GET / HTTP/1.1\r\n\r\n" * number)
        sender = Sending(numbers(1000), ds.addresses[0])
        assert len(list(ds)) == 1000
        sender.join()


def test_older_names(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Senders without end, a receiver without end, two addresses."""
    with df.RemoteDataZMQ("tcp://0.0.0.0:*", LOOPBACK) as ds:
        assert caplog.text.count("lets every host that reaches it connect") == 1
        one, two = ds.addresses
        program = """
            ds = df.DataFromList([[NUMBER, np.zeros((2, 2))]] * 50, shuffle=False)
            df.send_dataflow_zmq(ds, address)
        """
        start(program.replace("NUMBER", "1"), one.replace("0.0.0.0", "127.0.0.1"))
        start(program.replace("NUMBER", "2"), two)
        ds.reset_state()
        counts = [0, 0, 0]
        for number, array in ds.get_data():
            assert array.shape == (2, 2)
            counts[number] += 1
            if sum(counts) == 100:
                assert counts[1] <= ds.cnt1 <= counts[1] + 50 and counts[2] <= ds.cnt2 + 50
            if min(counts[1:]) > 500:
                break
        assert [ds.cnt1, ds.cnt2] == [0, 0], "the loop was left"
    assert counts[1] > 500 < counts[2]
