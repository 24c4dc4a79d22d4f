"""Datapoints held column by column."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optional import library

import dataflow as df
from dataflow.sources.columns import Columns, Records, as_rows, pick
from dataflow.sources.text import Text

URLS = ["https://host/1.jpg", "", "https://höst/ü 2.jpg", "https://host/a-longer-name.png", "字"]
LABELS = [3, -1, 70_000, 0, 5]
ROWS = [[url, label] for url, label in zip(URLS, LABELS, strict=True)]


def arrow_table() -> Any:
    """The rows in two chunks."""
    pyarrow = library("pyarrow")
    parts = [
        pyarrow.table({"url": URLS[part], "label": LABELS[part]})
        for part in (slice(0, 2), slice(2, 5))
    ]
    table = pyarrow.concat_tables(parts)
    assert table.column("url").num_chunks == 2
    return table


# What users may have, and as which `datapoints` it is given.
FORMS: dict[str, Callable[[], Any]] = {
    "rows": lambda: df.Columns.from_rows(ROWS),
    "generator": lambda: df.Columns.from_rows(tuple(row) for row in ROWS),
    "lists": lambda: df.Columns(URLS, LABELS),
    "text": lambda: df.Columns(Text(URLS), np.array(LABELS)),
    "bytes": lambda: df.Columns(np.array([url.encode() for url in URLS]), np.array(LABELS)),
    "unicode": lambda: (np.array(URLS), np.array(LABELS)),
    "objects": lambda: (np.array(URLS, object), np.array(LABELS, np.int32)),
    "arrow": arrow_table,
    "arrow columns": lambda: df.Columns(*arrow_table().columns),
}


@pytest.fixture(params=FORMS)
def columns(request: pytest.FixtureRequest) -> Any:
    return FORMS[request.param]()


def test_they_read_as_the_list_would(columns: Any) -> None:
    rows = as_rows(columns)
    assert isinstance(rows, df.Columns)
    assert len(rows) == 5 and list(rows) == ROWS and repr(rows)
    assert [rows[i] for i in range(-5, 5)] == ROWS + ROWS
    assert [type(value) for row in rows for value in row] == [str, int] * 5
    assert type(rows[0]) is list and [type(value) for value in rows[0]] == [str, int]
    order = [4, 0, 0, 3]
    assert list(pick(rows, order)) == [ROWS[i] for i in order]
    assert ROWS[2] in rows and rows.index(ROWS[3]) == 3
    with pytest.raises(IndexError):
        rows[5]
    with pytest.raises(IndexError):
        rows[-6]


def test_a_data_set_of_them(columns: Any) -> None:
    class Pets(df.dataset.NetworkImages):
        @staticmethod
        def map_func_download(datapoint):
            return [datapoint[0].encode(), *datapoint[1:]]

        @staticmethod
        def map_func_decode(datapoint):
            return [datapoint[0].decode(), datapoint[1] + 1]

    expected = [[url, label + 1] for url, label in ROWS]

    def pets(shuffle: bool = False) -> Any:
        ds = Pets(shuffle).seed(1)
        ds.datapoints = columns
        return ds

    assert len(pets()) == 5 and list(pets()) == expected
    listed = pets(shuffle=True)
    listed.datapoints = ROWS
    assert list(pets(shuffle=True)) == list(listed), "in the same order"
    assert list(pets().partitioning(2, 1)) == expected[1::2]
    assert list(pets().parallel(num_threads=2)) == expected


def test_through_processes(columns: Any) -> None:
    ds = df.DataFromList(as_rows(columns), shuffle=False)
    ds = df.PrefetchDataZMQ(ds.map(lambda dp: [dp[0] * 2, dp[1]]), 2, ordered=True)
    with ds:
        assert list(ds) == [[url * 2, label] for url, label in ROWS]


def test_a_list_source_takes_tables_and_leaves_tuples_alone() -> None:
    arrays = (np.arange(3), np.arange(3))
    assert len(df.DataFromList(arrays, shuffle=False)) == 2, "two datapoints, as ever"
    ds = df.DataFromList(arrow_table(), shuffle=False)
    assert len(ds) == 5 and list(ds) == ROWS


@given(st.lists(st.integers(), max_size=40), st.slices(40), st.slices(40))
def test_slices_of_slices(values: list[int], first: slice, second: slice) -> None:
    rows = [[value] for value in values]
    columns = df.Columns.from_rows(rows)
    assert list(columns[first]) == rows[first]
    assert list(columns[first][second]) == rows[first][second]
    assert [columns[first][i] for i in range(len(rows[first]))] == rows[first]


def test_a_slice_copies_nothing() -> None:
    labels = np.arange(10)
    columns = df.Columns(labels)
    part = columns[1::3]
    labels[4] = 40
    assert list(part) == [[1], [40], [7]]


VALUES = st.one_of(
    st.text(st.characters(exclude_categories=[]), max_size=5),
    st.integers(-(1 << 70), 1 << 70),
    st.integers(-300, 300),
    st.booleans(),
    st.floats(allow_nan=False),
    st.none(),
    st.lists(st.integers(), max_size=2),
    st.binary(max_size=3),
)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=30))
def test_any_values_come_back_as_they_were(rows: list[Any]) -> None:
    expected = [list(row) for row in rows]
    assert list(df.Columns.from_rows(rows)) == expected
    types = [[type(value) for value in row] for row in df.Columns.from_rows(rows)]
    assert types == [[type(value) for value in row] for row in rows]
    assert list(df.Columns(*map(list, zip(*rows, strict=True)))) == expected


def test_values_that_change_their_kind_far_down() -> None:
    """Columns are packed in blocks; what one block was must not spoil the next."""
    many: list[Any] = ["text"] * 9000 + [None] * 9000 + [1] * 9000 + [2.5] * 9000 + [1 << 80]
    column = [value for (value,) in df.Columns(many)]
    assert column == many and [type(v) for v in column] == [type(v) for v in many]


def test_numbers_of_numpy_become_plain_ones() -> None:
    columns = df.Columns.from_rows([[np.str_("a"), np.int64(3), np.float32(0.5), np.bool_(True)]])
    assert columns[0] == ["a", 3, 0.5, True]
    assert [type(value) for value in columns[0]] == [str, int, float, bool]


def test_more_axes_and_times() -> None:
    boxes = np.arange(24).reshape(3, 2, 4)
    days = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "datetime64[ns]")
    columns = df.Columns(["a", "b", "c"], boxes, days)
    for i, (name, box, day) in enumerate(columns):
        assert name == "abc"[i] and (box == boxes[i]).all() and day == days[i]


def test_nothing_at_all() -> None:
    assert len(df.Columns.from_rows([])) == 0
    assert list(df.Columns.from_rows([])) == list(df.Columns([], [])) == []
    assert as_rows(()) == ()


def test_what_is_refused() -> None:
    with pytest.raises(df.ConfigError, match=r"one length, not of \[2, 1\]"):
        df.Columns(["a", "b"], [1])
    with pytest.raises(df.ConfigError, match="not of none"):
        df.Columns()
    with pytest.raises(df.ConfigError, match="'abc' is no column"):
        df.Columns("abc", [1, 2, 3])
    with pytest.raises(df.ConfigError, match="one value, not a column"):
        df.Columns(np.array(1))
    with pytest.raises(df.ConfigError, match=r"\['b'\] has not 2 components"):
        df.Columns.from_rows([["a", 1], ["b"]])


def test_text_takes_little_more_than_its_bytes() -> None:
    text = Text(URLS * 1000)
    assert text.nbytes <= len("".join(URLS).encode()) * 1000 + 4 * (len(text) + 1)
    assert text[1:9:3] == (URLS * 2)[1:9:3] and text[-1] == URLS[-1]
    assert list(pickle.loads(pickle.dumps(text))) == URLS * 1000


def test_text_beyond_four_gigabytes_of_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds grow wider when they must; with the border moved, so that it need not be 4 GB."""
    monkeypatch.setattr("dataflow.sources.text._WIDEST", 100)
    text = Text(URLS * 10)
    text.extend(URLS)
    assert list(text) == URLS * 11 and text._bounds.itemsize == 8


def test_failed_datapoints_are_retried_once_each() -> None:
    def fail(dp: Any) -> Any:
        raise ValueError(dp[0])

    ds = df.DataFromList(df.Columns(URLS, LABELS), shuffle=False).map(fail)
    with df.PrefetchDataZMQ(ds, 2, ordered=True, on_error="skip") as ds:
        assert list(ds) == list(ds) == []
        assert [failed.datapoint for failed in ds.errors()] == ROWS * 2
        assert len(ds.retry_failed()) == len(ROWS)


@pytest.mark.parametrize("numbers", [range(7), range(3, 24, 3), range(6, -1, -1), range(0)])
def test_a_range_gives_its_numbers(numbers: range) -> None:
    columns = Columns(numbers)
    assert [row[0] for row in columns] == list(numbers)
    assert len(columns) == len(numbers)
    if numbers:
        assert columns[-1] == [numbers[-1]]
        assert [row[0] for row in columns[1::2]] == list(numbers)[1::2]
        assert type(columns[0][0]) is int


def test_a_long_range_takes_no_memory() -> None:
    assert Columns(range(10**12))[10**12 - 1] == [10**12 - 1]


def test_records_with_their_numbers() -> None:
    records = Records(("url", "n"), (["a", "b", "c", "d"], [1, 2, 3, 4]))
    numbered = records.numbered("row")
    assert numbered[2] == {"url": "c", "n": 3, "row": 2}
    assert [one["row"] for one in numbered[1::2]] == [1, 3]
    assert [one["row"] for one in records[1::2].numbered("row")] == [1, 3]
    assert numbered.names == ("url", "n", "row") and len(records.names or ()) == 2
