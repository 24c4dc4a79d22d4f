"""Images from folders and into folders."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import dataflow as df
from dataflow.highway import (
    FlowSource,
    ImageFileReader,
    ImgDumper,
    ImgReader,
    ImgSaver,
    Pipeline,
)
from dataflow.highway.modules.readers import fit

from .conftest import CLASSES, SIZE


def rgb(path: Path) -> np.ndarray:
    return cv2.imread(str(path))[:, :, ::-1]


def test_a_folder_of_classes(photos: Path) -> None:
    reader = ImageFileReader(photos, 5, (60, 80), shuffle=False, once=True, n_worker=0)
    assert reader.classes == sorted(CLASSES)
    with Pipeline([reader]) as p:
        batches = list(p)
    assert [len(batch["keys"]) for batch in batches] == [5, 5, 2]
    for images, labels in batches:
        assert images.dtype == np.uint8 and images.shape[1:] == (60, 80, 3)
        assert labels.dtype == np.float32 and labels.shape == (len(images), 3)
    keys = [key for batch in batches for key in batch["keys"].tolist()]
    assert len(set(keys)) == SIZE
    images = np.concatenate([images for images, _ in batches])
    classes = np.concatenate([labels.argmax(1) for _, labels in batches])
    for key, image, label in zip(keys, images, classes, strict=True):
        assert key.split("/")[0] == reader.classes[label]
        assert np.array_equal(image, rgb(photos / key))


def test_fitting_cuts_off_on_both_sides() -> None:
    image = np.zeros((40, 100, 3), np.uint8)
    image[:, 30:70] = 200
    assert (fit(image, (20, 20)) == 200).all()
    assert (fit(image.transpose(1, 0, 2), (80, 80)) == 200).all()
    assert fit(image, (20, 50)).shape == (20, 50, 3)
    assert fit(image, (20, 50))[:, 15:35].min() == 200
    assert fit(np.zeros((1, 1, 3), np.uint8), (3, 9)).shape == (3, 9, 3)


def test_what_is_no_image_is_skipped_and_counted(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    good = next(photos.rglob("*.png")).read_bytes()
    (tmp_path / "a/1.png").write_bytes(good)
    (tmp_path / "a/2.png").write_bytes(good[:999])
    with Pipeline([ImageFileReader(tmp_path, 4, (8, 8), once=True, n_worker=0)]) as p:
        assert [len(images) for images, _ in p] == [1]
        assert p.flow.stats()["errors"] == {"truncated": 1}
    reader = ImageFileReader(tmp_path, 4, (8, 8), once=True, on_error="raise", n_worker=0)
    with Pipeline([reader]) as p, pytest.raises(df.DecodeError):
        p.dequeue()
    for read in (
        lambda: ImageFileReader(tmp_path / "b", 4, (8, 8)),
        lambda: ImgReader(photos / "x"),
    ):
        with pytest.raises(df.MissingData):
            read()
    with pytest.raises(df.ConfigError, match="batch_size=0"):
        ImgReader(photos, 0)


def test_reading_as_they_are_and_saving_by_key(photos: Path, tmp_path: Path) -> None:
    reader = ImgReader(photos, 5, random=False, once=True, n_worker=0)
    with Pipeline([reader, ImgSaver(tmp_path / "out", ".png", n_worker=0)]) as p:
        assert p.wait()
    written = sorted((tmp_path / "out").iterdir(), key=lambda path: int(path.stem))
    assert [path.name for path in written] == [f"{i}.png" for i in range(SIZE)]
    for path, name in zip(written, reader.filenames, strict=True):
        assert np.array_equal(rgb(path), rgb(photos / name))

    reader = ImageFileReader(photos, 5, (60, 80), once=True, n_worker=0)
    saver = ImgSaver(tmp_path / "tree", ".png", enqueue=True, n_worker=0)
    with Pipeline([reader, saver]) as p:
        assert sum(len(images) for images, _ in p) == SIZE
    kept = {path.relative_to(photos) for path in photos.rglob("*.png")}
    assert {path.relative_to(tmp_path / "tree") for path in tmp_path.glob("tree/*/*")} == kept


def test_shuffled_with_two_images_of_other_sizes(photos: Path, tmp_path: Path) -> None:
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((5 + number, 6, 3), number, np.uint8))
    with Pipeline([ImgReader(tmp_path, 4, n_worker=0)]) as p:
        orders = set()
        for _ in range(20):
            batch = p.dequeue()
            assert [image.shape[0] - 5 for image in batch["images"]] == batch["keys"]
            assert sorted(batch["keys"]) == [0, 1, 2, 3]
            orders.add(tuple(batch["keys"]))
    assert len(orders) > 4


@pytest.mark.parametrize("key", ["../x", "/etc/x", "a/../../x", "", ".", "..", "a\0b", "a\\b"])
def test_keys_do_not_lead_out_of_the_folder(key: str, tmp_path: Path) -> None:
    folder = tmp_path / "in/out"
    batch = {"images": np.zeros((1, 4, 4, 3), np.uint8), "keys": [key]}
    flow = df.DataFromList([batch])
    with (
        Pipeline([FlowSource(flow, once=True), ImgSaver(folder, n_worker=0)]) as p,
        pytest.raises(df.DatapointError, match="no name of a file"),
    ):
        p.wait()
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "out"]


def test_the_latest_batch_to_look_at(tmp_path: Path) -> None:
    batches = [
        {"images": np.full((3 - i, 8, 9, channels), value, dtype)}
        for i, (channels, value, dtype) in enumerate([(1, 50, np.uint8), (3, 99.6, np.float32)])
    ]
    flow = df.DataFromList(batches, shuffle=False)
    with Pipeline([FlowSource(flow, once=True), ImgDumper(tmp_path, n_worker=0)]) as p:
        assert p.wait()
    found = [cv2.imread(str(tmp_path / f"{i}.jpg")) for i in range(3)]
    assert [int(image[0, 0, 0]) for image in found] == [100, 100, 50]
    assert len(list(tmp_path.iterdir())) == 3
    with pytest.raises(df.ConfigError, match="file_type"):
        ImgSaver(tmp_path, "jpg")
