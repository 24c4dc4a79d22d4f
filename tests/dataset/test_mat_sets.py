"""Data sets in MATLAB's files: house numbers, silhouettes, edges."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from optional import library
from published import bsds500, mat, publish, silhouettes, svhn, tar, write
from servers import Server

import dataflow as df
from dataflow.dataset import BSDS500, Caltech101Silhouettes, PublishedFile, SVHNDigit
from dataflow.dataset.mat import load_mat

library("scipy")

SILHOUETTES = "caltech101_silhouettes_28_split1.mat"
PHOTOS = {"100": ("val", False), "8049": ("val", True), "12003": ("val", False)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them in one folder."""
    files = {f"{name}_32x32.mat": svhn(12 + i) for i, name in enumerate(("train", "test"))}
    files |= {SILHOUETTES: silhouettes()} | bsds500(PHOTOS | {"7": ("train", False)})
    return write(tmp_path_factory.mktemp("mat"), files)


@pytest.fixture(scope="module")
def theirs():
    return library("tensorpack.dataflow.dataset")


def same(ours, other) -> int:
    """Whether two unshuffled flows have the same arrays and types of labels; how many."""
    other.reset_state()
    count = 0
    for (image, label), (expected, known) in zip(ours, other, strict=True):
        assert image.dtype == expected.dtype and image.flags.c_contiguous
        np.testing.assert_array_equal(image, expected)
        assert type(label) is type(known)
        np.testing.assert_array_equal(label, known)
        count += 1
    assert count == len(ours) == len(other)
    return count


def test_house_numbers_as_tensorpack_reads_them(folder: Path, theirs) -> None:
    for name, count in (("train", 12), ("test", 13)):
        ds = SVHNDigit(name, folder, shuffle=False)
        assert same(ds, theirs.SVHNDigit(name, str(folder), False)) == count
        assert list(ds.labels[:10]) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    mean = SVHNDigit.get_per_pixel_mean(("train", "test"), folder)
    known = theirs.SVHNDigit.get_per_pixel_mean(("train", "test"))
    assert mean.dtype == known.dtype == np.float64
    np.testing.assert_allclose(mean, known, rtol=1e-14)


@pytest.mark.parametrize(("name", "count"), [("train", 4100), ("val", 2264), ("test", 2307)])
def test_silhouettes_as_tensorpack_reads_them(name, count: int, folder: Path, theirs) -> None:
    ds = Caltech101Silhouettes(name, False, folder)
    assert same(ds, theirs.Caltech101Silhouettes(name, False, str(folder))) == count
    assert ds.labels.min() == 0 and ds.labels.max() == 100
    assert set(np.unique(ds.images)) == {0, 1}


def test_edges_as_tensorpack_reads_them(folder: Path, theirs) -> None:
    ds = BSDS500("val", folder, shuffle=False)
    other = theirs.BSDS500("val", str(folder), False)
    # Its order is the folder's; ours that of the names.
    order = [
        next(i for i, known in enumerate(other.data) if (known == image).all()) for image, _ in ds
    ]
    other.data, other.label = other.data[order], other.label[order]
    assert same(ds, other) == 3
    with df.PrefetchDataZMQ(BSDS500("val", folder, False), 2).seed(0) as many:
        assert same(many, other) == 3
    assert all(edges.max() <= 1 and edges.dtype == np.float32 for _, edges in ds)


def test_what_is_missing_is_downloaded(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setenv("DATAFLOW_DATASET", str(tmp_path))

    class Numbers(SVHNDigit):
        files = {"extra": publish(server, "extra_32x32.mat", svhn(5))}  # noqa: RUF012

    class Outlines(Caltech101Silhouettes):
        file = publish(server, SILHOUETTES, (folder / SILHOUETTES).read_bytes())

    class Edges(BSDS500):
        archive = publish(server, "BSR_bsds500.tgz", tar(bsds500({"1": ("test", False)})))

    for _ in range(2):
        assert len(Numbers("extra")) == 5
        assert len(Outlines("val")) == 2264
        assert len(Edges("test")) == 1
    assert (tmp_path / "svhn_data/extra_32x32.mat").is_file()
    assert (tmp_path / "caltech101_data" / SILHOUETTES).is_file()
    assert (tmp_path / "bsds500_data/BSR/BSDS500/data/images/test/1.jpg").is_file()
    assert set(server.requests.values()) == {1}
    np.testing.assert_allclose(
        Numbers.get_per_pixel_mean(("extra",)), Numbers("extra").images.mean(0)
    )
    with pytest.raises(df.MissingData, match="images/val has no images"):
        Edges("val")


def test_their_files_are_the_published_ones() -> None:
    assert [file.name for file in SVHNDigit.files.values()] == [
        f"{name}_32x32.mat" for name in ("train", "test", "extra")
    ]
    assert Caltech101Silhouettes.file == PublishedFile(
        (f"https://people.cs.umass.edu/~marlin/data/{SILHOUETTES}",)
    )
    assert BSDS500.archive.name == "BSR_bsds500.tgz" and BSDS500.archive.size == 70763455


def test_other_splits_are_refused(folder: Path) -> None:
    for make in (
        lambda name: SVHNDigit(name, folder),
        lambda name: Caltech101Silhouettes(name, dir=folder),
        lambda name: BSDS500(name, folder),
    ):
        with pytest.raises(df.ConfigError, match="name='valid' must be 'train', "):
            make("valid")


def test_without_scipy_it_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    for make in (
        lambda: SVHNDigit("train", folder),
        lambda: Caltech101Silhouettes("train", dir=folder),
        lambda: BSDS500("train", folder),
    ):
        with pytest.raises(df.MissingExtra, match=r"pip install scipy"):
            make()


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Please log in</html>", mat(X=np.zeros(3)), mat(X=np.zeros((28, 28)))[:150]],
)
def test_damaged_files(body: bytes, tmp_path: Path) -> None:
    path = tmp_path / "train_32x32.mat"
    path.write_bytes(body)
    with pytest.raises(df.MissingData, match=r"train_32x32\.mat"):
        SVHNDigit("train", tmp_path)
    with pytest.raises(df.MissingData, match="none is missing"):
        load_mat(tmp_path / "none", "X")


def test_arrays_that_do_not_fit(tmp_path: Path) -> None:
    zeros = np.zeros((32, 32, 3, 2), np.uint8)
    for variables in ({"X": zeros, "y": [[1]]}, {"X": zeros.astype(float), "y": [[1], [2]]}):
        (tmp_path / "test_32x32.mat").write_bytes(mat(**variables))
        with pytest.raises(df.MissingData, match="labels"):
            SVHNDigit("test", tmp_path)
    odd = mat(val_data=np.zeros((3, 100), np.uint8), val_labels=np.ones((3, 1), np.uint8))
    (tmp_path / SILHOUETTES).write_bytes(odd)
    with pytest.raises(df.MissingData, match="do not fit 3 labels"):
        Caltech101Silhouettes("val", dir=tmp_path)


def test_photos_and_annotations_that_are_none(tmp_path: Path) -> None:
    write(tmp_path, bsds500({"1": ("val", False), "2": ("val", False)}))
    data = tmp_path / "BSR/BSDS500/data"
    (data / "groundTruth/val/1.mat").write_bytes(mat(groundTruth=np.zeros(3)))
    with pytest.raises(df.MissingData, match=r"1\.mat has no annotations"):
        list(BSDS500("val", tmp_path, False))
    (data / "groundTruth/val/1.mat").unlink()
    with pytest.raises(df.MissingData, match=r"1\.mat is missing"):
        list(BSDS500("val", tmp_path, False))
    (data / "images/val/1.jpg").write_bytes(b"<html>")
    with pytest.raises(df.DecodeError, match="HTML page"):
        list(BSDS500("val", tmp_path, False))
