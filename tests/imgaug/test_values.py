"""What holds of changes of pixel values."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dataflow import imgaug

images = arrays.arrays(
    np.uint8,
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4])),
    elements=st.integers(0, 255),
)

EXACT = {
    "Brightness": lambda: imgaug.Brightness(90),
    "BrightnessScale": lambda: imgaug.BrightnessScale((0.5, 1.5)),
    "Contrast": lambda: imgaug.Contrast((0.5, 1.5), rgb=True),
    "Gamma": lambda: imgaug.Gamma((-0.7, 2)),
    "GaussianNoise": lambda: imgaug.GaussianNoise(20),
    "RandomCutout": lambda: imgaug.RandomCutout(1, 1, 10.6),
    "SaltPepperNoise": lambda: imgaug.SaltPepperNoise(0.3, 0.3),
    "Saturation": lambda: imgaug.Saturation(0.9),
}


@pytest.mark.parametrize("name", EXACT)
@given(images, st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_uint8_results_are_rounded(name: str, image: np.ndarray, seed: int) -> None:
    """The same change of the same values in double precision is never further than one half.

    (Where the values are multiplied a little further: OpenCV's factors for uint8 have ten bits.)
    """
    augmentor = EXACT[name]()
    augmentor.rng = np.random.RandomState(seed)
    transform = augmentor.get_transform(image)
    exact = transform.apply_image(image.astype(np.float64))
    if name == "RandomCutout":
        exact = np.rint(exact)
    assert exact.dtype == np.float64
    limit = 0.76 if name in ("BrightnessScale", "Contrast", "Saturation") else 0.501
    assert np.abs(transform.apply_image(image) - exact).max() <= limit


@given(
    arrays.arrays(
        st.sampled_from([np.float32, np.float64]),
        st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    )
)
def test_to_uint8_rounds_and_clips(image: np.ndarray) -> None:
    expected = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    assert np.array_equal(imgaug.ToUint8().augment(image), expected)


def test_conversions_leave_alone_what_has_the_type(photo: np.ndarray) -> None:
    assert imgaug.ToUint8().augment(photo) is photo
    single = photo.astype(np.float32)
    assert imgaug.ToFloat32().augment(single) is single


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_types(dtype: Any, photo: np.ndarray) -> None:
    """They stay what they are, and the values are those of float32."""
    image = photo[::4, ::4].astype(dtype)
    single = image.astype(np.float32)
    for augmentor in (
        imgaug.Brightness(30),
        imgaug.Clip(10.5, 99.5),
        imgaug.Gamma(),
        imgaug.GaussianBlur((1, 3)),
        imgaug.GaussianNoise(5),
        imgaug.Grayscale(),
        imgaug.Hue(),
        imgaug.JpegNoise(),
        imgaug.RandomCutout(5, 5),
        imgaug.SaltPepperNoise(),
        imgaug.deform.GaussianDeform([(0.5, 0.5)], image.shape[:2]),
    ):
        transform = augmentor.get_transform(image)
        changed = transform.apply_image(image)
        assert changed.dtype == dtype
        difference = np.abs(changed.astype(np.float64) - transform.apply_image(single))
        assert difference.max() <= 0.26, augmentor


@given(images, st.booleans())
def test_normal_forms(image: np.ndarray, all_channel: bool) -> None:
    """Also of plain images, of which tensorpack makes NaN."""
    axes = None if all_channel else (0, 1)
    for typed in (image, image.astype(np.float64)):
        extent = typed.max(axes, keepdims=True).astype(float) - typed.min(axes, keepdims=True)
        spread = np.broadcast_to(extent > 0, (1, 1, image.shape[2]))[0, 0]
        scaled = imgaug.MinMaxNormalize(-2, 3, all_channel).augment(typed)
        assert np.allclose(scaled.min(axes), -2, atol=1e-4)
        assert np.allclose(scaled.max((0, 1))[~spread], -2, atol=1e-4)
        assert np.allclose(scaled.max(axes), np.where(extent.reshape(-1) > 0, 3, -2), atol=1e-4)
        normal = imgaug.MeanVarianceNormalize(all_channel).augment(typed)
        assert np.allclose(normal.mean(axes), 0, atol=1e-3)
        assert np.allclose(normal.std((0, 1))[~spread], 0, atol=1e-3)
        deviation = typed.std(axes) / np.maximum(typed.std(axes), image.size**-0.5)
        assert np.allclose(normal.std(axes), deviation, atol=1e-3)
        assert scaled.dtype == normal.dtype == np.float32
        assert scaled.shape == normal.shape == image.shape


@given(images.filter(lambda image: image.shape[2] > 1), st.integers(-200, 200))
def test_hue_is_a_wheel(image: np.ndarray, angle: int) -> None:
    """Brightness (HSV's value) stays; a whole turn more changes nothing; grey stays grey."""
    for typed in (image, image.astype(np.float32)):
        turned = imgaug.Hue((angle, angle)).augment(typed)
        again = imgaug.Hue((angle + 180, angle + 180)).augment(typed)
        assert np.abs(turned.astype(float) - again).max() <= 1e-2
        assert np.abs(turned[..., :3].max(2) - typed[..., :3].max(2).astype(float)).max() <= 1
        grey = np.repeat(typed[..., :1], 3, axis=2)
        assert np.array_equal(imgaug.Hue((angle, angle)).augment(grey), grey)
    red = np.full((1, 1, 3), (200, 0, 0), np.uint8)
    assert imgaug.Hue((60, 60)).augment(red)[0, 0].tolist() == [0, 200, 0]
    assert imgaug.Hue((60, 60), rgb=False).augment(red)[0, 0].tolist() == [0, 0, 200]


def test_grey_images_of_four_channels_keep_the_fourth(photo: np.ndarray) -> None:
    image = np.dstack([photo, photo[:, :, 0]])
    grey = imgaug.Grayscale(keepshape=True).augment(image)
    assert np.array_equal(grey[:, :, 3], image[:, :, 3])
    assert np.array_equal(grey[:, :, 0], cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY))
    assert np.array_equal(grey[:, :, 0], grey[:, :, 2])


def test_colour_spaces_give_the_dimensions_asked_for(photo: np.ndarray) -> None:
    grey = photo[:, :, 0]
    for keepdims in (True, False):
        assert imgaug.ColorSpace(cv2.COLOR_GRAY2BGR, keepdims).augment(grey).shape == photo.shape
    assert imgaug.Grayscale().augment(photo).shape == (300, 451, 1)
    assert imgaug.Grayscale(keepdims=False).augment(photo).shape == (300, 451)


def test_noise_is_what_was_asked_for() -> None:
    image = np.full((200, 200, 3), 100, np.float32)
    noisy = imgaug.GaussianNoise(10).augment(image)
    assert noisy.mean() == pytest.approx(100, abs=0.3)
    assert noisy.std() == pytest.approx(10, rel=0.02)
    assert imgaug.GaussianNoise(300).augment(image).min() == 0
    assert imgaug.GaussianNoise(300, clip=False).augment(image).min() < 0
    for typed in (image, image.astype(np.uint8)):
        salted = imgaug.SaltPepperNoise(0.1, 0.3).augment(typed)
        assert (salted == 255).mean() == pytest.approx(0.1, abs=0.01)
        assert (salted == 0).mean() == pytest.approx(0.3, abs=0.01)
        assert (salted == 100).mean() == pytest.approx(0.6, abs=0.01)


def test_noise_belongs_to_the_draw(photo: np.ndarray) -> None:
    for augmentor in (imgaug.GaussianNoise(9), imgaug.SaltPepperNoise()):
        augmentor.rng = np.random.RandomState(7)
        first, second = augmentor.augment(photo), augmentor.augment(photo)
        assert not np.array_equal(first, second)
        augmentor.rng = np.random.RandomState(7)
        transform = augmentor.get_transform(photo)
        assert np.array_equal(transform.apply_image(photo), first)
        assert np.array_equal(transform.apply_image(photo), first)


def test_sizes_of_cutouts() -> None:
    image = np.ones((12, 30), np.float32)
    augmentor = imgaug.RandomCutout((3, 6), (2, 31))
    augmentor.rng = np.random.RandomState(2)
    shapes = set()
    for _ in range(300):
        rows, columns = np.nonzero(augmentor.augment(image) == 0)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert len(rows) == height * width
        shapes.add((int(height), int(width)))
    assert {height for height, _ in shapes} == {3, 4, 5}
    assert min(width for _, width in shapes) == 2
    assert max(width for _, width in shapes) == 30
    assert (
        imgaug.RandomCutout(2, 3, (1, 2, 3)).augment(np.zeros((2, 3, 3), np.uint8)).tolist()
        == [[[1, 2, 3]] * 3] * 2
    )


def test_an_argument_without_effect_says_so() -> None:
    with pytest.deprecated_call(match="no effect"):
        imgaug.RandomCropRandomShape(3, 3, max_aspect_ratio=2)
