"""A class of the user's that iterates by itself, with stages on it, below one worker process."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest

import dataflow as df
from dataflow.plan import packing
from dataflow.randomness import datapoint_rng


class Own(df.RNGDataFlow):
    """Its numbers are drawn; it says which process it is read in."""

    def __init__(self, size: int = 40, held: Any = None) -> None:
        self.amount = size
        self.held = held

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(self.amount):
            yield [number, int(self.rng.randint(1 << 30)), os.getpid()]


def noisy(dp: list[int]) -> list[int] | None:
    drawn = int(datapoint_rng().randint(1 << 30))
    return None if dp[0] % 7 == 3 else [dp[0], dp[1] ^ drawn, dp[2]]


def chain(**options: Any) -> df.DataFlow:
    return df.MapData(Own(**options), noisy).map(lambda dp: dp)


def without_process(points: Any) -> list[list[int]]:
    return [dp[:2] for dp in points]


def test_the_worker_reads_it_and_the_stream_is_that_of_the_plain_chain() -> None:
    plain = chain().seed(3)
    expected = [without_process(plain) for _ in range(2)]
    with df.PrefetchDataZMQ(chain(), 1).seed(3) as ds:
        found = [list(ds) for _ in range(2)]
        assert [without_process(epoch) for epoch in found] == expected
        (pid,) = {dp[2] for epoch in found for dp in epoch}
        assert pid != os.getpid()
        iterator = iter(ds.seed(4))
        points = without_process(islice(iterator, 11))
        state = json.loads(json.dumps(ds.state_dict()))
        rest = without_process(iterator)
    for make in (lambda: df.PrefetchDataZMQ(chain(), 1), lambda: df.PrefetchDataZMQ(chain(), 2)):
        with make() as ds:
            ds.load_state_dict(state)
            assert without_process(ds) == rest
    assert len(points) + len(rest) == len(expected[0])


def test_explain_knows_that_it_is_one_iterator() -> None:
    class Slow(Own):
        def __iter__(self) -> Iterator[list[int]]:
            for dp in super().__iter__():
                np.linalg.svd(np.ones((60, 60)))
                yield dp

    with df.PrefetchDataZMQ(df.MapData(Slow(300), noisy), 1) as ds:
        list(ds)
        rows = {row["name"]: row for row in ds.stats()["stages"]}
    assert rows["Slow"]["kind"] == "iterator" and rows["Slow"]["runner"] == "PrefetchDataZMQ"
    assert rows["Slow"]["items"] == 300


@pytest.mark.parametrize(
    "options", [{"num_proc": 2}, {"on_error": "skip"}, {"on_error": lambda error, dp: None}]
)
def test_more_workers_and_failures_that_are_borne_need_the_stages_apart(options: Any) -> None:
    def odd(dp: list[int]) -> list[int]:
        if dp[0] == 5 and options.get("on_error"):
            raise ValueError("five")
        return [*dp, os.getpid()]

    with df.PrefetchDataZMQ(df.MapData(Own(), odd), **options) as ds:
        found = list(ds)
    expected = [number for number in range(40) if number != 5 or "num_proc" in options]
    assert sorted(dp[0] for dp in found) == expected
    assert {dp[2] for dp in found} == {os.getpid()}
    assert os.getpid() not in {dp[3] for dp in found}


class Ends(df.DataFlow):
    def __iter__(self) -> Iterator[list[int]]:
        yield [0]
        yield [1]
        raise OSError("the disk is gone")


@pytest.mark.parametrize("on_error", ["raise", "skip", lambda error, dp: [7]])
def test_a_source_that_raises_has_no_more_and_the_loop_hears_of_it(on_error: Any) -> None:
    found: list[Any] = []
    with (
        df.PrefetchDataZMQ(Ends(), 1, on_error=on_error) as ds,
        pytest.raises(df.WorkerError, match=r"OSError: the disk is gone\s+for position 2"),
    ):
        for dp in ds:
            found.append(dp)
    assert found == [[0], [1]]


@pytest.mark.parametrize("held", ["a lock", "much"])
def test_what_cannot_go_stays_and_that_is_told_once(
    held: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_MOST_BYTES", 1 << 20)
    value = threading.Lock() if held == "a lock" else np.ones(1 << 18)
    with (
        caplog.at_level(logging.WARNING),
        df.PrefetchDataZMQ(chain(held=value), 1) as ds,
    ):
        for _ in range(2):
            assert {dp[2] for dp in ds} == {os.getpid()}
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("Own stays in this process, which reads it while the loop waits")
    assert ("lock" if held == "a lock" else "more than 1 MB") in told


def test_a_function_that_raises_ends_the_pass() -> None:
    def bad(dp: list[int]) -> list[int]:
        if dp[0] == 7:
            raise KeyError("seven")
        return dp

    with df.PrefetchDataZMQ(df.MapData(Own(), bad), 1) as ds:
        before = []
        with pytest.raises(df.WorkerError, match="seven") as caught:
            before.extend(dp[0] for dp in ds)
    assert isinstance(caught.value.__cause__, KeyError)


def test_where_several_processes_share_it_that_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with df.PrefetchDataZMQ(chain(), 2) as ds, caplog.at_level(logging.INFO, "dataflow"):
        for _ in range(2):
            assert {dp[2] for dp in ds} == {os.getpid()}
    (told,) = [record.getMessage() for record in caplog.records]
    assert all(record.levelno == logging.INFO for record in caplog.records)
    assert told.startswith("Own can only be iterated, so this process reads it")
    assert "PrefetchDataZMQ(ds, 1)" in told
