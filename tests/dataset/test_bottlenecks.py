"""Stages made slow on purpose, with real threads, processes and servers: each must be named."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from patience import patient
from servers import JPEG, Exchange, Server, ok

import dataflow as df
from dataflow.dataset import NetworkImages
from dataflow.engine.runners import ThreadRunner

pytestmark = pytest.mark.alone

SLOW = 0.01  # seconds: far above what anything else in these chains costs


def slow(dp: Any) -> Any:
    time.sleep(SLOW)
    return dp


def quick(dp: Any) -> Any:
    return dp


def numbers(count: int) -> df.DataFromList:
    return df.DataFromList([[i] for i in range(count)], shuffle=False)


def slowly(count: int) -> Iterator[list[int]]:
    for i in range(count):
        yield slow([i])


def generated(count: int) -> df.DataFromGenerator:
    return df.DataFromGenerator(lambda: slowly(count))


class Slowly(df.DataFlow):
    """A user's own class, which can only be iterated."""

    def __iter__(self) -> Iterator[list[int]]:
        return slowly(40)


def named(text: str) -> str:
    return text.split(" holds the run back")[0]


def gain(text: str) -> float:
    """The promised gain, 0.5 for +50%."""
    return float(text.split("should bring +")[1].split("%")[0]) / 100


def run(ds: Any) -> tuple[str, dict[str, dict[str, Any]]]:
    """Iterate once; the explanation, and the rows by name."""
    with ds:
        for _ in ds:
            pass
        return ds.explain(), {row["name"]: row for row in ds.stats()["stages"]}


# -- the source -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "runs",
    [lambda ds: ds, lambda ds: ThreadRunner(ds, 2), lambda ds: df.PrefetchDataZMQ(ds, 2)],
    ids=["alone", "threads", "processes"],
)
def test_a_slow_generator(runs) -> None:
    # More than there is room for: what is read before the workers have started does not count.
    text, rows = run(runs(generated(150).map(quick)))
    assert named(text) == "DataFromGenerator"
    assert "one more thread or process brings nothing" in text
    source = rows["DataFromGenerator"]
    assert (source["items"], source["units"], source["runner"]) == (150, 1, None)
    assert source["here"] == source["busy"] >= 30 * SLOW
    assert rows["MapData"]["items"] == 150


def test_a_slow_generator_that_runs_in_a_worker() -> None:
    text, rows = run(df.PrefetchDataZMQ(generated(50), 2))
    assert named(text) == "DataFromGenerator" and "only one process can run" in text
    assert rows["DataFromGenerator"]["runner"] == "PrefetchDataZMQ"


@pytest.mark.parametrize("runs", [lambda ds: ds, lambda ds: ThreadRunner(ds, 2)])
def test_a_slow_flow_of_the_users(runs) -> None:
    text, rows = run(runs(Slowly().map(quick)))
    assert named(text) == "Slowly" and rows["Slowly"]["busy"] >= 40 * SLOW


def test_what_a_flow_of_the_users_waits_for_is_not_its_own_work() -> None:
    class Passes(df.ProxyDataFlow):
        def __iter__(self):
            yield from self.ds

    _, rows = run(Passes(numbers(30).map(slow)).filter(quick))
    assert rows["Passes"]["busy"] < 0.2 * rows["MapData"]["busy"]


# -- downloads and decoding -------------------------------------------------------------------


def images(server: Server, route: Any, count: int, **members: Any) -> NetworkImages:
    server.routes.update({f"/{i}.jpg": route for i in range(count)})
    cls = type("Images", (NetworkImages,), members)
    ds = cls()
    ds.datapoints = [[server.url(f"/{i}.jpg"), i] for i in range(count)]
    return ds


def test_slow_downloads() -> None:
    def late(exchange: Exchange) -> None:
        exchange.pause(0.1)
        ok(JPEG)(exchange)

    with Server() as server:
        text, rows = run(images(server, late, 60).parallel(4))
    assert named(text) == "Download" and "of 4 transfers are under way" in text
    assert gain(text) == pytest.approx(0.25, abs=0.02)
    assert rows["Download"]["bytes"] == 60 * len(JPEG)


def test_slow_decoding() -> None:
    def decode(dp: Any) -> Any:
        return slow(slow(slow([dp[0][:1], dp[1]])))

    with Server() as server:
        ds = images(server, ok(JPEG), 40, map_func_decode=staticmethod(decode))
        text, _ = run(ds.parallel(2))
    assert named(text) == "MapData"


# -- a map function ---------------------------------------------------------------------------


def test_a_slow_map_alone() -> None:
    text, rows = run(numbers(40).map(slow).filter(quick))
    assert named(text) == "MapData" and rows["MapData"]["share"] > 0.8
    # Two do its part in half the time, while the consumer goes on with what is not the map's.
    assert "two processes instead" in text
    assert 0.6 < gain(text) < 2 / rows["MapData"]["share"] - 1 + 0.05


def test_a_slow_map_in_threads_and_what_one_more_brings() -> None:
    def best_of_some(threads: int) -> tuple[str, float]:
        seconds = []
        with ThreadRunner(numbers(60).map(slow), threads) as ds:
            for _ in range(round(patient(3))):
                begun = time.perf_counter()
                assert sum(1 for _ in ds) == 60
                seconds.append(time.perf_counter() - begun)
            return ds.explain(), 60 / min(seconds)

    text, two = best_of_some(2)
    assert named(text) == "MapData" and "One more thread" in text
    assert gain(text) == pytest.approx(0.5, abs=0.02)
    _, three = best_of_some(3)
    assert 1.2 < three / two < 1.9


def test_a_slow_map_in_processes() -> None:
    with df.PrefetchDataZMQ(numbers(100).map(slow), 2) as ds:
        for _ in range(2):
            assert sum(1 for _ in ds) == 100
        text = ds.explain()
    assert named(text) == "MapData" and "2 threads in 2 processes" in text
    assert "One more process should bring" in text and 0.2 < gain(text) <= 0.51


def test_a_batch_in_the_consumer() -> None:
    class Slow(df.BatchData):
        @staticmethod
        def aggregate_batch(data_holder, use_list=False):
            return slow(slow(data_holder))

    text, rows = run(Slow(ThreadRunner(numbers(80).map(quick), 2), 2))
    assert named(text) == "Slow"
    assert rows["Slow"]["runner"] is None and rows["Slow"]["here"] == rows["Slow"]["busy"]


# -- transport and the loop -------------------------------------------------------------------


class Large:
    """Hands out the same bytes again and again."""

    def __init__(self) -> None:
        self.array: np.ndarray | None = None

    def __call__(self, dp: Any) -> Any:
        if self.array is None:
            self.array = np.ones(12 << 20, np.uint8)
        return [self.array[:]]  # else those of one message would be sent as one


def test_large_arrays_between_processes() -> None:
    with df.PrefetchDataZMQ(numbers(100).map(Large()), 1, hwm=3) as ds:
        for _ in range(2):
            for _ in ds:
                pass
        text, stats = ds.explain(), ds.stats()
    assert named(text) == "PrefetchDataZMQ" and "with sending" in text
    row = stats["stages"][-1]
    assert row["name"] == "PrefetchDataZMQ" and row["items"] == 200
    assert 200 * (12 << 20) <= row["bytes"] < 201 * (12 << 20)


def test_a_slow_loop() -> None:
    with ThreadRunner(numbers(60).map(quick), 2, buffer_size=10) as ds:
        for dp in ds:
            slow(dp)
        text, row = ds.explain(), ds.stats()["stages"][-1]
    assert named(text) == "The consumer's own loop"
    assert "data is ready when it comes back" in text and "brings nothing" in text
    assert row["kind"] == "runner" and row["fill"] > 0.5
