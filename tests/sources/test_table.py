"""Tables of every kind as datapoints."""

from __future__ import annotations

import gzip
import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.fs
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataflow as df
from dataflow.sources import stored, table_files

SIZE = 40
URLS = [f"http://h/{i}.jpg" for i in range(SIZE)]
TEXTS = [None if i % 7 == 0 else f'caption {i}, "quoted"\nand on' for i in range(SIZE)]
WIDTHS = [None if i % 5 == 0 else i for i in range(SIZE)]
WHOLE = pa.table({"WIDTH": WIDTHS, "URL": URLS, "TEXT": TEXTS})
ROWS = [[url, text, width] for url, text, width in zip(URLS, TEXTS, WIDTHS, strict=True)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("DATAFLOW_CACHE", str(folder))
    return folder


def as_csv(part: pa.Table, delimiter: str = ",") -> str:
    frame = part.to_pandas().astype({"WIDTH": "Int64"})
    return frame.to_csv(index=False, sep=delimiter)


def write(part: pa.Table, path: Path) -> None:
    """A file of the kind that its name says."""
    name = path.name
    if ".parquet" in name:
        pyarrow.parquet.write_table(part, path, row_group_size=3)
    elif ".arrow" in name or ".feather" in name:
        pyarrow.feather.write_feather(part, path, compression="uncompressed", chunksize=3)
    else:
        text = (
            as_csv(part, "\t" if ".tsv" in name else ",")
            if "sv" in name
            else "".join(json.dumps(row) + "\n" for row in part.to_pylist())
        )
        data = text.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


NAMES = ["a.parquet", "a.arrow", "a.feather", "a.csv", "a.tsv", "a.csv.gz", "a.jsonl", "a.jsonl.gz"]


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_files(tmp_path: Path, name: str, small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not small:
        monkeypatch.setattr(table_files, "SMALL_BYTES", 0)
    write(WHOLE, tmp_path / name)
    more: Any = {"quoted": True} if "tsv" in name else {}
    rows = df.read_table(tmp_path / name, url="URL", columns=["TEXT", "WIDTH"], **more)
    expected = ROWS
    if "sv" in name:  # which cannot tell a text without characters from none
        expected = [[url, text or "", width] for url, text, width in ROWS]
    assert list(rows) == expected
    assert len(rows) == SIZE and rows[7] == expected[7] and rows[-1] == expected[-1]
    assert list(rows[3:30:4]) == expected[3:30:4]
    order = random.Random(0).sample(range(SIZE), SIZE)
    assert rows.take(np.array(order)) == [expected[i] for i in order]
    dicts = df.read_table(tmp_path / name, url="URL", columns=["WIDTH"], rows="dict", **more)
    assert dicts[3] == {"URL": URLS[3], "WIDTH": 3} == next(iter(dicts[3:]))


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("name", ["{}.parquet", "{}.csv", "{}.jsonl"])
def test_several_files(
    tmp_path: Path, name: str, small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not small:
        monkeypatch.setattr(table_files, "SMALL_BYTES", 0)
    paths = [tmp_path / name.format(i) for i in range(4)]
    for i, path in enumerate(paths):
        write(WHOLE[i * 10 : i * 10 + 10], path)
    for given_as in (tmp_path / name.format("*"), str(tmp_path / name.format("{0..3}")), paths):
        rows = df.read_table(given_as, url="URL", columns=["WIDTH"])
        assert list(rows) == [[url, width] for url, width in zip(URLS, WIDTHS, strict=True)]


def test_a_list_of_urls_as_text(tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text("".join(f'{url}?a="x",y\t\n' for url in URLS))
    rows = df.read_table(tmp_path / "urls.txt")
    assert list(rows) == [[f'{url}?a="x",y\t'] for url in URLS]


def test_a_csv_without_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("http://h/0,3\nhttp://h/1,4\n")
    with pytest.raises(df.ConfigError, match=r'its first line has a URL.*names=\["url"'):
        df.read_table(tmp_path / "a.csv")
    rows = df.read_table(tmp_path / "a.csv", names=["url", "label"])
    assert list(rows) == [["http://h/0", 3], ["http://h/1", 4]]


@pytest.mark.parametrize("protocol", ["memory", "file"])
def test_other_places(tmp_path: Path, protocol: str) -> None:
    import fsspec

    folder = f"{protocol}://{'/tables' if protocol == 'memory' else tmp_path}"
    for i in range(2):
        write(WHOLE[i * 20 : i * 20 + 20], tmp_path / f"{i}.parquet")
        if protocol == "memory":
            with fsspec.open(f"{folder}/{i}.parquet", "wb") as file:
                file.write((tmp_path / f"{i}.parquet").read_bytes())
    rows = df.read_table(f"{folder}/*.parquet", url="URL", columns=[])
    assert list(rows) == [[url] for url in URLS]
    with pytest.raises(df.MissingData, match="is not there"):
        df.read_table(f"{folder}/no-*.parquet")


def hugging_face(whole: pa.Table) -> Any:
    datasets = pytest.importorskip("datasets")
    return datasets.Dataset(whole)


FRAMES: dict[str, Callable[[pa.Table], Any]] = {
    "arrow": lambda whole: whole,
    "record batch": lambda whole: whole.combine_chunks().to_batches()[0],
    "pandas": lambda whole: whole.to_pandas(),
    "pandas with types of Arrow": lambda whole: whole.to_pandas(types_mapper=pd.ArrowDtype),
    "polars": pl.from_arrow,
    "hugging face": hugging_face,
    "dicts": lambda whole: whole.to_pylist(),
    "columns": lambda whole: whole.to_pydict(),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_frames(kind: str) -> None:
    rows = df.read_table(FRAMES[kind](WHOLE), url="URL", columns=["TEXT", "WIDTH"])
    assert list(rows) == ROWS
    everything = df.read_table(FRAMES[kind](WHOLE), rows="dict")
    assert everything[1] == {"URL": URLS[1], "WIDTH": 1, "TEXT": TEXTS[1]}


def test_a_part_of_a_hugging_face_set() -> None:
    part = hugging_face(WHOLE).select([5, 3, 8])
    assert list(df.read_table(part, url="URL", columns=[])) == [[URLS[i]] for i in (5, 3, 8)]


@pytest.mark.parametrize("kind", ["arrow", "pandas", "polars", "columns"])
def test_frames_as_columns(kind: str) -> None:
    rows = df.Columns(FRAMES[kind](WHOLE))
    assert list(rows) == [[width, url, text] for url, text, width in ROWS]


def test_a_list_of_urls() -> None:
    assert list(df.read_table(URLS)) == [[url] for url in URLS]


# -- large ones -------------------------------------------------------------------------------


class Reading:
    """A store of groups that counts what is read."""

    def __init__(self, sizes: list[int], name: str = "a") -> None:
        self.sizes, self.read = sizes, []
        self.store = stored.TableStore(sizes, ["x", "y"], self._read, (name, str(sizes)))
        self.rows = df.Columns(*(stored.StoredColumn(self.store, name) for name in "xy"))

    def _read(self, group: int) -> pa.Table:
        self.read.append(group)
        first = sum(self.sizes[:group])
        numbers = list(range(first, first + self.sizes[group]))
        texts = [str(number) for number in numbers]
        return pa.table({"x": pa.array(numbers, pa.int64()), "y": pa.array(texts, pa.string())})


def test_in_order_each_group_is_read_once() -> None:
    reading = Reading([1000] * 30)
    assert list(reading.rows) == [[i, str(i)] for i in range(30_000)]
    assert reading.read == list(range(30))
    assert list(reading.rows[100:200]) == [[i, str(i)] for i in range(100, 200)]


def test_small_groups_in_order_are_read_once(cache: Path) -> None:
    reading = Reading([10] * 300)
    assert list(reading.rows) == [[i, str(i)] for i in range(3000)]
    assert reading.read == list(range(300)) and not cache.exists()


def test_at_random_they_are_copied_once(cache: Path) -> None:
    reading = Reading([1000] * 30)
    order = random.Random(1).sample(range(30_000), 30_000)
    picked = [row for at in range(0, 30_000, 500) for row in
              reading.rows.take(np.array(order[at : at + 500]))]  # fmt: skip
    assert picked == [[i, str(i)] for i in order]
    assert reading.read == list(range(30))
    (path,) = (cache / "tables").iterdir()
    again = Reading([1000] * 30)
    assert again.rows.take(np.array(order[:50])) == picked[:50]
    assert again.read == [], "the copy is there"
    one_by_one = Reading([1000] * 30, "b")
    assert [one_by_one.rows[i] for i in order[:99]] == picked[:99]
    assert len(one_by_one.read) < 50
    other = Reading([1000] * 31)
    assert other.rows.take(np.array(order[:50])) == picked[:50]
    assert len(other.read) == 31 and not path.exists(), "what has changed is copied anew"


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.data())
def test_any_places_of_any_groups(sizes: list[int], data: Any) -> None:
    reading = Reading(sizes)
    total = sum(sizes)
    places = st.lists(st.integers(0, total - 1), max_size=20) if total else st.just([])
    for _ in range(3):
        indices = data.draw(places)
        assert reading.rows.take(np.array(indices, np.int64)) == [[i, str(i)] for i in indices]


def test_shuffled_exactly_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_files, "SMALL_BYTES", 0)
    write(WHOLE, tmp_path / "a.parquet")

    def flow() -> Any:
        rows = df.read_table(tmp_path / "a.parquet", url="URL", columns=["WIDTH"])
        return df.DataFromList(rows, shuffle=True).seed(3)

    whole = list(flow())
    assert sorted(url for url, _ in whole) == sorted(URLS)
    in_memory = [[url, width] for url, width in zip(URLS, WIDTHS, strict=True)]
    assert whole == list(df.DataFromList(in_memory, shuffle=True).seed(3))
    first = flow()
    iterator = iter(first)
    begun = [next(iterator) for _ in range(11)]
    state = first.state_dict()
    second = flow()
    second.load_state_dict(state)
    assert begun + list(second) == whole


def test_they_can_be_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_files, "SMALL_BYTES", 0)
    write(WHOLE, tmp_path / "a.parquet")
    rows = pickle.loads(pickle.dumps(df.read_table(tmp_path / "a.parquet", "URL", ["WIDTH"])))
    assert [url for url, _ in rows] == URLS


# -- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_as", "options", "text"),
    [
        (
            WHOLE,
            {"url": "url"},
            "has no column 'url'; it has 'WIDTH', 'URL', 'TEXT', such as 'URL'",
        ),
        (WHOLE, {"columns": ["TXT"]}, "columns: the table has no column 'TXT'.*such as 'TEXT'"),
        (WHOLE, {"columns": "TEXT"}, r"must be a list of names, \['TEXT'\]"),
        (WHOLE, {"url": "WIDTH"}, "'WIDTH' of the table has 1, of type int"),
        (WHOLE, {"rows": "tuple"}, 'rows=\'tuple\' must be "list" or "dict"'),
        (WHOLE.rename_columns(["a", "b", "c"]), {}, "which column of the table has the addresses"),
        (WHOLE[:0], {}, "the table has no rows"),
        ([], {}, r"table=\[\] is of type list: a path"),
        (3, {}, "table=3 is of type int"),
        ([["http://h/1", 3]], {}, "set datapoints to it"),
        (pl.LazyFrame({"url": URLS}), {}, "table.collect()"),
        ("a.xlsx", {}, "is not there"),
    ],
)
def test_mistakes(given_as: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises((df.ConfigError, df.MissingData), match=text):
        df.read_table(given_as, **options)


def test_mistakes_with_files(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    (tmp_path / "a.parquet").write_bytes(b"<!doctype html>")
    write(WHOLE, tmp_path / "b.jsonl")
    for path, text in [
        ("a.xlsx", "what is in it is told by its name, which must end in one of .parquet"),
        ("a.parquet", "cannot be read as what its name says"),
        ("no.parquet", "is not there"),
        ("no-*.parquet", "is not there"),
        ("", "is a folder: name its files"),
        ("{a.parquet,b.jsonl}", "all files in the same"),
    ]:
        with pytest.raises((df.ConfigError, df.MissingData), match=text):
            df.read_table(str(tmp_path / path))
    with pytest.raises(df.ConfigError, match="names, delimiter and quoted are for CSV and TSV"):
        df.read_table(tmp_path / "b.jsonl", names=["url"])


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow.dataset", None)
    write(WHOLE, tmp_path / "a.parquet")
    with pytest.raises(df.MissingExtra, match="pip install pyarrow"):
        df.read_table(tmp_path / "a.parquet")


# -- as people have them ----------------------------------------------------------------------


def texts(tmp_path: Path, **files: str | bytes) -> list[Path]:
    paths = []
    for name, text in files.items():
        path = tmp_path / name.replace("_", ".")
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        paths.append(path)
    return paths


def test_tsv_is_not_quoted(tmp_path: Path) -> None:
    """As of Conceptual Captions, for one."""
    (path,) = texts(tmp_path, a_tsv='http://h/1\t"open quote\nhttp://h/2\t"best" cat\n')
    rows = df.read_table(path, names=["url", "caption"])
    assert list(rows) == [["http://h/1", '"open quote'], ["http://h/2", '"best" cat']]


def test_a_quote_that_was_left_open_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = "".join(f"http://h/{i},caption {i}\n" for i in range(5000))
    (path,) = texts(tmp_path, a_csv=f'url,caption\nhttp://h/x,"open\n{lines}')
    assert len(df.read_table(path)) == 1
    assert "a double quote was left open" in caplog.text
    assert len(df.read_table(path, quoted=False)) == 5001


def test_other_delimiters(tmp_path: Path) -> None:
    (path,) = texts(tmp_path, a_csv="url;n\nhttp://h/1;2\n")
    with pytest.raises(df.ConfigError, match="give delimiter=';'"):
        df.read_table(path)
    assert list(df.read_table(path, delimiter=";")) == [["http://h/1", 2]]


def test_types_are_those_of_the_whole_column(tmp_path: Path) -> None:
    lines = [f"http://h/{i},{i},{i},{i % 2 == 0},,{i}" for i in range(300_000)]
    lines[-1] = "http://h/x,1.5,NA,True,7,abc"
    (path,) = texts(tmp_path, a_csv="url,float,int,bool,late,text\n" + "\n".join(lines))
    rows = df.read_table(path)
    assert rows[3] == ["http://h/3", 3.0, 3, False, None, "3"]
    assert rows[-1] == ["http://h/x", 1.5, None, True, 7, "abc"]
    assert type(rows[3][1]) is float and type(rows[3][2]) is int


def test_text_that_is_no_utf8(tmp_path: Path) -> None:
    body = "url,t\nhttp://h/1,café\nhttp://h/2,".encode() + "café".encode("latin-1") + b"\n"
    (path,) = texts(tmp_path, a_csv=body)
    assert list(df.read_table(path)) == [["http://h/1", "café"], ["http://h/2", "café"]]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "arrow"])
def test_files_with_different_columns(tmp_path: Path, kind: str, order: int) -> None:
    first = pa.table({"url": ["http://h/1"], "n": [1]})
    second = pa.table({"m": [2.5], "url": ["http://h/2"]})
    for name, part in (("1", first), ("2", second)):
        path = tmp_path / f"{name}.{kind}"
        if kind == "csv":
            path.write_text(part.to_pandas().to_csv(index=False))
        else:
            write(part, path)
    paths = [tmp_path / f"{i}.{kind}" for i in (1, 2)][::order]
    if kind in ("csv", "jsonl"):
        paths.insert(1, tmp_path / f"empty.{kind}")
        paths[1].touch()
    rows = df.read_table(paths, rows="dict")
    expected = [
        {"url": "http://h/1", "n": 1, "m": None},
        {"url": "http://h/2", "n": None, "m": 2.5},
    ]
    assert list(rows) == expected[::order]


def test_parquet_of_different_types(tmp_path: Path) -> None:
    parts = [pa.table({"url": ["a"], "n": pa.array([n], kind)}) for n, kind in (
        (1, pa.int32()), (2.5, pa.float64()), (None, pa.null()))]  # fmt: skip
    for i, part in enumerate(parts):
        write(part, tmp_path / f"{i}.parquet")
    assert list(df.read_table(tmp_path / "*.parquet")) == [["a", 1.0], ["a", 2.5], ["a", None]]


def test_json_of_many_kinds(tmp_path: Path) -> None:
    (path,) = texts(
        tmp_path,
        a_jsonl='\ufeff{"url": "http://h/1", "n": null}\n\n{"url": "http://h/2", "n": 2.5}\n'
        + '{"url": "x", "n": 1, "tags": ["a"]}\n' * 3000
        + '{"url": null, "late": {"a": 1}}',
    )
    rows = df.read_table(path)
    assert rows[0] == ["http://h/1", None, None, None] and rows[1][1] == 2.5
    assert rows[2] == ["x", 1, ["a"], None] and rows[-1] == [None, None, None, {"a": 1}]
    (path,) = texts(tmp_path, b_json='[{"url": "http://h/1"},\n {"url": "http://h/2"}]')
    assert list(df.read_table(path)) == [["http://h/1"], ["http://h/2"]]
    (path,) = texts(tmp_path, c_jsonl='{"url": "x"}\n{"url": \n')
    with pytest.raises(df.ConfigError, match=r"c\.jsonl:2: this is no JSON"):
        df.read_table(path)
    (path,) = texts(tmp_path, d_jsonl='"x"\n')
    with pytest.raises(df.ConfigError, match=r"d\.jsonl:1: 'x' is no object"):
        df.read_table(path)


def test_dictionaries_of_each_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_files, "SMALL_BYTES", 0)
    kinds = [f"kind {i // 10}" for i in range(400)]
    whole = pa.table({"url": [str(i) for i in range(400)], "kind": kinds})
    batches = [
        pa.table({"url": part["url"], "kind": part["kind"].dictionary_encode()})
        for part in (whole[i : i + 10] for i in range(0, 400, 10))
    ]
    pyarrow.parquet.write_table(pa.concat_tables(batches), tmp_path / "a.parquet", row_group_size=7)
    order = random.Random(0).sample(range(400), 400)
    rows = df.read_table(tmp_path / "a.parquet")
    assert rows.take(np.array(order)) == [[str(i), f"kind {i // 10}"] for i in order]
    assert list(df.read_table(batches[0])) == [[str(i), "kind 0"] for i in range(10)]


def test_streams_of_arrow(tmp_path: Path) -> None:
    with pa.ipc.new_stream(tmp_path / "a.arrow", WHOLE.schema) as writer:
        writer.write_table(WHOLE)
    assert [url for url, *_ in df.read_table(tmp_path / "a.arrow", "URL")] == URLS


def test_columns_that_are_named_twice(tmp_path: Path) -> None:
    assert df.read_table(WHOLE, "URL", ["URL", "WIDTH"])[1] == [URLS[1], 1]
    with pytest.raises(df.ConfigError, match="columns has 'WIDTH' more than once"):
        df.read_table(WHOLE, "URL", ["WIDTH", "WIDTH"])
    twice = pa.table([pa.array(URLS), pa.array(WIDTHS), pa.array(WIDTHS)], names=["url", "n", "n"])
    (path,) = texts(tmp_path, a_csv="url,n,n\nhttp://h/1,2,3\n")
    frame = pd.DataFrame(list(zip(URLS, WIDTHS, WIDTHS, strict=True)), columns=["url", "n", "n"])
    for given_as in (twice, frame, path):
        with pytest.raises(df.ConfigError, match="has 2 columns 'n'"):
            df.read_table(given_as)
        assert len(df.read_table(given_as, columns=[])) in (SIZE, 1)


@pytest.mark.parametrize("kind", [pd.Series, lambda urls: pl.Series("u", urls), tuple])
def test_series_of_urls(kind: Any) -> None:
    assert list(df.read_table(kind(URLS))) == [[url] for url in URLS]


def test_further_mistakes() -> None:
    datasets = pytest.importorskip("datasets")
    one = datasets.Dataset(WHOLE)
    for given_as, text in (
        (datasets.DatasetDict(train=one), r"give one of them, table\['train'\]"),
        (one.to_iterable_dataset(), "which is read from its beginning only"),
    ):
        with pytest.raises(df.ConfigError, match=text):
            df.read_table(given_as)


def test_objects_of_polars() -> None:
    frame = pl.DataFrame({"url": ["http://h"], "o": pl.Series([{1}], dtype=pl.Object)})
    assert list(df.read_table(frame)) == [["http://h", {1}]]


def test_lists_of_different_things() -> None:
    with pytest.raises(df.ConfigError, match=r"table\[1\] is 'http://h/2'"):
        df.read_table([{"url": "http://h/1"}, "http://h/2"])
    assert df.read_table([{1: "http://h/1"}, None], rows="dict")[1] == {"1": None}
