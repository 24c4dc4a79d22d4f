"""CIFAR-10 and CIFAR-100."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from optional import library
from published import cifar10, cifar100, publish, python2_pickle, tar, write
from servers import Server

import dataflow as df
from dataflow.dataset import Cifar10, Cifar100, CifarBase

SMALL = {10: cifar10(), 100: cifar100()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both sets, with few images."""
    return write(tmp_path_factory.mktemp("cifar"), SMALL[10] | SMALL[100])


def test_as_tensorpack_reads_it(tmp_path: Path) -> None:
    """It insists on 10,000 images in a file."""
    theirs = library("tensorpack.dataflow.dataset")
    write(tmp_path, cifar10(10_000, names=("test_batch",)) | cifar100(10_000))
    for ours, other in (
        (Cifar10("test", dir=tmp_path), theirs.Cifar10("test", dir=str(tmp_path))),
        (CifarBase("test", None, tmp_path, 100), theirs.CifarBase("test", None, tmp_path, 100)),
    ):
        assert len(ours) == len(other) == 10_000 and ours.shuffle is other.shuffle is False
        other.reset_state()
        for (image, label), (expected, known) in zip(ours, other, strict=True):
            assert type(label) is type(known) is int and label == known
            assert image.dtype == expected.dtype and image.flags.c_contiguous
            assert image.shape == (32, 32, 3) and (image == expected).all()
        assert ours.get_label_names() == other.get_label_names()
        assert all(type(name) is str for name in ours.get_label_names())
        for ask in ("get_per_pixel_mean", "get_per_channel_mean"):
            mean, known = (getattr(ds, ask)(("test",)) for ds in (ours, other))
            assert mean.dtype == known.dtype == np.float32
            np.testing.assert_allclose(mean, known, rtol=1e-4)


@pytest.mark.parametrize(("kind", "number"), [(Cifar10, 10), (Cifar100, 100)])
def test_the_archive_is_downloaded(
    kind, number: int, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mirrored(kind):  # type: ignore[misc,valid-type]
        archives = {number: publish(server, "cifar.tar.gz", tar(SMALL[number]))}  # noqa: RUF012

    monkeypatch.setenv("TENSORPACK_DATASET", str(tmp_path))
    monkeypatch.delenv("DATAFLOW_DATASET", raising=False)
    ds = Mirrored("train")
    assert ds.dir == tmp_path / f"cifar{number}_data"
    assert len(ds) == (20 if number == 10 else 6) and ds.shuffle
    assert len(ds.get_label_names()) == number
    assert len(Mirrored("test")) == (4 if number == 10 else 6)
    assert len(kind("test")) == len(Mirrored("test")), "it is there now"
    assert server.requests == {"/cifar.tar.gz": 1}


def test_order_and_labels(folder: Path) -> None:
    """The training files one after the other, each image as three planes."""
    ds = Cifar10("train", shuffle=False, dir=folder)
    points = list(ds)
    assert [label for _, label in points] == ds.labels and len(points) == 20
    first = df.dataset.pickles.load_plain_pickle(folder / "cifar-10-batches-py/data_batch_3")
    for place in range(4):
        planes = first[b"data"][place].reshape(3, 32, 32)
        np.testing.assert_array_equal(points[8 + place][0], np.moveaxis(planes, 0, 2))
        assert points[8 + place][1] == first[b"labels"][place]


def test_means_are_exact(folder: Path) -> None:
    train, test = (Cifar10(name, dir=folder) for name in ("train", "test"))
    whole = np.concatenate([train.images, test.images]).astype(np.float64)
    for ds in (train, test):
        np.testing.assert_array_equal(
            ds.get_per_pixel_mean(), whole.mean(axis=0).astype(np.float32)
        )
    only = train.images.mean(axis=0, dtype=np.float64).astype(np.float32)
    np.testing.assert_array_equal(test.get_per_pixel_mean(("train",)), only)
    assert train.get_per_channel_mean().shape == (3,)
    for names in (("valid",), "train", ()):
        with pytest.raises(df.ConfigError, match="names"):
            train.get_per_pixel_mean(names)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [(("valid",), "train_or_test='valid'"), (("train", None, None, 20), "cifar_classnum=20")],
)
def test_other_arguments_are_refused(arguments: tuple, what: str) -> None:
    with pytest.raises(df.ConfigError, match=what):
        CifarBase(*arguments)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("test_batch", None),
        ("test_batch", {"labels": [1, 2]}),
        ("test_batch", {"data": np.zeros((2, 3072), np.uint8), "labels": [1]}),
        ("test_batch", {"data": np.zeros((1, 3072), np.float32), "labels": [1]}),
        ("test_batch", {"data": np.zeros((1, 100), np.uint8), "labels": [1]}),
        ("batches.meta", {"label_names": [1, 2]}),
        ("batches.meta", {}),
    ],
)
def test_damaged_files(name: str, content: dict | None, tmp_path: Path) -> None:
    write(tmp_path, SMALL[10])
    path = tmp_path / "cifar-10-batches-py" / name
    path.unlink() if content is None else path.write_bytes(python2_pickle(content))
    with pytest.raises(df.MissingData, match=name):
        Cifar10("test", dir=tmp_path)
