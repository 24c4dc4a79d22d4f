"""Boxes that follow what they are around."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflow as df
from dataflow import imgaug
from dataflow.image.boxes import clipped

HEIGHT, WIDTH = 60, 90

# What moves pixels; those of which one shifts by half a pixel, or smooths edges, blur by one.
AUGMENTORS = [
    imgaug.Flip(horiz=True),
    imgaug.Flip(vert=True),
    imgaug.Transpose(),
    imgaug.RandomCrop((40, 50)),
    imgaug.CenterCrop((40, 60)),
    imgaug.RandomCropRandomShape(30, 30),
    imgaug.Resize((50, 110)),
    imgaug.RandomResize((0.7, 1.5), aspect_ratio_thres=0),
    imgaug.GoogleNetRandomCropAndResize((0.4, 1.0), target_shape=64),
    imgaug.Shift(0.3, 0.3, border=cv2.BORDER_CONSTANT),
    imgaug.Affine((0.8, 1.3), (0.2, 0.2), border=cv2.BORDER_CONSTANT),
    imgaug.Brightness(10),
]


def drawn(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[y0:y1, x0:x1] = 255
    return image


def around(image: np.ndarray) -> np.ndarray | None:
    """The box of what is bright; None where nothing is."""
    y, x = np.nonzero(image[:, :, 0] > 127)
    if not len(x):
        return None
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], np.float32)


def augmented(image: np.ndarray, box: Any, augmentors: Any, seed: int, **options: Any) -> Any:
    boxes = np.array([box], np.float32)
    flow = df.DataFromList([[image, boxes, np.array([5])]])
    ds = df.AugmentImageBoxes(flow, augmentors, **options).seed(seed)
    ((image, boxes, labels),) = ds
    assert boxes.dtype == np.float32 and boxes.shape == (len(labels), 4)
    return image, boxes, labels


@settings(max_examples=80)
@given(st.data())
def test_boxes_follow_the_pixels(data: st.DataObject) -> None:
    x0, y0 = data.draw(st.integers(0, WIDTH - 8)), data.draw(st.integers(0, HEIGHT - 8))
    x1, y1 = data.draw(st.integers(x0 + 8, WIDTH)), data.draw(st.integers(y0 + 8, HEIGHT))
    chosen = data.draw(st.lists(st.sampled_from(AUGMENTORS), min_size=1, max_size=2))
    shapes = imgaug.RandomCrop, imgaug.CenterCrop, imgaug.RandomCropRandomShape
    if isinstance(chosen[-1], shapes):
        chosen = chosen[-1:]  # what is left may be too small for them
    image, boxes, labels = augmented(
        drawn(x0, y0, x1, y1), (x0, y0, x1, y1), chosen, data.draw(st.integers(0, 9)), min_share=0
    )
    found = around(image)
    if found is None or not len(boxes):  # of a thin strip one may have something left
        assert not len(boxes) or np.min(boxes[0, 2:] - boxes[0, :2]) < 3
        assert found is None or np.min(found[2:] - found[:2]) < 3
    else:
        assert labels.tolist() == [5]
        assert np.abs(found - boxes[0]).max() <= 2


@settings(max_examples=40)
@given(st.integers(0, 1000), st.floats(0, 180))
def test_rotated_boxes_hold_the_pixels(seed: int, degrees: float) -> None:
    turn = imgaug.Rotation(degrees, (0.5, 0.5), border=cv2.BORDER_CONSTANT)
    image, boxes, _ = augmented(drawn(30, 20, 60, 40), (30, 20, 60, 40), [turn], seed, min_share=0)
    found = around(image)
    assert found is not None and len(boxes) == 1
    assert (found[:2] >= boxes[0, :2] - 1).all() and (found[2:] <= boxes[0, 2:] + 1).all()


def test_what_is_cut_off_is_dropped_with_its_label() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    boxes = np.array(
        [[0, 0, 10, 10], [5, 5, 15, 15], [8, 8, 12, 12], [12, 12, 20, 28], [-9, 0, 40, 40]],
        np.float64,
    )
    names, hard = ["a", "b", "c", "d", "e"], np.array([True, False, True, False, True])
    flow = df.DataFromList([{"image": image, "boxes": boxes, "names": names, "hard": hard}])
    ds = df.AugmentImageBoxes(
        flow, [imgaug.CenterCrop(20)], "image", "boxes", ("names", "hard"), min_share=0.25
    )
    (found,) = ds
    # It begins at (10, 10). Of the first nothing is left, of the others 1/4, 1/4, all, 0.2.
    assert found["boxes"].dtype == np.float64
    assert found["boxes"].tolist() == [[0, 0, 5, 5], [0, 0, 2, 2], [2, 2, 10, 18]]
    assert found["names"].tolist() == ["b", "c", "d"]
    assert found["hard"].tolist() == [False, True, False]
    assert boxes[0].tolist() == [0, 0, 10, 10] and names[0] == "a", "what came in stays"


def test_what_was_moved_out_does_not_come_back() -> None:
    there = imgaug.MapImage(lambda image: np.roll(image, 0), lambda points: points)
    away, back = _By(60), _By(-60)
    image, boxes, _ = augmented(drawn(10, 5, 50, 25), (10, 5, 50, 25), [away, there, back], 0)
    assert boxes.tolist() == [[10, 5, 30, 25]] and around(image).tolist() == boxes[0].tolist()
    _, boxes, _ = augmented(drawn(10, 5, 50, 25), (10, 5, 50, 25), [away, back], 0, min_share=0.51)
    assert not len(boxes)


class _By(imgaug.ImageAugmentor):
    """Moves to the right."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels = pixels

    def get_transform(self, img: np.ndarray) -> imgaug.Transform:
        matrix = np.array([[1.0, 0, self.pixels], [0, 1, 0]])
        return imgaug.WarpAffineTransform(matrix, img.shape[1::-1])


def test_no_boxes_and_no_size() -> None:
    inside, shares = clipped(np.zeros((0, 4), np.float32), (5, 5, 3))
    assert shares.shape == (0,) and inside.shape == (0, 4) and inside.dtype == np.float32
    _, shares = clipped(np.array([[1.0, 1, 1, 4], [4, 4, 2, 2]]), (5, 5))
    assert not shares.any(), "boxes without an area"


def test_in_processes_and_by_index_the_same() -> None:
    rng = np.random.default_rng(0)
    boxes = np.sort(rng.uniform(0, 60, (6, 3, 2, 2)), axis=2).reshape(6, 3, 4).astype(np.float32)
    points = [[drawn(5, 5, 50, 50), one, np.arange(3)] for one in boxes]
    augmentors = [imgaug.RandomCrop(40), imgaug.Flip(horiz=True)]
    ds = df.AugmentImageBoxes(df.DataFromList(points), augmentors).seed(3)
    plain = list(ds)
    assert len({len(one[1]) for one in plain}) > 1, "some were dropped"
    with ds.prefetch(1) as run:
        run.set_epoch(0)
        for one, other, place in zip(run, plain, range(6), strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
            assert np.array_equal(ds[place][1], one[1])


@pytest.mark.parametrize(
    ("boxes", "error", "message"),
    [
        (np.zeros((2, 4), np.int32), TypeError, "component 1: .* not int32"),
        ([[0.0, 0, 1, 1]], TypeError, "component 1: .* not list"),
        (np.zeros((2, 5)), ValueError, r"N×4, not of shape \(2, 5\)"),
        (np.zeros((1, 4)), ValueError, "component 2 of shape .* 1 boxes"),
    ],
)
def test_boxes_are_looked_at(boxes: Any, error: type[Exception], message: str) -> None:
    flow = df.DataFromList([[drawn(0, 0, 5, 5), boxes, np.zeros(2)]])
    with pytest.raises(error, match=message):
        list(df.AugmentImageBoxes(flow, [imgaug.Identity()]))


def test_arguments_are_checked() -> None:
    flow = df.DataFromList([])
    for along in ((1,), (0,), (2, 2)):
        with pytest.raises(df.ConfigError, match="names a component twice"):
            df.AugmentImageBoxes(flow, [], along=along)
    with pytest.raises(df.ConfigError, match=r"min_share=1\.5"):
        df.AugmentImageBoxes(flow, [], min_share=1.5)
