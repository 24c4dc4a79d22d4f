"""What is an image and what a class, in folders as people and systems leave them."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pytest

import dataflow as df
from dataflow.dataset.folders import class_names, images_below, is_image
from dataflow.errors import ConfigError

from .conftest import encoded


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(1))


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """Two classes, and what systems leave beside them."""
    root = tmp_path / "train"
    put(
        root,
        *("cats/1.jpg", "cats/2.JFIF", "cats/deep/3.jpeg", "dogs/4.PPM", "dogs/5.pgm"),
        *("cats/._1.jpg", "cats/.hidden.png", ".ipynb_checkpoints/1.jpg", "__MACOSX/cats/1.jpg"),
        *("cats/.thumbs/6.jpg", "dogs/@eaDir/7.jpg", "dogs/Thumbs.db", "dogs/notes.txt"),
        "dogs/folder.jpg/8.png",
    )
    return root


def names(paths: list[Any], root: Path) -> list[str]:
    return [Path(path).relative_to(root).as_posix() for path in paths]


WANTED = ["cats/1.jpg", "cats/2.JFIF", "cats/deep/3.jpeg", "dogs/4.PPM", "dogs/5.pgm"]


def test_one_rule(messy: Path) -> None:
    assert class_names(messy) == ["cats", "dogs"]
    assert names(images_below(messy), messy) == [*WANTED, "dogs/folder.jpg/8.png"]
    ds = df.dataset.ImageFolder(messy)
    assert ds.classes == ["cats", "dogs"]
    assert [label for _, label in ds.datapoints] == [0, 0, 0, 1, 1, 1]
    assert len(list(ds)) == 6
    assert not is_image("a.txt") and is_image("a.JP2") and not is_image("._a.jpg")


def test_others_go_by_it(messy: Path) -> None:
    from dataflow.cli.batches import folder_images
    from dataflow.dataset import ILSVRC12

    assert len(folder_images(messy.parent, shuffle=False)) == 6
    from dataflow import stream as st

    assert len(st.classes(messy)) == 6
    assert len(st.images(messy, "**/*")) == 6
    assert len(st.images(messy / "cats")) == 2  # those directly in it
    imagenet = ILSVRC12(location=messy.parent, split="train", shuffle=False)
    assert imagenet.synsets == ["cats", "dogs"] and len(imagenet) == 6


def test_links(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(root, "a/1.jpg")
    put(tmp_path, "elsewhere/2.jpg")
    (root / "b").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (root / "a/sub").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (root / "a/up").symlink_to(root, target_is_directory=True)
    (root / "a/self").symlink_to("self")
    (root / "a/gone.jpg").symlink_to("nowhere.jpg")
    ds = df.dataset.ImageFolder(root)
    assert ds.classes == ["a", "b"]
    found = names([path for path, _ in ds.datapoints], root)
    assert "a/sub/2.jpg" in found and "b/2.jpg" in found
    assert found.count("a/1.jpg") == 1 and not any("up/a/up" in name for name in found)


def test_classes_are_pinned(messy: Path, tmp_path: Path) -> None:
    val = tmp_path / "val"
    put(val, "dogs/1.jpg")
    train = df.dataset.ImageFolder(messy)
    with pytest.warns(RuntimeWarning, match="no images of 1 of its 2 classes: 'cats'"):
        ds = df.dataset.ImageFolder(val, classes=train.classes)
    assert [label for _, label in ds.datapoints] == [1]  # as in training
    put(val, "mice/1.jpg")
    with pytest.raises(ConfigError, match="'mice', which are none of the 2 classes: 'cats', 'dog"):
        df.dataset.ImageFolder(val, classes=train.classes)
    with pytest.raises(ConfigError, match="list of different names"):
        df.dataset.ImageFolder(val, classes=["dogs", "dogs"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert df.dataset.ImageFolder(messy, classes=["dogs", "cats"]).datapoints[0][1] == 0


def test_a_class_without_images(messy: Path) -> None:
    (messy / "empty").mkdir()
    with pytest.warns(RuntimeWarning, match="no images of 1 of its 3 classes: 'empty'"):
        df.dataset.ImageFolder(messy)


def test_a_folder_that_cannot_be_read(messy: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root can read everything")
    (messy / "cats/deep").chmod(0)
    with pytest.raises(PermissionError):
        df.dataset.ImageFolder(messy)


def test_links_to_what_is_above(tmp_path: Path) -> None:
    """All of the data set again, in a class of it."""
    put(tmp_path, "a/1.jpg", "b/2.jpg")
    for at, target in enumerate((".", "..", "../..", "/")):
        (tmp_path / "b" / f"up{at}").symlink_to(target)
    assert [path.name for path in images_below(tmp_path)] == ["1.jpg", "2.jpg"]
    assert len(df.dataset.ImageFolder(tmp_path)) == 2
    (tmp_path / "a" / "beside").symlink_to("../b")
    assert len(df.dataset.ImageFolder(tmp_path)) == 3


def test_pipes_are_no_images(tmp_path: Path) -> None:
    """Whoever opens one waits until somebody writes into it."""
    put(tmp_path, "a/1.jpg")
    os.mkfifo(tmp_path / "a" / "2.jpg")
    (tmp_path / "a" / "3.jpg").symlink_to("gone.jpg")
    with df.dataset.ImageFolder(tmp_path, on_error="skip") as ds:
        assert len(list(ds)) == 1
        assert [failed.reason for failed in ds.errors()] == ["not_found"]
