"""Senders and receivers that do what they should."""

from __future__ import annotations

import gc
import logging
import os
import threading
from contextlib import ExitStack
from itertools import count, islice
from typing import Any

import numpy as np
import pytest
from network import Sending, Start, numbers, until
from patience import patient

import dataflow as df
from dataflow.remote import Receiver, Sender

LOOPBACK = "tcp://127.0.0.1:*"


def flat(datapoints: Any) -> list[int]:
    return [datapoint[0] for datapoint in datapoints]


def test_epochs_arrive_one_by_one_and_in_order() -> None:
    with df.receive(LOOPBACK) as ds:
        sender = Sending(numbers(5000), ds.addresses[0], epochs=3)
        for _ in range(3):
            assert flat(ds) == list(range(5000))
        sender.join()
        assert sender.result["datapoints"] == 15000
        (peer,) = sender.result["peers"]
        assert peer["unacknowledged"] == 0 and peer["datapoints"] == 15000
        (row,) = ds.stats()["stages"]
        assert row["items"] == 15000 and row["bytes"] == sender.result["bytes"] > 0
        (told,) = row["peers"]
        assert told["datapoints"] == 15000 and told["repeated"] == 0 == told["waiting"]


def test_all_kinds_of_components() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (20, 64, 64, 3), np.uint8)
    points = [
        [image, i, {"boxes": np.ones((i, 4), "f4"), "name": f"é{i}"}, b"x", None]
        for i, image in enumerate(images)
    ]
    with df.receive(LOOPBACK) as ds:
        sender = Sending(df.DataFromList(points, shuffle=False), ds.addresses[0])
        found = list(ds)
        sender.join()
    for one, other in zip(points, found, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[2]["boxes"], other[2]["boxes"])  # type: ignore[call-overload, index]
        assert other[1] == one[1] and other[2]["name"] == one[2]["name"] and other[3:] == one[3:]  # type: ignore[call-overload, index]
        other[0][:] = 0  # it is the receiver's own
    del found  # arrays keep their memory alive after the sockets are closed


def test_stages_above_and_below() -> None:
    """The sender's own workers, and batches built on what is received."""
    with df.receive(LOOPBACK) as ds:
        below = df.PrefetchDataZMQ(numbers(40).map(lambda dp: [dp[0] * 2]), 1).seed(1)
        sender = Sending(below, ds.addresses[0])
        batches = list(df.BatchData(ds.map(lambda dp: [dp[0] + 1]), 10))
        sender.join()
        below.close()
    assert [batch[0].tolist() for batch in batches] == np.arange(1, 80, 2).reshape(4, 10).tolist()


@pytest.mark.parametrize("ordered", [False, True])
def test_workers_above_what_is_received(ordered: bool) -> None:
    """It is received here and mapped in other processes: once, epoch by epoch."""

    def mapped(datapoint: Any) -> Any:
        number, array = datapoint
        return [number, int(array.sum()), os.getpid()]

    points = df.DataFromList([[i, np.full(20_000, i % 251, "u1")] for i in range(60)], False)
    with (
        df.receive(LOOPBACK, window=1 << 18) as ds,
        df.PrefetchDataZMQ(ds.map(mapped), 2, ordered=ordered) as workers,
    ):
        sender = Sending(points, ds.addresses[0], epochs=2)
        for _ in range(2):
            found = list(workers)
            found = found if ordered else sorted(found)
            assert [(n, total) for n, total, _ in found] == [
                (i, i % 251 * 20_000) for i in range(60)
            ]
            assert os.getpid() not in {pid for *_, pid in found}
        sender.join()
        assert ds.stats()["stages"][0]["items"] == 120


def test_workers_above_what_is_received_are_left() -> None:
    """The next receiver gets what had not gone to the workers."""
    with Sender(LOOPBACK, bind=True) as sender:
        thread = threading.Thread(target=sender.send, args=(numbers(5000),), daemon=True)
        thread.start()
        ds = df.receive(sender.addresses[0], bind=False, window=1 << 16)
        with df.PrefetchDataZMQ(ds.map(lambda dp: [dp[0]]), 2, ordered=True) as workers:
            first = flat(islice(workers, 100))
        assert first == list(range(100))
        with df.receive(sender.addresses[0], bind=False) as other:
            rest = flat(other)
        thread.join(patient(20))
        assert not thread.is_alive()
    assert rest[0] >= 100 and rest == list(range(rest[0], 5000))


def test_the_sender_may_bind() -> None:
    with Sender(LOOPBACK, bind=True) as sender:
        thread = threading.Thread(target=sender.send, args=(numbers(100),), daemon=True)
        thread.start()
        with df.receive(sender.addresses[0], bind=False) as ds:
            assert flat(ds) == list(range(100))
            thread.join(patient(20))


@pytest.mark.parametrize("senders_bind", [False, True])
def test_several_senders(senders_bind: bool) -> None:
    """A pass is over when each has ended its epoch, however unequal they are."""
    sizes = [10, 3000, 1]
    starts = [0, 10_000, 20_000]
    if senders_bind:
        ends = [Sender(LOOPBACK, bind=True) for _ in sizes]
        ds = df.receive([end.addresses[0] for end in ends], bind=False)
        threads = [
            threading.Thread(target=end.send, args=(numbers(size, start), 2), daemon=True)
            for end, size, start in zip(ends, sizes, starts, strict=True)
        ]
    else:
        ds = df.receive(LOOPBACK, senders=3)
        ends = [Sender(ds.addresses[0]) for _ in sizes]
        threads = [
            threading.Thread(target=end.send, args=(numbers(size, start), 2), daemon=True)
            for end, size, start in zip(ends, sizes, starts, strict=True)
        ]
    with ds:
        for thread in threads:
            thread.start()
        for _ in range(2):
            found = flat(ds)
            for size, start in zip(sizes, starts, strict=True):
                assert [n for n in found if start <= n < start + 10_000] == list(
                    range(start, start + size)
                )
        for thread in threads:
            thread.join()
        for end in ends:
            end.close()


@pytest.mark.parametrize("late", [False, True])
def test_a_sender_with_fewer_epochs(late: bool) -> None:
    """It counts as one at its end, also where it leaves only when the next pass has begun."""
    with df.receive(LOOPBACK, senders=2) as ds, ExitStack() as stack:
        one, other = (stack.enter_context(Sender(ds.addresses[0])) for _ in "12")
        threads = [
            threading.Thread(target=sender.send, args=(numbers(5), epochs), daemon=True)
            for sender, epochs in ((one, 1), (other, 2))
        ]
        for thread in threads:
            thread.start()
        assert sorted(n for (n,) in ds) == sorted([*range(5)] * 2)
        threads[0].join(20)
        if not late:
            one.close()
            until(lambda: sum(peer["connected"] for peer in ds.peers()) == 1)
        iterator = iter(ds)
        found = [next(iterator)]
        if late:
            one.close()
        found += iterator
        assert [n for (n,) in found] == [*range(5)]
        threads[1].join(20)
        assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("receivers_bind", [True, False])
@pytest.mark.parametrize("copies", ["one", "all"])
def test_several_receivers(copies: str, receivers_bind: bool) -> None:
    """Each datapoint goes to one of them, or to all; all see the end of each epoch."""
    found: list[list[list[int]]] = [[], [], []]
    if receivers_bind:
        flows = [df.receive(LOOPBACK) for _ in range(3)]
        sender = Sender([ds.addresses[0] for ds in flows], copies=copies, receivers=3)
    else:
        sender = Sender(LOOPBACK, bind=True, copies=copies, receivers=3)
        flows = [df.receive(sender.addresses[0], bind=False) for _ in range(3)]

    def take(ds: Receiver, into: list[list[int]]) -> None:
        with ds:
            for _ in range(2):
                into.append(flat(ds))

    threads = [
        threading.Thread(target=take, args=(ds, into), daemon=True)
        for ds, into in zip(flows, found, strict=True)
    ]
    for thread in threads:
        thread.start()
    with sender:
        # Enough for several messages.
        sender.send(df.DataFromList([[i, np.zeros(70_000, "u1")] for i in range(60)], False), 2)
    for thread in threads:
        thread.join(patient(20))
    for epoch in range(2):
        parts = [part[epoch] for part in found]
        assert all(part == sorted(part) for part in parts)
        if copies == "all":
            assert parts == [list(range(60))] * 3
        else:
            assert sorted(n for part in parts for n in part) == list(range(60))


def test_a_receiver_that_leaves_gives_the_rest_to_the_next() -> None:
    """Exactly, in the middle of a message; also where the loop is simply left."""
    ds = df.receive(LOOPBACK)
    sender = Sending(numbers(9000), ds.addresses[0])
    first = flat(islice(ds, 1234))
    assert ds.peers() == []  # the loop was left, and with it the connection
    second = []
    for datapoint in ds:
        second += datapoint
        if len(second) == 5000:
            break
    ds.close()
    with df.receive(sender_address(ds)) as other:
        third = flat(other)
    sender.join()
    assert first + second + third == list(range(9000))


def sender_address(ds: Receiver) -> str:
    return ds._options.addresses[0]


def test_another_receiver_takes_what_one_left() -> None:
    """Two at once: what the one that leaves has not delivered goes to the other."""
    with Sender(LOOPBACK, bind=True, receivers=2) as sender:
        flows = [df.receive(sender.addresses[0], bind=False) for _ in range(2)]
        thread = threading.Thread(target=sender.send, args=(numbers(20_000),), daemon=True)
        thread.start()
        rest: list[int] = []
        other = threading.Thread(target=lambda: rest.extend(flat(flows[1])), daemon=True)
        other.start()
        some = flat(islice(flows[0], 100))
        other.join(patient(20))
        thread.join(patient(20))
        flows[1].close()
    assert sorted(some + rest) == list(range(20_000))


def test_endless_senders_and_endless_passes(caplog: pytest.LogCaptureFixture) -> None:
    with df.receive(LOOPBACK) as ds:
        endless = df.DataFromGenerator(lambda: ([i] for i in count()))
        with Sender(ds.addresses[0]) as sender:
            thread = threading.Thread(target=_until_closed, args=(sender, endless), daemon=True)
            thread.start()
            assert flat(islice(ds, 10_000)) == list(range(10_000))
            sender.close()
            thread.join(patient(20))
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]


def _until_closed(sender: Sender, ds: Any) -> None:
    with pytest.raises(df.DataFlowTerminated, match="the sender was closed"):
        sender.send(ds)


def test_small_datapoints_share_messages_and_come_soon() -> None:
    """A slow source's datapoints do not wait for others."""
    turn = threading.Semaphore(0)

    def slowly() -> Any:
        for number in range(3):
            yield [number]
            turn.acquire()

    with df.receive(LOOPBACK) as ds:
        sender = Sending(df.DataFromGenerator(slowly), ds.addresses[0])
        found = []
        for (number,) in ds:
            found.append(number)
            turn.release()  # the next one is made only now
        sender.join()
    assert found == [0, 1, 2]


def test_the_window_bounds_what_is_under_way() -> None:
    """While the receiver sleeps the sender stops; its memory does not grow."""
    made = 0

    def images() -> Any:
        nonlocal made
        for number in range(1000):
            made += 1
            yield [number, np.full(1 << 20, number % 256, np.uint8)]

    window = 4 << 20
    with df.receive(LOOPBACK, window=window) as ds:
        sender = Sending(df.DataFromGenerator(images), ds.addresses[0])
        iterator = iter(ds)
        next(iterator)
        # 4 in the window, 8 packed and waiting, 1 in hand, and rounding.
        most = until(lambda: made if made > 8 else 0)
        for _ in range(20):
            assert made <= 16, "it runs ahead"
            threading.Event().wait(0.01)
        (peer,) = ds.peers()
        assert peer["bytes"] <= window + (2 << 20) and peer["credit"] == 0
        assert most <= 16
        for place, (number, array) in enumerate(iterator, 1):
            assert number == place and array[0] == array[-1] == number % 256
        sender.join()


def test_nothing_arrives_twice_in_copied_or_reused_arrays() -> None:
    """A flow that writes into the same array again needs copy=True."""

    def reused() -> Any:
        array = np.zeros(50_000, np.uint8)
        for number in range(50):
            array[:] = number
            yield [array]

    with df.receive(LOOPBACK) as ds:
        sender = Sending(df.DataFromGenerator(reused), ds.addresses[0], copy=True)
        assert [int(array[0]) for (array,) in ds] == list(range(50))
        sender.join()


def test_what_cannot_be_sent_is_told_where_it_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    points = [[1, 2], [3, {4}]]
    with df.receive(LOOPBACK) as ds:
        sender = Sending(df.DataFromList(points, shuffle=False), ds.addresses[0])
        with pytest.raises(df.CodecError, match="component 1: a set cannot be sent"):
            sender.join()
    with df.receive(LOOPBACK, max_message_bytes=1 << 17) as ds:
        sender = Sending(df.DataFromList([[np.zeros(1 << 18)]], False), ds.addresses[0])
        with pytest.raises(df.CodecError, match=r"takes 131072 \(its max_message_bytes\)"):
            sender.join()


def test_an_error_in_the_flow_is_the_callers_and_the_receiver_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> Any:
        yield [1]
        until(lambda: ds.peers() and ds.peers()[0]["datapoints"])
        raise KeyError("broken")

    with df.receive(LOOPBACK) as ds:
        sender = Sending(df.DataFromGenerator(broken), ds.addresses[0])
        iterator = iter(ds)
        assert next(iterator) == [1]
        with pytest.raises(KeyError, match="broken"):
            sender.join()
        until(
            lambda: (
                "has left (KeyError: 'broken') after 1 datapoints, in its epoch 0" in caplog.text
            )
        )
        # Another one takes its place.
        other = Sending(numbers(3), ds.addresses[0])
        assert flat(iterator) == [0, 1, 2]
        other.join()


@pytest.mark.parametrize("soon", [True, False])
def test_where_there_is_no_other_sender_its_failure_is_the_loops(soon: bool) -> None:
    """Also where it failed before it was there; what has come is delivered."""

    def broken() -> Any:
        yield from ([i] for i in range(0 if soon else 20))
        until(lambda: soon or (ds.peers() and ds.peers()[0]["datapoints"] == 20))
        raise KeyError("broken\n" * 999)

    with df.receive(LOOPBACK, senders=1) as ds:
        sender = Sending(df.DataFromGenerator(broken), ds.addresses[0])
        found = []
        with pytest.raises(df.PeerError, match=r"has failed \(KeyError: .*\(senders=1\)"):
            for datapoint in ds:
                found.append(datapoint[0])
        assert found == ([] if soon else list(range(20)))
        with pytest.raises(KeyError, match="broken"):
            sender.join()
        again = Sending(numbers(3), ds.addresses[0])
        assert flat(ds) == [0, 1, 2]
        again.join()


def test_everything_ends(start: Start) -> None:
    """Closed or not, in a loop or not, with somebody at the other end or not: programs exit."""
    program = """
        ds = df.receive("tcp://127.0.0.1:*")
        ds.addresses
        sender = df.remote.Sender("tcp://127.0.0.1:9")
        iterator = iter(df.receive("tcp://127.0.0.1:*"))
        print("end", flush=True)
    """
    process = start(program)
    out, err = process.communicate(timeout=patient(20))
    assert (out, err, process.returncode) == ("end\n", "", 0)


def test_closing_ends_who_waits() -> None:
    ended = []

    def wait() -> None:
        try:
            next(iter(ds))
        except df.DataFlowTerminated as error:
            ended.append(str(error))

    ds = df.receive("tcp://127.0.0.1:*")
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    until(lambda: ds._iterator() is not None and ds._end is not None)
    ds.close()
    thread.join(patient(10))
    assert ended == ["the receiver was closed"]
    ds.close()


def test_collection_closes() -> None:
    ds: Any = df.receive(LOOPBACK)
    address = ds.addresses[0]
    sender: Any = Sender(address)
    before = {thread.name for thread in threading.enumerate()}
    assert {"dataflow-sender", "dataflow-receiver"} <= before
    del ds, sender
    gc.collect()
    assert not [
        t for t in threading.enumerate() if t.name in ("dataflow-sender", "dataflow-receiver")
    ]
    with df.receive(address) as again:
        assert again.addresses == (address,), "the port is free"


@pytest.mark.parametrize(
    "above",
    [
        lambda ds: df.BatchData(df.PrefetchDataZMQ(ds, 1), 1),
        lambda ds: df.LocallyShuffleData(ds, 2),
        lambda ds: df.LocallyShuffleData(df.BatchData(ds, 1), 2),
        lambda ds: df.RepeatedData(ds, 1),
        lambda ds: df.CacheData(ds),
    ],
)
def test_stages_that_read_ahead_cannot_be_resumed(above: Any) -> None:
    with df.receive(LOOPBACK) as ds:
        sender = Sending(numbers(3), ds.addresses[0])
        flow = above(ds)
        iterator = iter(flow)
        next(iterator)
        with pytest.raises(df.NotResumable, match="does not come again"):
            flow.state_dict()
        assert len(list(iterator)) == 2
        sender.join()
        flow.close()


def test_a_sender_without_a_place_cannot_be_resumed() -> None:
    unordered = df.PrefetchDataZMQ(numbers(3), 1)
    for below in (unordered, [[0], [1], [2]]):
        with df.receive(LOOPBACK) as ds:
            sender = Sending(below, ds.addresses[0])
            iterator = iter(ds)
            next(iterator)
            with pytest.raises(df.NotResumable, match="no state or no fixed order"):
                ds.state_dict()
            assert len(list(iterator)) == 2
            sender.join()
    unordered.close()


def test_lengths_and_places_are_not_known() -> None:
    with df.receive(LOOPBACK) as ds:
        with pytest.raises(df.UnknownLength):
            len(ds)
        with pytest.raises(TypeError, match="no random access"):
            ds[0]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: df.receive("tcp://0.0.0.0:5555"), "tcp://0.0.0.0:5555 would let every host"),
        (lambda: df.receive("tcp://*:*"), "dataflow keys FOLDER"),
        (lambda: df.send([], "tcp://*:1", bind=True), "insecure=True"),
        (lambda: df.receive("host:5555"), "address='host:5555'"),
        (lambda: df.receive("tcp://127.0.0.1:1", senders=-1), "senders=-1"),
        (lambda: df.receive("tcp://127.0.0.1:1", window=0), "window=0"),
        (lambda: df.receive("tcp://127.0.0.1:1", timeout=0), "timeout=0"),
        (lambda: df.receive("tcp://127.0.0.1:1", max_message_bytes=1), "max_message_bytes=1"),
        (lambda: df.receive("tcp://127.0.0.1:1", max_peers=0), "max_peers=0"),
        (lambda: df.receive("tcp://127.0.0.1:1", server_key="x"), "server_key is for a side"),
        (lambda: df.receive("tcp://127.0.0.1:1", keys="/nowhere"), "keys='/nowhere'"),
        (lambda: df.send([], "tcp://127.0.0.1:1", copies="two"), "copies='two'"),
        (lambda: df.send([], "tcp://127.0.0.1:1", receivers=-1), "receivers=-1"),
        (lambda: df.send([], "tcp://127.0.0.1:1", epochs=0), "epochs=0"),
        (lambda: df.send([], "tcp://127.0.0.1:1", epochs=None), "the dataflow is empty"),
    ],
)
def test_arguments(make: Any, text: str) -> None:
    with pytest.raises(df.ConfigError) as caught:
        make()
    assert text in str(caught.value)


def test_a_port_that_is_taken() -> None:
    taken = pytest.raises(df.ConfigError, match="Address already in use")
    with df.receive(LOOPBACK) as ds, df.receive(ds.addresses[0]) as other, taken:
        print(other.addresses)


def test_last_words_are_heard_from_who_is_gone() -> None:
    """Whoever leaves does so while the other side sends: its CLOSE may come behind its end."""
    for _ in range(8):
        with Sender(LOOPBACK, bind=True, receivers=2, timeout=60) as sender:
            flows = [df.receive(sender.addresses[0], bind=False) for _ in range(2)]
            thread = threading.Thread(target=sender.send, args=(numbers(20_000),), daemon=True)
            thread.start()
            rest: list[int] = []
            other = threading.Thread(target=lambda into=rest, ds=flows[1]: into.extend(flat(ds)))
            other.start()
            some = flat(islice(flows[0], 100))
            other.join(patient(10))
            thread.join(patient(10))
            assert not other.is_alive() and not thread.is_alive(), "before the time-out"
            flows[1].close()
        assert sorted(some + rest) == list(range(20_000))
