"""Flows that wait for other hosts are ended by another thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from network import until

import dataflow as df

LOOPBACK = "tcp://127.0.0.1:*"

FLOWS: dict[str, Callable[[], Any]] = {
    "pool": lambda: df.PrefetchDataRemote(df.DataFromList([[1]]), LOOPBACK),
    "pool of a receiver": lambda: df.PrefetchDataRemote(df.receive(LOOPBACK), LOOPBACK, num_proc=1),
    "receiver": lambda: df.receive(LOOPBACK),
    "receiver below threads": lambda: df.MultiThreadMapData(df.receive(LOOPBACK), 2, list),
    "connection": lambda: df.Connection("zpull://127.0.0.1:*"),
}


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
    thread.join(10)
    assert not thread.is_alive()
    assert [type(error) for error in told] == [df.DataFlowTerminated]
    ds.close()


def test_two_threads_begin_at_once() -> None:
    with df.receive(LOOPBACK) as ds:
        threads = [threading.Thread(target=lambda: ds.addresses) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        listening = [one for one in threading.enumerate() if one.name == "dataflow-receiver"]
        assert len(listening) == 1
