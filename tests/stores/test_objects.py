"""Objects in stores: a real S3 server on loopback, where moto and s3fs are installed."""

from __future__ import annotations

import base64
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from published import jpeg, tar

import dataflow as df
from dataflow.dataset import ImageFolder, NetworkImages
from dataflow.errors import ConfigError, FetchError, MissingData, MissingExtra
from dataflow.image.decode import decode_image
from dataflow.stores import is_object, local_files, matching, read_object, save_object

pytest.importorskip("fsspec")

COUNT = 12


@pytest.fixture(scope="module")
def bodies() -> list[bytes]:
    return [jpeg(20 + number, 30) for number in range(COUNT)]


@pytest.fixture(scope="module")
def bucket(bodies: list[bytes]) -> Iterator[str]:
    """``s3://photos``, with images in two classes, on a server of its own."""
    for module in ("s3fs", "moto"):
        pytest.importorskip(module, reason="an S3 server: pip install -e '.[test,test-stores]'")
    server = importlib.import_module("moto.server")
    running = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        import fsspec

        system = fsspec.filesystem("s3")
        system.mkdir("photos")
        for number, body in enumerate(bodies):
            system.pipe_file(f"photos/train/{'ab'[number % 2]}/{number:02d}.jpg", body)
        yield "s3://photos"
        fsspec.filesystem("s3").clear_instance_cache()
    running.stop()


def path_of(number: int) -> str:
    return f"/train/{'ab'[number % 2]}/{number:02d}.jpg"


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("s3://b/x.jpg", True),
        ("S3://b/x.jpg", True),
        ("gs://b/x", True),
        ("hf://datasets/a/b/x.jpg", True),
        ("data:image/png;base64,AA==", True),
        ("http://h/x.jpg", False),
        ("https://h/s3://b", False),
        ("/s3/x.jpg", False),
        ("ssh://h/x", False),
        ("s3:x", False),
        ("", False),
    ],
)
def test_what_is_an_object(text: str, known: bool) -> None:
    assert is_object(text) is known


@pytest.fixture(params=["obstore", "s3fs"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either of them reads, here and in threads."""
    if request.param == "s3fs":
        monkeypatch.setattr("dataflow.stores.objects.bucket_of", lambda url, options: None)
    else:
        pytest.importorskip("obstore")


@pytest.mark.usefixtures("library")
def test_reading(bucket: str, bodies: list[bytes], tmp_path: Path) -> None:
    assert read_object(bucket + path_of(3), 1 << 20) == bodies[3]
    size = len(bodies[3])
    assert read_object(bucket + path_of(3), size) == bodies[3]
    with pytest.raises(FetchError, match=f"more than max_bytes={size - 1}") as caught:
        read_object(bucket + path_of(3), size - 1)
    assert caught.value.reason == "too_large"
    with pytest.raises(FetchError, match=r"none\.jpg: there is no such object") as caught:
        read_object(f"{bucket}/none.jpg", 1 << 20)
    assert caught.value.reason == "not_found"
    with pytest.raises(FetchError) as caught:
        read_object("s3://no-such-bucket/none.jpg", 1 << 20)
    assert caught.value.reason == "not_found"
    assert matching(f"{bucket}/train/a/*.jpg") == [bucket + path_of(n) for n in range(0, COUNT, 2)]
    save_object(bucket + path_of(3), tmp_path / "x", 1 << 20)
    assert (tmp_path / "x").read_bytes() == bodies[3]
    with pytest.raises(MissingData, match="not needed any more"):
        save_object(bucket + path_of(3), tmp_path / "y", 1 << 20, lambda: True)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("runner", ["loop", "threads", "processes"])
def test_a_list_of_objects(bucket: str, bodies: list[bytes], runner: str) -> None:
    rows = [[bucket + path_of(number), number] for number in range(COUNT)]
    source = NetworkImages()
    source.datapoints = [*rows, [f"{bucket}/none.jpg", -1]]
    ds: Any = source if runner == "loop" else source.parallel(4)
    ds = df.PrefetchDataZMQ(ds, 2) if runner == "processes" else ds
    with ds:
        found = {label: image.shape for image, label in ds}
        assert found == {number: (20 + number, 30, 3) for number in range(COUNT)}
        assert [(one.reason, one.url) for one in ds.errors()] == [
            ("not_found", f"{bucket}/none.jpg")
        ]
        stages = {row["name"]: row for row in ds.stats()["stages"]}
    assert stages["Download"]["bytes"] == sum(map(len, bodies))


def test_a_table_of_objects_into_shards(bucket: str, tmp_path: Path) -> None:
    from dataflow.download import download_images

    table = pa.table({"url": [bucket + path_of(number) for number in range(COUNT)]})
    pq.write_table(table, tmp_path / "list.parquet")
    summary = download_images(tmp_path / "list.parquet", tmp_path / "out")
    assert summary.images == COUNT


def test_a_folder_of_objects(bucket: str) -> None:
    source = ImageFolder(f"{bucket}/train")
    assert source.classes == ["a", "b"]
    with source.parallel(4) as ds:
        labels = {image.shape[0] - 20: label for image, label in ds}
    assert labels == {number: number % 2 for number in range(COUNT)}
    with pytest.raises(MissingData):
        ImageFolder(f"{bucket}/nothing")


@pytest.mark.usefixtures("library")
def test_shards_and_records(bucket: str, tmp_path: Path, monkeypatch: Any) -> None:
    import fsspec

    monkeypatch.setenv("DATAFLOW_CACHE", str(tmp_path / "cache"))
    system = fsspec.filesystem("s3")
    for shard in range(3):
        files = {f"{shard}{n}.cls": str(10 * shard + n).encode() for n in range(4)}
        system.pipe_file(f"photos/shards/{shard}.tar", tar(files))
    wanted = [10 * shard + n for shard in range(3) for n in range(4)]
    for path in (f"{bucket}/shards/*.tar", bucket + "/shards/{0..2}.tar"):
        with df.PrefetchDataZMQ(df.WebDataset(path, ["cls"], shuffle=True), 2) as ds:
            assert sorted(dp[0] for dp in ds) == wanted
    with pytest.raises(MissingData):
        list(df.WebDataset(f"{bucket}/shards/7.tar"))
    df.TFRecordSerializer.save(df.DataFromList([[n] for n in range(5)]), tmp_path / "a")
    system.put_file(str(tmp_path / "a"), "photos/records/a.tfrecord")
    ds = df.TFRecordSerializer.load(f"{bucket}/records/*.tfrecord")
    assert sorted(dp[0] for dp in ds) == [*range(5)]
    (kept,) = local_files(f"{bucket}/records/a.tfrecord")
    assert Path(kept).read_bytes() == (tmp_path / "a").read_bytes()


@pytest.mark.parametrize("library", ["obstore", "s3fs"])
def test_a_server_that_is_not_there(library: str) -> None:
    pytest.importorskip(library)
    options: dict[str, Any] = {"key": "k", "secret": "s", "endpoint_url": "http://127.0.0.1:9"}
    if library == "s3fs":  # which alone knows this one
        options["config_kwargs"] = {"retries": {"max_attempts": 1}}
    source = NetworkImages(storage_options=options, max_trials=1, on_error="raise")
    source.datapoints = [["s3://photos/x.jpg", 0]]
    with source, pytest.raises(FetchError) as caught:
        list(source)
    assert caught.value.reason == "connect"


def test_what_the_url_itself_has(bodies: list[bytes]) -> None:
    text = base64.b64encode(bodies[0]).decode()
    source = NetworkImages()
    source.datapoints = [
        [f"data:image/jpeg;base64,{text}", 0],
        ["data:image/jpeg;base64,@@@", 1],
        ["data:text/plain,hello", 2],
        ["data:", 3],
    ]
    with source.parallel(2) as ds:
        found = {label: image.shape for image, label in ds}
        reasons = {int(one.datapoint[1]): one.reason for one in ds.errors()}
    assert found == {0: (20, 30, 3)}
    assert set(reasons) == {1, 2, 3} and reasons[2] == "not_image"


def test_files_here_are_not_for_lists(tmp_path: Path, bodies: list[bytes]) -> None:
    (tmp_path / "x.jpg").write_bytes(bodies[0])
    source = NetworkImages()
    source.datapoints = [[f"file://{tmp_path}/x.jpg", 0], [f"FILE://{tmp_path}/x.jpg", 0]]
    with source, pytest.raises(df.TooManyErrors):
        list(source)
    assert {one.reason for one in source.errors()} == {"bad_url"}


def test_what_is_not_installed(monkeypatch: Any) -> None:
    import fsspec

    def missing(scheme: str, **options: Any) -> Any:
        raise ImportError("Please install gcsfs to access Google Storage")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(MissingExtra, match="pip install gcsfs"):
        read_object("gs://b/x", 100)


@pytest.mark.parametrize("url", ["s3://", "s3://b", "s3://b/"])
def test_buckets_are_no_objects(url: str) -> None:
    with pytest.raises(FetchError, match="names a bucket") as caught:
        read_object(url, 100)
    assert caught.value.reason == "bad_url"


def test_chains_of_places_are_refused() -> None:
    with pytest.raises(FetchError, match="'::' has no meaning") as caught:
        read_object("s3://b/a.zip::file:///etc/passwd", 100)
    assert caught.value.reason == "bad_url"
    with pytest.raises(ConfigError):
        local_files("ssh://host/file")


def test_decoded_as_from_a_file(bucket: str, bodies: list[bytes]) -> None:
    source = NetworkImages()
    source.datapoints = [[bucket + path_of(5), 0]]
    with source:
        ((image, _),) = source
    np.testing.assert_array_equal(image, decode_image(bodies[5]))
    assert os.environ["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1")
