"""YOLO: images with a text file each."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from optional import library

import dataflow as df
from dataflow.dataset import YOLO, FileImages

skimage = library("skimage")
DATA = Path(skimage.__file__).parent / "data"

PHOTOS = {"a.jpg": "chelsea.png", "deep/b.JPG": "coffee.png", "c.jpg": "rocket.jpg"}
HEIGHT, WIDTH = 60, 90
NAMES = ["person", "cat", "bottle"]

ROWS = {
    "a": "1 0.5 0.5 0.2 0.5\n\n  2\t0.1 0.5 0.2 1.0  \r\n",
    "deep/b": "0 0.1 0.1 0.3 0.1 0.3 0.5\n0 0 0 1 0 1 1 0 1",
    # c.jpg has none.
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The folder images/train, with labels/train beside it."""
    for name, file in PHOTOS.items():
        path = tmp_path / "images/train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = cv2.resize(cv2.imread(str(DATA / file)), (WIDTH, HEIGHT))
        cv2.imwrite(str(path), image)
    for name, text in ROWS.items():
        write(tmp_path, name, text)
    return tmp_path / "images/train"


def write(root: Path, name: str, text: str | bytes) -> Path:
    path = root / "labels/train" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def plain(datapoint: list[Any]) -> list[Any]:
    """To compare with."""
    return [
        (part.dtype.str, part.shape, part.tobytes()) if isinstance(part, np.ndarray) else part
        for part in datapoint
    ]


def epoch(ds: Any) -> list[Any]:
    return [plain(datapoint) for datapoint in ds]


def test_what_comes(images: Path) -> None:
    ds = YOLO(images, classes=NAMES, on_error="raise")
    assert isinstance(ds, FileImages) and len(ds) == 3 and ds.classes == tuple(NAMES)
    found = {dp[4]: dp for dp in ds}
    assert list(found) == ["a.jpg", "c.jpg", "deep/b.JPG"]
    for image, boxes, labels, crowd, _ in found.values():
        assert image.shape == (HEIGHT, WIDTH, 3) and image.dtype == np.uint8
        assert boxes.dtype == np.float32 and boxes.shape == (len(labels), 4)
        assert labels.dtype == np.int64 and crowd.dtype == np.bool_
        assert len(crowd) == len(labels) and not crowd.any()
    assert found["c.jpg"][1].shape == (0, 4)
    np.testing.assert_allclose(found["a.jpg"][1], [[36, 15, 54, 45], [0, 0, 18, 60]], atol=1e-4)
    assert found["a.jpg"][2].tolist() == [1, 2]
    np.testing.assert_allclose(found["deep/b.JPG"][1], [[9, 6, 27, 30], [0, 0, 90, 60]], atol=1e-4)


def test_masks(images: Path) -> None:
    write(images.parent.parent, "a", "1 0.4 0.25 0.6 0.25 0.6 0.75 0.4 0.75")
    first, second, third = YOLO(images, masks=True, on_error="raise")
    assert first[5].dtype == np.uint8 and first[5].shape == (1, HEIGHT, WIDTH)
    assert first[5][0, 15:45, 36:54].all() and first[5].sum() == 30 * 18
    assert second[5].shape == (0, HEIGHT, WIDTH) and second[5].dtype == np.uint8
    assert third[5][1].all() and third[5][0].sum() == pytest.approx(18 * 24 / 2, rel=0.1)
    file = write(images.parent.parent, "a", f"{ROWS['deep/b']}\n1 0.5 0.5 0.2 0.5")
    with pytest.raises(df.DatapointError, match=r"line 3: .* no mask can be made") as info:
        list(YOLO(images, masks=True, on_error="raise"))
    assert str(file) in str(info.value)


# -- however it runs -----------------------------------------------------------------------------


def test_processes_and_threads_give_the_same(images: Path) -> None:
    def make() -> YOLO:
        return YOLO(images, classes=NAMES, shuffle=True, on_error="raise")

    whole = epoch(make().seed(3))
    assert len(whole) == 3
    with df.PrefetchDataZMQ(make(), 2).seed(3) as ds:
        assert epoch(ds) == whole
    with make().parallel(3).seed(3) as ds:
        assert epoch(ds) == whole
    with df.PrefetchDataZMQ(make().parallel(2), 2).seed(3) as ds:
        assert epoch(ds) == whole
    ds = make().seed(3)
    assert [plain(ds[i]) for i in range(3)] == whole


def test_stopping_and_going_on(images: Path) -> None:
    whole = epoch(YOLO(images, shuffle=True).seed(3))
    ds = YOLO(images, shuffle=True).seed(3)
    begun = [plain(next(iter(ds)))]
    state = json.loads(json.dumps(ds.state_dict()))
    again = YOLO(images, shuffle=True)
    again.load_state_dict(state)
    assert begun + epoch(again) == whole


# -- where the text files are --------------------------------------------------------------------


def test_folders(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = images.parent.parent
    whole = epoch(YOLO(images, on_error="raise"))
    assert epoch(YOLO(images, root / "labels/train", on_error="raise")) == whole
    above = [[*dp[:4], dp[4].removeprefix("images/train/")] for dp in YOLO(root)]
    assert [plain(dp) for dp in above] == whole
    monkeypatch.chdir(images)
    assert epoch(YOLO(".", on_error="raise")) == whole
    for path in (root / "labels/train").rglob("*.txt"):  # beside their images
        path.rename(images / path.relative_to(root / "labels/train"))
    with pytest.raises(df.MissingData, match=r"labels/train/a.txt: give labels="):
        YOLO(images)
    assert epoch(YOLO(images, images, on_error="raise")) == whole
    images.rename(root / "photos")
    assert epoch(YOLO(root / "photos", on_error="raise")) == whole


def test_what_is_missing(images: Path, tmp_path: Path) -> None:
    with pytest.raises(df.MissingData, match="is not a folder; images="):
        YOLO(tmp_path / "none")
    with pytest.raises(df.MissingData, match="is not a folder; labels="):
        YOLO(images, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(df.MissingData, match="has no images"):
        YOLO(tmp_path / "empty")
    with pytest.raises(df.MissingData, match=r"no image of .* has a text file"):
        YOLO(images, tmp_path / "empty")


# -- the names of classes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "person\ncat\n\nbottle\n"),
        ("coco.names", "\ufeffperson\r\n  cat\r\nbottle"),
        ("data.yaml", "nc: 3\nnames: [person, cat, 'bottle']\n"),
        ("data.yml", "names:\n  - person\n  - cat\n  - bottle\n"),
        ("data.yaml", "path: ../x\nnames:\n  1: cat\n  0: person\n  2: bottle # green\n"),
    ],
)
def test_names_in_files(images: Path, tmp_path: Path, name: str, text: str) -> None:
    if not name.endswith((".txt", ".names")):
        library("yaml")
    (tmp_path / name).write_text(text)
    for kind in (str, Path):
        assert YOLO(images, classes=kind(tmp_path / name)).classes == tuple(NAMES)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classes.txt", "", "must have different names"),
        ("classes.txt", "a\na\n", "must have different names"),
        ("data.yaml", "a: [", "cannot be read as YAML"),
        ("data.yaml", "train: x", "names=None must be a list"),
        ("data.yaml", "[1]", "names=None must be a list"),
        ("data.yaml", "names: {1: a, 2: b}", "from 0 on"),
        ("data.yaml", "names: [yes, no]", "not True"),
        ("data.yaml", "names: !!python/object/apply:os.getcwd []", "cannot be read as YAML"),
    ],
)
def test_files_without_names(
    images: Path, tmp_path: Path, name: str, text: str, message: str
) -> None:
    if name.endswith(".yaml"):
        library("yaml")
    (tmp_path / name).write_text(text)
    with pytest.raises(df.ConfigError, match=message) as info:
        YOLO(images, classes=tmp_path / name)
    assert str(tmp_path / name) in str(info.value)


def test_other_names(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(df.MissingData, match="the file of the classes, is missing"):
        YOLO(images, classes=tmp_path / "none.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(df.ConfigError, match="cannot be read"):
        YOLO(images, classes=tmp_path / "binary.txt")
    for wrong in ([], ["a", "a"], ["a", 1]):
        with pytest.raises(df.ConfigError, match="must have different names"):
            YOLO(images, classes=wrong)
    unnamed = YOLO(images, on_error="raise")
    assert unnamed.classes == () and [dp[2].tolist() for dp in unnamed] == [[1, 2], [], [0, 0]]
    (tmp_path / "data.yaml").write_text("names: [a]")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(df.MissingExtra, match="pip install pyyaml"):
        YOLO(images, classes=tmp_path / "data.yaml")


# -- images that are turned ----------------------------------------------------------------------


@pytest.mark.parametrize("how", range(1, 9))
def test_numbers_are_of_the_image_as_decoded(images: Path, how: int) -> None:
    pillow = library("PIL.Image")
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[8:24, 16:40] = (255, 0, 0)
    exif = pillow.Exif()
    exif[274] = how
    pillow.fromarray(pixels).save(images / "a.jpg", exif=exif, quality=95)
    for heeded in (True, False):
        image = cv2.imread(
            str(images / "a.jpg"),
            cv2.IMREAD_COLOR | (0 if heeded else cv2.IMREAD_IGNORE_ORIENTATION),
        )
        height, width = image.shape[:2]
        rows, columns = np.nonzero(image[:, :, 2] > 128)
        x0, y0, x1, y1 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        x0, x1, y0, y1 = x0 / width, x1 / width, y0 / height, y1 / height
        write(images.parent.parent, "a", f"0 {x0} {y0} {x1} {y0} {x1} {y1} {x0} {y1}")
        found = next(iter(YOLO(images, masks=True, exif=heeded, on_error="raise")))
        assert found[0].shape == image.shape
        ours, columns = np.nonzero(found[5][0])
        assert found[0][:, :, 2][ours, columns].min() > 100
        around = [columns.min(), ours.min(), columns.max() + 1, ours.max() + 1]
        np.testing.assert_allclose(found[1][0], around, atol=1e-4)


# -- lines that are none -------------------------------------------------------------------------

GOOD = "1 0.5 0.5 0.2 0.5"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3 0.5 0.5 0.2 0.5", "from 0 to 2, as there are 3 classes"),
        ("-1 0.5 0.5 0.2 0.5", "whole number from 0"),
        ("0.5 0.5 0.5 0.2 0.5", "whole number"),
        ("nan 0.5 0.5 0.2 0.5", "whole number"),
        ("inf 0.5 0.5 0.2 0.5", "whole number"),
        ("cat 0.5 0.5 0.2 0.5", "must be of numbers"),
        ("1 0.5 0.5 0.2 0,5", "must be of numbers"),
        ("1,0.5,0.5,0.2,0.5", "must be of numbers"),
        ("1", "it has 0 numbers behind the class"),
        ("1 0.5 0.5 0.2", "it has 3 numbers"),
        ("1 0.5 0.5 0.2 0.5 0.9", "is the last one a confidence"),
        ("1 0.5 0.5 0.2 0.5 0.9 0.9 0.9", "it has 7 numbers"),
        ("1 45 30 18 30", "45 is not from 0 to 1"),
        ("1 0.5 0.5 0.2 nan", "nan is not from 0 to 1"),
        ("1 0.5 0.5 0.2 inf", "inf is not from 0 to 1"),
        ("1 -0.1 0.5 0.2 0.5", "-0.1 is not"),
        ("1 0.5 0.5 -0.005 0.5", "cannot be negative"),
        ("1 0.5 0.5 0.2 0.5 0.5 1.2", "1.2 is not"),
    ],
)
def test_lines_that_are_none(images: Path, line: str, message: str) -> None:
    file = write(images.parent.parent, "a", f"{GOOD}\n{line}\n")
    ds = YOLO(images, classes=NAMES)
    assert [dp[4] for dp in ds] == ["c.jpg", "deep/b.JPG"]
    ((error,)) = ds.errors()
    assert error.reason == "annotation" and error.url == str(file)
    with pytest.raises(df.DatapointError, match=message) as info:
        list(YOLO(images, classes=NAMES, on_error="raise"))
    assert f"{file}, line 2, {line!r}: " in str(info.value)


def test_files_that_are_none(images: Path) -> None:
    root = images.parent.parent
    write(root, "a", b"\xff\xfe1\x00")
    with pytest.raises(df.DatapointError, match="must be of numbers"):
        list(YOLO(images, on_error="raise"))
    path = write(root, "a", b" " * ((16 << 20) + 1))
    with pytest.raises(df.FetchError, match="larger than"):
        list(YOLO(images, on_error="raise"))
    path.unlink()
    path.mkdir()
    with pytest.raises(df.FetchError, match=r"labels/train/a.txt: ") as info:
        list(YOLO(images, on_error="raise"))
    assert info.value.reason == "unreadable"


def test_boxes_at_the_edge(images: Path) -> None:
    write(images.parent.parent, "a", "0 0 0.5 0.2 1\n1 1.005 0.5 0.02 1\n2 0.5 0.5 0 0.1\n")
    with YOLO(images, on_error="raise") as ds:
        boxes, labels = next(iter(ds))[1:3]
        np.testing.assert_allclose(boxes, [[0, 0, 9, 60], [89.55, 0, 90, 60]], atol=1e-4)
        assert labels.tolist() == [0, 1]
    with YOLO(images, on_error="raise") as ds:
        assert len(list(ds)) == 3
        assert sum(row.get("dropped_objects", 0) for row in ds.stats()["stages"]) == 1


def test_images_that_cannot_be_used(images: Path) -> None:
    (images / "c.jpg").write_bytes(b"<html>")
    ds = YOLO(images)
    assert len(list(ds)) == 2
    assert [(e.reason, e.url) for e in ds.errors()] == [("not_image", str(images / "c.jpg"))]
    with pytest.raises(df.ConfigError, match="without their boxes"):
        YOLO(images, decode="enough")
    with pytest.raises(TypeError, match="no option 'size'"):
        YOLO(images, size=3)
