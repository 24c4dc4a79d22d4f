"""Chains that trainer and workers both build."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np

import dataflow as df
from dataflow.errors import DecodeError
from dataflow.randomness import datapoint_rng


def numbers(count: int = 300) -> Any:
    return df.DataFromList([(i, ("key", i)) for i in range(count)], shuffle=True)


def drawn(datapoint: Any) -> Any:
    number, (name, again) = datapoint
    assert (name, again) == ("key", number) and type(datapoint) is tuple
    rng = datapoint_rng()
    return [number, rng.standard_normal(3), rng.randint(0, 256, (40, 500), np.uint8), (1, "two")]


def random() -> Any:
    """Arrays that are drawn, some of them large."""
    return numbers().map(drawn)


def batches() -> Any:
    return numbers().map(lambda dp: [dp[0], np.full(5000, dp[0] % 251, np.uint8)]).batch(15)


def slow(seconds: float = 0.01) -> Any:
    def work(dp: Any) -> Any:
        time.sleep(seconds)
        return [dp[0], np.full(2000, dp[0] % 251, np.uint8)]

    return numbers().map(work)


def bulky() -> Any:
    """Datapoints that a slow link is long at."""
    source = df.DataFromList([[i] for i in range(4)], shuffle=True)
    return source.map(lambda dp: [dp[0], np.full(20_000_000, dp[0], np.uint8)])


def one_fails() -> Any:
    def work(dp: Any) -> Any:
        if dp[0] == 7:
            raise ValueError("seven")
        return [dp[0]]

    return numbers(30).map(work)


def one_is_fatal() -> Any:
    def work(dp: Any) -> Any:
        if dp[0] == 77:
            os.kill(os.getpid(), signal.SIGSEGV)
        return [dp[0]]

    return numbers(150).map(work)


def one_hangs() -> Any:
    def work(dp: Any) -> Any:
        if dp[0] == 77:
            time.sleep(1000)
        return [dp[0]]

    return numbers(150).map(work)


def some_fail() -> Any:
    def work(dp: Any) -> Any:
        if dp[0] == 20:
            raise KeyError("twenty")
        if dp[0] == 30:
            raise DecodeError("no image", reason="not_image", url="http://a/b", status=200)
        if dp[0] == 40:
            return [lambda: None]
        return [dp[0]]

    return df.DataFromList([(i,) for i in range(60)], shuffle=False).map(work)


def two_sources() -> Any:
    """What makes two parts: a stream in between."""
    left = df.BatchData(numbers(60).map(lambda dp: [dp[0]]), 2)
    right = df.BatchData(numbers(60).map(lambda dp: [-dp[0]]), 2)
    return df.JoinData([left, right])


def another() -> Any:
    return numbers(299).map(drawn)


def without_keys() -> Any:
    return df.DataFromList([], shuffle=True).map(drawn)


def pool_and_more() -> Any:
    """As a script may have it: the pool in the middle."""
    return df.PrefetchDataRemote(random(), "tcp://127.0.0.1:9").batch(10)


def some(count: int = 1800) -> Any:
    def work(dp: Any) -> Any:
        time.sleep(0.005)
        return [dp[0], np.full(30_000, dp[0] % 251, np.uint8)]

    return df.DataFromList([[i] for i in range(count)], shuffle=False).map(work)


def many() -> Any:
    return some(18_000)
