"""`DataFromQueue`, with the standard library's queues."""

from __future__ import annotations

import multiprocessing
import queue
import sys
import threading
from collections import Counter
from itertools import islice

import pytest

import dataflow as df


def filled(source, size: int = 30):
    for i in range(size):
        source.put([i])
    return source


@pytest.mark.parametrize("kind", [queue.Queue, queue.SimpleQueue, queue.LifoQueue])
def test_what_comes_out_is_delivered(kind) -> None:
    ds = df.DataFromQueue(filled(kind()))
    expected = list(range(30)) if kind is not queue.LifoQueue else list(range(29, -1, -1))
    assert [dp[0] for dp in islice(ds, 10)] == expected[:10]
    assert [dp[0] for dp in islice(ds, 20)] == expected[10:], "it goes on"


def test_between_processes() -> None:
    context = multiprocessing.get_context("fork")
    source = context.Queue()
    try:
        filled(source)
        assert [dp[0] for dp in islice(df.DataFromQueue(source), 30)] == list(range(30))
    finally:
        source.close()
        source.join_thread()


def test_anything_with_get() -> None:
    class Mine:
        def __init__(self) -> None:
            self.left = 5

        def get(self):
            self.left -= 1
            return [self.left]

    assert list(islice(df.DataFromQueue(Mine()), 3)) == [[4], [3], [2]]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda ds: df.PrefetchDataZMQ(ds.map(lambda dp: [dp[0] * 2]), 2, 4),
        lambda ds: df.MultiThreadMapData(ds, 3, lambda dp: [dp[0] * 2], buffer_size=4),
        lambda ds: df.MapData(df.MultiThreadRunner(lambda: ds, 4, 2), lambda dp: [dp[0] * 2]),
        lambda ds: df.PrefetchDataZMQ(ds, 2).map(lambda dp: [dp[0] * 2]),
    ],
)
def test_below_runners_each_datapoint_once(wrap) -> None:
    """The queue stays here: most cannot be sent anywhere. What is under way is not all in order."""
    source: queue.Queue[list[int]] = queue.Queue(maxsize=10)
    stop = threading.Event()

    def produce() -> None:
        number = 0
        while not stop.is_set():
            try:
                source.put([number], timeout=0.05)
            except queue.Full:
                continue
            number += 1

    producer = threading.Thread(target=produce)
    producer.start()
    try:
        with wrap(df.DataFromQueue(source)) as ds:
            found = Counter(dp[0] // 2 for dp in islice(ds, 100))
    finally:
        stop.set()
        producer.join()
    assert len(found) == 100 and set(found.values()) == {1}


@pytest.mark.skipif(sys.version_info < (3, 13), reason="queues could not be shut down")
def test_a_queue_that_is_shut_down_ends_the_epoch() -> None:
    source = filled(queue.Queue())
    source.shutdown()
    assert len(list(df.DataFromQueue(source))) == 30


def test_a_batch_that_is_shut_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, for older Pythons: with an exception in its place."""
    from dataflow.sources import queue as module

    class Over(Exception):
        pass

    class Ends(queue.SimpleQueue):
        def get(self):
            try:
                return self.get_nowait()
            except queue.Empty:
                raise Over from None

    monkeypatch.setattr(module, "_SHUT", Over)
    ds = df.BatchData(df.DataFromQueue(filled(Ends(), 5)), 2, remainder=True)
    assert [batch[0].tolist() for batch in ds] == [[0, 1], [2, 3], [4]]


def test_it_has_no_length_no_places_and_no_state() -> None:
    ds = df.DataFromQueue(filled(queue.Queue()))
    with pytest.raises(NotImplementedError):
        len(ds)
    with pytest.raises(TypeError, match="can only be iterated"):
        ds[0]
    chain = df.BatchData(ds, 2)
    assert "cursors" in chain.state_dict(), "nothing was taken yet"
    iterator = iter(chain)
    next(iterator)
    with pytest.raises(df.NotResumable, match="gone"):
        chain.state_dict()
    with pytest.raises(df.ConfigError, match=r"queue=\[1\] has no get"):
        df.DataFromQueue([1])
