"""What holds for every image and every draw."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import cloudpickle
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow import imgaug
from dataflow.imgaug.augmentor import Effect
from dataflow.imgaug.chain import effect_of
from dataflow.randomness import enter, leave

AUGMENTORS = {
    "Identity": lambda: imgaug.Identity(),
    "InRange": lambda: imgaug.InRange([imgaug.CenterCrop(50), imgaug.Gamma()], 255),
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
    "Affine": lambda: imgaug.Affine((0.8, 1.2), (0.1, 0.1), 20, 10),
    "Brightness": lambda: imgaug.Brightness(40),
    "CenterPaste": lambda: imgaug.CenterPaste((500, 600)),
    "Clip": lambda: imgaug.Clip(20, 200),
    "ColorSpace": lambda: imgaug.ColorSpace(cv2.COLOR_BGR2HSV),
    "Gamma": lambda: imgaug.Gamma(),
    "GaussianBlur": lambda: imgaug.GaussianBlur((1, 4)),
    "GaussianNoise": lambda: imgaug.GaussianNoise(9),
    "Grayscale": lambda: imgaug.Grayscale(keepshape=True),
    "Hue": lambda: imgaug.Hue(),
    "JpegNoise": lambda: imgaug.JpegNoise(),
    "MeanVarianceNormalize": lambda: imgaug.MeanVarianceNormalize(),
    "MinMaxNormalize": lambda: imgaug.MinMaxNormalize(all_channel=False),
    "RandomChooseAug": lambda: imgaug.RandomChooseAug([imgaug.Flip(True, prob=1), imgaug.Gamma()]),
    "RandomCropRandomShape": lambda: imgaug.RandomCropRandomShape(20, 30),
    "RandomCutout": lambda: imgaug.RandomCutout(40, (20, 50), 99.5),
    "RandomPaste": lambda: imgaug.RandomPaste((400, 500), imgaug.ConstantBackgroundFiller(9)),
    "RandomResize": lambda: imgaug.RandomResize((0.5, 1.0), (0.5, 1.0)),
    "Rotation": lambda: imgaug.Rotation(30),
    "RotationAndCropValid": lambda: imgaug.RotationAndCropValid(30),
    "SaltPepperNoise": lambda: imgaug.SaltPepperNoise(),
    "Shift": lambda: imgaug.Shift(0.2, 0.2),
    "ToFloat32": lambda: imgaug.ToFloat32(),
    "ToUint8": lambda: imgaug.ToUint8(),
    "Transpose": lambda: imgaug.Transpose(1),
}

COLOUR = {"ColorSpace", "Grayscale", "Hue", "Lighting"}
"""What refuses grey images."""

TYPES = {
    "MeanVarianceNormalize": np.float32,
    "MinMaxNormalize": np.float32,
    "ToFloat32": np.float32,
    "ToUint8": np.uint8,
}
"""What these make, of whatever type."""

sides = st.integers(1, 40)


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(height * 1000 + width)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def test_keeps_type_and_channels_and_the_input(form: np.ndarray) -> None:
    """The input is write-protected, so writing into it would raise."""
    for name, make in AUGMENTORS.items():
        if name in COLOUR and (form.ndim == 2 or form.shape[2] == 1):
            with pytest.raises(ValueError, match=rf"{name}.*\({form.shape[0]}, "):
                make().augment(form)
            continue
        result = make().augment(form)
        assert result.dtype == TYPES.get(name, form.dtype), name
        assert result.ndim == form.ndim, name
        if name != "ColorSpace":  # of four channels OpenCV makes three
            assert result.shape[2:] == form.shape[2:], name


def test_what_an_augmentor_says_of_its_input_is_true(photo: np.ndarray) -> None:
    for name, make in AUGMENTORS.items():
        augmentor = make()
        effect = effect_of(augmentor)
        assert effect is not Effect.UNKNOWN, name
        if effect is Effect.FRESH:
            assert not np.may_share_memory(augmentor.augment(photo), photo), name


def test_draws_belong_to_the_datapoint(photo: np.ndarray) -> None:
    """And come from nowhere else."""
    before = str(np.random.get_state())
    for name, make in AUGMENTORS.items():
        results = []
        for augmentor, position in [(make(), 3), (make(), 3), (make(), 4)]:
            enter(1, (0, position), 2)
            transform = augmentor.get_transform(photo)
            results.append(transform.apply_image(photo))
            leave()
            results.append(transform.apply_image(photo))
        assert all(np.array_equal(result, results[0]) for result in results[:4]), name
        assert np.array_equal(results[4], results[5]), name
    assert str(np.random.get_state()) == before


def test_they_travel_to_workers(photo: np.ndarray) -> None:
    """Augmentors, and transforms too, which datapoints may hold."""
    for name, make in AUGMENTORS.items():
        augmentor = make()
        copy = pickle.loads(cloudpickle.dumps(augmentor))
        results = []
        for one in (augmentor, copy):
            enter(1, (0, 3), 2)
            transform = one.get_transform(photo)
            results += [transform.apply_image(photo)]
            leave()
        results.append(pickle.loads(cloudpickle.dumps(transform)).apply_image(photo))
        assert all(np.array_equal(result, results[0]) for result in results), name


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
    fresh, kept = imgaug.Resize(5), imgaug.Identity()
    assert effect_of(imgaug.RandomChooseAug([fresh, fresh])) is Effect.FRESH
    assert effect_of(imgaug.RandomChooseAug([fresh, kept])) is Effect.KEPT
    assert effect_of(imgaug.RandomChooseAug([fresh, mine])) is Effect.UNKNOWN
    assert effect_of(imgaug.CenterPaste(5, imgaug.BackgroundFiller())) is Effect.UNKNOWN


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
    st.sampled_from([np.uint8, np.float16, np.float32, np.float64]),
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
        (lambda: imgaug.RandomChooseAug([]), "aug_lists=[]"),
        (lambda: imgaug.RandomChooseAug([(imgaug.Identity(), 0.5)]), "sum up to 1"),
        (lambda: imgaug.RandomChooseAug([(abs, 1), abs]), "or none"),
        (lambda: imgaug.RandomCropRandomShape(5, 5, 4), "wmax=4"),
        (lambda: imgaug.RandomCropRandomShape(0, 5), "wmin=0"),
        (lambda: imgaug.RandomCutout((5, 5), 3), "h_range=(5, 5)"),
        (lambda: imgaug.RandomCutout(3, 1.5), "w_range=1.5"),
        (lambda: imgaug.RandomCutout(3, 3, "red"), "fill='red'"),
        (lambda: imgaug.ConstantBackgroundFiller([[1]]), "value=[[1]]"),
        (lambda: imgaug.RandomResize((0.5, 1.0)), "yrange=None"),
        (lambda: imgaug.RandomResize((0.5, 1.0), (5, 9)), "yrange=(5, 9)"),
        (lambda: imgaug.RandomResize((0, 1.0), (0.5, 1.0)), "xrange=(0, 1.0)"),
        (lambda: imgaug.RandomResize((0.5, 1.0), (0.6, 1.0), aspect_ratio_thres=0), "leave it out"),
        (lambda: imgaug.RandomResize((0.5, 1.0), (0.5, 1.0), 5), "minimum=5"),
        (lambda: imgaug.Transpose(2), "prob=2"),
        (lambda: imgaug.Shift(1.0), "horiz_frac=1.0"),
        (lambda: imgaug.Shift(0, -0.1), "vert_frac=-0.1"),
        (lambda: imgaug.Rotation(-5), "max_deg=-5"),
        (lambda: imgaug.Rotation(90, step_deg=45), "max_deg=90"),
        (lambda: imgaug.Rotation(180, step_deg=50), "step_deg=50"),
        (lambda: imgaug.RotationAndCropValid(180, step_deg=0), "step_deg=0"),
        (lambda: imgaug.Affine((0, 1)), "scale=(0, 1)"),
        (lambda: imgaug.Affine(translate_frac=0.5), "translate_frac=0.5"),
        (lambda: imgaug.Affine(translate_frac=(0.5, -1)), "translate_frac=-1"),
        (lambda: imgaug.Affine(shear=180), "shear=180"),
        (lambda: imgaug.Brightness(0), "delta=0"),
        (lambda: imgaug.Hue(5), "range=5"),
        (lambda: imgaug.Gamma((-1, 1)), "range=(-1, 1)"),
        (lambda: imgaug.Clip(5, 4), "(min, max)=(5, 4)"),
        (lambda: imgaug.GaussianBlur((3, 3)), "size_range=(3, 3)"),
        (lambda: imgaug.GaussianBlur(3, (-1, 1)), "sigma_range=(-1, 1)"),
        (lambda: imgaug.GaussianNoise(-1), "sigma=-1"),
        (lambda: imgaug.SaltPepperNoise(0.6, 0.5), "black_prob=0.5"),
        (lambda: imgaug.JpegNoise((40, 150)), "quality_range=(40, 150)"),
        (lambda: imgaug.JpegNoise((40.5, 50)), "quality_range=(40.5, 50)"),
        (lambda: imgaug.Grayscale(keepdims=False, keepshape=True), "keepdims=False"),
        (lambda: imgaug.CenterPaste((5, 0)), "background_shape=0"),
        (lambda: imgaug.CenterPaste(5, 0), "background_filler=0"),  # type: ignore[arg-type]
        (lambda: imgaug.deform.GaussianDeform([1, 2], 5), "anchors=[1, 2]"),
        (lambda: imgaug.deform.GaussianDeform([(1, 2)], 5, sigma=0), "sigma=0"),
        (lambda: imgaug.IAAugmentor(5), "augmentor=5"),
        (lambda: imgaug.Albumentations(abs), "set_random_seed()"),
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
    with pytest.raises(ValueError, match=r"shape \(0, 5, 3\) has no pixels"):
        imgaug.Identity().augment(np.zeros((0, 5, 3)))
    for augmentor in (imgaug.CenterCrop(9), imgaug.RandomCrop(9)):
        with pytest.raises(ValueError, match="cannot cut 9×9 out of an image of 8×20"):
            augmentor.augment(noise(8, 20))
    for augmentor in (imgaug.RandomCropRandomShape(21, 2), imgaug.RandomCutout(9, 2)):
        with pytest.raises(ValueError, match="out of an image of 8×20"):
            augmentor.augment(noise(8, 20))
    for augmentor in (imgaug.CenterPaste((8, 19)), imgaug.RandomPaste((7, 40))):
        with pytest.raises(ValueError, match="8×20 does not fit"):
            augmentor.augment(noise(8, 20))
    with pytest.raises(ValueError, match=r"not \(8, 20, 3\)"):
        imgaug.deform.GaussianDeform([(0, 0)], (8, 21)).augment(noise(8, 20))
    with pytest.raises(ValueError, match=r"ColorSpace\(mode=8\) does not take.*uint8.*20, 3"):
        imgaug.ColorSpace(cv2.COLOR_GRAY2BGR).augment(noise(8, 20))
    with pytest.raises(ValueError, match="JpegNoise takes 1, 3 or 4 channels"):
        imgaug.JpegNoise().augment(noise(8, 20, 2))


def test_every_augmentor_is_tried_here() -> None:
    public = {
        name
        for name in imgaug.__all__
        if inspect.isclass(cls := getattr(imgaug, name)) and issubclass(cls, imgaug.ImageAugmentor)
    }
    bases = {"Augmentor", "ImageAugmentor", "PhotometricAugmentor", "MapImage"}
    assert public - bases - {"Albumentations", "IAAugmentor"} == set(AUGMENTORS)
