"""`NetworkImages` over tables, and with requests as servers want them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from servers import JPEG, Server, ok, status

import dataflow as df
from dataflow.dataset import NetworkImages
from dataflow.http import FetchPolicy

from .conftest import SIZE, index_of


@pytest.fixture
def table(base: str, tmp_path: Path) -> Path:
    whole = pa.table(
        {
            "WIDTH": list(range(SIZE)),
            "URL": [f"{base}/{i}.jpg" for i in range(SIZE)],
            "TEXT": [f"caption {i}" for i in range(SIZE)],
        }
    )
    pyarrow.parquet.write_table(whole, tmp_path / "list.parquet", row_group_size=5)
    return tmp_path / "list.parquet"


def test_from_a_file_to_batches(table: Path) -> None:
    source = NetworkImages(table=table, url="URL", columns=["WIDTH", "TEXT"], shuffle=True)
    ds: Any = source.parallel(4)
    ds = df.AugmentImageComponent(ds, [df.imgaug.Resize((16, 16))])
    ds = df.PrefetchDataZMQ(ds, 2)
    seen: list[int] = []
    with df.BatchData(ds, 6) as flow:
        for images, widths, texts in flow:
            assert images.shape == (6, 16, 16, 3) and widths.dtype == np.int64
            assert [f"caption {width}" for width in widths] == list(texts)
            seen += widths.tolist()
    assert sorted(seen) == list(range(SIZE))


@pytest.mark.parametrize("runner", ["loop", "threads", "processes"])
def test_rows_as_dicts(table: Path, runner: str) -> None:
    source = NetworkImages(table=str(table), url="URL", columns=["WIDTH"], rows="dict")
    flow: Any = source if runner == "loop" else source.parallel(4)
    flow = df.PrefetchDataZMQ(flow, 1) if runner == "processes" else flow
    with flow:
        datapoints = list(flow)
    assert sorted(d["WIDTH"] for d in datapoints) == list(range(SIZE))
    for datapoint in datapoints:
        assert set(datapoint) == {"URL", "WIDTH", "image"}
        assert index_of(datapoint["image"]) == datapoint["WIDTH"]


def test_failed_dicts_are_told_and_tried_again(server: Server) -> None:
    server.routes["/a.jpg"] = ok(JPEG)
    rows = [{"url": server.url("/a.jpg"), "n": 1}, {"url": server.url("/b.jpg"), "n": 2}]
    with NetworkImages(table=rows, rows="dict") as ds:
        assert [datapoint["n"] for datapoint in ds] == [1]
        (failed,) = ds.errors()
        assert (failed.url, failed.reason, failed.datapoint) == (
            rows[1]["url"],
            "http_404",
            rows[1],
        )
        server.routes["/b.jpg"] = ok(JPEG)
        with ds.retry_failed() as again:
            assert [datapoint["n"] for datapoint in again] == [2]


def test_an_address_that_is_missing_costs_itself(table: Path, base: str) -> None:
    rows = [{"url": None, "n": 0}, {"url": f"{base}/1.jpg", "n": 1}]
    with NetworkImages(table=rows) as ds:
        assert [n for _, n in ds] == [1]
        (failed,) = ds.errors()
    assert failed.reason == "bad_url" and "there is none" in failed.message


def test_columns_that_are_taken_for_datapoints(base: str) -> None:
    urls = [f"{base}/{i}.jpg" for i in range(4)]
    for wrong in ((urls, [1, 2, 3, 4]), [urls, [1, 2, 3, 4]]):
        ds = NetworkImages()
        ds.datapoints = wrong
        with pytest.raises(df.ConfigError, match=r"has 4 addresses.*df\.Columns\(urls, labels\)"):
            len(ds)
    ds = NetworkImages()
    ds.datapoints = [urls[:2], urls[2:]]
    assert len(ds) == 2, "pairs are pairs"


def test_names_without_a_table() -> None:
    with pytest.raises(df.ConfigError, match=r"url='URL', columns=None.*of a table="):
        NetworkImages(url="URL")


# -- requests ---------------------------------------------------------------------------------


def test_what_is_sent(server: Server) -> None:
    server.routes["/a.jpg"] = ok(JPEG)
    policy = FetchPolicy(headers={"X-A": "policy"}, contact="policy", max_redirects=2)
    options: dict[str, Any] = {"headers": {"X-A": "own"}, "auth": ("me", "pw"), "timeout": 9.0}
    for ds, header, agent in (
        (NetworkImages(fetch_policy=policy), "policy", "(+policy)"),
        (NetworkImages(fetch_policy=policy, **options), "own", "(+policy)"),
        (NetworkImages(user_agent="x/1", **options), "own", "x/1"),
    ):
        ds.datapoints = [[server.url("/a.jpg"), 0]]
        with ds:
            assert len(list(ds)) == 1
        sent = server.seen[-1].headers
        assert sent["x-a"] == header and sent["user-agent"].endswith(agent)
        assert ("authorization" in sent) == (header == "own")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"fetch_policy": {"timeout": 3}}, "fetch_policy={'timeout': 3} is of type dict"),
        ({"auth": "me"}, "auth is not a pair"),
        ({"max_per_host": 0}, "max_per_host=0"),
        ({"verify": "md5"}, r"verify='md5' must be \(component, algorithm\)"),
        ({"verify": (1, "md6")}, "the algorithms: .*md5"),
        ({"verify": (7, "md5")}, "has no component 7"),
        ({"verify": ("md5", "md5")}, "has no component 'md5'"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], text: str, points: Any) -> None:
    ds = NetworkImages(**options)
    ds.datapoints = points
    with pytest.raises(df.ConfigError, match=text):
        list(ds)


def test_opt_outs(server: Server) -> None:
    server.routes["/a.jpg"] = ok(JPEG)
    server.routes["/b.jpg"] = status(200, {"X-Robots-Tag": "noai"}, JPEG)
    ds = NetworkImages(respect_opt_outs=True)
    ds.datapoints = [[server.url("/a.jpg"), 0], [server.url("/b.jpg"), 1]]
    with ds:
        assert [label for _, label in ds] == [0]
        assert [error.reason for error in ds.errors()] == ["opted_out"]


def test_opt_outs_hold_for_what_others_kept(server: Server, tmp_path: Path) -> None:
    server.routes["/a.jpg"] = status(200, {"X-Robots-Tag": "noai"}, JPEG)
    server.routes["/b.jpg"] = ok(JPEG)
    found = []
    for respect in (False, True):
        ds = NetworkImages(respect_opt_outs=respect, cache_dir=tmp_path)
        ds.datapoints = [[server.url(f"/{name}.jpg"), name] for name in "ab"]
        with ds:
            found.append([name for _, name in ds])
    assert found == [["a", "b"], ["b"]]
    assert server.requests["/b.jpg"] == 1


def test_the_pixels_of_dicts_have_a_name_of_their_own(base: str) -> None:
    rows = [{"url": f"{base}/1.jpg", "image": "a name"}]
    with pytest.raises(df.ConfigError, match=r"has a column 'image'.*columns=\["):
        NetworkImages(table=rows, rows="dict")
    with NetworkImages(table=rows) as ds:
        assert [name for _, name in ds] == ["a name"]


def test_a_column_to_verify_that_is_not_there(base: str) -> None:
    table = [{"url": f"{base}/1.jpg", "sha": ""}]
    source = NetworkImages(table=table, verify=("md5", "md5"))
    with source, pytest.raises(df.ConfigError, match="no such column, but 'url', 'sha'"):
        list(source)


@pytest.mark.parametrize("rows", ["list", "dict"])
def test_hashes(server: Server, tmp_path: Path, rows: Any) -> None:
    names = ["0.jpg", "1.jpg", "2.jpg", "3 ä.jpg#there"]  # not all are asked for as they are
    paths = [f"/{i}.jpg" for i in range(3)] + ["/3%20%C3%A4.jpg"]
    server.routes.update({path: ok(JPEG) for path in paths})
    digest = hashlib.sha1(JPEG).hexdigest()
    sums = [digest, digest.upper(), None, "0" * 40]
    urls = [server.url(f"/{name}") for name in names]
    table = [{"url": url, "sha1": one} for url, one in zip(urls, sums, strict=True)]
    source = NetworkImages(
        table=table, rows=rows, verify=("sha1", "sha1"), cache_dir=tmp_path / "cache"
    )
    with source as ds:
        for _ in range(2):
            assert len(list(ds)) == 3
        assert {error.reason for error in ds.errors()} == {"hash"}
        assert digest in ds.errors()[0].message
    assert server.requests[paths[3]] == 2, "what is wrong is not kept"
    assert server.requests["/0.jpg"] == 1


def test_nothing_to_verify() -> None:
    with NetworkImages(verify=(1, "md5")) as source:
        assert list(source) == []
