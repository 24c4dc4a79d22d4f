"""Every type and range that augmentors take, and what they say of the others."""

from __future__ import annotations

import inspect
import pickle
import warnings
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow import imgaug
from dataflow.imgaug import scale
from dataflow.imgaug.ranges import RangedTransform
from dataflow.randomness import enter, leave

BLACK = cv2.BORDER_CONSTANT

COUNTED = {
    "Brightness": lambda: imgaug.Brightness(40),
    "BrightnessScale": lambda: imgaug.BrightnessScale((0.5, 1.9)),
    "Clip": lambda: imgaug.Clip(20, 200),
    "Contrast": lambda: imgaug.Contrast((0.5, 1.9)),
    "Gamma": lambda: imgaug.Gamma(),
    "GaussianNoise": lambda: imgaug.GaussianNoise(20),
    "JpegNoise": lambda: imgaug.JpegNoise(),
    "Lighting": lambda: imgaug.Lighting(0.5, [55, 40, 30], np.eye(3)),
    "SaltPepperNoise": lambda: imgaug.SaltPepperNoise(0.2, 0.2),
    "Saturation": lambda: imgaug.Saturation(0.9),
    "ToUint8": lambda: imgaug.ToUint8(),
}
"""Their effect depends on what is white."""

SCALED = {
    "BrightnessScale": lambda: imgaug.BrightnessScale((0.5, 1.9), clip=False),
    "Contrast": lambda: imgaug.Contrast((0.5, 1.9), clip=False),
    "GaussianBlur": lambda: imgaug.GaussianBlur((1, 4)),
    "Grayscale": lambda: imgaug.Grayscale(),
    "Hue": lambda: imgaug.Hue(),
    "MeanVarianceNormalize": lambda: imgaug.MeanVarianceNormalize(),
    "MinMaxNormalize": lambda: imgaug.MinMaxNormalize(10, 250),
    "Saturation": lambda: imgaug.Saturation(0.9, clip=False),
}
"""They do the same in any range."""

OTHERS = {
    "ColorSpace": lambda: imgaug.ColorSpace(cv2.COLOR_BGR2RGB),
    "ToFloat32": lambda: imgaug.ToFloat32(),
}
ALL = [*COUNTED.items(), *SCALED.items(), *OTHERS.items()]

MOVING: dict[str, Any] = {
    "Affine": lambda: imgaug.Affine((0.8, 1.3), (0.1, 0.1), 40, 15),
    "CenterCrop": lambda: imgaug.CenterCrop((9, 11)),
    "CenterPaste": lambda: imgaug.CenterPaste((40, 50), imgaug.ConstantBackgroundFiller(1)),
    "Flip": lambda: imgaug.Flip(horiz=True, prob=1),
    "GaussianDeform": lambda: imgaug.deform.GaussianDeform([(0.3, 0.6)], (20, 24)),
    "GoogleNetRandomCropAndResize": lambda: imgaug.GoogleNetRandomCropAndResize(target_shape=13),
    "RandomCrop": lambda: imgaug.RandomCrop((9, 11)),
    "RandomCropRandomShape": lambda: imgaug.RandomCropRandomShape(5, 6),
    "RandomCutout": lambda: imgaug.RandomCutout(5, 6, 1),
    "RandomPaste": lambda: imgaug.RandomPaste((40, 50), imgaug.ConstantBackgroundFiller(1)),
    "RandomResize": lambda: imgaug.RandomResize((0.5, 2.0), (0.5, 2.0), aspect_ratio_thres=9),
    "Resize": lambda: imgaug.Resize((13, 31)),
    "Resize-area": lambda: imgaug.Resize((13, 11), cv2.INTER_AREA),
    "Resize-cubic": lambda: imgaug.Resize((33, 41), cv2.INTER_CUBIC),
    "ResizeShortestEdge": lambda: imgaug.ResizeShortestEdge(13),
    "Rotation": lambda: imgaug.Rotation(90),
    "Rotation-constant": lambda: imgaug.Rotation(90, border=BLACK, border_value=1),
    "Rotation-cubic": lambda: imgaug.Rotation(90, interp=cv2.INTER_CUBIC),
    "RotationAndCropValid": lambda: imgaug.RotationAndCropValid(60),
    "Shift": lambda: imgaug.Shift(0.4, 0.4),
    "Shift-constant": lambda: imgaug.Shift(0.4, 0.4, border=BLACK, border_value=1),
    "Shift-reflect": lambda: imgaug.Shift(0.4, 0.4, border=cv2.BORDER_REFLECT),
    "Transpose": lambda: imgaug.Transpose(1),
}
FIXED = {"CenterCrop", "CenterPaste", "Flip", "RandomCrop", "RandomCropRandomShape"}
FIXED |= {"RandomCutout", "RandomPaste", "Shift", "Shift-constant", "Shift-reflect", "Transpose"}
"""These interpolate nothing."""

SHAPES = {
    "CenterCrop": (9, 11),
    "CenterPaste": (40, 50),
    "GoogleNetRandomCropAndResize": (13, 13),
    "RandomCrop": (9, 11),
    "RandomPaste": (40, 50),
    "Resize": (13, 31),
    "Resize-area": (13, 11),
    "Resize-cubic": (33, 41),
    "ResizeShortestEdge": (13, 16),
    "Transpose": (24, 20),
}
CHANGING = {"RandomCropRandomShape", "RandomResize", "RotationAndCropValid"}

TYPES = [bool, np.uint8, np.uint16, np.int8, np.int16, np.float16, np.float32, np.float64]

seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is said once is said once in each test."""
    monkeypatch.setattr(scale, "_warned", set())
    yield
    leave()


@pytest.fixture
def image(photo: np.ndarray) -> np.ndarray:
    """A quarter of the photograph, float64 in [0, 255] of whole numbers, with black and white."""
    small = photo[::2, ::2].astype(np.float64)
    small[0, 0], small[0, 1] = 0, 255
    small.flags.writeable = False
    return small


def drawn_at(augmentor: Any, image: np.ndarray, position: int = 0) -> np.ndarray:
    enter(1, (0, position), 2)
    changed: np.ndarray = augmentor.augment(image)
    return changed


# -- values -----------------------------------------------------------------------------------


def test_every_augmentor_of_values_is_tried_here() -> None:
    public = {
        name
        for name in imgaug.__all__
        if inspect.isclass(cls := getattr(imgaug, name))
        and issubclass(cls, imgaug.PhotometricAugmentor)
    }
    assert public - {"PhotometricAugmentor"} == {name for name, _ in ALL}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("name", "make"), ALL)
def test_floats_up_to_one(name: str, make: Any, dtype: Any, image: np.ndarray) -> None:
    """The same draws, the same change, the same type."""
    for position in range(3):
        expected = drawn_at(imgaug.AugmentorList([make()]), image.astype(dtype), position)
        small = (image / 255).astype(dtype)
        changed = drawn_at(imgaug.InRange([make()], 1), small, position)
        assert changed.dtype == expected.dtype
        if name not in ("ToUint8", "MeanVarianceNormalize"):
            expected = expected.astype(np.float64) / 255
        tolerance = {np.float64: 1e-5, np.float32: 5e-5, np.float16: 0.02}[dtype]
        if name == "JpegNoise" and dtype == np.float16:
            tolerance = 0.1  # values in [0, 1] round to other steps
        if name == "ToUint8":
            tolerance = 1 if dtype == np.float16 else 0
        assert np.abs(changed - expected.astype(np.float64)).max() <= tolerance


@pytest.mark.parametrize(("name", "make"), ALL)
def test_sixteen_bits(name: str, make: Any, image: np.ndarray) -> None:
    wide = (image * 257).astype(np.uint16)
    for position in range(3):
        expected = drawn_at(imgaug.AugmentorList([make()]), image, position)
        changed = drawn_at(imgaug.InRange([make()], 65535), wide, position)
        types = {"ToUint8": np.uint8, "ToFloat32": np.float32}
        types |= {"MeanVarianceNormalize": np.float32, "MinMaxNormalize": np.float32}
        assert changed.dtype == types.get(name, np.uint16)
        if name == "ToUint8":
            assert np.array_equal(changed, expected)
            continue
        if name != "MeanVarianceNormalize":
            expected = np.clip(expected.astype(np.float64) * 257, 0, 65535)
        tolerance = 1e-4 if name == "MeanVarianceNormalize" else 1.1
        assert np.abs(changed.astype(np.float64) - expected).max() <= tolerance


@pytest.mark.parametrize(("name", "make"), SCALED.items())
def test_what_has_no_range_takes_any(name: str, make: Any, image: np.ndarray) -> None:
    wide = (image * 257).astype(np.uint16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for typed, white in [(image / 255, 1), (wide, 65535)]:
            changed = drawn_at(imgaug.AugmentorList([make()]), typed)
            if name == "MinMaxNormalize":
                assert changed.min() == pytest.approx(10)
                assert changed.max() == pytest.approx(250)
                continue
            stated = drawn_at(imgaug.InRange([make()], white), typed)
            assert np.abs(changed.astype(np.float64) - stated).max() <= 1e-9


@pytest.mark.parametrize(("name", "make"), ALL)
def test_eight_bits_are_eight_bits_in_any_range(name: str, make: Any, photo: np.ndarray) -> None:
    expected = drawn_at(imgaug.AugmentorList([make()]), photo)
    changed = drawn_at(imgaug.InRange([make()], 1), photo)
    if name in ("ToFloat32", "MinMaxNormalize"):
        assert changed.dtype == np.float32
        assert np.allclose(changed, expected / 255)
    else:
        assert np.array_equal(changed, expected)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64, bool, np.complex64])
@pytest.mark.parametrize(("name", "make"), [*COUNTED.items(), *SCALED.items()])
def test_other_types_are_refused(name: str, make: Any, dtype: Any) -> None:
    image = np.ones((6, 7, 3), dtype)
    if dtype == np.uint16 and make in SCALED.values():
        return  # they take it
    with pytest.raises(TypeError, match=rf"{name} .*{np.dtype(dtype).name}.*\(6, 7, 3\)") as error:
        make().augment(image)
    assert ("imgaug.InRange" if dtype == np.uint16 else "astype") in str(error.value)


@pytest.mark.parametrize(("name", "make"), COUNTED.items())
def test_what_looks_like_another_range_is_told_once(
    name: str, make: Any, image: np.ndarray
) -> None:
    small = (image / 255).astype(np.float32)
    with pytest.warns(RuntimeWarning, match=rf"{name} got .*float32.*InRange\(\[") as told:
        make().augment(small)
        make().augment(small)
    assert len(told) == 1


def test_what_does_not_look_like_it_is_not(image: np.ndarray) -> None:
    small = (image / 255).astype(np.float32)
    dark = np.zeros((50, 50, 3), np.float32)
    spot = dark.copy()
    spot[40, 41] = 3  # where a quick look misses it
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for quiet in (dark, spot, small - 0.5, np.full_like(small, np.nan), image):
            imgaug.Brightness(3).augment(quiet)
        imgaug.InRange([imgaug.Brightness(3)], 1).augment(small)
        imgaug.InRange([imgaug.Brightness(3)], 255).augment(small)
        imgaug.Clip(0, 1).augment(small)
        imgaug.ToFloat32().augment(small)


def test_limits_in_the_wrong_range(image: np.ndarray) -> None:
    for augmentor in (imgaug.Clip(0, 1), imgaug.MinMaxNormalize(0, 1)):
        with pytest.raises(ValueError, match=r"count in \[0, 255\].* 1 in the image is 255 there"):
            imgaug.InRange([augmentor], 1).augment(image / 255)
        augmentor.augment(image / 255)


def test_colour_spaces_of_floats(image: np.ndarray) -> None:
    single = image.astype(np.float32)
    for mode in (cv2.COLOR_BGR2Lab, cv2.COLOR_RGB2Luv, cv2.COLOR_BGR2HLS):
        with pytest.raises(ValueError, match=r"ColorSpace.*\[0, 1\].*float32.*up to 255: divide"):
            imgaug.ColorSpace(mode).augment(single)
        expected = cv2.cvtColor(single / 255, mode)
        for augmentor in (imgaug.ColorSpace(mode), imgaug.InRange([imgaug.ColorSpace(mode)], 1)):
            assert np.array_equal(augmentor.augment(single / 255), expected)


@pytest.mark.parametrize(("name", "make"), ALL)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [2, 5, 31])
def test_many_channels_of_values(name: str, make: Any, dtype: Any, channels: int) -> None:
    """They are changed, or refused by the augmentor's name."""
    image = np.random.default_rng(0).integers(0, 256, (9, 8, channels)).astype(dtype)
    if name in ("ColorSpace", "Grayscale", "Hue", "JpegNoise", "Lighting"):
        with pytest.raises(ValueError, match=rf"{name}.*{image.dtype}.*\(9, 8, {channels}\)"):
            make().augment(image)
    else:
        assert make().augment(image).shape == image.shape


def test_more_channels_than_opencv_takes() -> None:
    with pytest.raises(ValueError, match=r"GaussianBlur.*does not take.*\(9, 8, 700\)"):
        imgaug.GaussianBlur((1, 2)).augment(np.zeros((9, 8, 700), np.uint8))


def test_subclasses_elsewhere_check_for_themselves() -> None:
    class Mine(imgaug.PhotometricAugmentor):
        def _augment(self, img: np.ndarray, params: Any) -> np.ndarray:
            return img + img.dtype.type(1)

    image = np.ones((3, 3), np.int64)
    assert Mine().augment(image).tolist() == (image + 1).tolist()
    assert imgaug.InRange([Mine()], 1).augment(np.zeros((3, 3))).max() == 1


# -- lists in a range -------------------------------------------------------------------------


def test_lists_in_lists(image: np.ndarray) -> None:
    """All of what a list holds counts in its range, and what comes after it does not."""
    parts = [
        imgaug.RandomApplyAug(imgaug.Brightness(60), 1),
        imgaug.RandomOrderAug([imgaug.Gamma(), imgaug.RandomCutout(20, 30, 77)]),
        imgaug.AugmentorList([imgaug.RandomChooseAug([imgaug.SaltPepperNoise()])]),
        imgaug.Rotation(30, border=BLACK, border_value=(9, 99, 199)),
        imgaug.Shift(0.2, 0.2, border=BLACK, border_value=50),
        imgaug.CenterPaste(300, imgaug.ConstantBackgroundFiller((200, 100, 0))),
    ]
    expected = drawn_at(imgaug.AugmentorList(parts), image)
    ranged = imgaug.InRange(parts, 1)
    assert np.allclose(drawn_at(ranged, image / 255), expected / 255, atol=1e-6)
    assert np.allclose(drawn_at(ranged, image / 255), expected / 255, atol=1e-6)
    enter(1, (0, 0), 2)
    transform = pickle.loads(pickle.dumps(ranged.get_transform(image / 255)))
    assert np.allclose(transform.apply_image(image / 255), expected / 255, atol=1e-6)
    leave()
    assert np.allclose(transform.apply_image(image / 255), expected / 255, atol=1e-6)
    assert scale.white(np.float32) == 255

    inner = imgaug.InRange([imgaug.SaltPepperNoise(1, 0)], 1)
    outer = imgaug.InRange([inner, lambda img: img * 9, imgaug.SaltPepperNoise(0.5, 0)], 9)
    assert set(np.unique(outer.augment(image / 255))) == {9.0}


def test_an_error_leaves_no_range_behind() -> None:
    with pytest.raises(ValueError, match="Lighting"):
        imgaug.InRange([COUNTED["Lighting"]()], 1).augment(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="Hue"):
        imgaug.InRange([imgaug.Hue()], 1).augment(np.zeros((4, 4)))
    assert scale.white(np.float32) == 255


def test_coordinates_and_masks_in_a_range() -> None:
    """Values of masks are none of the image: they and their filling stay as they are."""
    image = np.random.default_rng(0).random((20, 30, 3))
    mask = np.full((20, 30), 200.0)
    flip = imgaug.Flip(horiz=True, prob=1)
    ranged = imgaug.InRange([flip, imgaug.Shift(0.4, 0.4, border=BLACK), imgaug.Hue()], 1)
    plain = imgaug.AugmentorList(ranged.augmentors)
    transforms = []
    for augmentor in (ranged, plain):
        enter(1, (0, 0), 2)
        transforms.append(augmentor.get_transform(image))
        transforms[-1].apply_image(image)
    points = np.array([[3.0, 4.0]])
    results = [(one.apply_coords(points), one.apply_mask(mask, 77)) for one in transforms]
    assert np.array_equal(results[0][0], results[1][0])
    assert np.array_equal(results[0][1], results[1][1])
    assert set(np.unique(results[0][1])) <= {77.0, 200.0}
    own = RangedTransform(imgaug.TransformFactory("own", apply_box=lambda box: box + 1), 1)
    assert own.apply_box(2) == 3
    with pytest.raises(AttributeError, match="other"):
        _ = own.other


def test_ranges_that_are_none() -> None:
    for white in (0, -1, "1", None, True):
        with pytest.raises(ValueError, match="white="):
            imgaug.InRange([], white)  # type: ignore[arg-type]
    assert repr(imgaug.InRange([imgaug.ToUint8()], 1)) == (
        "imgaug.InRange([\n  imgaug.ToUint8(),\n], white=1)"
    )
    assert "white=1" in repr(RangedTransform(imgaug.NoOpTransform(), 1))


def test_the_rest_of_a_list_in_a_range(image: np.ndarray) -> None:
    parts = [imgaug.CenterCrop(90), imgaug.GaussianNoise(20)]
    whole = drawn_at(imgaug.InRange(parts, 1), image / 255)
    cut = imgaug.CenterCrop(90).augment(image / 255)
    assert np.array_equal(drawn_at(imgaug.InRange(parts, 1).without(1), cut), whole)


# -- places -----------------------------------------------------------------------------------


def moved(name: str, image: np.ndarray, seed: int) -> Any:
    augmentor = MOVING[name]()
    augmentor.rng = np.random.RandomState(seed)
    return augmentor.get_transform(image)


@pytest.mark.parametrize("name", MOVING)
@given(st.sampled_from(TYPES), st.integers(0, 9), st.data(), seeds)
@settings(max_examples=40, deadline=None)
def test_plain_images_stay_plain(
    name: str, dtype: Any, channels: int, data: st.DataObject, seed: int
) -> None:
    """Of every type; the type, the channels and the size are those that they should be."""
    filled = "constant" in name or "Paste" in name or "Cutout" in name
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        value: Any = data.draw(st.integers(int(limits.min), int(limits.max)))
    elif dtype is bool:
        value = data.draw(st.booleans())
    else:
        value = data.draw(st.floats(-60000, 60000, width=16))
    value = 1 if filled else value
    image = np.full((20, 24, *([channels] if channels else [])), value, dtype)
    changed = moved(name, image, seed).apply_image(image)
    assert changed.dtype == image.dtype
    assert changed.shape[2:] == image.shape[2:]
    if name not in CHANGING:
        assert changed.shape[:2] == SHAPES.get(name, (20, 24))
    if np.dtype(dtype).kind == "f":
        assert np.allclose(changed, np.asarray(value, dtype), rtol=2e-6, atol=1e-6)
    else:
        assert (changed == value).all()


@pytest.mark.parametrize("name", MOVING)
@given(st.sampled_from(TYPES), st.integers(5, 11), seeds)
@settings(max_examples=15, deadline=None)
def test_each_channel_moves_alike(name: str, dtype: Any, channels: int, seed: int) -> None:
    """Many channels are as many images of one."""
    drawn = np.random.default_rng(seed).integers(0, 120, (20, 24, channels))
    image = (drawn > 60) if dtype is bool else drawn.astype(dtype)
    image.flags.writeable = False
    transform = moved(name, image, seed)
    changed = transform.apply_image(image)
    for channel in range(channels):
        alone = transform.apply_image(np.ascontiguousarray(image[:, :, channel]))
        difference = np.abs(changed[:, :, channel].astype(np.float64) - alone)
        assert difference.max() <= (1 if np.dtype(dtype).kind in "iu" else 0.13)
        if dtype is bool and name not in FIXED:
            assert (difference > 0).mean() < 0.02  # a tie of two pixels
        elif name in FIXED:
            assert difference.max() == 0


@pytest.mark.parametrize("name", sorted(FIXED))
@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64])
def test_labels_may_be_moved(name: str, dtype: Any) -> None:
    """OpenCV makes 32 bits of 64."""
    image = np.random.default_rng(0).integers(0, 2**31 - 1, (20, 24), np.int64)
    image = (image + (1 << 40)) if dtype == np.int64 else image.astype(dtype)
    changed = moved(name, image, 3).apply_image(image)
    assert changed.dtype == dtype
    assert np.isin(changed, [*image.reshape(-1).tolist(), 0, 1]).all()
    assert np.isin(changed, image).mean() > 0.2


def test_labels_are_not_interpolated() -> None:
    labels = np.random.default_rng(0).integers(0, 1 << 50, (20, 24, 6))
    for name in sorted(MOVING.keys() - FIXED):
        with pytest.raises(TypeError, match=rf"{name.split('-')[0]} .*int64.*\(20, 24, 6\)"):
            MOVING[name]().augment(labels)
    with pytest.raises(TypeError, match=r"ResizeTransform .*int64.*cv2\.INTER_NEAREST"):
        imgaug.ResizeTransform(20, 24, 9, 9, cv2.INTER_LINEAR).apply_image(labels)
    for interp in (cv2.INTER_NEAREST, cv2.INTER_NEAREST_EXACT):
        scaled = imgaug.Resize((40, 48), interp).augment(labels)
        assert scaled.dtype == np.int64
        assert np.array_equal(scaled, labels.repeat(2, 0).repeat(2, 1))
    turned = imgaug.Rotation(180, (0.5, 0.5), cv2.INTER_NEAREST, step_deg=90).augment(labels)
    assert np.isin(turned, labels).all()
    with pytest.raises(ValueError, match="53 bits"):
        imgaug.Resize(9, cv2.INTER_NEAREST).augment(labels << 12)


def test_border_values_of_many_channels() -> None:
    value = tuple(range(10, 17))
    image = np.full((20, 24, 7), 200, np.uint8)
    for augmentor in (
        imgaug.Shift(0.9, 0.9, BLACK, value),
        imgaug.Rotation(45, (0, 0), cv2.INTER_NEAREST, BLACK, border_value=value),
    ):
        augmentor.rng = np.random.RandomState(4)
        seen = {tuple(pixel) for pixel in augmentor.augment(image).reshape(-1, 7).tolist()}
        assert seen == {value, (200,) * 7}


def test_other_libraries_say_what_they_take() -> None:
    class Theirs:
        def to_deterministic(self) -> Theirs:
            return self

        def seed_(self, seed: int, deterministic_too: bool) -> None: ...

        def augment_image(self, image: np.ndarray) -> np.ndarray:
            return image

    augmentor = imgaug.IAAugmentor(Theirs())
    assert augmentor.augment(np.zeros((3, 3), np.uint8)).max() == 0
    with pytest.raises(TypeError, match=r"IAAugmentor .*uint8, not .*float32"):
        augmentor.augment(np.zeros((3, 3), np.float32))
