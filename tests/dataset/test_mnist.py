"""MNIST and its relatives."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from optional import library
from published import RNG, idx, pixels, publish, write
from servers import Server

import dataflow as df
from dataflow.dataset import FashionMnist, Mnist, PublishedFile
from dataflow.dataset.mnist import read_idx

COUNTS = {"train": 20, "test": 7}
PREFIX = {"train": "train", "test": "t10k"}


def small() -> dict[str, bytes]:
    files = {}
    for split, count in COUNTS.items():
        files[f"{PREFIX[split]}-images-idx3-ubyte.gz"] = idx(pixels(count, 28, 28))
        labels = RNG.integers(0, 10, count, np.uint8)
        files[f"{PREFIX[split]}-labels-idx1-ubyte.gz"] = idx(labels)
    return files


FILES = small()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("mnist"), FILES)


@pytest.mark.parametrize("name", ["Mnist", "FashionMnist"])
@pytest.mark.parametrize("split", COUNTS)
def test_as_tensorpack_reads_it(name: str, split: str, folder: Path) -> None:
    theirs = getattr(library("tensorpack.dataflow.dataset"), name)
    other = theirs(split, shuffle=False, dir=str(folder))
    other.reset_state()
    ds = getattr(df.dataset, name)(split, False, folder)
    assert len(ds) == len(other) == COUNTS[split]
    for (image, label), (expected, known) in zip(ds, other, strict=True):
        assert image.dtype == expected.dtype == np.float32 and image.shape == expected.shape
        np.testing.assert_array_equal(image, expected)
        assert type(label) is type(known) is np.uint8 and label == known
    np.testing.assert_array_equal(ds.images, other.images)
    np.testing.assert_array_equal(ds.labels, other.labels)
    if name == "FashionMnist":
        assert ds.get_label_names() == other.get_label_names()


def test_what_is_missing_is_downloaded(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mirrored(Mnist):
        files = {name: publish(server, name, body) for name, body in FILES.items()}  # noqa: RUF012

    monkeypatch.setenv("DATAFLOW_DATASET", str(tmp_path))
    assert len(Mirrored("test")) == COUNTS["test"]
    assert set(server.requests) == {"/t10k-images-idx3-ubyte.gz", "/t10k-labels-idx1-ubyte.gz"}
    assert len(Mirrored("train")) == COUNTS["train"]
    assert sorted(path.name for path in (tmp_path / "mnist_data").iterdir()) == sorted(FILES)
    server.routes.clear()
    assert len(Mnist("train")) == COUNTS["train"], "found where tensorpack puts it, too"


def test_each_set_has_its_files() -> None:
    for kind in (Mnist, FashionMnist):
        assert sorted(kind.files) == sorted(FILES)
        for name, file in kind.files.items():
            assert file.name == name and all(url.endswith(f"/{name}") for url in file.urls)
            assert isinstance(file, PublishedFile) and len(file.checksum or "") == len("md5:") + 32
    checksums = [file.checksum for kind in (Mnist, FashionMnist) for file in kind.files.values()]
    assert len(set(checksums)) == 8


def test_an_image_is_the_datapoints_own(folder: Path) -> None:
    ds = Mnist("test", shuffle=False, dir=folder)
    before = ds[0][0].copy()
    ds[0][0][:] = 7
    np.testing.assert_array_equal(ds[0][0], before)


@pytest.mark.parametrize("split", ["val", "", None])
def test_other_splits_are_refused(split, folder: Path) -> None:
    with pytest.raises(df.ConfigError, match=f"train_or_test={split!r} must be 'train' or 'test'"):
        Mnist(split, dir=folder)


IMAGES = struct.pack(">4I", 0x803, 2, 2, 2) + bytes(range(8))


DAMAGED = {
    "not compressed": IMAGES,
    "cut off": gzip.compress(IMAGES)[:-9],
    "an image cut off": gzip.compress(IMAGES[:-1]),
    "the head cut off": gzip.compress(IMAGES[:10]),
    "labels": gzip.compress(struct.pack(">2I", 0x801, 2) + b"ab"),
    "far too many": gzip.compress(struct.pack(">4I", 0x803, 1 << 31, 1 << 31, 1 << 31)),
    "empty": b"",
}


@pytest.mark.parametrize("body", DAMAGED.values(), ids=DAMAGED)
def test_damaged_files(body: bytes, tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(body)
    with pytest.raises(df.MissingData, match=r"images\.gz cannot be read.*Delete it"):
        read_idx(path, axes=3)


def test_images_and_labels_of_different_number(folder: Path, tmp_path: Path) -> None:
    write(tmp_path, FILES | {"t10k-labels-idx1-ubyte.gz": idx(np.zeros(3, np.uint8))})
    with pytest.raises(df.MissingData, match=r"7 images.*3 labels"):
        Mnist("test", dir=tmp_path)
