"""How much a worker is given at a time, and that it is not more than memory bears."""

from __future__ import annotations

import time

import numpy as np

import dataflow as df
from dataflow.engine.flow_control import FlowControl

LIMIT = 20


def settled(cost: float, size: int) -> FlowControl:
    """A flow that knows datapoints of so many seconds and bytes."""
    flow = FlowControl(threads=1, transfers=0, limit=LIMIT)
    for _ in range(30):
        flow.note(10, 10 * cost, 10 * size)
    return flow


def test_the_limit_holds_for_all_but_cheap_and_small_datapoints() -> None:
    assert settled(1e-6, 100).depth > 10 * LIMIT
    for cost, size in [(0.001, 100), (1e-6, 1_000_000), (1e-6, 0), (2.0, 1_000_000)]:
        assert settled(cost, size).depth <= LIMIT, (cost, size)
    assert settled(2.0, 100).size == 1


def test_what_is_given_beyond_the_limit_is_little_work_and_few_bytes() -> None:
    for cost in (1e-7, 1e-6, 1e-5, 1e-4, 1e-3):
        for size in (10, 1000, 10_000, 100_000):
            flow = settled(cost, size)
            if flow.depth > LIMIT:
                assert flow.size * cost <= 0.002 and flow.size * size <= 64 << 10


def test_too_much_is_out_once_small_datapoints_turn_out_to_be_large() -> None:
    flow = settled(1e-6, 100)
    held = flow.depth
    assert not flow.exceeds(held, LIMIT)
    flow.note(1, 1e-6, 1_000_000)
    assert flow.depth <= LIMIT and flow.exceeds(held, LIMIT) and not flow.exceeds(LIMIT, LIMIT)


def test_small_datapoints_that_become_large_and_dear() -> None:
    """What was given out too much of comes back, and everything arrives once."""

    def work(dp):
        if dp[0] < 4000:
            return [dp[0], dp[0]]
        time.sleep(0.001)
        return [dp[0], np.full(300_000, dp[0] % 100, np.uint8)]

    source = df.DataFromList([[i] for i in range(4200)], shuffle=False)
    with df.PrefetchDataZMQ(source.map(work), 2, hwm=4, ordered=True) as ds:
        found = []
        for number, value in ds:
            found.append(number)
            assert (np.asarray(value) == (number if number < 4000 else number % 100)).all()
    assert found == list(range(4200))
