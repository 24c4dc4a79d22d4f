"""Our augmentors against the real tensorpack's, fed with the same random numbers."""

from __future__ import annotations

import inspect
from typing import Any

import cv2
import numpy as np
import pytest
from optional import library

from dataflow import imgaug

tp = library("tensorpack.dataflow.imgaug")
tp_transform = library("tensorpack.dataflow.imgaug.transforms")

EIGVAL = [0.2175 * 255, 0.0188 * 255, 0.0045 * 255]
EIGVEC = [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]

MECHANICS = {
    *("STATICA_HACK", "cv2", "deform", "global_import", "iter_modules", "module_name", "os"),
    "srcpath",
}
"""What its package shows besides: how it imports itself."""

NAMES = sorted(name for name in dir(tp) if not name.startswith("_") and name not in MECHANICS)


class Fed:
    """Gives tensorpack the numbers that ours has drawn: the underlying uniform ones."""

    def __init__(self, *uniform: float, normal: Any = None, order: Any = None) -> None:
        self.numbers = iter(uniform)
        self.normal = normal
        self.order = order

    def uniform(self, low: float = 0.0, high: float = 1.0, size: Any = None) -> Any:
        if size:
            return np.array([low + (high - low) * next(self.numbers) for _ in range(*size)])
        return np.asarray(low + (high - low) * next(self.numbers))

    def rand(self) -> float:
        return next(self.numbers)

    def randint(self, low: int, high: int | None = None) -> int:
        low, high = (0, low) if high is None else (low, high)
        return low + int(next(self.numbers) * (high - low))

    def randn(self, count: int) -> Any:
        return self.normal

    def permutation(self, count: int) -> Any:
        return self.order


def same(ours: np.ndarray, theirs: np.ndarray, tolerance: float = 1.0) -> None:
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    if ours.dtype != np.uint8 and tolerance == 1:
        tolerance = 2e-3  # single precision, of values up to 255
    assert np.abs(ours.astype(np.float64) - theirs).max() <= tolerance


def both(ours: Any, theirs: Any, image: np.ndarray, tolerance: float = 1.0) -> None:
    """Augment with both, after rewinding our generator."""
    ours.rng = np.random.RandomState(11)
    mine = ours.augment(image)
    ours.rng = np.random.RandomState(11)
    theirs.rng = Fed(*ours.rng.random_sample(50).tolist())
    same(mine, theirs.augment(image.copy()), tolerance)


def test_takes_the_same_arguments() -> None:
    def arguments(module: Any, name: str) -> list[Any]:
        parameters = inspect.signature(getattr(module, name)).parameters
        return [(name, p.name, p.kind, p.default) for p in parameters.values()]

    assert len(NAMES) == 53
    assert set(NAMES) <= set(imgaug.__all__)
    for name in NAMES:
        assert arguments(imgaug, name) == arguments(tp, name)
    ours, theirs = imgaug.deform.GaussianDeform, tp.deform.GaussianDeform
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)


def test_older_names() -> None:
    assert imgaug.Augmentor is imgaug.ImageAugmentor
    for method in ("augment", "augment_return_params", "augment_with_params", "augment_coords"):
        assert list(inspect.signature(getattr(imgaug.ImageAugmentor, method)).parameters)


def test_resize(form: np.ndarray) -> None:
    for shape in (64, (70, 40), [31, 47]):
        both(imgaug.Resize(shape), tp.Resize(shape), form)
    for size in (50, 256, 301):
        for image in (form, np.ascontiguousarray(form.swapaxes(0, 1))):
            both(imgaug.ResizeShortestEdge(size), tp.ResizeShortestEdge(size), image)


def test_crops(form: np.ndarray) -> None:
    for shape in (224, (99, 100)):
        both(imgaug.CenterCrop(shape), tp.CenterCrop(shape), form)
        both(imgaug.RandomCrop(shape), tp.RandomCrop(shape), form)


def test_flip(form: np.ndarray) -> None:
    for way in ("horiz", "vert"):
        both(imgaug.Flip(**{way: True}), tp.Flip(**{way: True}), form)
        both(imgaug.Flip(**{way: True, "prob": 1}), tp.Flip(**{way: True, "prob": 1}), form)


def test_transpose(form: np.ndarray) -> None:
    for prob in (0, 0.5, 1):
        both(imgaug.Transpose(prob), tp.Transpose(prob), form)


def test_shift(form: np.ndarray) -> None:
    for border in (cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT, cv2.BORDER_REFLECT):
        ours = imgaug.Shift(0.3, 0.2, border)
        both(ours, tp.Shift(0.3, 0.2, border), form)


def test_rotation(form: np.ndarray) -> None:
    # The same numbers, but for their precision: tensorpack's angles are of 32 bits.
    for arguments in [(30,), (180, (0.4, 0.6), cv2.INTER_CUBIC, cv2.BORDER_REFLECT, 45)]:
        both(imgaug.Rotation(*arguments), tp.Rotation(*arguments), form, tolerance=3)


def test_rotation_with_cropping(form: np.ndarray) -> None:
    for arguments in [(20,), (90,), (180, cv2.INTER_NEAREST, 90)]:
        ours, theirs = imgaug.RotationAndCropValid(*arguments), tp.RotationAndCropValid(*arguments)
        ours.rng = np.random.RandomState(8)
        mine = ours.augment(form)
        theirs.rng = Fed(*np.random.RandomState(8).random_sample(1))
        # Where the rectangle takes in what is beyond the image, tensorpack has black.
        same(mine[2:-2, 2:-2], theirs.augment(form)[2:-2, 2:-2], tolerance=3)
    for angle in range(-180, 181, 7):
        for shape in [(100, 50), (50, 100), (7, 300)]:
            rectangle = imgaug.RotationAndCropValid.largest_rotated_rect(*shape, angle)
            assert rectangle == tp.RotationAndCropValid.largest_rotated_rect(*shape, angle)


def test_affine(form: np.ndarray) -> None:
    def drawn(theirs: Any, *numbers: float) -> Any:
        """Its angle is a float32, which OpenCV does not take any more: so it is given a float."""
        numbers_ = iter(numbers)
        theirs._rand_range = lambda low, high: low + (high - low) * next(numbers_)
        return theirs

    for arguments, counting in [
        (((0.7, 1.3), (0.1, 0.2), 30.0, 20.0), [0, 1, 2, 3, 4]),
        (((0.7, 1.3), None, 0.0, 0.0), [0, 4]),
        ((None, (0.3, 0.0), 90.0, 0.0, cv2.INTER_CUBIC, cv2.BORDER_CONSTANT), [1, 2, 4]),
        ((None, None, 0.0, 60.0), [3, 4]),
    ]:
        ours = imgaug.Affine(*arguments)
        ours.rng = np.random.RandomState(5)
        numbers = np.random.RandomState(5).random_sample(5)[counting]
        same(ours.augment(form), drawn(tp.Affine(*arguments), *numbers).augment(form))


def test_random_resize(form: np.ndarray) -> None:
    for arguments in [((0.4, 0.9), (0.4, 0.9)), ((100, 300), (70, 200), (110, 80), 0.4)]:
        both(imgaug.RandomResize(*arguments), tp.RandomResize(*arguments), form)
    for xrange in [(0.4, 0.9), (100, 300)]:
        both(
            imgaug.RandomResize(xrange, aspect_ratio_thres=0),
            tp.RandomResize(xrange, aspect_ratio_thres=0),
            form,
        )


class Given:
    """A generator that gives what it is told to."""

    def __init__(self, *values: Any) -> None:
        self.values = iter(values)

    def randint(self, *_: Any) -> Any:
        return next(self.values)

    def uniform(self, *_: Any) -> Any:
        return np.asarray(next(self.values))


def test_crops_of_random_shape(form: np.ndarray) -> None:
    for limits in [(20, 30), (20, 30, 90, 100)]:
        ours, theirs = imgaug.RandomCropRandomShape(*limits), tp.RandomCropRandomShape(*limits)
        crop = ours.get_transform(form)
        theirs.rng = Given(crop.h, crop.w, crop.y0, crop.x0)
        same(crop.apply_image(form), theirs.augment(form))


def test_cutout(form: np.ndarray) -> None:
    ours, theirs = imgaug.RandomCutout(40, 60, 17.0), tp.RandomCutout(40, 60, 17.0)
    transform = ours.get_transform(form)
    covered = transform.apply_image(np.zeros(form.shape[:2]))
    y0, x0 = np.argwhere(covered)[0]
    assert covered.sum() == 40 * 60 * 17
    theirs.rng = Given(x0, y0)
    same(transform.apply_image(form), theirs.augment(form.copy()))  # which it writes into


def test_pasting(form: np.ndarray) -> None:
    for value in (0, 99):
        shape = (401, 500)
        for name in ("CenterPaste", "RandomPaste"):
            ours, theirs = (
                getattr(module, name)(shape, module.ConstantBackgroundFiller(value))
                for module in (imgaug, tp)
            )
            place = ours.get_transform(form)
            theirs.rng = Given(place.y0, place.x0)
            same(place.apply_image(form), theirs.augment(form))


def test_deformation(photo: np.ndarray) -> None:
    arguments = ([(0.2, 0.2), (0.7, 0.2), (0.8, 0.8)], photo.shape[:2], 0.3, 40)
    ours = imgaug.deform.GaussianDeform(*arguments)
    theirs = tp.deform.GaussianDeform(*arguments)
    ours.rng = np.random.RandomState(3)
    offsets = 40 * (2 * np.random.RandomState(3).random_sample((3, 2)) - 1)
    # It computes in floating point, and returns that; OpenCV 4 rounds places to 1/32 of a pixel.
    exact = np.rint(theirs._augment(photo, offsets)).astype(np.uint8)
    same(ours.augment(photo), exact, tolerance=4)
    with pytest.raises(NotImplementedError):
        ours.get_transform(photo).apply_coords(np.zeros((1, 2)))


def test_random_choice(photo: np.ndarray) -> None:
    def chain(module: Any, pairs: bool) -> Any:
        crops = [module.CenterCrop(side) for side in (10, 20, 30)]
        return module.RandomChooseAug(
            list(zip(crops, (0.2, 0.7, 0.1), strict=True)) if pairs else crops
        )

    for pairs in (False, True):
        ours, theirs = chain(imgaug, pairs), chain(tp, pairs)
        assert ours.prob == theirs.prob
        sizes = []
        for seed in range(40):  # NumPy's `choice` takes one uniform number, too
            ours.rng, theirs.rng = np.random.RandomState(seed), np.random.RandomState(seed)
            sizes.append(ours.augment(photo).shape[0])
            assert sizes[-1] == theirs.augment(photo).shape[0]
        assert set(sizes) == {10, 20, 30}


class Recording:
    """A generator that keeps what it gave."""

    def __init__(self, seed: int) -> None:
        self.state = np.random.RandomState(seed)
        self.rows: list[list[float]] = []

    def random_sample(self, count: int) -> Any:
        numbers = self.state.random_sample(count)
        self.rows.append(numbers.tolist())
        return numbers


def test_random_crop_and_resize(form: np.ndarray) -> None:
    for seed in range(12):
        area = [(0.08, 1.0), (0.8, 1.3)][seed % 2]
        ours = imgaug.GoogleNetRandomCropAndResize(area, target_shape=96)
        theirs = tp.GoogleNetRandomCropAndResize(area, target_shape=96)
        ours.rng = rng = Recording(seed)  # type: ignore[assignment]
        mine = ours.augment(form)
        # Ours draws 5 numbers an attempt; tensorpack draws the place only of a part that fits.
        *failed, last = rng.rows
        theirs.rng = Fed(*(number for row in failed for number in row[:3]), *last)
        same(mine, theirs.augment(form))


def test_where_no_part_fits(photo: np.ndarray) -> None:
    """A strip: all ten attempts fail, the middle is taken."""
    strip = np.ascontiguousarray(photo[:20])
    arguments = {"crop_area_fraction": (0.9, 1.0), "target_shape": 64}
    ours = imgaug.GoogleNetRandomCropAndResize(**arguments)
    both(ours, tp.GoogleNetRandomCropAndResize(**arguments), strip)


def test_brightness(form: np.ndarray) -> None:
    for factor in (0.0, 0.6, 1.0, 1.4, 3.0):
        both(imgaug.BrightnessScale((factor, factor)), tp.BrightnessScale((factor, factor)), form)


def test_contrast(form: np.ndarray) -> None:
    for rgb in (None, True, False):
        if rgb is not None and form.shape[2:] == (1,):
            continue  # tensorpack cannot make one channel grey; ours takes its mean
        # tensorpack sums up the channels of floating point images in single precision, one number
        # after the other, so that its mean is off by 0.2; ours sums in double precision.
        tolerance = 0.3 if rgb is None and form.dtype == np.float32 else 1
        for factor in (0.0, 0.6, 1.0, 1.4):
            ours = imgaug.Contrast((factor, factor), rgb=rgb)
            both(ours, tp.Contrast((factor, factor), rgb=rgb), form, tolerance)


def test_saturation(form: np.ndarray) -> None:
    for rgb in (True, False):
        ours = imgaug.Saturation(0.4, rgb=rgb)
        theirs = tp.Saturation(0.4, rgb=rgb)
        if form.ndim == 2 or form.shape[2] == 1:
            # tensorpack fails. There is no colour to change.
            assert np.array_equal(ours.augment(form), form)
            continue
        for v in (0.6, 1.0, 1.4):
            mine = ours._augment(form, v)
            # tensorpack mixes a fourth channel with the grey image too; ours keeps it.
            same(mine[..., :3], theirs._augment(np.ascontiguousarray(form), v)[..., :3])
            assert np.array_equal(mine[..., 3:], form[..., 3:])


def test_saturation_draws_from_the_same_range(photo: np.ndarray) -> None:
    ours, theirs = imgaug.Saturation(0.4), tp.Saturation(0.4)
    ours.rng, theirs.rng = np.random.RandomState(5), np.random.RandomState(5)
    assert ours._get_augment_params(photo) == pytest.approx(
        float(theirs._get_augment_params(photo))
    )


def test_lighting(form: np.ndarray) -> None:
    ours, theirs = imgaug.Lighting(0.5, EIGVAL, EIGVEC), tp.Lighting(0.5, EIGVAL, EIGVEC)
    if form.ndim == 2 or form.shape[2] == 1:
        with pytest.raises(ValueError, match="colour image"):
            ours.augment(form)
        return
    for seed in range(5):
        ours.rng = np.random.RandomState(seed)
        mine = ours.augment(form)
        theirs.rng = Fed(normal=np.random.RandomState(seed).standard_normal(3))
        colour = np.ascontiguousarray(form[..., :3])  # all that tensorpack takes
        same(mine[..., :3], theirs.augment(colour))
        assert np.array_equal(mine[..., 3:], form[..., 3:])


def test_random_order(photo: np.ndarray) -> None:
    def chain(module: Any) -> Any:
        return module.RandomOrderAug(
            [
                module.BrightnessScale((0.7, 0.7)),
                module.Contrast((1.4, 1.4), rgb=False),
                module.Saturation(0.0, rgb=False),
            ]
        )

    ours, theirs = chain(imgaug), chain(tp)
    for seed in range(6):
        ours.rng = np.random.RandomState(seed)
        theirs.rng = Fed(order=np.random.RandomState(seed).permutation(3))
        for augmentor in theirs.aug_lists:
            augmentor.rng = Fed(0.5)
        # Each of the three steps rounds to integers, here and there.
        same(ours.augment(photo), theirs.augment(photo), tolerance=3)


def test_random_apply(photo: np.ndarray) -> None:
    for prob in (0.0, 0.1, 0.3, 1.0):
        ours = imgaug.RandomApplyAug(imgaug.CenterCrop(100), prob)
        both(ours, tp.RandomApplyAug(tp.CenterCrop(100), prob), photo)


def test_coordinates(photo: np.ndarray) -> None:
    points = np.array([[0.0, 0.0], [20.5, 70.5], [451.0, 300.0]])
    for mine, theirs in [
        (imgaug.ResizeTransform(300, 451, 100, 200, 1), tp.ResizeTransform(300, 451, 100, 200, 1)),
        (imgaug.CropTransform(10, 20, 100, 200), tp.CropTransform(10, 20, 100, 200)),
        (imgaug.FlipTransform(300, 451), tp.FlipTransform(300, 451)),
        (imgaug.FlipTransform(300, 451, False), tp.FlipTransform(300, 451, False)),
        (imgaug.TransposeTransform(), tp_transform.TransposeTransform()),
    ]:
        # tensorpack writes into its argument; ours does not.
        assert np.allclose(mine.apply_coords(points), theirs.apply_coords(points.copy()))


def test_warped_coordinates() -> None:
    """tensorpack takes a matrix that counts from the first pixel's centre for one of corners."""
    matrix = cv2.getRotationMatrix2D((20.0, 9.0), 33, 1.2)
    points = np.array([[0.0, 0.0], [20.5, 70.5], [451.0, 300.0]])
    mine = imgaug.WarpAffineTransform(matrix, (50, 60)).apply_coords(points)
    theirs = tp_transform.WarpAffineTransform(matrix, (50, 60)).apply_coords(points - 0.5) + 0.5
    assert np.allclose(mine, theirs)


def test_tensorpack_s_augmentors_work_in_our_lists(photo: np.ndarray) -> None:
    chain = imgaug.AugmentorList(
        [tp.Resize(64), imgaug.Flip(horiz=True, prob=1), tp.Flip(vert=True)]
    )
    chain.reset_state()
    assert chain.augment(photo).shape == (64, 64, 3)
