"""PASCAL VOC, a tiny one of real photographs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from optional import library

import dataflow as df
from dataflow import imgaug
from dataflow.dataset import PascalVOC
from dataflow.dataset.voc import VOC_CLASSES, read_annotation

skimage = library("skimage")
DATA = Path(skimage.__file__).parent / "data"

# Name, box and difficulty, as the files have them: pixels from 1 on, the last one inside.
Objects = list[tuple[str, tuple[object, object, object, object], str]]
IMAGES: dict[str, tuple[str, Objects]] = {
    "2008_000001": ("chelsea.png", [("cat", (17, 5, 75, 60), "0")]),
    "2008_000002": (
        "coffee.png",
        [("diningtable", (1, 1, 90, 60), "1"), ("bottle", (10.5, 2, "30.25", 4), "0")],
    ),
    "2008_000003": ("rocket.jpg", []),
}


def annotation(objects: Objects) -> str:
    rows = "".join(
        f"<object><name>{name}</name><part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
        f"<difficult>{hard}</difficult><bndbox>"
        + "".join(
            f"<{side}>{value}</{side}>"
            for side, value in zip(("xmax", "xmin", "ymax", "ymin"), sides, strict=True)
        )
        + "</bndbox></object>"
        for name, (x0, y0, x1, y1), hard in objects
        for sides in [(x1, x0, y1, y0)]
    )
    return f"<annotation><folder>VOC2012</folder>{rows}</annotation>"


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """The folder with VOCdevkit in it."""
    root = tmp_path / "VOCdevkit/VOC2012"
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    for name, (file, objects) in IMAGES.items():
        image = cv2.resize(cv2.imread(str(DATA / file)), (90, 60), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(root / f"JPEGImages/{name}.jpg"), image)
        (root / f"Annotations/{name}.xml").write_text(annotation(objects))
    first, *rest = IMAGES
    for split, names in {"train": [first], "val": rest, "trainval": list(IMAGES)}.items():
        (root / f"ImageSets/Main/{split}.txt").write_text("".join(f"{n}\n" for n in names))
    return tmp_path


def test_images_boxes_labels(kit: Path) -> None:
    ds = PascalVOC(kit, split="trainval", shuffle=False, on_error="raise")
    assert ds.ids == list(IMAGES) and len(ds) == 3
    assert ds.classes == VOC_CLASSES == tuple(sorted(VOC_CLASSES)) and len(VOC_CLASSES) == 20
    found = list(ds)
    for image, boxes, labels, difficult in found:
        assert image.shape == (60, 90, 3) and image.dtype == np.uint8
        assert boxes.dtype == np.float32 and boxes.shape == (len(labels), 4)
        assert labels.dtype == np.int64 and difficult.dtype == np.bool_
    assert [dp[1].tolist() for dp in found] == [
        [[16, 4, 75, 60]],
        [[0, 0, 90, 60], [9.5, 1, 30.25, 4]],
        [],
    ]
    names = [[VOC_CLASSES[label] for label in dp[2]] for dp in found]
    assert names == [["cat"], ["diningtable", "bottle"], []]
    assert [dp[3].tolist() for dp in found] == [[False], [True, False], []]
    assert ds[1][1].tolist() == found[1][1].tolist()
    with ds.parallel(2, ordered=True) as threads:
        assert [dp[1].tolist() for dp in threads] == [dp[1].tolist() for dp in found]


def test_folders_splits_and_orders(kit: Path) -> None:
    for folder in (kit, kit / "VOCdevkit", kit / "VOCdevkit/VOC2012"):
        assert len(PascalVOC(folder, "2012", "val")) == 2
    assert PascalVOC(kit).shuffle and not PascalVOC(kit, split="val").shuffle
    with pytest.raises(df.ConfigError, match="split='all'"):
        PascalVOC(kit, split="all")
    for missing in (lambda: PascalVOC(kit / "none"), lambda: PascalVOC(kit, split="test")):
        with pytest.raises(df.MissingData, match="VOCdevkit/VOC2012 with the folders"):
            missing()
    with pytest.raises(df.MissingData, match="VOCdevkit/VOC2007"):
        PascalVOC(kit, 2007)
    with pytest.raises(df.ConfigError, match="different names"):
        PascalVOC(kit, classes=["a", "a"])
    listing = kit / "VOCdevkit/VOC2012/ImageSets/Main/test.txt"
    for text in ("", "../../etc/x\n"):
        listing.write_text(text)
        with pytest.raises(df.MissingData, match="names no image"):
            PascalVOC(kit, split="test")


def test_augmented_batches_from_a_process(kit: Path) -> None:
    ds = PascalVOC(kit, split="trainval", shuffle=False, on_error="raise")
    ds = df.AugmentImageBoxes(ds, [imgaug.Flip(horiz=True, prob=1)], along=(2, 3))
    with df.BatchData(ds.prefetch(1, ordered=True), 3, use_list=True) as batches:
        ((images, boxes, _, difficult),) = batches
    assert len(images) == 3
    assert [one.tolist() for one in boxes] == [
        [[15, 4, 74, 60]],
        [[0, 0, 90, 60], [59.75, 1, 80.5, 4]],
        [],
    ]
    assert [len(one) for one in difficult] == [1, 2, 0]


def test_boxes_are_clipped_to_the_image(kit: Path) -> None:
    path = kit / "VOCdevkit/VOC2012/Annotations/2008_000001.xml"
    path.write_text(annotation([("cat", (0, 30, 95, 70), "0"), ("dog", (200, 1, 210, 9), "0")]))
    ((_, boxes, labels, difficult),) = PascalVOC(kit, on_error="raise")
    assert boxes.tolist() == [[0, 29, 90, 60]]
    assert labels.tolist() == [7] and difficult.tolist() == [False]


def test_other_classes(kit: Path) -> None:
    path = kit / "VOCdevkit/VOC2012/Annotations/2008_000001.xml"
    path.write_text(annotation([("whale", (1, 1, 9, 9), "0")]))
    ((_, _, labels, _),) = PascalVOC(kit, classes=["shark", "whale"], on_error="raise")
    assert labels.tolist() == [1]
    ds = PascalVOC(kit)
    with pytest.raises(df.TooManyErrors, match="'whale', which is none of the classes"):
        list(ds)
    assert ds.stats()["errors"] == {"annotation": 1}


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "ha">'
    + "".join(f'<!ENTITY b{i} "{f"&b{i - 1 if i else str()};" * 10}">' for i in range(12))
    + "]><annotation>&b11;</annotation>"
)
OUTSIDE = '<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>'
BOX = "<object><name>cat</name><bndbox><xmin>{}</xmin>{}</bndbox></object>"
REST = "<ymin>1</ymin><xmax>5</xmax><ymax>5</ymax>"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LAUGHS.encode(), "declares a document type"),
        (LAUGHS.replace("?>", ' encoding="utf-16"?>').encode("utf-16"), "declares a document type"),
        (OUTSIDE.encode(), "declares a document type"),
        (b"<annotation>&b;</annotation>", "undefined entity"),
        (b"", "no element"),
        (b"<annotation", "unclosed"),
        (b'<?xml version="1.0" encoding="none"?><annotation/>', "encoding"),
        (b"<a>" + BOX.format("nan", REST).encode() + b"</a>", "nan"),
        (b"<a>" + BOX.format("1e999", REST).encode() + b"</a>", "inf"),
        (b"<a>" + BOX.format("7", REST).encode() + b"</a>", "'cat' has the box"),
        (b"<a>" + BOX.format("7", "").encode() + b"</a>", "no bndbox/ymin"),
        (b"<a><object/></a>", "no bndbox/xmin"),
        (b"<a>" + b" " * (1 << 20) + b"</a>", "larger than"),
    ],
)
def test_annotations_that_are_none(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(df.DatapointError, match=message):
        read_annotation(tmp_path / "a.xml")


def test_annotations_that_are_missing(kit: Path) -> None:
    (kit / "VOCdevkit/VOC2012/Annotations/2008_000002.xml").unlink()
    ds = PascalVOC(kit, split="val")
    assert len(list(ds)) == 1
    assert ds.stats()["errors"] == {"not_found": 1}


# -- images that are turned ----------------------------------------------------------------------


def turned_kit(kit: Path, how: int, size: tuple[int, int] | None, box: tuple[int, ...]) -> Path:
    """A red square in an image of 60×90 pixels as stored, which is to be turned."""
    from PIL import Image

    root = kit / "VOCdevkit/VOC2012"
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[8:24, 16:40] = (255, 0, 0)
    exif = Image.Exif()
    exif[274] = how
    Image.fromarray(pixels).save(root / "JPEGImages/2008_000001.jpg", exif=exif, quality=95)
    text = annotation([("cat", box, "0")])  # type: ignore[list-item]
    if size is not None:
        tag = f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>"
        text = text.replace("<folder>", tag + "<folder>")
    (root / "Annotations/2008_000001.xml").write_text(text)
    return kit


def red(image: np.ndarray) -> list[float]:
    """The box around what is red."""
    rows, columns = np.nonzero(image[:, :, 2] > 128)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("how", range(1, 9))
@pytest.mark.parametrize("exif", [True, False])
def test_boxes_turn_with_the_image(kit: Path, how: int, exif: bool) -> None:
    """Those of the pixels as stored, whether or not their size is told."""
    for size in (None, (60, 90), (0, 0)):
        turned_kit(kit, how, size, (17, 9, 40, 24))
        ((image, boxes, _, _),) = PascalVOC(kit, exif=exif, on_error="raise")
        assert image.shape[:2] == ((90, 60) if exif and how >= 5 else (60, 90))
        np.testing.assert_allclose(boxes[0], red(image), atol=1)


def test_boxes_that_were_drawn_the_right_way_up(kit: Path) -> None:
    turned_kit(kit, 6, (90, 60), (37, 17, 52, 40))  # of the turned image
    ((image, boxes, _, _),) = PascalVOC(kit, on_error="raise")
    np.testing.assert_allclose(boxes[0], red(image), atol=1)
    ((image, boxes, _, _),) = PascalVOC(kit, exif=False, on_error="raise")
    np.testing.assert_allclose(boxes[0], red(image), atol=1)


def test_sizes_that_disagree(kit: Path) -> None:
    turned_kit(kit, 6, (100, 50), (17, 9, 40, 24))
    with pytest.raises(df.DataFlowError) as info:
        list(PascalVOC(kit, on_error="raise"))
    said = str(info.value)
    assert "of an image of 100×50 pixels" in said and "60×90, or 90×60 turned" in said
    (kit / "VOCdevkit/VOC2012/ImageSets/Main/train.txt").write_text("2008_000001\n2008_000003\n")
    with PascalVOC(kit, on_error="skip", shuffle=False) as ds:
        assert len(list(ds)) == 1
        assert [error.reason for error in ds.errors()] == ["size"]


def test_dropped_objects_are_counted(kit: Path) -> None:
    turned_kit(kit, 1, None, (200, 9, 240, 24))
    with PascalVOC(kit, on_error="raise") as ds:
        ((_, boxes, _, _),) = ds
        assert len(boxes) == 0
        assert sum(row.get("dropped_objects", 0) for row in ds.stats()["stages"]) == 1


def test_names_with_blanks_and_other_endings(kit: Path) -> None:
    root = kit / "VOCdevkit/VOC2012"
    name = "my photo 1"
    (root / f"Annotations/{name}.xml").write_text(annotation([]))
    cv2.imwrite(str(root / f"JPEGImages/{name}.png"), np.zeros((5, 6, 3), np.uint8))
    (root / "ImageSets/Main/train.txt").write_text(f"{name}\n")
    ds = PascalVOC(kit, on_error="raise")
    assert ds.ids == [name]
    ((image, _, _, _),) = ds
    assert image.shape == (5, 6, 3)
    (root / "ImageSets/Main/train.txt").write_text(f"{name}  1\n{name} -1\n")
    assert PascalVOC(kit, on_error="raise").ids == [name, name]


def test_enough_is_refused(kit: Path) -> None:
    with pytest.raises(df.ConfigError, match="without their boxes"):
        PascalVOC(kit, decode="enough")


def test_boxes_of_imagenet(kit: Path) -> None:
    from dataflow.dataset import ILSVRC12

    turned_kit(kit, 6, (60, 90), (17, 9, 40, 24))
    root = kit / "VOCdevkit/VOC2012"
    listed = [("2008_000001.jpg", 0)]
    (plain,) = ILSVRC12.get_training_bbox(root / "Annotations", listed)
    assert plain is not None and plain.tolist() == [17, 9, 40, 24]
    (box,) = ILSVRC12.get_training_bbox(root / "Annotations", listed, root / "JPEGImages")
    assert box is not None and box.tolist() == [36, 17, 51, 40]
