"""Flows that wait for others, who may never come, are ended by another thread."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from machines import Machine
from network import until
from patience import patient

import dataflow as df

LOOPBACK = "tcp://127.0.0.1:*"

FLOWS: dict[str, Callable[[], Any]] = {
    "pool": lambda: df.PrefetchDataRemote(df.DataFromList([[1]]), LOOPBACK),
    "pool of a receiver": lambda: df.PrefetchDataRemote(df.receive(LOOPBACK), LOOPBACK, num_proc=1),
    "receiver": lambda: df.receive(LOOPBACK),
    "receiver below threads": lambda: df.MultiThreadMapData(df.receive(LOOPBACK), 2, list),
    "connection": lambda: df.Connection("zpull://127.0.0.1:*"),
    "tensorpack's name": lambda: df.RemoteDataZMQ(LOOPBACK),
    "tensorpack's wire": lambda: df.RemoteDataZMQ(LOOPBACK, format="msgpack"),
    "queue": lambda: df.DataFromQueue(queue.Queue()),
    "queue below threads": lambda: df.MultiThreadMapData(df.DataFromQueue(queue.Queue()), 2, list),
    "process that hangs": lambda: df.PrefetchDataZMQ(df.DataFromList([[1]]).map(_hang), 1),
}


def _hang(datapoint: Any) -> Any:
    time.sleep(1000)


@pytest.mark.parametrize("how", ["close", "a newer iterator"])
@pytest.mark.parametrize("name", FLOWS)
def test_another_thread_ends_a_loop_that_waits(name: str, how: str) -> None:
    ds = FLOWS[name]().map(list)
    told: list[BaseException] = []

    def loop() -> None:
        try:
            list(ds)
        except BaseException as error:
            told.append(error)

    thread = threading.Thread(target=loop)
    thread.start()
    until(lambda: ds._iterator() is not None)
    if how == "close":
        ds.close()
    else:
        iter(ds)
    thread.join(patient(10))
    assert not thread.is_alive()
    assert [type(error) for error in told] == [df.DataFlowTerminated]
    ds.close()


def test_a_pool_that_had_finished_goes_on_in_the_next_pass() -> None:
    def pools() -> list[df.PrefetchDataRemote]:
        flows = [df.DataFromList([[number]], shuffle=False).batch(1) for number in (1, 2)]
        return [df.PrefetchDataRemote(flow, LOOPBACK) for flow in flows]

    first, second = pools()

    def loop() -> None:
        with contextlib.suppress(df.DataFlowTerminated):
            list(ds)

    with (
        df.ConcatData([first, second]) as ds,
        Machine(pools()[0], first.addresses[0]),
    ):
        thread = threading.Thread(target=loop)
        thread.start()
        until(lambda: second._executors)  # the first one has finished
        anew = iter(ds)
        thread.join(patient(10))
        assert not thread.is_alive()
        with Machine(pools()[1], second.addresses[0]):
            assert [int(batch[0]) for (batch,) in anew] == [1, 2]


def test_two_threads_begin_at_once() -> None:
    with df.receive(LOOPBACK) as ds:
        threads = [threading.Thread(target=lambda: ds.addresses) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        listening = [one for one in threading.enumerate() if one.name == "dataflow-receiver"]
        assert len(listening) == 1
