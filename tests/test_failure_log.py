"""What `ds.errors()` lists: all that failed, from where, in states and in files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import dataflow as df


def broken(datapoint: Any) -> Any:
    """Every third number fails."""
    if datapoint[-1] % 3 == 1:
        raise ValueError(f"{datapoint[-1]} is broken")
    return datapoint


def bad(ds: df.DataFlow, on_error: Any = "skip", processes: int = 0) -> df.DataFlow:
    ds = ds.map(broken)
    if processes:
        return df.PrefetchDataZMQ(ds, processes, on_error=on_error)
    return df.MultiThreadMapData(ds, 2, lambda dp: dp, on_error=on_error)


def test_all_of_them_are_listed() -> None:
    """However many: they are references and what many have in common is kept once."""
    rows = [[number] for number in range(9000)]
    with bad(df.DataFromList(rows, shuffle=True)) as ds:
        assert len([*ds]) == 6000
        failed = ds.errors()
        assert len(failed) == 3000 and ds.stats()["errors"] == {"ValueError": 3000}
        assert sorted(datapoint[0] for datapoint, _, _ in failed) == list(range(1, 9000, 3))
        assert all(one.message.endswith(f" {one.datapoint[0]} is broken") for one in failed)
        assert all(one.datapoint is rows[one.datapoint[0]] for one in failed)


# -- where they came from ----------------------------------------------------------------------

SHAPES: dict[str, Callable[[Any], df.DataFlow]] = {
    "as it is": lambda ds: ds,
    "twice": lambda ds: df.RepeatedData(ds, 2),
    "copies": lambda ds: df.RepeatedDataPoint(ds, 2),
    "locally": lambda ds: df.LocallyShuffleData(ds, 5),
    "concatenated": lambda ds: df.ConcatData([ds, ds]),
    "mixed": lambda ds: df.RandomMixData([ds, ds]),
    "a part": lambda ds: df.ShardData(ds, 1, 3),
    "sized": lambda ds: df.FixedSizeData(ds, 17),
    "nested": lambda ds: df.ConcatData([df.RepeatedData(ds, 2), df.RandomMixData([ds, ds])]),
}


@settings(max_examples=40)
@given(
    st.sampled_from(sorted(SHAPES)),
    st.booleans(),
    st.booleans(),
    st.integers(1, 40),
    st.integers(0, 3),
)
def test_each_is_the_one_that_failed(
    shape: str, shuffle: bool, columns: bool, size: int, seed: int
) -> None:
    numbers = np.arange(size)
    rows = df.Columns(numbers) if columns else [[number] for number in numbers.tolist()]
    with bad(SHAPES[shape](df.DataFromList(rows, shuffle=shuffle))).seed(seed) as ds:
        for _ in range(2):
            list(ds)
        failed = ds.errors()
    for one in failed:
        if shape in ("copies", "sized"):  # made of datapoints, not of keys
            assert isinstance(one.datapoint, int)
        else:
            assert one.message.endswith(f" {one.datapoint[0]} is broken")


@pytest.mark.parametrize("processes", [1, 2])
def test_joined_ones(processes: int) -> None:
    """Inputs of a join have an order in common, which counts for what fails in one of them."""
    source = df.DataFromList([[number] for number in range(30)], shuffle=True)
    joined = df.JoinData(
        [df.PrefetchDataZMQ(source.map(broken), processes, on_error="skip"), source]
    )
    with joined.seed(3) as ds:
        list(ds)
        assert len(ds.errors()) == 10
        assert all(one.message.endswith(f" {one.datapoint[0]} is broken") for one in ds.errors())


def test_equal_rows_are_each_tried_again() -> None:
    ds = bad(df.DataFromList(df.Columns([1, 1, 3, 4, 4]), shuffle=False))
    with ds:
        assert [*ds] == [[3]]
        assert len(ds.errors()) == 4
        with ds.retry_failed() as again:
            assert len(again) == 4 and [*again] == []


# -- files -------------------------------------------------------------------------------------


def test_a_file_of_them(tmp_path: Path) -> None:
    class Own(df.dataset.NetworkImages):
        @staticmethod
        def map_func_download(dp: Any) -> Any:
            raise df.FetchError(
                f'{dp[0]}: gone, "it" said', reason="http_410", status=410, trials=2
            )

    with Own() as ds:
        ds.datapoints = [[f"https://user:pass@host{n}.org:80/ü,{n}.jpg", n] for n in range(3)]
        with pytest.raises(df.TooManyErrors):
            list(ds)
        failed = ds.errors()
        assert [one.host for one in failed] == ["host0.org", "host1.org", "host2.org"]
        failed.to_csv(tmp_path / "failed.csv")
    with open(tmp_path / "failed.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [*lines[0]] == ["url", "reason", "status", "trials", "host", "message", "datapoint"]
    assert [line["url"] for line in lines] == [url for url, _ in ds.datapoints]
    assert lines[2]["reason"] == "http_410" and lines[2]["status"] == "410"
    assert lines[2]["trials"] == "2" and lines[2]["host"] == "host2.org"
    assert lines[2]["message"].endswith('ü,2.jpg: gone, "it" said')


# -- states ------------------------------------------------------------------------------------


def retried(ds: Any) -> list[str]:
    """The keys of the source of `retry_failed`, under a runner with a function."""
    return sorted(map(repr, ds.retry_failed().ds.ds.keys()))


@settings(max_examples=25)
@given(
    st.sampled_from(["as it is", "twice", "concatenated", "mixed", "a part"]),
    st.booleans(),
    st.integers(0, 20),
    st.sampled_from([0, 1]),
)
def test_a_resumed_run_has_those_before(
    shape: str, columns: bool, stop: int, processes: int
) -> None:
    def made() -> df.DataFlow:
        rows = df.Columns(np.arange(25)) if columns else [[number] for number in range(25)]
        source = df.DataFromList(rows, shuffle=True)
        return df.MultiThreadMapData(
            SHAPES[shape](source), 2, broken, on_error="skip", ordered=True
        ).seed(1)

    with made() as whole:
        assume(stop < len([*whole]))
        expected = sorted((one.datapoint[0], *one[1:]) for one in whole.errors())
        counts = whole.stats()["errors"]
        again = (
            sorted(map(repr, whole.retry_failed().ds.ds.keys())) if shape == "as it is" else None
        )
    with made() as first:
        for number, _ in enumerate(first, 1):
            if number >= stop:
                break
        state = json.loads(json.dumps(first.state_dict()))
    with made() as second:
        second.load_state_dict(state)
        list(second)
        found = sorted((one.datapoint[0], *one[1:]) for one in second.errors())
        assert found == expected
        assert second.stats()["errors"] == counts
        if again is not None:
            assert retried(second) == again


def test_a_state_is_small() -> None:
    """A few numbers for each: neither addresses nor messages are repeated."""
    rows = [[f"https://host/{'long' * 20}/{number}.jpg", number] for number in range(3000)]

    def fail(datapoint: Any) -> Any:
        if datapoint[1]:
            raise df.DecodeError(f"{datapoint[0]}: broken", reason="corrupt")
        return datapoint

    with df.MultiThreadMapData(
        df.DataFromList(rows, shuffle=False), 2, fail, on_error="skip", ordered=True
    ) as ds:
        list(ds)
        state = ds.state_dict()
        assert len(json.dumps(state)) < 30 * 3000
        found = sorted((one.datapoint[1], one.message) for one in ds.errors())
        assert found == [(n, f"{url}: broken") for url, n in rows if n]


def test_a_state_without_failures_has_none() -> None:
    with bad(df.DataFromList([[0], [3]])) as ds:
        list(ds)
        assert "failures" not in ds.state_dict()
        ds.load_state_dict(ds.state_dict())
        assert ds.errors() == []
