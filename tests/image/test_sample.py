"""Masks, boxes and points go where the image goes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflow as df
from dataflow import imgaug

GEOMETRIC: list[Any] = [
    imgaug.Flip(horiz=True),
    imgaug.Flip(vert=True),
    imgaug.Transpose(),
    imgaug.Rotation(40),
    imgaug.Rotation(180, center_range=(0.3, 0.7), border=cv2.BORDER_CONSTANT),
    imgaug.Affine(scale=(0.8, 1.2), translate_frac=(0.1, 0.1), shear=10),
    imgaug.Shift(horiz_frac=0.15, vert_frac=0.15),
    imgaug.Resize((150, 210)),
    imgaug.ResizeShortestEdge(130),
    imgaug.RandomResize((0.7, 1.4), (0.7, 1.4), aspect_ratio_thres=0.3),
    imgaug.RotationAndCropValid(15),
    imgaug.CenterPaste((300, 300)),
    imgaug.RandomPaste((320, 310)),
    imgaug.RandomCrop(140),
    imgaug.CenterCrop((150, 140)),
    imgaug.RandomCropRandomShape(120, 120),
    imgaug.GoogleNetRandomCropAndResize((0.5, 1.0), target_shape=180),
    imgaug.deform.GaussianDeform([(0.2, 0.2), (0.8, 0.8)], (240, 240), 0.2, randrange=20),
]
COLOURS: list[Any] = [imgaug.Brightness(20), imgaug.Gamma(), imgaug.GaussianNoise(3)]
SIZE = 240


def one_at_a_time(augmentor: Any) -> bool:
    """Whether points can be moved through it at all."""
    return not isinstance(augmentor, imgaug.deform.GaussianDeform)


def drawn(x: float, y: float, half: int) -> dict[str, Any]:
    """A bright square around a point, in the image, as class 7 of a mask, as a box, as a point."""
    image = np.full((SIZE, SIZE, 3), 60, np.uint8)
    mask = np.zeros((SIZE, SIZE), np.int64)
    x0, y0, x1, y1 = int(x) - half, int(y) - half, int(x) + half, int(y) + half
    image[y0:y1, x0:x1] = 240
    mask[y0:y1, x0:x1] = 7
    return {
        "image": image,
        "mask": mask,
        "boxes": np.array([[x0, y0, x1, y1]], np.float32),
        "points": np.array([[(x0 + x1) / 2, (y0 + y1) / 2]], np.float32),
        "label": np.array([3]),
    }


def augmented(sample: dict[str, Any], augmentors: list[Any], seed: int, **options: Any) -> Any:
    ds = df.AugmentSample(
        df.DataFromList([sample], shuffle=False),
        augmentors,
        image="image",
        mask="mask",
        boxes="boxes",
        points="points",
        along="label",
        min_share=0,
        **options,
    )
    ds.seed(seed)
    (result,) = ds
    return result


def found(result: dict[str, Any]) -> tuple[float, float] | None:
    """The middle of what is bright; None where it is cut."""
    bright = result["image"][:, :, 0].astype(np.float32)
    bright = np.where(bright > 150, 1.0, 0.0)
    rows, columns = np.nonzero(bright)
    height, width = bright.shape
    if not len(rows) or rows.min() < 2 or columns.min() < 2:
        return None
    if rows.max() > height - 3 or columns.max() > width - 3:
        return None
    return columns.mean() + 0.5, rows.mean() + 0.5


@given(
    st.lists(st.sampled_from([a for a in GEOMETRIC if one_at_a_time(a)]), min_size=1, max_size=2),
    st.sampled_from(COLOURS),
    st.integers(0, 2**31),
    st.integers(60, 180),
    st.integers(60, 180),
)
@settings(max_examples=100, deadline=None)
def test_all_are_found_again(augmentors: list[Any], colour: Any, seed: int, x: int, y: int) -> None:
    sample = drawn(x, y, 9)
    try:
        result = augmented(sample, [*augmentors, colour], seed)
    except ValueError as error:
        assert "cannot cut" in str(error) or "does not fit" in str(error)
        return
    assert set(np.unique(result["mask"])) <= {0, 7}
    assert result["mask"].dtype == np.int64
    assert result["mask"].shape == result["image"].shape[:2]
    place = found(result)
    if place is None:
        return
    point, (box,) = result["points"][0], result["boxes"]
    middle_of_box = (box[:2] + box[2:]) / 2
    if np.abs(middle_of_box - point).max() < 0.5:  # otherwise it was cut on the way
        assert np.abs(point - place).max() < 1.2
    assert box[0] - 2 <= place[0] <= box[2] + 2 and box[1] - 2 <= place[1] <= box[3] + 2
    rows, columns = np.nonzero(result["mask"] == 7)
    middle = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
    assert np.abs(middle - place).max() < 1.2
    assert box[0] - 1.5 <= columns.min() and columns.max() + 1 <= box[2] + 1.5
    assert box[1] - 1.5 <= rows.min() and rows.max() + 1 <= box[3] + 1.5


@pytest.mark.parametrize("augmentor", GEOMETRIC, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.int64, np.uint16, np.float32])
def test_masks_keep_their_values_and_type(augmentor: Any, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    values = np.array([0, 1] if dtype is bool else [0, 2, 7], dtype)
    mask = values[rng.integers(0, len(values), (SIZE, SIZE))]
    ds = df.AugmentSample(
        df.DataFromList([[np.zeros((SIZE, SIZE, 3), np.uint8), mask]] * 3, shuffle=False),
        [augmentor],
        mask=1,
    )
    ds.seed(4)
    for image, changed in ds:
        assert changed.dtype == mask.dtype and changed.shape == image.shape[:2]
        assert set(np.unique(changed)) <= set(values.tolist())


def test_large_class_numbers() -> None:
    mask = np.full((SIZE, SIZE), 1 << 40, np.int64)
    ds = df.AugmentSample(
        df.DataFromList([[np.zeros((SIZE, SIZE, 3), np.uint8), mask - 5]]),
        [imgaug.Rotation(20), imgaug.Resize(100)],
        mask=1,
        mask_fill=-1,
    )
    ((_, changed),) = ds
    assert set(np.unique(changed)) <= {(1 << 40) - 5, -1}


def test_what_was_no_image_is_filled() -> None:
    sample = drawn(120, 120, 20)
    result = augmented(sample, [imgaug.Shift(horiz_frac=0.3, border=0)], 3, mask_fill=255)
    assert set(np.unique(result["mask"])) <= {0, 7, 255}
    assert 255 in result["mask"] or result["points"][0, 0] == 120


def test_components_declared_as_masks() -> None:
    """`AugmentImageComponents` made {0, 1, 2} of {0, 2}."""
    mask = np.zeros((20, 20), np.uint8)
    mask[5:15, 5:15] = 2
    image = np.full((20, 20, 3), 100, np.uint8)
    ds = df.AugmentImageComponents(
        df.DataFromList([[image, mask]]), [imgaug.Resize(33), imgaug.Brightness(50)], (0,),
        mask_index=(1,),
    )  # fmt: skip
    ((brighter, changed),) = ds.seed(1)
    assert np.unique(changed).tolist() == [0, 2] and changed.shape == (33, 33)
    assert brighter.max() != 100


def test_instances_and_key_points() -> None:
    """What belongs to a box goes with it."""
    masks = np.zeros((2, 100, 100), np.uint8)
    masks[0, 10:30, 10:30] = masks[1, 60:90, 60:90] = 1
    datapoint = {
        "image": np.zeros((100, 100, 3), np.uint8),
        "boxes": np.array([[10, 10, 30, 30], [60, 60, 90, 90]], np.float32),
        "masks": masks,
        "keys": np.array([[[15, 15, 2], [5, 15, 1]], [[65, 65, 2], [70, 95, 1]]], np.float32),
        "labels": np.array([1, 2]),
    }
    ds = df.AugmentSample(
        df.DataFromList([datapoint]),
        [imgaug.CenterCrop((40, 100)), imgaug.Flip(horiz=True, prob=1.0)],
        "image",
        boxes="boxes",
        points="keys",
        along="labels",
        instances="masks",
        min_share=0.3,
    )
    (result,) = ds
    assert result["labels"].tolist() == [2]
    assert result["boxes"].tolist() == [[10, 30, 40, 40]]
    assert result["masks"].shape == (1, 40, 100)
    assert result["masks"][0, 30:, 10:40].all() and result["masks"].sum() == 300
    assert result["keys"].tolist() == [[[35, 35, 2], [30, 65, 0]]]
    assert datapoint["keys"][0, 0].tolist() == [15, 15, 2]  # what came in stays


def test_lists_and_images_alone() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    ds = df.AugmentSample(df.DataFromList([[image, 5]]), [imgaug.Flip(horiz=True, prob=1.0)])
    ((flipped, five),) = ds
    np.testing.assert_array_equal(flipped, image[:, ::-1])
    assert five == 5


def test_the_same_in_processes() -> None:
    samples = [drawn(60 + 10 * i, 120, 9) for i in range(6)]

    def chain() -> Any:
        ds = df.AugmentSample(
            df.DataFromList(samples, shuffle=False),
            [imgaug.Rotation(30), imgaug.RandomCrop(200), imgaug.Gamma()],
            "image", "mask", "boxes", "points", along="label",
        )  # fmt: skip
        ds.seed(3)
        return ds

    wanted = list(chain())
    with df.PrefetchDataZMQ(chain(), 2) as runner:
        for one, other in zip(runner, wanted, strict=True):
            assert one.keys() == other.keys()
            for name in one:
                np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mask": 0}, "AugmentSample names a component twice: 0"),
        ({"along": 1}, "of boxes, of which there are none"),
    ],
)
def test_arguments_that_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(df.ConfigError, match=said):
        df.AugmentSample(df.DataFromList([[0]]), [], **options)


@pytest.mark.parametrize(
    ("values", "options", "said"),
    [
        ([np.zeros((9, 8))], {"mask": 1}, "height and width must be the same"),
        ([np.zeros((2, 9, 8))], {"instances": 1}, "masks of shape"),
        ([np.zeros((9, 8))], {"instances": 1}, "masks of instances are N×H×W"),
        (
            [np.zeros((2, 4)), [1]],
            {"boxes": 1, "along": 2},
            "component 2 of shape .* has not one row for each of the 2 boxes",
        ),
        ([np.zeros((2, 5))], {"boxes": 1}, "boxes are N×4"),
        ([np.zeros((2, 3))], {"points": 1}, "coordinates are N×2"),
    ],
)
def test_components_that_do_not_fit(values: list[Any], options: dict[str, Any], said: str) -> None:
    ds = df.AugmentSample(
        df.DataFromList([[np.zeros((8, 8, 3), np.uint8), *values]]), [imgaug.Gamma()], **options
    )
    with pytest.raises(ValueError, match=said):
        list(ds)


def test_an_augmentor_that_cannot_move_masks() -> None:
    class Own(imgaug.ImageAugmentor):
        def _augment(self, img: Any, params: Any) -> Any:
            return img[::-1]

    ds = df.AugmentSample(
        df.DataFromList([[np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8))]]), [Own()], mask=1
    )
    with pytest.raises(NotImplementedError, match="LegacyTransform does not implement apply_mask"):
        list(ds)


def test_masks_and_what_fills_them() -> None:
    image, mask = np.zeros((60, 60, 3), np.uint8), np.zeros((60, 60), np.uint8)
    for augmentor in (
        imgaug.Rotation(80, border=cv2.BORDER_CONSTANT),
        imgaug.CenterPaste((99, 99)),
    ):
        for fill in (-1, 300, 1.5):
            ds = df.DataFromList([[image, mask]], shuffle=False)
            ds = df.AugmentSample(ds, [augmentor], mask=1, mask_fill=fill)
            with pytest.raises(df.ConfigError, match=f"mask_fill={fill}"):
                list(ds)
    parts = np.linspace(0, 1, 3600, dtype=np.float16).reshape(60, 60)
    ds = df.AugmentSample(
        df.DataFromList([[image, parts]], shuffle=False), [imgaug.Flip(True)], mask=1
    )
    for _, found in ds:
        assert found.dtype == np.float16 and set(found.flat) == set(parts.flat)
    ds = df.AugmentSample(
        df.DataFromList([[image, mask.astype(np.complex64)]], shuffle=False),
        [imgaug.Resize(30)],
        mask=1,
    )
    with pytest.raises(TypeError, match="complex64"):
        list(ds)


def test_boxes_the_wrong_way_round_are_refused() -> None:
    point = [np.zeros((60, 60, 3), np.uint8), np.array([[1, 1, 5, 5], [5, 5, 1, 1]], np.float32)]
    ds = df.AugmentSample(df.DataFromList([point], shuffle=False), [imgaug.Flip(True)], boxes=1)
    with pytest.raises(ValueError, match="box 1 is"):
        list(ds)


def test_key_points_that_are_not_labelled_stay_nowhere() -> None:
    points = np.array([[[0, 0, 0], [30, 30, 2], [50, 30, 1]]], np.float32)
    ds = df.DataFromList([[np.zeros((60, 60, 3), np.uint8), points]], shuffle=False)
    ((_, found),) = df.AugmentSample(ds, [imgaug.CenterCrop((20, 20))], points=1)
    assert found.tolist() == [[[0, 0, 0], [10, 10, 2], [30, 10, 0]]]
