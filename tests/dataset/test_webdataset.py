"""Tar shards of samples; written here as the library WebDataset writes them."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from dataset.conftest import encoded, index_of
from servers import Server, ok, short, status

import dataflow as df
from dataflow.dataset.samples import split_name

EACH, SHARDS = 8, 3
TOTAL = EACH * SHARDS


def write(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, body in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train-000.tar`` and so on; image `i` is the one of number `i`, of which some are PNG."""
    folder = tmp_path_factory.mktemp("shards")
    for shard in range(SHARDS):
        files = {}
        for i in range(shard * EACH, shard * EACH + EACH):
            kind = "PNG" if i % 3 else "jpg"
            files[f"train/{i:04d}.{kind}"] = encoded(i, f".{kind.lower()}")
            files[f"train/{i:04d}.cls"] = str(i).encode()
            files[f"train/{i:04d}.json"] = json.dumps({"number": i}).encode()
        write(folder / f"train-{shard:03d}.tar", files)
    return folder


def labels(datapoints: Any) -> list[int]:
    """The labels, after a look whether the images are theirs."""
    found = []
    for image, label in datapoints:
        assert index_of(image) == label
        found.append(label)
    return found


def source(shards: Path, **options: Any) -> df.WebDataset:
    path = str(shards / "train-{000..002}.tar")
    return df.WebDataset(path, select=("jpg;png", "cls"), **options)


def test_samples(shards: Path) -> None:
    ds = df.WebDataset(shards / "train-*.tar")
    assert len(ds) == TOTAL
    for i, sample in enumerate(ds):
        url = str(shards / f"train-{i // EACH:03d}.tar")
        image = sample.pop("png" if i % 3 else "jpg")
        expected = {"__key__": f"train/{i:04d}", "__url__": url, "cls": i, "json": {"number": i}}
        assert sample == expected
        same = cv2.imdecode(np.frombuffer(encoded(i, ".png" if i % 3 else ".jpg"), np.uint8), 1)
        assert (image == same).all()  # blue is first
    assert ds[3]["cls"] == 3 and next(iter(df.WebDataset(ds.urls[1:])))["cls"] == EACH


def test_shuffling_selecting_and_seeds(shards: Path) -> None:
    ds = source(shards, shuffle=True).seed(1)
    first, second = labels(ds), labels(ds)
    assert sorted(first) == sorted(second) == [*range(TOTAL)] != first != second
    assert labels([ds[5]]) == [first[5]]
    ds = df.WebDataset(shards / "train-000.tar", ["cls", "__key__"], decode=False)
    assert ds[2] == [b"2", "train/0002"]


def test_workers_and_resuming(shards: Path) -> None:
    def chain() -> Any:
        return df.PrefetchDataZMQ(source(shards, shuffle=True), 2).seed(5)

    with chain() as ds:
        iterator = iter(ds)
        begun = labels(islice(iterator, 7))
        state = ds.state_dict()
        rest = labels(iterator)
        rows = {row["name"]: row for row in ds.stats()["stages"]}
    assert rows["ReadSample"]["items"] == TOTAL and rows["ReadSample"]["bytes"] > TOTAL * 100
    with chain() as ds:
        ds.load_state_dict(state)
        assert labels(ds) == rest
    assert begun + rest == labels(source(shards, shuffle=True).seed(5))


def test_values(tmp_path: Path) -> None:
    def npy(array: np.ndarray, **options: Any) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, array, **options)
        return buffer.getvalue()

    tall = np.asfortranarray(np.arange(6.0).reshape(3, 2))
    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    files = {
        "a.txt": "grüße".encode(),
        "a.npy": npy(tall),
        "a.empty.npy": npy(np.zeros((0, 3), np.int16)),
        "a.id": b"-3\n",
        "a.pyd": pickle.dumps(print),
        "a.bin": b"\0",
        "a.seg.PPM": cv2.imencode(".ppm", pixels)[1].tobytes(),
        "a.pgm": cv2.imencode(".pgm", pixels[:, :, 0])[1].tobytes(),
        "b.cls": b"1",
    }
    write(tmp_path / "x.tar", files)
    sample = df.WebDataset(tmp_path / "x.tar")[0]
    assert (sample["txt"], sample["id"], sample["bin"]) == ("grüße", -3, b"\0")
    assert (sample["npy"] == tall).all() and sample["npy"].flags.writeable
    assert sample["empty.npy"].shape == (0, 3) and sample["empty.npy"].dtype == np.int16
    assert sample["pyd"] == files["a.pyd"], "nothing is unpickled"
    assert (sample["seg.ppm"] == pixels).all()
    assert (sample["pgm"] == pixels[:, :, :1]).all() and sample["pgm"].shape == (4, 5, 3)


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("cls", b"five", "corrupt"),
        ("txt", b"\xff", "corrupt"),
        ("json", b"[" * 100_000, "corrupt"),
        ("npy", b"\x93NUMPY", "corrupt"),
        ("npy", b"\x93NUMPY\x01\x00\x0a\x00{'a'+'b'}\n", "corrupt"),
        ("jpg", b"<html>", "not_image"),
        ("ppm", b"P6 9999 9999 255\n", "too_large"),
        ("ppm", b"P6 99 99 255\n", "truncated"),
        ("ppm", b"P6 #", "corrupt"),
    ],
)
def test_broken_values(name: str, body: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    write(path, {f"a.{name}": body})
    with pytest.raises(df.DatapointError, match=r"x\.tar: a") as caught:
        df.WebDataset(path, max_pixels=1 << 20)[0]
    assert caught.value.reason == reason and f"a.{name}" in str(caught.value)


def test_arrays_claim_no_more_than_they_are(tmp_path: Path) -> None:
    """`numpy.load` would make room for it first."""
    head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000, 1000000), }"
    objects = io.BytesIO()
    np.save(objects, np.array([print], object), allow_pickle=True)
    large = b"\x93NUMPY\x01\x00" + (len(head) + 1).to_bytes(2, "little") + head + b"\n" + bytes(64)
    for body, reason in ((large, "truncated"), (objects.getvalue(), "pickle")):
        write(tmp_path / "x.tar", {"a.npy": body})
        with pytest.raises(df.CodecError, match=r"a\.npy: ") as caught:
            df.WebDataset(tmp_path / "x.tar")[0]
        assert caught.value.reason == reason


def test_names() -> None:
    names = ["a/b.c/d.seg.PNG", "./x.jpg", "a.", "README", ".hidden", "a/.hidden.jpg", "__a.txt"]
    found = [split_name(name) for name in names]
    assert found == [
        ("a/b.c/d", "seg.png"),
        ("./x", "jpg"),
        ("a", ""),
        *[None] * 3,
        ("__a", "txt"),
    ]
    assert split_name("__notes__/x.json") is split_name("__index__") is None


def test_what_is_missing_is_told(shards: Path, tmp_path: Path) -> None:
    for path, line in ((shards / "none.tar", "none.tar is not there"), (tmp_path / "*.tar", "tar")):
        with pytest.raises(df.MissingData, match=line):
            df.WebDataset(path)
    with pytest.raises(df.ConfigError, match=r"ssh://b/x\.tar is no file, and no URL of http or"):
        df.WebDataset("ssh://b/x.tar")
    with pytest.raises(df.ConfigError, match="select='cls' must be a list"):
        df.WebDataset(shards / "train-000.tar", select="cls")
    with pytest.raises(
        df.DatapointError, match=r"train/0000 has no txt or webp, but jpg, cls, json"
    ):
        df.WebDataset(shards / "train-000.tar", select=["txt;webp"])[0]
    write(tmp_path / "x.tar", {"README": b"no samples"})
    with pytest.raises(df.MissingData, match="no samples"):
        df.WebDataset(tmp_path / "x.tar")
    write(tmp_path / "x.tar", {"a.jpg": b"", "a.JPG": b""})
    with pytest.raises(df.CodecError, match=r"x\.tar: 'a\.JPG' at byte 512 is there twice"):
        df.WebDataset(tmp_path / "x.tar")


def test_shards_that_are_not_whole(shards: Path, tmp_path: Path) -> None:
    path = tmp_path / "train-000.tar"
    block = (shards / path.name).read_bytes()
    for part, reason in ((block[:10_000], "truncated"), (b"\x1f\x8c" + block[2:], "foreign")):
        path.write_bytes(part)
        with pytest.raises(df.CodecError, match=r"train-000\.tar: ") as caught:
            df.WebDataset(path)
        assert (caught.value.reason, caught.value.url) == (reason, str(path))
    # What changed since it was looked at.
    path.write_bytes(block)
    ds = df.WebDataset(path, ["cls"], on_error="skip")
    path.write_bytes(block[:10_000])
    left = len(list(ds))
    assert 0 < left < EACH and ds.stats()["errors"] == {"truncated": EACH - left}
    path.write_bytes(block)
    assert len(list(ds.retry_failed())) == EACH - left
    path.unlink()
    with pytest.raises(df.TooManyErrors, match="not_found 8"):
        list(df.WebDataset.seed(ds, 1))


def test_a_runner_decides_where_nothing_else_does(shards: Path) -> None:
    ds = df.WebDataset(shards / "train-000.tar", select=["png", "cls"])
    with df.MultiThreadMapData(ds, 2, lambda dp: dp, on_error="skip") as ds:
        assert sorted(labels(ds)) == [1, 2, 4, 5, 7]
        assert ds.stats()["errors"] == {"missing": 3}


def test_shards_behind_urls(shards: Path, tmp_path: Path, server: Server) -> None:
    for path in shards.iterdir():
        server.routes[f"/{path.name}"] = ok(path.read_bytes(), "application/x-tar")
    url = server.url("/train-{000..002}.tar?key=1")
    for _ in range(2):
        ds = df.WebDataset(url, ["jpg;png", "cls"], cache_dir=tmp_path, stream=False)
        assert labels(ds) == [*range(TOTAL)]
    assert set(server.requests.values()) == {1}, "the second time they are there"
    assert ds.urls == [server.url(f"/train-00{i}.tar?key=1") for i in range(SHARDS)]
    assert df.WebDataset(url, ["__url__"], cache_dir=tmp_path, stream=False)[0] == [ds.urls[0]]
    kept = sorted(path.name for path in tmp_path.rglob("*.tar"))
    assert kept == [f"train-00{i}.tar" for i in range(SHARDS)]
    server.routes["/other/train-000.tar"] = status(403)
    with pytest.raises(df.MissingData, match="http_403"):
        df.WebDataset(server.url("/other/train-000.tar"), cache_dir=tmp_path, stream=False)
    with pytest.raises(df.MissingData, match="too_large"):
        df.WebDataset(
            server.url("/train-000.tar?"), stream=False, cache_dir=tmp_path / "new", max_bytes=1000
        )
    server.routes["/train-003.tar"] = short((shards / "train-000.tar").read_bytes(), 2000)
    with pytest.raises(df.MissingData):
        df.WebDataset(server.url("/train-003.tar"), cache_dir=tmp_path, stream=False)
    with pytest.raises(df.ConfigError, match="does not end with the name of a file"):
        df.WebDataset(server.url("/.."), cache_dir=tmp_path, stream=False)


def test_saving(tmp_path: Path) -> None:
    image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    points = [[image + i, i, {"i": i}, np.arange(i)] for i in range(5)]
    suffixes = ["png", "cls", "json", "seg.npy"]
    path = tmp_path / "train-%06d.tar"
    for limits, sizes in (({}, [5]), ({"max_count": 2}, [2, 2, 1]), ({"max_bytes": 1}, [1] * 5)):
        ds = df.DataFromList(points, shuffle=False)
        written = df.WebDataset.save(ds, path, suffixes, **limits)
        assert written == [str(path) % i for i in range(len(sizes))]
        assert [len(df.WebDataset(one)) for one in written] == sizes
        np.testing.assert_equal(list(df.WebDataset(written, suffixes)), points)
    # What was read can be written again.
    again = df.WebDataset.save(df.WebDataset(written), tmp_path / "%d.tar")
    np.testing.assert_equal(list(df.WebDataset(again, suffixes)), points)
    assert df.WebDataset(again)[3]["__key__"] == "000000003"
    assert not [*tmp_path.glob(".*")]


@pytest.mark.parametrize(
    ("point", "options", "line"),
    [
        ({"jpg": "a"}, {"path": "train.tar"}, r"path='train.tar' must have a place"),
        ({"jpg": "a"}, {"max_count": 0}, "max_count=0 must be at least 1"),
        (["a"], {}, "lists need such as"),
        (["a"], {"suffixes": ["jpg", "cls"]}, "but a datapoint has 1 components"),
        ({"__key__": "a.b", "cls": 1}, {}, "__key__='a.b'"),
        ({"cls": 1.5}, {}, "cls: a float has no form with this suffix"),
        ({"json": {1, 2}}, {}, "json cannot be encoded"),
        ({"npy": np.array([print], object)}, {}, "npy cannot be encoded"),
        ({"png": np.zeros((0, 3))}, {}, "png cannot be encoded"),
    ],
)
def test_what_cannot_be_saved(
    point: Any,
    options: dict[str, Any],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((df.ConfigError, df.CodecError), match=line):
        df.WebDataset.save(df.DataFromList([point]), **{"path": "%d.tar", **options})
    assert not [*tmp_path.iterdir()]


# -- shards that are not what they should be, among others ------------------------------------


def test_a_bad_shard_costs_itself(
    shards: Path, tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    whole = {path.name: path.read_bytes() for path in shards.iterdir()}
    for name, body in whole.items():
        server.routes[f"/{name}"] = ok(body, "application/x-tar")
    server.routes["/train-003.tar"] = ok(b"<!doctype html>Please log in", "text/html")
    server.routes["/train-004.tar"] = ok(whole["train-000.tar"][:5000], "application/x-tar")
    url = server.url("/train-{000..005}.tar")
    for reason in ("foreign", "truncated", "not_found"):
        place = {"foreign": "3", "truncated": "4", "not_found": "5"}[reason]
        with pytest.raises((df.CodecError, df.MissingData)):
            df.WebDataset(server.url(f"/train-00{place}.tar"), cache_dir=tmp_path, stream=False)
    ds = df.WebDataset(url, ["jpg;png", "cls"], cache_dir=tmp_path, stream=False, on_error="skip")
    assert labels(ds) == [*range(TOTAL)]
    assert [error.reason for error in ds.errors()] == ["foreign", "truncated", "not_found"]
    assert ds.errors()[0].url == server.url("/train-003.tar")
    assert "3 of 6 shards are left out" in caplog.text
    kept = sorted(path.name for path in tmp_path.rglob("*.tar"))
    assert kept == sorted(whole), "what is none is not kept"
    for number in (3, 4, 5):
        server.routes[f"/train-00{number}.tar"] = ok(whole["train-000.tar"], "application/x-tar")
    assert len(df.WebDataset(url, cache_dir=tmp_path, stream=False)) == 6 * EACH, (
        "the next time all are there"
    )


def test_a_bad_shard_in_the_cache_is_replaced(shards: Path, tmp_path: Path, server: Server) -> None:
    body = (shards / "train-000.tar").read_bytes()
    server.routes["/a.tar"] = ok(body, "application/x-tar")
    assert len(df.WebDataset(server.url("/a.tar"), cache_dir=tmp_path, stream=False)) == EACH
    (kept,) = tmp_path.rglob("a.tar")
    kept.write_bytes(body[:3000])
    assert len(df.WebDataset(server.url("/a.tar"), cache_dir=tmp_path, stream=False)) == EACH
    assert kept.read_bytes() == body


def test_archives_without_the_mark_of_their_end(shards: Path, tmp_path: Path) -> None:
    body = (shards / "train-000.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(body.rstrip(b"\0") + bytes(-len(body.rstrip(b"\0")) % 512))
    assert labels(df.WebDataset(tmp_path / "a.tar", ["jpg;png", "cls"])) == [*range(EACH)]


def test_what_a_sample_may_lack(shards: Path) -> None:
    ds = df.WebDataset(shards / "train-000.tar", select=["png?", "txt;cap?", "cls"])
    found = list(ds)
    assert [image is None for image, _, _ in found] == [i % 3 == 0 for i in range(EACH)]
    assert {text for _, text, _ in found} == {None}


def tenth(data: bytes) -> int:
    return int(data) * 10


def test_decoders_of_ones_own(shards: Path, tmp_path: Path) -> None:
    path = shards / "train-000.tar"
    ds = df.WebDataset(path, ["cls", "json", "jpg?"], decode={"cls": tenth, ".JPG": len})
    with df.PrefetchDataZMQ(ds, 1, ordered=True) as flow:
        first = next(iter(flow))
    assert first == [0, {"number": 0}, len(encoded(0))]
    write(tmp_path / "a.tar", {"1.seg.png": encoded(1, ".png"), "1.png": encoded(2, ".png")})
    (sample,) = df.WebDataset(tmp_path / "a.tar", decode={"seg.png": len})
    assert sample["seg.png"] == len(encoded(1, ".png")) and index_of(sample["png"]) == 2


def test_further_formats(tmp_path: Path) -> None:
    import msgpack

    from dataflow.codec import tensorcom

    arrays = {"x": np.arange(6.0).reshape(2, 3), "y": np.array([True])}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write(
        tmp_path / "a.tar",
        {
            "1.npz": buffer.getvalue(),
            "1.mp": msgpack.packb({"a": [1, "b"]}),
            "1.ten": bytes(tensorcom.encode([arrays["x"]])),
        },
    )
    (sample,) = df.WebDataset(tmp_path / "a.tar")
    assert sample["mp"] == {"a": [1, "b"]}
    assert all((sample["npz"][name] == array).all() for name, array in arrays.items())
    assert (sample["ten"][0] == arrays["x"]).all()
    bomb = io.BytesIO()
    np.savez_compressed(bomb, x=np.zeros(1 << 23))
    write(tmp_path / "b.tar", {"1.npz": bomb.getvalue()})
    with pytest.raises(df.CodecError, match="unpacks to"):
        df.WebDataset(tmp_path / "b.tar")[0]


def test_files_that_are_not_there_cost_themselves(shards: Path) -> None:
    paths = [shards / "train-000.tar", shards / "none.tar"]
    ds = df.WebDataset(paths, ["jpg;png", "cls"], on_error="skip")
    assert labels(ds) == [*range(EACH)]
    assert [error.reason for error in ds.errors()] == ["not_found"]
    with pytest.raises(df.MissingData, match=r"none\.tar"):
        df.WebDataset([paths[1]], on_error="skip")
