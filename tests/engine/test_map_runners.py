"""`MultiThreadMapData` and `MultiProcessMapData`, called as tensorpack's users call them."""

from __future__ import annotations

import os
import threading

import pytest
from patience import patient

import dataflow as df

KINDS = [df.MultiThreadMapData, df.MultiProcessMapData]


def numbers(size: int) -> df.DataFromList:
    return df.DataFromList([[i] for i in range(size)], shuffle=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strict", [True, False])
def test_each_datapoint_once_and_none_drops(kind, strict: bool) -> None:
    def work(dp):
        return None if dp[0] % 4 == 0 else [dp[0] * 2, os.getpid(), threading.get_ident()]

    with kind(numbers(50), 3, work, buffer_size=7, strict=strict) as ds:
        for _ in range(2):
            found = list(ds)
            assert sorted(dp[0] for dp in found) == [2 * i for i in range(50) if i % 4]
    elsewhere = {(dp[1], dp[2]) for dp in found}
    assert (os.getpid(), threading.get_ident()) not in elsewhere
    assert ({dp[1] for dp in found} == {os.getpid()}) == (kind is df.MultiThreadMapData)
    assert len(ds) == 50


@pytest.mark.parametrize("kind", KINDS)
def test_ordered_and_seeded(kind) -> None:
    plain = [[i + 1] for i in range(40)]
    with kind(numbers(40), 2, lambda dp: [dp[0] + 1], ordered=True) as ds:
        assert list(ds) == plain
    with kind(numbers(40), 2, lambda dp: [dp[0] + 1]) as ds:
        ds.seed(1)
        assert list(ds) == plain


@pytest.mark.parametrize("kind", KINDS)
def test_failures_are_counted_by_reason(kind) -> None:
    def work(dp):
        if dp[0] in (3, 5):
            raise KeyError(dp[0])
        return [10 // (dp[0] - 6)]

    with kind(numbers(8), 2, work, on_error="skip", ordered=True) as ds:
        assert [dp[0] for dp in ds] == [-2, -2, -3, -5, 10]
    assert ds.stats()["errors"] == {"KeyError": 2, "ZeroDivisionError": 1}
    assert sorted(f.datapoint for f in ds.errors()) == [[3], [5], [6]]
    with kind(numbers(8), 2, work) as ds, pytest.raises(df.WorkerError):
        list(ds)
    with kind(numbers(8), 2, work, on_error=lambda e, dp: [-dp[0]], ordered=True) as ds:
        assert [dp[0] for dp in ds] == [-2, -2, -3, -3, -5, -5, -6, 10]


@pytest.mark.parametrize("kind", KINDS)
def test_what_makes_no_sense_is_refused(kind) -> None:
    with pytest.raises(df.ConfigError, match="map_func=None"):
        kind(numbers(1), 2)
    with pytest.raises(df.ConfigError, match=r"num_\w+=None"):
        kind(numbers(1), map_func=list)
    with pytest.raises(df.ConfigError, match="=0"):
        kind(numbers(1), 0, list)


def test_datapoints_that_kill_or_take_too_long_in_map_data() -> None:
    def work(dp):
        if dp[0] == 3:
            os._exit(1)
        while dp[0] == 6:
            pass
        return dp

    with df.MultiProcessMapData(
        numbers(10), 2, work, on_error="skip", task_timeout=patient(1.0), max_restarts=2
    ) as ds:
        assert sorted(dp[0] for dp in ds) == [i for i in range(10) if i not in (3, 6)]
    assert ds.stats()["errors"] == {"poison": 1, "timeout": 1}
