"""The real tensorpack at the other end of the network, in both of its formats and directions."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patience import patient
from tensorpack_peer import Peer, datapoints, peer, told

import dataflow as df
from dataflow.remote.tensorpack import FORMATS, PushSender

POINTS = [told(datapoint) for datapoint in datapoints()]
binds = pytest.mark.parametrize("bind", [True, False], ids=["receiver binds", "sender binds"])


@pytest.fixture(scope="module", params=FORMATS)
def format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def theirs(format: str) -> Iterator[Peer]:
    with peer(format) as other:
        yield other


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


def receiver(format: str, *addresses: str, **options: Any) -> df.RemoteDataZMQ:
    return df.RemoteDataZMQ(*addresses, format=format, allow_pickle=format == "pickle", **options)


@contextmanager
def sending(format: str, address: str, bind: bool) -> Iterator[None]:
    """Our sender in a thread, until it was heard enough."""
    way = PushSender(address, format=format, allow_pickle=format == "pickle", bind=bind)

    def work() -> None:
        with suppress(df.DataFlowTerminated):
            way.send(datapoints(), epochs=None)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        way._close(0.0)
        thread.join(patient(20))
    assert not thread.is_alive()


def in_order(found: list[Any]) -> bool:
    """Whether these are `POINTS` again and again; which is the first depends on the connection."""
    first = POINTS.index(found[0])
    return all(row == POINTS[(first + i) % len(POINTS)] for i, row in enumerate(found))


@binds
def test_theirs_sends(theirs: Peer, format: str, bind: bool) -> None:
    address = free_address()
    theirs.send(address, bind=not bind)
    with receiver(format, address, bind=bind) as ds:
        found = list(islice(ds, 2 * len(POINTS)))
    assert in_order([told(datapoint) for datapoint in found])
    arrays = [part for datapoint in found for part in datapoint if isinstance(part, np.ndarray)]
    assert all(array.flags.writeable for array in arrays)


@binds
def test_ours_sends(theirs: Peer, format: str, bind: bool) -> None:
    address = free_address()
    theirs.receive(address, count=2 * len(POINTS), bind=bind)
    with sending(format, address, not bind):
        assert in_order(theirs.heard())


def test_two_addresses_one_of_them_a_file(theirs: Peer, format: str, tmp_path: Path) -> None:
    one, two = free_address(), f"ipc://{tmp_path}/socket"
    with receiver(format, one, two) as ds:
        assert (ds.cnt1, ds.cnt2, ds.addresses) == (0, 0, (one, two))
        theirs.send(one, only=0)
        theirs.send(two, only=1)
        seen = [0, 0]
        for number, _ in ds:
            seen[number] += 1
            assert [ds.cnt1, ds.cnt2] == seen
            if min(seen) > 100:
                break
        assert [ds.cnt1, ds.cnt2] == [0, 0], "the loop was left"
        assert next(iter(ds))[0] in (0, 1), "they are still there"
    other = f"ipc://{tmp_path}/other"  # (their senders come back to the first ones for ever)
    theirs.receive(other, free_address(), count=3)
    with sending(format, other, False):
        assert in_order(theirs.heard())
