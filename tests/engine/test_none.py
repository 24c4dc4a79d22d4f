"""None that a user's own iterator yields is a datapoint, as in the plain loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import dataflow as df


class Own(df.DataFlow):
    def __iter__(self) -> Iterator[list[int] | None]:
        for number in range(6):
            yield None if number in (2, 5) else [number]

    def __len__(self) -> int:
        return 6


def tenfold(datapoint: Any) -> Any:
    return ["nothing"] if datapoint is None else [10 * datapoint[0]]


FLOWS: dict[str, Callable[[], df.DataFlow]] = {
    "alone": Own,
    "a process": lambda: df.PrefetchDataZMQ(Own(), 1),
    "processes": lambda: df.PrefetchDataZMQ(Own(), 2),
    "repeated": lambda: df.RepeatedData(Own(), 1),
    "shuffled": lambda: df.LocallyShuffleData(Own(), 3),
    "cached": lambda: df.CacheData(Own()),
    "a generator": lambda: df.DataFromGenerator(lambda: iter(Own())),
    "a list": lambda: df.PrefetchDataZMQ(df.DataFromList([*Own()], shuffle=False), 2),
}


@pytest.mark.parametrize("name", FLOWS)
def test_it_comes(name: str) -> None:
    assert sorted(map(repr, FLOWS[name]())) == sorted(map(repr, Own()))


@pytest.mark.parametrize("name", FLOWS)
def test_functions_get_it(name: str) -> None:
    expected = sorted(repr(tenfold(datapoint)) for datapoint in Own())
    assert sorted(map(repr, df.MapData(FLOWS[name](), tenfold))) == expected


@pytest.mark.parametrize(
    "runner",
    [
        lambda ds: df.MultiThreadMapData(ds, 2, tenfold),
        lambda ds: df.MultiProcessMapData(ds, 2, tenfold),
        lambda ds: df.PrefetchDataZMQ(df.MapData(ds, tenfold), 1),
    ],
)
def test_functions_in_workers_get_it(runner: Callable[[Any], df.DataFlow]) -> None:
    expected = sorted(repr(tenfold(datapoint)) for datapoint in Own())
    assert sorted(map(repr, runner(Own()))) == expected
