"""What holds for every image and every draw."""

from __future__ import annotations

import inspect
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow import imgaug
from dataflow.imgaug.base import Effect, effect_of

AUGMENTORS = {
    "Identity": lambda: imgaug.Identity(),
    "Resize": lambda: imgaug.Resize((60, 80)),
    "ResizeShortestEdge": lambda: imgaug.ResizeShortestEdge(100),
    "CenterCrop": lambda: imgaug.CenterCrop((90, 110)),
    "RandomCrop": lambda: imgaug.RandomCrop((90, 110)),
    "GoogleNetRandomCropAndResize": lambda: imgaug.GoogleNetRandomCropAndResize(),
    "Flip": lambda: imgaug.Flip(horiz=True, prob=1),
    "BrightnessScale": lambda: imgaug.BrightnessScale((0.5, 1.5)),
    "Contrast": lambda: imgaug.Contrast((0.5, 1.5)),
    "Saturation": lambda: imgaug.Saturation(0.4),
    "Lighting": lambda: imgaug.Lighting(0.1, [1, 2, 3], np.eye(3)),
    "RandomApplyAug": lambda: imgaug.RandomApplyAug(imgaug.Flip(vert=True), 0.5),
    "RandomOrderAug": lambda: imgaug.RandomOrderAug([imgaug.BrightnessScale((0.5, 1.5))] * 2),
    "AugmentorList": lambda: imgaug.AugmentorList([imgaug.CenterCrop(50), imgaug.Flip(vert=True)]),
}

sides = st.integers(1, 40)


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(height * 1000 + width)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def test_keeps_type_and_channels_and_the_input(form: np.ndarray) -> None:
    """The input is write-protected, so writing into it would raise."""
    for name, make in AUGMENTORS.items():
        if name == "Lighting" and (form.ndim == 2 or form.shape[2] == 1):
            continue  # needs colour
        result = make().augment(form)
        assert result.dtype == form.dtype, name
        assert result.ndim == form.ndim, name
        assert result.shape[2:] == form.shape[2:], name


def test_what_an_augmentor_says_of_its_input_is_true(photo: np.ndarray) -> None:
    for name, make in AUGMENTORS.items():
        augmentor = make()
        effect = effect_of(augmentor)
        assert effect is not Effect.UNKNOWN, name
        if effect is Effect.FRESH:
            assert not np.may_share_memory(augmentor.augment(photo), photo), name


def test_of_a_subclass_nothing_is_known() -> None:
    for name, make in AUGMENTORS.items():
        augmentor = make()
        augmentor.__class__ = type("Mine", (type(augmentor),), {})
        assert effect_of(augmentor) is Effect.UNKNOWN, name


def test_effect_of_combinations() -> None:
    mine = imgaug.MapImage(lambda image: image)
    assert effect_of(mine) is Effect.UNKNOWN
    assert effect_of(imgaug.AugmentorList([imgaug.Flip(vert=True), mine])) is Effect.UNKNOWN
    assert effect_of(imgaug.AugmentorList([imgaug.Resize(5), mine])) is Effect.FRESH
    assert effect_of(imgaug.RandomApplyAug(mine, 0.5)) is Effect.UNKNOWN
    assert effect_of(imgaug.RandomApplyAug(imgaug.Resize(5), 0.5)) is Effect.KEPT
    assert effect_of(imgaug.RandomOrderAug([imgaug.Resize(5), mine])) is Effect.UNKNOWN
    assert effect_of(object()) is Effect.UNKNOWN


@given(sides, sides, sides, sides)
def test_resize_gives_the_shape_asked_for(h: int, w: int, new_h: int, new_w: int) -> None:
    assert imgaug.Resize((new_h, new_w)).augment(noise(h, w)).shape == (new_h, new_w, 3)


@given(st.integers(1, 200), st.integers(1, 200), sides)
def test_the_shortest_edge_gets_its_length(h: int, w: int, size: int) -> None:
    shape = imgaug.ResizeShortestEdge(size).augment(noise(h, w)).shape
    assert min(shape[:2]) == size
    assert abs(max(shape[:2]) - size * max(h, w) / min(h, w)) <= 0.5 + 1e-6


@given(sides, sides, st.data())
def test_crops_lie_inside(h: int, w: int, data: st.DataObject) -> None:
    image = noise(h, w)
    shape = data.draw(st.integers(1, h)), data.draw(st.integers(1, w))
    for augmentor in (imgaug.CenterCrop(shape), imgaug.RandomCrop(shape)):
        crop = augmentor.get_transform(image)
        assert isinstance(crop, imgaug.CropTransform)
        assert 0 <= crop.y0 <= h - shape[0]
        assert 0 <= crop.x0 <= w - shape[1]
        assert crop.apply_image(image).shape == (*shape, 3)


def test_every_place_of_a_random_crop_is_as_likely() -> None:
    augmentor = imgaug.RandomCrop((2, 1))
    augmentor.rng = np.random.RandomState(0)
    image = noise(4, 4)
    places = [augmentor.get_transform(image) for _ in range(3000)]
    counts = np.zeros((3, 4))
    for crop in places:
        counts[crop.y0, crop.x0] += 1
    assert counts.min() > 180  # 250 each are expected


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_random_crop_and_resize_lies_inside(h: int, w: int, seed: int) -> None:
    """Also for images of one pixel, where tensorpack asks OpenCV for a part of none."""
    augmentor = imgaug.GoogleNetRandomCropAndResize(target_shape=17)
    augmentor.rng = np.random.RandomState(seed)
    image = noise(h, w, 1)
    first, second = augmentor.get_transform(image).tfms
    if isinstance(first, imgaug.CropTransform):
        assert 0 <= first.y0 <= first.y0 + first.h <= h
        assert 0 <= first.x0 <= first.x0 + first.w <= w
        if h * w > 1000:
            assert 0.07 * h * w <= first.h * first.w <= 1.03 * h * w + h + w
    assert second.apply_image(first.apply_image(image)).shape == (17, 17, 1)


@given(sides, sides, st.booleans(), st.sampled_from([1, 3, 4]))
def test_flips_are_involutions(h: int, w: int, horiz: bool, channels: int) -> None:
    image = noise(h, w, channels)
    flip = imgaug.FlipTransform(h, w, horiz)
    flipped = flip.apply_image(image)
    assert np.array_equal(flipped, image[:, ::-1] if horiz else image[::-1])
    assert flipped.flags.c_contiguous
    assert np.array_equal(flip.apply_image(flipped), image)
    points = np.array([[0.5, 0.5], [w - 0.5, h / 2]])
    assert np.allclose(flip.apply_coords(flip.apply_coords(points)), points)


@given(st.integers(0, 39), st.integers(0, 39), st.integers(0, 2**32 - 1))
def test_coordinates_follow_the_image(x: int, y: int, seed: int) -> None:
    """A marked pixel is where its coordinates say, also after several augmentors."""
    image = np.zeros((40, 40), np.uint8)
    image[y, x] = 255
    augmentor = imgaug.AugmentorList(
        [
            imgaug.Flip(horiz=True),
            imgaug.Resize((80, 120), cv2.INTER_NEAREST),
            imgaug.RandomCrop((70, 100)),
            imgaug.BrightnessScale((1, 1)),
            imgaug.Flip(vert=True),
        ]
    )
    for part, child in enumerate(augmentor.augmentors):
        child.rng = np.random.RandomState(seed ^ part)
    changed, params = augmentor.augment_return_params(image)
    points = np.array([[x + 0.5, y + 0.5]])
    (place,) = augmentor.augment_coords(points, params)
    assert points.tolist() == [[x + 0.5, y + 0.5]]
    column, row = np.floor(place).astype(int)
    if 0 <= row < 70 and 0 <= column < 100:  # otherwise it was cut away
        assert changed[row, column] == 255


@given(
    st.floats(0.01, 3),
    st.sampled_from([np.uint8, np.uint16, np.float16, np.float32, np.float64]),
    st.sampled_from([1, 3, 4, 5]),
)
@settings(max_examples=60)
def test_brightness_is_a_product(factor: float, dtype: Any, channels: int) -> None:
    image = noise(9, 8, channels).astype(dtype)
    result = imgaug.BrightnessScale((factor, factor)).augment(image)
    expected = np.clip(image.astype(np.float64) * factor, 0, 255)
    assert result.dtype == dtype
    tolerance = {np.float16: 0.2, np.float32: 1e-3, np.float64: 1e-9}.get(dtype, 0.76)
    assert np.abs(result - expected).max() <= tolerance


def test_floating_point_images_are_clipped_where_asked() -> None:
    image = np.full((2, 2, 3), 200, np.float32)
    assert imgaug.BrightnessScale((2, 2)).augment(image).max() == 255
    assert imgaug.BrightnessScale((2, 2), clip=False).augment(image).max() == 400
    assert imgaug.BrightnessScale((2, 2), clip=False).augment(image.astype(np.uint8)).max() == 255


@given(st.floats(0.6, 1.4))
def test_contrast_keeps_the_mean_and_saturation_the_grey(v: float) -> None:
    image = noise(30, 30).astype(np.float64) / 4 + 96  # far from the ends: nothing is clipped
    contrast = imgaug.Contrast((v, v)).augment(image)
    assert np.allclose(contrast.mean((0, 1)), image.mean((0, 1)))
    assert np.allclose(contrast.std((0, 1)), image.std((0, 1)) * v)
    weights = np.array([0.114, 0.587, 0.299])
    saturated = imgaug.Saturation(0.4, rgb=False)._augment(image, v)
    assert np.allclose(saturated @ weights, image @ weights)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: imgaug.Resize((1, 2, 3)), "shape=(1, 2, 3)"),
        (lambda: imgaug.Resize(0), "shape=0"),
        (lambda: imgaug.Resize("9"), "shape='9'"),
        (lambda: imgaug.ResizeShortestEdge(-1), "size=-1"),
        (lambda: imgaug.CenterCrop((3, -2)), "crop_shape=-2"),
        (lambda: imgaug.GoogleNetRandomCropAndResize(target_shape=(2, 2)), "target_shape=(2, 2)"),
        (lambda: imgaug.GoogleNetRandomCropAndResize((1, 0.5)), "crop_area_fraction=(1, 0.5)"),
        (lambda: imgaug.GoogleNetRandomCropAndResize((-1, 1)), "crop_area_fraction=(-1, 1)"),
        (lambda: imgaug.GoogleNetRandomCropAndResize((0, 1), (0, 1)), "aspect_ratio_range=(0, 1)"),
        (lambda: imgaug.Flip(), "horiz=False, vert=False"),
        (lambda: imgaug.Flip(True, True), "horiz=True, vert=True"),
        (lambda: imgaug.Flip(True, prob=1.5), "prob=1.5"),
        (lambda: imgaug.BrightnessScale(0.5), "range=0.5"),
        (lambda: imgaug.Contrast((2, 1)), "factor_range=(2, 1)"),
        (lambda: imgaug.Saturation(1), "alpha=1"),
        (lambda: imgaug.Lighting(1, [1], np.eye(3)), "eigval=[1]"),
        (lambda: imgaug.Lighting(1, [1, 2, 3], [1]), "eigvec=[1]"),
        (lambda: imgaug.RandomApplyAug(imgaug.Identity(), None), "prob=None"),
        (lambda: imgaug.RandomApplyAug(5, 0.5), "5 is neither"),
        (lambda: imgaug.RandomOrderAug(imgaug.Identity()), "aug_lists=imgaug.Identity()"),
        (lambda: imgaug.AugmentorList(imgaug.Identity()), "augmentors=imgaug.Identity()"),
        (lambda: imgaug.AugmentorList([imgaug.Identity]), "needs parentheses"),
        (lambda: imgaug.MapImage(3), "func=3"),
        (lambda: imgaug.MapImage(abs, 3), "coord_func=3"),
    ],
)
def test_wrong_arguments_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)


def test_wrong_images() -> None:
    with pytest.raises(TypeError, match="not str"):
        imgaug.Identity().augment("image")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="2 or 3 dimensions"):
        imgaug.Identity().augment(np.zeros(3))
    for augmentor in (imgaug.CenterCrop(9), imgaug.RandomCrop(9)):
        with pytest.raises(ValueError, match="cannot cut 9×9 out of an image of 8×20"):
            augmentor.augment(noise(8, 20))


def test_every_augmentor_is_tried_here() -> None:
    public = {
        name
        for name in imgaug.__all__
        if inspect.isclass(cls := getattr(imgaug, name)) and issubclass(cls, imgaug.ImageAugmentor)
    }
    bases = {"Augmentor", "ImageAugmentor", "PhotometricAugmentor", "MapImage"}
    assert public - bases == set(AUGMENTORS)
