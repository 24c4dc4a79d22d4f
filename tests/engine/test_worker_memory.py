"""The keys stay in the consumer: a worker needs no more memory for many than for few."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import dataflow as df

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MANY = 300_000


def private_bytes() -> int:
    """The memory that is this process's alone."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def rows(count: int) -> list[list[Any]]:
    return [[f"https://images.example.com/{i:012d}.jpg", i] for i in range(count)]


def as_list(count: int) -> df.DataFlow:
    return df.DataFromList(rows(count))


def as_columns(count: int) -> df.DataFlow:
    return df.DataFromList(df.Columns.from_rows(rows(count)))


class Photos(df.dataset.NetworkImages):
    def __init__(self, count: int) -> None:
        super().__init__(shuffle=True)
        self.datapoints = rows(count)

    # A method, not a function: it must not take its data set along.
    def map_func_download(self, datapoint: list[Any]) -> list[Any]:  # type: ignore[override]
        return datapoint

    def map_func_decode(self, datapoint: list[Any]) -> list[Any]:  # type: ignore[override]
        return datapoint


def most_in_worker(ds: df.DataFlow) -> int:
    """The largest private memory of a worker during a good part of an epoch."""

    def look(datapoint: list[Any]) -> int:
        return private_bytes() if datapoint[1] % 50 == 0 else 0

    with df.PrefetchDataZMQ(ds.map(look), 2) as flow:
        found = [size for size, _ in zip(flow, range(2000), strict=False)]
    assert len(found) == 2000
    return max(found)


@pytest.mark.parametrize("source", [as_list, as_columns, Photos])
def test_workers_do_not_hold_the_keys(source: Any) -> None:
    few, many = most_in_worker(source(2000)), most_in_worker(source(MANY))
    # As a list the datapoints are more than 50 MB, as columns 15.
    assert many - few < 6e6
