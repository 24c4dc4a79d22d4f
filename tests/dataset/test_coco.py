"""COCO, a tiny one of real photographs and of drawn ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from optional import library

import dataflow as df
from dataflow import imgaug
from dataflow.dataset import COCO, FileImages

skimage = library("skimage")
DATA = Path(skimage.__file__).parent / "data"

PHOTOS = {"a.jpg": "chelsea.png", "deep/b.jpg": "coffee.png", "c.jpg": "rocket.jpg"}
HEIGHT, WIDTH = 60, 90

CATEGORIES = [
    {"id": 44, "name": "bottle"},
    {"id": 1, "name": "person", "keypoints": ["nose", "left_eye"]},
    {"id": 17, "name": "cat"},
]
SQUARE = [16.0, 5.0, 75.0, 5.0, 75.0, 60.0, 16.0, 60.0]
RUNS = {"size": [HEIGHT, WIDTH], "counts": [10 * HEIGHT, 2 * HEIGHT, (WIDTH - 12) * HEIGHT]}


def annotation(image: Any, category: int = 17, **more: Any) -> dict[str, Any]:
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [16, 5, 59, 55],
        "iscrowd": 0,
        "segmentation": [SQUARE],
        **more,
    }


ANNOTATIONS = [
    annotation(7, id=101, bbox=[10, 0, 2, 60], iscrowd=1, segmentation=RUNS),
    annotation(3, id=102),
    annotation(
        *(7, 1),
        id=103,
        bbox=[0.5, 1, 30.25, 4],
        keypoints=[4, 5, 2, 0, 0, 0],
        segmentation=[[0, 0, 4, 0, 4, 4, 0, 4], [2, 2, 8, 2, 8, 8, 2, 8]],
    ),
]


def document(annotations: Any = ANNOTATIONS, **more: Any) -> dict[str, Any]:
    ids = (7, 3, 100_000_000_000)
    images = [
        {"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH}
        for number, name in zip(ids, PHOTOS, strict=True)
    ]
    found = {"info": {"year": 2017}, "images": images, "annotations": annotations}
    return {**found, "categories": CATEGORIES, **more}


def write(root: Path, content: Any) -> Path:
    path = root / "annotations/instances_tiny2017.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder with the folders annotations and tiny2017."""
    for name, file in PHOTOS.items():
        path = tmp_path / "tiny2017" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = cv2.resize(cv2.imread(str(DATA / file)), (WIDTH, HEIGHT))
        cv2.imwrite(str(path), image)
    write(tmp_path, document())
    return tmp_path


@pytest.fixture
def file(root: Path) -> Path:
    return root / "annotations/instances_tiny2017.json"


def plain(datapoint: list[Any]) -> list[Any]:
    """To compare with."""
    return [
        (part.dtype.str, part.shape, part.tobytes()) if isinstance(part, np.ndarray) else part
        for part in datapoint
    ]


def epoch(ds: Any) -> list[Any]:
    return [plain(datapoint) for datapoint in ds]


def test_what_comes(file: Path) -> None:
    ds = COCO(file, on_error="raise")
    assert isinstance(ds, FileImages) and len(ds) == 3
    assert ds.classes == ("person", "cat", "bottle") and ds.category_ids == (1, 17, 44)
    assert ds.image_ids == [7, 3, 100_000_000_000]
    found = list(ds)
    for image, boxes, labels, crowd, number in found:
        assert image.shape == (HEIGHT, WIDTH, 3) and image.dtype == np.uint8
        assert boxes.dtype == np.float32 and boxes.shape == (len(labels), 4)
        assert labels.dtype == np.int64 and crowd.dtype == np.bool_
        assert len(crowd) == len(labels) and type(number) is int
    assert [dp[1].tolist() for dp in found] == [
        [[10, 0, 12, 60], [0.5, 1, 30.75, 5]],
        [[16, 5, 75, 60]],
        [],
    ]
    assert [dp[2].tolist() for dp in found] == [[1, 0], [1], []]
    assert [dp[3].tolist() for dp in found] == [[True, False], [False], []]
    assert [dp[4] for dp in found] == ds.image_ids
    expected = cv2.imread(str(file.parent.parent / "tiny2017/a.jpg"))
    assert np.abs(found[0][0].astype(int) - expected).max() <= 3
    assert found[0][1].flags.writeable


def test_masks_and_key_points(file: Path) -> None:
    first, second, third = COCO(file, masks=True, keypoints=True, on_error="raise")
    masks, points = first[5:]
    assert masks.dtype == np.uint8 and masks.shape == (2, HEIGHT, WIDTH)
    assert points.dtype == np.float32 and points.shape == (2, 2, 3)
    assert masks[0, :, 10:12].all() and masks[0].sum() == 2 * HEIGHT
    assert masks[1].sum() == 4 * 4 + 6 * 6 - 2 * 2 and masks[1, 3, 3] == 1  # united
    assert points.tolist() == [[[0, 0, 0], [0, 0, 0]], [[4, 5, 2], [0, 0, 0]]]
    assert second[5][0].sum() == 59 * 55 and second[5][0, 5:60, 16:75].all()
    assert third[5].shape == (0, HEIGHT, WIDTH) and third[5].dtype == np.uint8
    assert third[6].shape == (0, 2, 3) and third[6].dtype == np.float32
    assert COCO(file).keypoint_names == {"person": ("nose", "left_eye")}
    only = next(iter(COCO(file, keypoints=True)))
    assert len(only) == 6 and only[5].shape == (2, 2, 3)


def test_crowds_can_be_dropped(file: Path) -> None:
    first, *_ = COCO(file, masks=True, crowd="drop", on_error="raise")
    assert first[2].tolist() == [0] and first[3].tolist() == [False] and len(first[5]) == 1
    with pytest.raises(df.ConfigError, match="crowd='drp'"):
        COCO(file, crowd="drp")  # type: ignore[arg-type]


# -- however it runs -----------------------------------------------------------------------------

ALL: dict[str, Any] = {"masks": True, "keypoints": True, "on_error": "raise"}


def test_processes_and_threads_give_the_same(file: Path) -> None:
    whole = epoch(COCO(file, shuffle=True, **ALL).seed(3))
    with df.PrefetchDataZMQ(COCO(file, shuffle=True, **ALL), 2).seed(3) as ds:
        assert epoch(ds) == whole
    with COCO(file, shuffle=True, **ALL).parallel(3).seed(3) as ds:
        assert epoch(ds) == whole
    with df.PrefetchDataZMQ(COCO(file, shuffle=True, **ALL).parallel(2), 2).seed(3) as ds:
        assert epoch(ds) == whole
    ds = COCO(file, shuffle=True, **ALL).seed(3)
    assert epoch(ds) == whole
    ds = COCO(file, shuffle=True, **ALL).seed(3)
    assert [plain(ds[i]) for i in range(3)] == whole


def test_stopping_and_going_on(file: Path) -> None:
    whole = epoch(COCO(file, shuffle=True, **ALL).seed(3))
    ds = COCO(file, shuffle=True, **ALL).seed(3)
    begun = [plain(next(iter(ds)))]
    state = json.loads(json.dumps(ds.state_dict()))
    again = COCO(file, shuffle=True, **ALL)
    again.load_state_dict(state)
    assert begun + epoch(again) == whole


def test_keys_are_small_and_parts_are_parts(file: Path) -> None:
    ds = COCO(file)
    place = str(file.parent.parent / "tiny2017")
    assert list(ds.keys()) == [[f"{place}/{name}", i] for i, name in enumerate(PHOTOS)]
    parts = [COCO(file, on_error="raise").partitioning(2, index) for index in range(2)]
    assert [[dp[4] for dp in part] for part in parts] == [[7, 100_000_000_000], [3]]


def test_what_failed_can_be_tried_again(root: Path, file: Path) -> None:
    path = root / "tiny2017/a.jpg"
    data = path.read_bytes()
    for broken, reason in (
        (b"<html>", "not_image"),
        (data[:300], "truncated"),
        (None, "not_found"),
    ):
        path.unlink() if broken is None else path.write_bytes(broken)
        ds = COCO(file, masks=True)
        assert [dp[4] for dp in ds] == [3, 100_000_000_000]
        ((error,)) = ds.errors()
        assert error.reason == reason and error.url == str(path)
        path.write_bytes(data)
        with ds.retry_failed() as again:
            assert [dp[4] for dp in again] == [7]


def test_along_with_augmentors(file: Path) -> None:
    ds = COCO(file, **ALL)
    ds = df.AugmentSample(
        *(ds, [imgaug.Flip(horiz=True, prob=1)]), boxes=1, along=(2, 3), instances=5, points=6
    )
    with df.BatchData(ds.prefetch(1, ordered=True), 3, use_list=True) as batches:
        ((_, boxes, _, crowd, _, masks, points),) = batches
    assert boxes[0].tolist() == [[78, 0, 80, 60], [59.25, 1, 89.5, 5]]
    assert masks[0][0, :, 78:80].all() and points[0][1, 0].tolist() == [86, 5, 2]
    assert crowd[0].tolist() == [True, False]


# -- images that are turned ----------------------------------------------------------------------


def turned_set(root: Path, how: int, size: tuple[int, int] | None, **more: Any) -> Path:
    """A red square in an image of 60×90 pixels as stored, which is to be turned."""
    pillow = library("PIL.Image")
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[8:24, 16:40] = (255, 0, 0)
    exif = pillow.Exif()
    exif[274] = how
    pillow.fromarray(pixels).save(root / "tiny2017/a.jpg", exif=exif, quality=95)
    image: dict[str, Any] = {"id": 0, "file_name": "a.jpg"}
    if size is not None:
        image |= {"height": size[0], "width": size[1]}
    return write(root, document([annotation(0, 1, id=5, **more)], images=[image]))


def red(image: np.ndarray) -> list[float]:
    """The box around what is red."""
    rows, columns = np.nonzero(image[:, :, 2] > 128)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def check(ds: COCO) -> tuple[int, int]:
    """Whether all is where the red is; the size of the image."""
    ((image, boxes, _, _, _, masks, points),) = ds
    np.testing.assert_allclose(boxes[0], red(image), atol=1)
    rows, columns = np.nonzero(masks[0])
    around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert around == boxes[0].tolist()
    assert masks.shape[1:] == image.shape[:2]
    x, y, seen = points[0, 0].tolist()
    assert boxes[0][0] < x < boxes[0][2] and boxes[0][1] < y < boxes[0][3] and seen == 2
    assert image[int(y), int(x), 2] > 128
    assert points[0, 1].tolist() == [0, 0, 0]
    height, width = image.shape[:2]
    return height, width


STORED: dict[str, Any] = {
    "bbox": [16, 8, 24, 16],
    "segmentation": [[16, 8, 40, 8, 40, 24, 16, 24]],
    "keypoints": [18, 10, 2, 0, 0, 0],
}
UPRIGHT: dict[str, Any] = {  # of 90×60 pixels, turned by 6
    "bbox": [36, 16, 16, 24],
    "segmentation": [[36, 16, 52, 16, 52, 40, 36, 40]],
    "keypoints": [50, 18, 2, 0, 0, 0],
}


@pytest.mark.parametrize("how", range(1, 9))
@pytest.mark.parametrize("exif", [True, False])
def test_all_turns_with_the_image(root: Path, how: int, exif: bool) -> None:
    """What is of the pixels as stored, whether or not their size is told."""
    for size in (None, (60, 90), (0, 0)):
        file = turned_set(root, how, size, **STORED)
        assert check(COCO(file, exif=exif, **ALL)) == ((90, 60) if exif and how >= 5 else (60, 90))


@pytest.mark.parametrize("exif", [True, False])
def test_what_was_drawn_the_right_way_up(root: Path, exif: bool) -> None:
    file = turned_set(root, 6, (90, 60), **UPRIGHT)
    assert check(COCO(file, exif=exif, **ALL)) == ((90, 60) if exif else (60, 90))


def test_sizes_that_disagree(root: Path) -> None:
    file = turned_set(root, 6, (100, 50), **STORED)
    with pytest.raises(df.DatapointError) as info:
        list(COCO(file, on_error="raise"))
    said = str(info.value)
    assert "of an image of 100×50 pixels" in said and "60×90, or 90×60 turned" in said
    assert str(file) in said and str(root / "tiny2017/a.jpg") in said
    assert info.value.reason == "size" and info.value.url == str(root / "tiny2017/a.jpg")
    with df.PrefetchDataZMQ(COCO(file), 1) as ds, pytest.raises(df.TooManyErrors, match="size 1"):
        list(ds)


def test_masks_of_images_that_are_too_large(file: Path) -> None:
    """They are refused before anything of their size is made."""
    ds = COCO(file, masks=True, max_pixels=HEIGHT * WIDTH - 1)
    with pytest.raises(df.TooManyErrors, match="too_large 3"):
        list(ds)


# -- what cannot be used -------------------------------------------------------------------------


def test_boxes_are_clipped_and_those_outside_counted(root: Path) -> None:
    boxes = [[-5, 10, 20, 100], [95, 1, 4, 4], [10, 10, 0, 5], [1, 1, 2, 2]]
    file = write(root, document([annotation(3, id=i, bbox=box) for i, box in enumerate(boxes)]))
    with COCO(file, masks=True, on_error="raise") as ds:
        found = list(ds)[1]
        assert found[1].tolist() == [[0, 10, 15, 60], [1, 1, 3, 3]]
        assert [len(part) for part in (found[2], found[3], found[5])] == [2, 2, 2]
        assert sum(row.get("dropped_objects", 0) for row in ds.stats()["stages"]) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [1, 2, 3]}, r"bbox=\[1, 2, 3\] must be"),
        ({"bbox": [1, 2, -3, 4]}, "not negative"),
        ({"bbox": [1, 2, float("nan"), 4]}, "finite"),
        ({"bbox": [1, 2, 10**400, 4]}, "must be"),
        ({"bbox": None}, "bbox=None"),
        ({"bbox": "wide"}, "bbox='wide'"),
        ({"category_id": 5}, "none of the categories"),
        ({"category_id": [5]}, "none of the categories"),
        ({"category_id": None}, "none of the categories"),
        ({"iscrowd": 2}, "iscrowd=2"),
        ({"iscrowd": [1]}, "iscrowd="),
        ({"segmentation": []}, "empty"),
        ({"segmentation": [[1, 2, 3, 4]]}, "three points"),
        ({"segmentation": {"size": [60, 91], "counts": [5460]}}, r"60×91 .*not of 60×90"),
        ({"segmentation": {"size": [60, 90], "counts": [5401]}}, "5401 pixels"),
        ({"segmentation": {"size": [60, 90], "counts": "0x"}}, "'x'"),
        ({"keypoints": [1, 2, 2]}, "3 numbers in keypoints; its category has 0"),
        ({"category_id": 1, "keypoints": [1, 2, 2]}, "its category has 2 points"),
        ({"category_id": 1, "keypoints": [1, 2, 3, 0, 0, 0]}, "visibility"),
        ({"category_id": 1, "keypoints": "nose"}, "keypoints='nose'"),
    ],
)
def test_annotations_that_are_none(root: Path, change: dict[str, Any], message: str) -> None:
    """The image fails, and the others come."""
    bad = {**annotation(3, id=77), **change}
    file = write(root, document([*ANNOTATIONS[::2], bad]))
    ds = COCO(file, masks=True, keypoints=True)
    assert [dp[4] for dp in ds] == [7, 100_000_000_000]
    ((error,)) = ds.errors()
    assert (error.reason, error.url) == ("annotation", str(root / "tiny2017/deep/b.jpg"))
    with pytest.raises(df.DatapointError, match=message) as info:
        list(COCO(file, masks=True, keypoints=True, on_error="raise"))
    said = str(info.value)
    assert f"{file}: annotation 77, of {root}/tiny2017/deep/b.jpg: " in said


def test_what_is_not_asked_for_is_not_looked_at(root: Path) -> None:
    bad = annotation(3, segmentation=[], keypoints=[1])
    assert len(list(COCO(write(root, document([bad])), on_error="raise"))) == 3


def test_annotations_without_an_id(root: Path) -> None:
    file = write(root, document([*ANNOTATIONS, annotation(3, bbox=[])]))
    with pytest.raises(df.DatapointError, match="annotation number 4, of"):
        list(COCO(file, on_error="raise"))


def test_annotations_of_no_image_are_told_of(root: Path) -> None:
    lost = [annotation(image, id=900 + i) for i, image in enumerate((8, "no 3", None, [3]))]
    file = write(root, document([*lost, *ANNOTATIONS]))
    with pytest.warns(RuntimeWarning, match=r"4 of 7 annotations .* first of them annotation 900"):
        ds = COCO(file, on_error="raise")
    assert [dp[2].tolist() for dp in ds] == [[1, 0], [1], []]


def test_ids_that_are_text_and_annotations_first(root: Path) -> None:
    images = [{"id": f"no {i}", "file_name": name} for i, name in enumerate(PHOTOS)]
    content = {
        "annotations": [annotation("no 2")],
        "categories": CATEGORIES,
        "images": images,
    }
    found = list(COCO(write(root, content), on_error="raise"))
    assert [(dp[4], len(dp[1])) for dp in found] == [("no 0", 0), ("no 1", 0), ("no 2", 1)]


def test_numbers_that_are_written_otherwise(root: Path) -> None:
    """As pandas writes columns with gaps, and as text."""
    plain = [annotation(image) for image in (7, 3, 9)]
    others = [{**one, "image_id": float(one["image_id"])} for one in plain]
    texts = [
        {**one, "image_id": str(one["image_id"]), "category_id": str(one["category_id"])}
        for one in plain
    ]
    wanted = [dp[1:3] for dp in COCO(write(root, document(plain)), on_error="raise")]
    for written in (others, texts):
        found = [dp[1:3] for dp in COCO(write(root, document(written)), on_error="raise")]
        for (boxes, labels), (its_boxes, its_labels) in zip(found, wanted, strict=True):
            assert boxes.tolist() == its_boxes.tolist() and labels.tolist() == its_labels.tolist()
        assert sum(len(labels) for _, labels in found)


def image(**more: Any) -> list[Any]:
    return [{"id": 1, "file_name": "a.jpg", **more}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ([annotation(1)], "it may be one of results"),
        ({"images": [], "annotations": []}, "no list 'categories'"),
        (document(images=[]), "no images"),
        (document(images=[annotation(1)]), "annotations elsewhere"),
        (document([{"id": 1, "bbox": [1, 2, 3, 4]}]), r"annotations\[0\].* must have an image_id"),
        (document([{"id": 1, "image_id": 7, "caption": "A cat."}]), "no annotation can be used"),
        (document(images=[*image(), *image()]), "the id 1 is that of two images"),
        (document([], images=image(file_name="/etc/passwd")), r"images\[0\].* below the folder"),
        (document([], images=image(file_name="a/../../b.jpg")), "below the folder"),
        (document([], images=image(file_name="")), "below the folder"),
        (document([], images=image(id=None)), "must have an id"),
        (document([], images=["a.jpg"]), "must have an id"),
        (document(categories=[{"id": 1}]), r"categories\[0\]=.* and a name"),
        (document(categories=[CATEGORIES[0]] * 2), "no other has"),
    ],
)
def test_files_that_are_none(root: Path, content: Any, message: str) -> None:
    file = write(root, content)
    with pytest.raises(df.ConfigError, match=message) as info:
        COCO(file, root)
    assert str(file) in str(info.value)


def test_folders(root: Path, file: Path) -> None:
    with pytest.raises(df.MissingData, match=r"missing.json is missing; expected is"):
        COCO(root / "missing.json")
    with pytest.raises(df.MissingData, match="is not a folder; images= has to be"):
        COCO(file, root / "none")
    beside = root / "tiny2017/_annotations.coco.json"
    beside.write_bytes(file.read_bytes())
    assert len(list(COCO(beside, on_error="raise"))) == 3
    (root / "images").mkdir()
    (root / "tiny2017").rename(root / "images/tiny2017")
    assert len(list(COCO(file, on_error="raise"))) == 3
    assert len(list(COCO(str(file), str(root / "images/tiny2017"), on_error="raise"))) == 3
    (root / "images/tiny2017").rename(root / "elsewhere")
    with pytest.raises(df.MissingData, match=r"a.jpg, the first image of .* give images="):
        COCO(file)


def test_arguments(root: Path, file: Path) -> None:
    with pytest.raises(df.ConfigError, match="without their boxes"):
        COCO(file, decode="enough")
    ds = COCO(file)
    ds.decode = "enough"
    with pytest.raises(df.ConfigError, match="without their boxes"):
        list(ds)
    with pytest.raises(TypeError, match="no option 'size'"):
        COCO(file, size=3)
    with pytest.raises(df.ConfigError, match=r"no category of .* has key points"):
        COCO(write(root, document(categories=CATEGORIES[2:])), keypoints=True)
    grey = next(iter(COCO(write(root, document()), mode="grey", on_error="raise")))
    assert grey[0].shape[:2] == (HEIGHT, WIDTH)


def test_many_annotations_take_little_memory(root: Path) -> None:
    rows = [annotation(7, id=i, bbox=[i % 80, 1, 2, 3]) for i in range(20_000)]
    ds = COCO(write(root, document(rows)), on_error="raise")
    held = sum(part.nbytes for part in ds._packed if isinstance(part, np.ndarray))
    assert held < 34 * len(rows)
    assert ds[0][1].shape == (20_000, 4) and len(ds[1][1]) == 0
