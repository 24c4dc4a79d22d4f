"""Data sets of image files with lists: Places365 and Tiny ImageNet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from optional import library
from published import jpeg, write

import dataflow as df
from dataflow.dataset import Places365Standard, TinyImageNet

SCENES = ["airfield", "zen_garden", "bar"]
WNIDS = [f"n{i * 37 % 1000:08d}" for i in range(200)]  # not sorted


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    paths = [f"{split}/{SCENES[i % 3]}/{i:08d}.jpg" for split in ("train", "val") for i in range(5)]
    files = {path: jpeg(10 + i, 12) for i, path in enumerate(paths)}
    for split in ("train", "val"):
        lines = [f"{path}\n" for path in paths if path.startswith(split)]
        files[f"{split}.txt"] = "".join(reversed(lines)).encode()
    return write(tmp_path_factory.mktemp("places"), files)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tensorpack insists on 200 classes; one image in most of them."""
    files = {"wnids.txt": "".join(f"{name}\n" for name in WNIDS).encode()}
    for i, name in enumerate(WNIDS):
        files[f"train/{name}/images/{name}_0.JPEG"] = jpeg(8 + i, 8)
        files[f"train/{name}/{name}_boxes.txt"] = b"0\t0\t1\t1\n"
    lines = [f"val_{i}.JPEG\t{WNIDS[i * 7 % 200]}\t0\t32\t44\t62\n" for i in range(6)]
    files |= {f"val/images/val_{i}.JPEG": jpeg(8 + i, 9) for i in range(6)}
    files["val/val_annotations.txt"] = "".join(lines).encode()
    return write(tmp_path_factory.mktemp("tiny"), files)


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("name", ["Places365Standard", "TinyImageNet"])
def test_as_tensorpack_reads_it(name: str, split: str, places: Path, tiny: Path) -> None:
    theirs = getattr(library("tensorpack.dataflow.dataset"), name)
    kind = getattr(df.dataset, name)
    folder = places if kind is Places365Standard else tiny
    other = theirs(str(folder), split, shuffle=False)
    other.reset_state()
    ds = kind(folder, split, shuffle=False)
    assert len(ds) == len(other) > 4
    for (image, label), (expected, known) in zip(ds, other, strict=True):
        assert image.dtype == np.uint8 and type(label) is type(known) is int and label == known
        np.testing.assert_array_equal(image, expected)
    assert kind(folder, split).shuffle is theirs(str(folder), split).shuffle is (split == "train")
    if kind is Places365Standard:
        assert ds.get_label_names() == other.get_label_names() == sorted(SCENES)


def test_they_are_read_in_parallel(tiny: Path) -> None:
    expected = [label for _, label in TinyImageNet(tiny, "val")]
    with TinyImageNet(tiny, "val").parallel(4, ordered=True) as ds:
        assert [label for _, label in ds] == expected
        assert [row["name"] for row in ds.stats()["stages"]][:2] == ["ReadFile", "Decode"]


def test_a_home_folder_and_options(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(places.parent))
    ds = Places365Standard(f"~/{places.name}", "val", on_error="raise", max_bytes=10)
    with pytest.raises(df.FetchError, match="larger than max_bytes=10"):
        list(ds)


@pytest.mark.parametrize("kind", [Places365Standard, TinyImageNet])
def test_what_is_missing_is_told_with_what_is_expected(kind, tmp_path: Path) -> None:
    with pytest.raises(df.ConfigError, match="name='test' must be 'train' or 'val'"):
        kind(tmp_path, "test")
    where = "download.html" if kind is Places365Standard else "tiny-imagenet-200.zip"
    with pytest.raises(df.MissingData, match=f"none is not a folder; expected are .*{where}"):
        kind(tmp_path / "none", "train")
    lists = ("train.txt",) if kind is Places365Standard else ("wnids.txt",)
    for name in lists:
        with pytest.raises(df.MissingData, match=f"{name} is missing; expected are .*{where}"):
            kind(tmp_path, "train")


def test_broken_lists(tiny: Path, tmp_path: Path) -> None:
    for text in ("", "00000001.jpg\n"):
        (tmp_path / "train.txt").write_text(text)
        with pytest.raises(df.MissingData, match=r"train\.txt has a line"):
            Places365Standard(tmp_path, "train")
    (tmp_path / "wnids.txt").write_text("\n".join(WNIDS))
    with pytest.raises(df.MissingData, match="train has no images"):
        TinyImageNet(tmp_path, "train")
    with pytest.raises(df.MissingData, match=r"val_annotations\.txt is missing"):
        TinyImageNet(tmp_path, "val")
    for text in ("val_0.JPEG\n", "val_0.JPEG n99999999 0 0 1 1\n"):
        write(tmp_path, {"val/val_annotations.txt": text.encode()})
        with pytest.raises(df.MissingData, match="without a known class"):
            TinyImageNet(tmp_path, "val")
