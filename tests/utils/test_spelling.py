"""Older spellings work, and say once which one is newer."""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings

import pytest

import dataflow as df
from dataflow.utils import spelling


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spelling, "_told", set())


def numbers(size: int = 3) -> df.DataFlow:
    return df.DataFromList([[i] for i in range(size)], shuffle=False)


def told(call) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert all(one.category is DeprecationWarning for one in caught)
    assert all(one.filename == __file__ for one in caught), "where it was written"
    return [str(one.message) for one in caught]


ARGUMENTS = {
    "PrefetchDataZMQ": (lambda: df.PrefetchDataZMQ(numbers(), nr_proc=2), {"num_proc": 2}),
    "MultiProcessRunner": (
        lambda: df.MultiProcessRunner(numbers(), nr_prefetch=5, nr_proc=2),
        {"num_prefetch": 5, "num_proc": 2},
    ),
    "MultiThreadRunner": (
        lambda: df.MultiThreadRunner(numbers, nr_prefetch=5, nr_thread=2),
        {"num_prefetch": 5, "num_thread": 2},
    ),
    "MultiThreadMapData": (
        lambda: df.MultiThreadMapData(numbers(), nr_thread=3, map_func=list),
        {"num_thread": 3},
    ),
    "MultiProcessMapData": (
        lambda: df.MultiProcessMapData(numbers(), nr_proc=3, map_func=list),
        {"num_proc": 3},
    ),
    "MultiProcessMapAndBatchData": (
        lambda: df.MultiProcessMapAndBatchData(numbers(), nr_proc=3, map_func=list, batch_size=2),
        {"num_proc": 3},
    ),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_older_arguments(name: str) -> None:
    build, attributes = ARGUMENTS[name]
    flows: list[df.DataFlow] = []
    assert sorted(told(lambda: flows.append(build()))) == sorted(
        f"{new.replace('num', 'nr')} is the older spelling of {new}" for new in attributes
    )
    assert told(build) == [], "once in a process"
    for attribute, value in attributes.items():
        assert getattr(flows[0], attribute) == value
    assert not any(word.startswith("nr_") for word in inspect.signature(type(flows[0])).parameters)


@pytest.mark.parametrize(
    "build",
    [
        lambda: df.PrefetchDataZMQ(numbers(), 2, nr_proc=2),
        lambda: df.PrefetchDataZMQ(numbers(), num_proc=1, nr_proc=2),
        lambda: df.MultiThreadRunner(numbers, 5, 2, nr_thread=2),
        lambda: df.MultiProcessRunner(numbers(), 5, 2, nr_prefetch=7),
    ],
)
def test_both_spellings_are_one_too_many(build) -> None:
    with pytest.raises(df.ConfigError, match=r"nr_\w+=\d is the older spelling of num_\w+, which"):
        build()


def test_older_methods() -> None:
    ds = numbers()
    assert told(lambda: ds.size()) == ["ds.size() is the older spelling of len(ds)"]
    assert told(lambda: list(ds.get_data())) == ["ds.get_data() is the older spelling of iter(ds)"]
    assert told(lambda: (ds.size(), list(ds.get_data()))) == []


def test_who_only_defines_the_older_methods_hears_nothing() -> None:
    class Own(df.DataFlow):
        def get_data(self):
            yield from ([i] for i in range(4))

        def size(self):
            return 4

    def use() -> None:
        ds = df.BatchData(Own(), 2)
        assert len(list(ds)) == len(ds) == 2

    assert told(use) == []


def test_names_are_the_same_objects_and_say_nothing() -> None:
    def use() -> None:
        assert df.PrefetchData is df.MultiProcessPrefetchData is df.MultiProcessRunner
        assert df.PrefetchDataZMQ is df.MultiProcessRunnerZMQ
        assert df.MultiThreadPrefetchData is df.MultiThreadRunner
        assert df.MultiProcessMapDataZMQ is df.MultiProcessMapData
        assert df.MultiProcessMapAndBatchDataZMQ is df.MultiProcessMapAndBatchData

    assert told(use) == []


def test_a_script_sees_one_line_for_each_spelling() -> None:
    script = """
import dataflow as df
for _ in range(2):
    ds = df.MultiThreadMapData(df.DataFromList([[1]]), nr_thread=1, map_func=list)
    print(ds.size(), list(ds.get_data()))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "1 [[1]]\n" * 2
    assert done.stderr.count("DeprecationWarning") == 3
