"""Shards that arrive while their samples are read."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import tarfile
import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from dataset.conftest import encoded
from servers import Exchange, Server, held, ok, status

import dataflow as df

EACH, SHARDS = 6, 5
TOTAL = EACH * SHARDS


def body_of(shard: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for number in range(shard * EACH, shard * EACH + EACH):
            files = {"jpg": encoded(number % 20), "cls": str(number).encode()}
            for suffix, body in files.items():
                member = tarfile.TarInfo(f"{number:04d}.{suffix}")
                member.size = len(body)
                archive.addfile(member, io.BytesIO(body))
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATAFLOW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def served(server: Server) -> Server:
    for shard in range(SHARDS):
        server.routes[f"/{shard}.tar"] = ok(body_of(shard), "application/x-tar")
    return server


def source(server: Server, **options: Any) -> Any:
    return df.WebDataset(server.url("/{0..4}.tar"), ["cls"], **options)


def numbers(ds: Any) -> list[int]:
    return [datapoint[0] for datapoint in ds]


def test_samples_come_before_the_last_shard(served: Server) -> None:
    go_on = threading.Event()
    served.routes["/4.tar"] = held(served.routes["/4.tar"], go_on)
    ds = source(served)
    assert not served.requests, "nothing is fetched before somebody asks"
    with pytest.raises(df.UnknownLength, match="5 of 5 shards were not here yet"):
        len(ds)
    iterator = iter(ds)
    first = [next(iterator)[0] for _ in range(4 * EACH)]
    assert first == [*range(4 * EACH)]
    go_on.set()
    assert numbers(iterator) == [*range(4 * EACH, TOTAL)]
    assert len(ds) == TOTAL, "now each was there once"
    assert numbers(ds) == [*range(TOTAL)] and set(served.requests.values()) == {1}
    with pytest.raises(TypeError, match="stream=False"):
        ds[0]


@pytest.mark.parametrize("runner", ["threads", "processes"])
def test_a_seeded_order_on_any_workers(served: Server, runner: str) -> None:
    plain = source(served, shuffle=True).seed(4)
    epochs = [numbers(plain), numbers(plain)]
    assert epochs[0] != epochs[1]
    for one in epochs:
        assert sorted(one) == [*range(TOTAL)] != one
    ds = source(served, shuffle=True)
    ds = (
        df.PrefetchDataZMQ(ds, 2)
        if runner == "processes"
        else df.MultiThreadMapData(ds, 3, lambda dp: dp)
    )
    with ds.seed(4) as flow:
        assert [numbers(flow), numbers(flow)] == epochs


@pytest.mark.parametrize("taken", [0, 1, 7, 20, TOTAL])
def test_going_on_fetches_no_shard_again(served: Server, taken: int, cache: Path) -> None:
    whole = numbers(source(served, shuffle=True).seed(4))
    ds = source(served, shuffle=True).seed(4)
    iterator = iter(ds)
    begun = [datapoint[0] for datapoint in islice(iterator, taken)]
    state = ds.state_dict()
    del iterator
    ds.close()
    for path in cache.rglob("*.tar"):  # on another machine there is but what was written down
        path.unlink()
    served.requests.clear()
    with df.PrefetchDataZMQ(source(served, shuffle=True).seed(4), 2) as flow:
        flow.load_state_dict(state)
        rest = numbers(flow)
    assert begun + rest == whole or (taken == TOTAL and len(rest) == TOTAL)
    if 0 < taken < TOTAL:
        needed = {number // EACH for number in rest}
        assert set(served.requests) == {f"/{shard}.tar" for shard in needed}


def test_a_bounded_cache(served: Server, cache: Path) -> None:
    size = len(body_of(0))
    ds = source(served, shuffle=True, cache_bytes=2 * size)
    with df.PrefetchDataZMQ(ds, 2) as flow:
        for _ in range(3):
            assert sorted(numbers(flow)) == [*range(TOTAL)]
    kept = list(cache.rglob("*.tar"))
    assert sum(path.stat().st_size for path in kept) <= 2 * size and kept
    assert len([*cache.rglob("*.index")]) == SHARDS


def test_shards_that_differ_in_their_last_suffix(server: Server) -> None:
    """Each has an index of its own."""
    for shard in range(3):
        files = body_of(shard) if shard else body_of(0) + body_of(1)  # of several sizes
        server.routes[f"/train.{shard:03d}"] = ok(files, "application/x-tar")
    for _ in range(2):
        ds = df.WebDataset(server.url("/train.{000..002}"), ["cls"])
        assert sorted(set(numbers(ds))) == [*range(3 * EACH)]


def test_making_room_touches_nothing_of_others(served: Server, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "mine").mkdir(parents=True)
    (folder / "mine" / "photo.jpg").write_bytes(bytes(10_000))
    (folder / "notes.txt").write_text("mine, too")
    with source(served, cache_dir=folder, cache_bytes=1) as ds:
        assert numbers(ds) == [*range(TOTAL)]
    assert (folder / "mine" / "photo.jpg").exists() and (folder / "notes.txt").exists()
    assert not list(folder.rglob("*.tar"))


def test_leaving_early_ends_commands(tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(body_of(0))
    with df.WebDataset(f"pipe:cat {tmp_path}/0.tar::pipe:cat /dev/zero", ["cls"]) as ds:
        assert next(iter(ds)) == [0]


def test_bad_shards_cost_themselves(served: Server, caplog: pytest.LogCaptureFixture) -> None:
    served.routes["/1.tar"] = ok(b"<!doctype html>", "text/html")
    served.routes["/3.tar"] = status(404)
    with pytest.raises(df.CodecError, match="no tar archive"):
        numbers(source(served))
    left = [number for number in range(TOTAL) if number // EACH not in (1, 3)]
    ds = source(served, on_error="skip")
    assert numbers(ds) == left == numbers(ds)
    assert sorted(error.reason for error in ds.errors()) == ["foreign", "not_found"]
    assert len(ds) == len(left)
    for shard in range(SHARDS):
        served.routes[f"/{shard}.tar"] = status(404)
    with pytest.raises(df.MissingData):
        numbers(df.WebDataset(served.url("/{0..4}.tar?new"), ["cls"], on_error="skip"))


def test_leaving_early_leaves_nothing(served: Server) -> None:
    wait = threading.Event()

    def never(exchange: Exchange) -> None:
        exchange.start(200, {"Content-Length": "1000000"})
        while not wait.is_set():
            exchange.send(b"x" * 100)
            exchange.pause(0.01)

    for shard in (1, 2, 3):
        served.routes[f"/{shard}.tar"] = never
    with source(served) as ds:
        for datapoint in ds:
            assert datapoint == [0]
            break
    wait.set()


def test_the_same_shards_by_several_processes_are_fetched_once(served: Server) -> None:
    with df.PrefetchDataZMQ(source(served), 3) as ds:
        assert sorted(numbers(ds)) == [*range(TOTAL)]
    assert set(served.requests.values()) == {1}


# -- of other places, and packed ---------------------------------------------------------------


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
@pytest.mark.parametrize("remote", [False, True])
def test_packed_shards(
    server: Server, tmp_path: Path, pack: Callable[[bytes], bytes], remote: bool
) -> None:
    body = pack(body_of(0))
    path: Any = tmp_path / "a.tar.gz"
    path.write_bytes(body)
    server.routes["/a.tgz"] = ok(body, "application/x-tar")
    ds = df.WebDataset(server.url("/a.tgz") if remote else path, ["cls"], shuffle=True)
    assert sorted(numbers(ds)) == [*range(EACH)]
    with df.PrefetchDataZMQ(ds, 2) as flow:
        assert sorted(numbers(flow)) == [*range(EACH)]


def test_commands_and_pairs(tmp_path: Path) -> None:
    for shard in range(3):
        (tmp_path / f"{shard}.tar").write_bytes(body_of(shard))
    ds = df.WebDataset(f"pipe:cat {tmp_path}/0.tar::{tmp_path}/1.tar::{tmp_path}/2.tar", ["cls"])
    assert numbers(ds) == [*range(3 * EACH)]
    ds = df.WebDataset(f"pipe:cat {tmp_path}/{{0..2}}.tar", ["cls"])
    assert numbers(ds) == [*range(3 * EACH)] and len(ds.urls) == 3
    with pytest.raises(df.MissingData, match="the command ended with status 3"):
        numbers(df.WebDataset("pipe:echo begun; exit 3", ["cls"]))
    with pytest.raises(df.MissingData, match="more than max_bytes=1000"):
        numbers(df.WebDataset("pipe:cat /dev/zero", ["cls"], max_bytes=1000))
    assert not [*Path(os.environ["DATAFLOW_CACHE"]).rglob(".*.draft")]


def test_objects_of_a_store(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    (tmp_path / "b").mkdir()
    for shard in range(3):
        (tmp_path / "b" / f"train-{shard}.tar").write_bytes(body_of(shard))
    for path in (f"file://{tmp_path}/b/train-*.tar", f"file://{tmp_path}/b/train-{{0..2}}.tar"):
        ds = df.WebDataset(path, ["cls"])
        assert numbers(ds) == [*range(3 * EACH)]
        with df.PrefetchDataZMQ(ds, 2) as flow:
            assert sorted(numbers(flow)) == [*range(3 * EACH)]
    with pytest.raises(df.MissingData, match=r"none-\*\.tar is not there"):
        df.WebDataset(f"file://{tmp_path}/b/none-*.tar")
    with pytest.raises(df.MissingData, match="none"):
        numbers(df.WebDataset(f"file://{tmp_path}/b/none.tar"))


def test_the_index_of_files_here_is_kept_and_follows_them(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(body_of(0))
    assert len(df.WebDataset(path)) == EACH
    (index,) = cache.rglob("*.index")
    before = index.stat().st_mtime_ns
    assert len(df.WebDataset(path)) == EACH and index.stat().st_mtime_ns == before
    path.write_bytes(body_of(3))
    assert numbers(df.WebDataset(path, ["cls"])) == [*range(3 * EACH, 4 * EACH)]
    for kept in cache.rglob("*.index"):
        kept.write_bytes(b"broken")
    assert numbers(df.WebDataset(path, ["cls"])) == [*range(3 * EACH, 4 * EACH)]
