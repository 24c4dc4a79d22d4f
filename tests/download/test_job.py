"""A list becomes shards: each row once, whatever happens on the way."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from servers import Server, ok

import dataflow as df
from dataflow.download import Settings, download_images
from dataflow.errors import ConfigError, MissingData

from .conftest import GOOD, MISSING, PAGE, ROWS, body_of

EACH = 12  # rows in a shard


def statuses(out: Path) -> list[dict[str, Any]]:
    """The rows of all shards' tables, in the order of the shards."""
    tables = [pq.read_table(path) for path in sorted(out.glob("*.parquet"))]
    return [row for table in tables for row in table.to_pylist()]


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]


def test_every_row_is_accounted_for(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = Settings(shard_size=EACH, caption="TEXT", hash="sha256")
    summary = download_images(table, out, "URL", settings=settings, threads=8, max_trials=1)
    assert (summary.rows, summary.done, summary.images) == (ROWS, ROWS, len(GOOD))
    assert summary.shards == 5 and summary.bytes == sum(len(body_of(n)) for n in GOOD)
    assert summary.reasons == Counter(http_404=len(MISSING), not_image=1)
    rows = statuses(out)
    assert sorted(row["key"] for row in rows) == [f"{number:09d}" for number in range(ROWS)]
    for row in rows:
        number = int(row["key"])
        assert row["id"] == 1000 + number and row["tags"] == [number, number + 1]
        assert row["url"].endswith(f"/{number}.jpg")
        assert row["caption"] == (None if number == 5 else f"caption {number} ☕")
        if number in GOOD:
            assert row["status"] == "success" and row["reason"] is None
            assert (row["width"], row["height"]) == (80 + number, 60 + number)
            assert row["sha256"] == hashlib.sha256(body_of(number)).hexdigest()
        elif number == PAGE:
            assert (row["status"], row["reason"]) == ("failed_to_resize", "not_image")
            assert "HTML" in row["error_message"]
        else:
            assert (row["status"], row["reason"]) == ("failed_to_download", "http_404")
            assert row["width"] is None and row["sha256"] is None
    names = [path.name for path in sorted(out.iterdir()) if not path.name.startswith(".")]
    shards = [f"{number:05d}" for number in range(5)]
    endings = (".parquet", ".tar", "_stats.json")
    assert names == [f"{shard}{end}" for shard in shards for end in endings] + ["download.json"]
    counts = [json.loads((out / f"{shard}_stats.json").read_text()) for shard in shards]
    assert sum(one["successes"] for one in counts) == len(GOOD)
    assert [one["count"] for one in counts] == [EACH] * 4 + [2]


def test_what_a_web_dataset_reads(table: Path, tmp_path: Path) -> None:
    settings = Settings(shard_size=EACH, caption="TEXT")
    download_images(table, tmp_path / "out", "URL", ["TEXT"], settings=settings, max_trials=1)
    samples = list(df.WebDataset(str(tmp_path / "out" / "*.tar")))
    assert sorted(int(sample["__key__"]) for sample in samples) == GOOD
    for sample in samples:
        number = int(sample["__key__"])
        assert sample["jpg"].shape == (60 + number, 80 + number, 3)
        assert sample.get("txt") == (None if number == 5 else f"caption {number} ☕")
        assert sample["json"]["key"] == sample["__key__"]
        assert sample["json"]["original_width"] == 80 + number
        assert "id" not in sample["json"]


def test_tables_with_images(table: Path, tmp_path: Path) -> None:
    settings = Settings("parquet", shard_size=EACH)
    download_images(table, tmp_path / "out", "URL", settings=settings, max_trials=1)
    rows = statuses(tmp_path / "out")
    assert len(rows) == ROWS
    for row in rows:
        number = int(row["key"])
        assert row["image"] == (body_of(number) if number in GOOD else None)


def test_folders_of_files(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = Settings("folder", shard_size=EACH, caption="TEXT")
    download_images(table, out, "URL", settings=settings, max_trials=1)
    files = {path.name: path for path in out.glob("[0-9]*/*")}
    assert len(files) == 3 * len(GOOD) - 1  # one has no caption
    for number in GOOD:
        assert files[f"{number:09d}.jpg"].read_bytes() == body_of(number)
    assert not [*out.glob(".*.draft")]


@pytest.mark.parametrize("resize", ["no", "shortest"])
def test_the_same_whoever_does_it(table: Path, tmp_path: Path, resize: Any) -> None:
    settings = Settings(shard_size=EACH, ordered=True, resize=resize, size=32)
    ways: dict[str, Any] = {
        "threads": {"threads": 8},
        "one": {"threads": 1},
        "processes": {
            "threads": 4,
            "runner": partial(df.PrefetchDataZMQ, num_proc=2, ordered=True),
        },
        "pool": {
            "threads": 4,
            "runner": partial(
                df.PrefetchDataRemote, address="tcp://127.0.0.1:*", num_proc=2, ordered=True
            ),
        },
    }
    found = {}
    for name, options in ways.items():
        out = tmp_path / name
        download_images(table, out, "URL", settings=settings, max_trials=1, **options)
        found[name] = [members(path) for path in sorted(out.glob("*.tar"))]
        keys = [row["key"] for row in statuses(out)]
        assert keys == sorted(keys) and len(keys) == ROWS
    assert found["threads"] == found["one"] == found["processes"] == found["pool"]
    assert sum(len(shard) for shard in found["one"]) == 2 * len(GOOD)


def test_a_shuffled_list_is_in_the_order_of_its_seed(table: Path, tmp_path: Path) -> None:
    keys = []
    for name in ("a", "b"):
        settings = Settings(shard_size=EACH, ordered=True, seed=3)
        download_images(table, tmp_path / name, "URL", settings=settings, max_trials=1)
        keys.append([row["key"] for row in statuses(tmp_path / name)])
    assert keys[0] == keys[1] != sorted(keys[0])


def test_what_is_finished_is_not_touched_again(table: Path, tmp_path: Path, server: Server) -> None:
    settings = Settings(shard_size=EACH)
    first = download_images(table, tmp_path / "out", "URL", settings=settings, max_trials=1)
    asked = server.requests.total()
    again = download_images(table, tmp_path / "out", "URL", settings=settings, max_trials=1)
    assert server.requests.total() == asked
    assert (again.images, again.reasons, again.new) == (first.images, first.reasons, 0)


PROGRAM = """
import sys, time
from pathlib import Path
import dataflow as df
from dataflow.download import Settings, download_images

table, out, runner = sys.argv[1:]
put = (lambda ds: df.PrefetchDataZMQ(ds, 2)) if runner == "processes" else None
settings = Settings("webdataset", shard_size=7, resize="shortest", size=24)
print("begun", flush=True)
download_images(table, out, "URL", settings=settings, threads=4, runner=put, max_trials=1)
"""


@pytest.mark.parametrize("runner", ["threads", "processes"])
def test_killed_again_and_again(server: Server, table: Path, tmp_path: Path, runner: str) -> None:
    """Whole shards stay as they are, and at the end every row is in one of them."""
    out = tmp_path / "out"
    words = [sys.executable, "-c", PROGRAM, str(table), str(out), runner]
    known: dict[str, bytes] = {}
    for shards in (1, 3, 5):
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            if len([*out.glob("[0-9]*.parquet")]) >= shards:
                break
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        done = json.loads((out / "download.json").read_text())["summary"]["shards"]
        assert done >= shards - 1
        for name, data in known.items():
            assert (out / name).read_bytes() == data
        for path in out.glob("[0-9]*.*"):
            if int(path.name[:5]) < done:
                known[path.name] = path.read_bytes()
    subprocess.run(words, check=True, timeout=60, stderr=subprocess.DEVNULL)
    for name, data in known.items():
        assert (out / name).read_bytes() == data
    rows = statuses(out)
    assert sorted(int(row["key"]) for row in rows) == list(range(ROWS))
    written = [key for path in sorted(out.glob("*.tar")) for key in members(path)]
    assert sorted(written) == sorted(f"{n:09d}.{end}" for n in GOOD for end in ("jpg", "json"))
    assert not [path for path in out.iterdir() if path.name.endswith(".draft")]


def test_another_list_or_other_settings_are_refused(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    download_images(table, out, "URL", settings=Settings(shard_size=EACH), max_trials=1)
    with pytest.raises(ConfigError, match="shard_size is 9 and was 12; quality is 90 and was 95"):
        download_images(table, out, "URL", settings=Settings(shard_size=9, quality=90))
    with pytest.raises(ConfigError, match="the list has other columns"):
        download_images(table, out, "URL", ["id"], settings=Settings(shard_size=EACH))
    shorter = pq.read_table(table).slice(0, 40)
    with pytest.raises(ConfigError, match="the list has another number of rows"):
        download_images(shorter, out, "URL", settings=Settings(shard_size=EACH))
    other = pq.read_table(table).to_pylist()
    other[0]["URL"] = "http://127.0.0.1:1/x.jpg"
    with pytest.raises(ConfigError, match="the list has other rows"):
        download_images(pa.Table.from_pylist(other), out, "URL", settings=Settings(shard_size=EACH))


def test_a_folder_with_other_shards_is_refused(table: Path, tmp_path: Path) -> None:
    (tmp_path / "00000.parquet").write_bytes(b"somebody else's")
    with pytest.raises(ConfigError, match="give an empty folder"):
        download_images(table, tmp_path, "URL")
    assert (tmp_path / "00000.parquet").read_bytes() == b"somebody else's"


def test_two_at_once_are_refused(table: Path, tmp_path: Path, server: Server) -> None:
    refused: list[BaseException] = []

    def twice(ds: Any) -> Any:
        try:
            download_images(table, tmp_path / "out", "URL")
        except ConfigError as error:
            refused.append(error)
        return ds

    download_images(table, tmp_path / "out", "URL", runner=twice, max_trials=1)
    assert "another download is writing there" in str(refused[0])


@pytest.mark.parametrize("format", ["webdataset", "parquet"])
def test_columns_that_are_called_as_ours_are_kept(
    server: Server, tmp_path: Path, format: Any
) -> None:
    row = {"url": server.url("/1.jpg"), "width": 9, "status": "x", "key": 1.5, "sha256": "0"}
    settings = Settings(format, hash="sha256")
    download_images([{**row, "image": "kept"}], tmp_path / "out", settings=settings)
    (row,) = statuses(tmp_path / "out")
    assert row["list_image"] == "kept"
    assert format == "webdataset" or row["image"] == body_of(1)
    download_images([{"image": server.url("/1.jpg")}], tmp_path / "other", "image")
    assert statuses(tmp_path / "other")[0]["url"] == server.url("/1.jpg")
    row = statuses(tmp_path / "out")[0]
    assert (row["width"], row["list_width"], row["list_status"]) == (81, 9, "x")
    assert (row["list_key"], row["list_sha256"], row["key"]) == (1.5, "0", "000000000")


def test_types_hold_in_shards_where_all_is_null(server: Server, tmp_path: Path) -> None:
    rows = [{"url": server.url("/1.jpg"), "n": n, "t": None} for n in (1, None, 2, None, None)]
    download_images(rows, tmp_path / "out", settings=Settings(shard_size=1, ordered=True))
    schemas = {pq.read_schema(path).remove_metadata() for path in (tmp_path / "out").glob("*.pa*")}
    (schema,) = schemas
    assert schema.field("n").type == pa.int64() and schema.field("t").type == pa.string()
    assert [row["n"] for row in statuses(tmp_path / "out")] == [1, None, 2, None, None]


def test_no_value_is_cut_to_the_type_of_the_first(server: Server, tmp_path: Path) -> None:
    url = server.url("/1.jpg")
    rows = [{"url": url, "x": n, "n": None, "t": n} for n in range(1000)]
    rows += [{"url": url, "x": n + 0.5, "n": n, "t": str(n)} for n in range(1000, 1100)]
    settings = Settings("parquet", shard_size=550, ordered=True)
    download_images(rows, tmp_path / "out", settings=settings, threads=8)
    found = statuses(tmp_path / "out")
    assert [row["x"] for row in found] == [row["x"] for row in rows]
    assert [row["n"] for row in found] == [row["n"] for row in rows]
    assert [str(row["t"]) for row in found] == [str(row["t"]) for row in rows]


def test_what_is_no_number(server: Server, tmp_path: Path) -> None:
    nan = float("nan")
    rows = [{"url": server.url("/1.jpg"), "t": one, "f": [one]} for one in (1.5, nan, None)]
    settings = Settings("folder", caption="t", ordered=True)
    download_images(rows, tmp_path / "out", settings=settings)
    files = {path.name: path.read_text() for path in tmp_path.rglob("*.[tj][xs]*")}
    assert files["000000000.txt"] == "1.5" and "000000001.txt" not in files
    assert json.loads(files["000000001.json"], parse_constant=int)["caption"] is None
    assert json.loads(files["000000001.json"])["f"] == [None]


def test_a_place_that_is_no_folder(table: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file' cannot be a folder for shards: File exists"):
        download_images(table, tmp_path / "file", "URL")
    with pytest.raises(ConfigError, match="caption='URL' is the column of addresses"):
        download_images(table, tmp_path / "out", "URL", settings=Settings(caption="URL"))


def test_values_that_fit_no_type(server: Server, tmp_path: Path) -> None:
    odd: list[Any] = [1, "two", [3], {"four": 4}, 2**70]
    rows = [{"url": server.url(f"/{n}.jpg"), "n": value} for n, value in enumerate(odd, 10)]
    download_images(rows, tmp_path / "out", settings=Settings(ordered=True))
    assert [row["n"] for row in statuses(tmp_path / "out")] == [str(value) for value in odd]


def test_the_caption_is_of_the_column_that_was_asked_for(server: Server, tmp_path: Path) -> None:
    row = {"url": server.url("/1.jpg"), "caption": "another", "image": "a cat"}
    download_images([row], tmp_path / "out", settings=Settings(caption="image"))
    (found,) = statuses(tmp_path / "out")
    assert (found["caption"], found["list_caption"]) == ("a cat", "another")
    assert members(tmp_path / "out" / "00000.tar")["000000000.txt"] == b"a cat"


def test_nothing_but_failures(tmp_path: Path, server: Server) -> None:
    rows = [server.url(f"/none-{number}.jpg") for number in range(120)]
    summary = download_images(rows, tmp_path / "out", max_trials=1)
    assert summary.images == 0 and summary.reasons == Counter(http_404=120)
    assert len(statuses(tmp_path / "out")) == 120


def test_transparent_images_on_white(tmp_path: Path, server: Server) -> None:
    pixels = np.zeros((20, 30, 4), np.uint8)
    pixels[:, 15:] = (10, 20, 30, 255)
    server.routes["/t.png"] = ok(cv2.imencode(".png", pixels)[1].tobytes(), "image/png")
    settings = Settings(resize="no", white=True, encoding="png")
    download_images([server.url("/t.png")], tmp_path / "out", settings=settings)
    (sample,) = df.WebDataset(str(tmp_path / "out" / "00000.tar"))
    assert (sample["png"][:, :15] == 255).all()
    assert (sample["png"][:, 15:] == (10, 20, 30)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "zip"}, "format='zip' must be one of"),
        ({"resize": "smaller"}, "resize='smaller' must be one of"),
        ({"size": 0}, "size=0 must be a whole number"),
        ({"quality": 101}, "quality=101"),
        ({"shard_size": 1.5}, "shard_size=1.5"),
        ({"hash": "sha0"}, "hash='sha0' must be one of"),
        ({"encoding": "gif"}, "encoding='gif'"),
    ],
)
def test_settings_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings(**options)


def test_lists_that_are_none(table: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"none\.parquet is not there"):
        download_images(tmp_path / "none.parquet", tmp_path / "out")
    with pytest.raises(ConfigError, match="caption='CAPTION': the list has"):
        download_images(table, tmp_path / "out", "URL", settings=Settings(caption="CAPTION"))
    assert not (tmp_path / "out").exists() or not [*(tmp_path / "out").glob("0*")]
