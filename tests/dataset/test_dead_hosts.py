"""Lists of which a part is dead: the others come soon, and all that failed is told."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from patience import patient
from servers import JPEG, Server, ok, silence

import dataflow as df
from dataflow.dataset import NetworkImages
from dataflow.http import FetchPolicy

GOOD, EACH = 280, 24
QUICK = FetchPolicy(connect_timeout=2.0, stall_timeout=2.0, timeout=20.0)


@pytest.fixture
def deaf() -> Iterator[str]:
    """The URL of a host that never accepts: its backlog is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as sock:
        clients = [socket.socket() for _ in range(2)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(sock.getsockname())
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        for client in clients:
            client.close()


@pytest.fixture
def mute() -> Iterator[Server]:
    """A server that accepts and never answers."""
    with Server("127.0.0.3") as running:
        running.routes.update({f"/{i}": silence for i in range(EACH)})
        yield running


@pytest.fixture
def points(server: Server, mute: Server, deaf: str) -> list[list[Any]]:
    """280 good images among 120 dead ones of five kinds."""
    server.routes.update({f"/{i}.jpg": ok(JPEG) for i in range(GOOD)})
    with socket.create_server(("127.0.0.1", 0)) as sock:
        closed = f"http://127.0.0.1:{sock.getsockname()[1]}"
    urls = [server.url(f"/{i}.jpg") for i in range(GOOD)]
    for host in ("http://no-such-host.invalid", closed, mute.url(""), server.url("/gone"), deaf):
        urls += [f"{host}/{i}" for i in range(EACH)]
    random.Random(0).shuffle(urls)
    return [[url, i] for i, url in enumerate(urls)]


def reasons_of(errors: Any) -> Counter[str]:
    return Counter(error.reason for error in errors)


REASONS = {"dns": EACH, "refused": EACH, "http_404": EACH, "timeout": 2 * EACH}


@pytest.mark.alone
def test_the_good_ones_do_not_wait_for_the_dead(points: Any, server: Server, mute: Server) -> None:
    source = NetworkImages(fetch_policy=QUICK)
    source.datapoints = points
    begun = time.monotonic()
    with source.parallel(16) as ds:
        times = [time.monotonic() - begun for _ in ds]
        whole = time.monotonic() - begun
        assert len(times) == GOOD
        assert reasons_of(ds.errors()) == REASONS
        assert len({error.datapoint[1] for error in ds.errors()}) == 5 * EACH
        assert "of Download's transfers went to hosts that did not answer" in ds.explain()
    assert times[-1] < patient(2 + 5), "what they take alone, and five seconds"
    assert whole < patient(15), "two tries of a silent host take four seconds"
    assert mute.requests.total() < 16, "few transfers"


def test_in_a_fixed_order_too(points: Any, mute: Server) -> None:
    source = NetworkImages(fetch_policy=QUICK, max_trials=1)
    source.datapoints = points
    with source.parallel(16, ordered=True) as ds:
        labels = [label for _, label in ds]
        assert labels == sorted(labels) and len(labels) == GOOD
        assert reasons_of(ds.errors()) == REASONS
    assert mute.requests.total() < 20


def test_a_host_that_comes_back_loses_nothing(server: Server) -> None:
    """Nobody listens when the epoch begins; at its end somebody does."""
    server.routes.update({f"/{i}.jpg": ok(JPEG) for i in range(40)})
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    source = NetworkImages(fetch_policy=QUICK)
    source.datapoints = [[f"http://127.0.0.1:{port}/{i}.jpg", i] for i in range(40)]
    source.datapoints += [[server.url(f"/{i}.jpg"), 40 + i] for i in range(40)]
    labels = []
    with contextlib.ExitStack() as stack, source.parallel(8) as ds:
        for _, label in ds:
            if not labels:
                stack.enter_context(Server(port=port, routes=server.routes))
            labels.append(label)
        assert sorted(labels) == list(range(80)) and not ds.errors()


@pytest.mark.parametrize("procs", [0, 2])
def test_what_was_put_off_is_in_no_state_as_done(points: Any, procs: int) -> None:
    def flow() -> Any:
        source = NetworkImages(fetch_policy=QUICK)
        source.datapoints = points
        ds = source.parallel(16)
        return df.PrefetchDataZMQ(ds, procs) if procs else ds

    with flow() as first:
        begun = [label for _, (_, label) in zip(range(200), first, strict=False)]
        state = first.state_dict()
        told = {error.datapoint[1] for error in first.errors()}
    with flow() as second:
        second.load_state_dict(state)
        rest = [label for _, label in second]
        failed = {error.datapoint[1] for error in second.errors()}
    good = {label for url, label in points if url.endswith(".jpg")}
    assert sorted(begun + rest) == sorted(good)
    assert failed == set(range(len(points))) - good and told <= failed


def test_failed_ones_are_tried_again_later(points: Any) -> None:
    source = NetworkImages(fetch_policy=QUICK)
    source.datapoints = points
    with source.parallel(16) as ds:
        list(ds)
        with ds.retry_failed() as again:
            assert list(again) == []
            assert reasons_of(again.errors()) == REASONS


@pytest.mark.parametrize("runner", ["any order", "in order", "processes", "one at a time"])
def test_pages_that_hang_cost_themselves(server: Server, runner: str) -> None:
    """They come first, and their host has nothing but images otherwise."""
    hanging, images = 6, 60
    server.routes.update({f"/hang/{i}": silence for i in range(hanging)})
    server.routes.update({f"/{i}.jpg": ok(JPEG) for i in range(images)})
    source = NetworkImages(fetch_policy=FetchPolicy(timeout=1.0, stall_timeout=1.0, max_trials=1))
    source.datapoints = [[server.url(f"/hang/{i}"), -1] for i in range(hanging)]
    source.datapoints += [[server.url(f"/{i}.jpg"), i] for i in range(images)]
    flow: Any = {
        "any order": lambda: source.parallel(8),
        "in order": lambda: source.parallel(8, ordered=True),
        "processes": lambda: df.PrefetchDataZMQ(source.parallel(4), 2),
        "one at a time": lambda: source,
    }[runner]()
    with flow as ds:
        assert sorted(label for _, label in ds) == list(range(images))
        assert len(ds.errors()) == hanging


def test_what_failed_is_told_after_going_on_with_other_workers(server: Server) -> None:
    server.routes.update({f"/{i}.jpg": ok(JPEG) for i in range(60)})
    points = [[server.url(f"/{i}.jpg" if i % 5 else f"/gone/{i}"), i] for i in range(60)]

    def flow(procs: int) -> Any:
        source = NetworkImages()
        source.datapoints = points
        ds = source.parallel(4)
        return df.PrefetchDataZMQ(ds, procs) if procs else ds

    for before, after in ((0, 2), (2, 0)):
        with flow(before) as first:
            begun = [label for _, (_, label) in zip(range(30), first, strict=False)]
            state, told = first.state_dict(), {error.datapoint[1] for error in first.errors()}
        with flow(after) as second:
            second.load_state_dict(state)
            assert sorted(begun + [label for _, label in second]) == [i for i in range(60) if i % 5]
            failed = [error.datapoint[1] for error in second.errors()]
            assert told and sorted(set(failed)) == list(range(0, 60, 5))


def test_addresses_that_no_file_can_hold(tmp_path: Any) -> None:
    with NetworkImages(table=["http://\ud800/x"], max_trials=1) as ds:
        with pytest.raises(df.TooManyErrors):
            list(ds)
        ds.errors().to_csv(tmp_path / "failed.csv")
    assert "ud800" in (tmp_path / "failed.csv").read_text()
