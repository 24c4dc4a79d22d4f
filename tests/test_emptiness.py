"""An epoch that delivers nothing says why, once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any

import pytest
from patience import patient

import dataflow as df
from dataflow.engine.runners import ThreadRunner


def numbers(size: int) -> df.DataFlow:
    return df.DataFromList([[i] for i in range(size)], shuffle=False)


def drop(dp: list[Any]) -> None:
    return None


def fail(dp: list[Any]) -> Any:
    raise KeyError("gone")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: numbers(2).map(drop), ["MapData with drop", "None", "all 2"]),
        (lambda: ThreadRunner(numbers(2).map(drop), 2), ["MapData with drop", "all 2"]),
        (lambda: numbers(10).batch(64), ["10 datapoints", "batch of 64", "remainder=True"]),
        (lambda: numbers(99).map(drop).batch(64), ["not enough", "batch of 64"]),
        (
            lambda: ThreadRunner(numbers(3).map(fail), 2, on_error="skip"),
            ["3 datapoints failed", "KeyError 3", "ds.errors()", "on_error"],
        ),
        (lambda: numbers(0).map(drop), ["DataFromList", "has no datapoints"]),
        (lambda: df.DataFromGenerator(lambda: iter(())), ["it is empty"]),
    ],
)
def test_it_says_why_and_once(
    make: Any, words: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with make() as ds:
        for _ in range(2):
            assert list(ds) == []
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        for word in [type(ds).__name__, *words]:
            assert word in record.getMessage()


def test_the_rest_of_an_epoch_may_be_empty(caplog: pytest.LogCaptureFixture) -> None:
    ds = numbers(2).seed(1)
    for _ in iter(ds):
        state = ds.state_dict()
    ds.load_state_dict(state)
    assert list(ds) == []
    assert not caplog.records


def test_an_endless_flow_without_datapoints_does_not_go_on_silently(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = threading.Event()
    ds = numbers(3).filter(lambda dp: told.is_set()).repeat(-1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(next, iter(ds))
        while "RepeatedData delivered nothing in two rounds, and goes on" not in caplog.text:
            assert not first.done()
            sleep(0.01)
        told.set()
        assert first.result(patient(10))[0] in range(3) and len(caplog.records) == 1


def test_a_loop_that_was_left_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    iter(numbers(2)).close()
    assert not caplog.records
