"""`ds.stats()`: what is counted, and where."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import dataflow as df
from dataflow.engine.runners import ThreadRunner

COUNT = 500


def numbers(count: int = COUNT) -> df.DataFromList:
    return df.DataFromList([[i] for i in range(count)], shuffle=False)


def same(dp):
    return dp


RUNS = pytest.mark.parametrize(
    "runs",
    [lambda ds: ds, lambda ds: ThreadRunner(ds, 3), lambda ds: df.PrefetchDataZMQ(ds, 2)],
    ids=["alone", "threads", "processes"],
)


@RUNS
def test_every_row_counts_every_datapoint(runs) -> None:
    with runs(numbers().map(same).filter(lambda dp: dp[0] % 2)).batch(10) as ds:
        for epoch in (1, 2):
            assert sum(1 for _ in ds) == COUNT // 20
            stats = ds.stats()
            rows = {row["name"]: row for row in stats["stages"]}
            assert stats["items"] == epoch * COUNT // 20
            for name in ("DataFromList", "MapData", "FilterData"):
                assert rows[name]["items"] == epoch * COUNT, name
            assert rows["BatchData"]["items"] == epoch * COUNT // 20
            for row in stats["stages"]:
                assert row["busy"] >= row["here"] >= 0 <= row["waiting"]
                assert row["errors"] == 0 and row["units"] >= 1 and row["share"] >= 0


def test_the_row_of_a_runner() -> None:
    with df.PrefetchDataZMQ(ThreadRunner(numbers().map(same), 3), 2) as ds:
        list(ds)
        rows = ds.stats()["stages"]
    assert [row["name"] for row in rows] == ["DataFromList", "MapData", "PrefetchDataZMQ"]
    runner = rows[-1]
    assert (runner["kind"], runner["items"], runner["restarts"]) == ("runner", COUNT, 0)
    assert (runner["workers"], runner["threads"], runner["units"]) == (2, 3, 6)
    assert runner["unit"] == "process" and runner["bytes"] > COUNT
    assert 0 <= runner["fill"] <= 1 and runner["busy"] >= runner["here"] > 0
    assert rows[1]["runner"] == "PrefetchDataZMQ" and rows[0]["runner"] is None


def test_errors_are_counted_where_they_happened() -> None:
    def odd(dp):
        if dp[0] % 2:
            raise ValueError(dp[0])
        return dp

    with df.PrefetchDataZMQ(numbers(20).map(same).map(odd), 1, on_error="skip") as ds:
        assert sum(1 for _ in ds) == 10
        stats = ds.stats()
    assert [row["errors"] for row in stats["stages"]] == [0, 0, 10, 0]
    assert stats["errors"] == {"ValueError": 10}


def test_a_datapoint_that_cannot_travel_is_the_runners_error() -> None:
    with df.PrefetchDataZMQ(numbers(3).map(lambda dp: [(n for n in ())]), 1, on_error="skip") as ds:
        assert list(ds) == []
        assert [row["errors"] for row in ds.stats()["stages"]] == [0, 0, 3]


def test_errors_without_workers() -> None:
    ds = numbers(3).map(lambda dp: 1 // dp[0])
    with pytest.raises(ZeroDivisionError):
        list(ds)
    assert ds.stats()["stages"][1]["errors"] == 1


def test_restarts(tmp_path: Path) -> None:
    def fatal(dp):
        if dp[0] == 30 and not (mark := tmp_path / "killed").exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return dp

    with df.PrefetchDataZMQ(numbers(100).map(fatal), 2) as ds:
        assert sum(1 for _ in ds) == 100
        assert ds.stats()["stages"][-1]["restarts"] == ds.stats()["worker_restarts"] == 1


def test_bytes_of_files(tmp_path: Path) -> None:
    from dataflow.sources.read import ReadFile

    stage = ReadFile(1 << 20)
    (tmp_path / "a").write_bytes(b"12345")
    for _ in range(2):
        stage.apply([str(tmp_path / "a")])
    assert stage.gauges() == {"bytes": 10}


def test_a_loop_of_cheap_datapoints_is_counted_to_the_last() -> None:
    """Most of them are not timed one by one."""
    ds = numbers(5000)
    iterator = iter(ds)
    for count in range(1, 3001):
        next(iterator)
        if count % 250 == 0:
            assert ds.stats()["items"] == count
    del iterator
    stats = ds.stats()
    assert stats["items"] == 3000
    assert stats["seconds"]["waiting"] > 0 and stats["seconds"]["away"] > 0


@pytest.mark.alone
def test_the_time_of_the_loop_is_complete() -> None:
    from time import perf_counter

    def told() -> float:
        ds = numbers(20_000)
        begun = perf_counter()
        for _ in ds:
            pass
        elapsed = perf_counter() - begun
        seconds = ds.stats()["seconds"]
        assert 0 < seconds["cpu"] < 1.5 * elapsed + 0.1
        return (seconds["waiting"] + seconds["away"]) / elapsed

    # Between the two clocks another program may have its turn.
    assert min((told() for _ in range(5)), key=lambda share: abs(share - 1)) == pytest.approx(
        1, abs=0.1
    )
