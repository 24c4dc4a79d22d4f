"""Our augmentors against the real tensorpack's, fed with the same random numbers."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from dataflow import imgaug

tp = pytest.importorskip("tensorpack.dataflow.imgaug")

EIGVAL = [0.2175 * 255, 0.0188 * 255, 0.0045 * 255]
EIGVEC = [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]

NAMES = [
    "AugmentorList",
    "BrightnessScale",
    "CenterCrop",
    "Contrast",
    "CropTransform",
    "Flip",
    "FlipTransform",
    "GoogleNetRandomCropAndResize",
    "Identity",
    "Lighting",
    "MapImage",
    "RandomApplyAug",
    "RandomCrop",
    "RandomOrderAug",
    "Resize",
    "ResizeShortestEdge",
    "ResizeTransform",
    "Saturation",
    "TransformFactory",
    "TransformList",
]


class Fed:
    """Gives tensorpack the numbers that ours has drawn: the underlying uniform ones."""

    def __init__(self, *uniform: float, normal: Any = None, order: Any = None) -> None:
        self.numbers = iter(uniform)
        self.normal = normal
        self.order = order

    def uniform(self, low: float = 0.0, high: float = 1.0, size: Any = None) -> Any:
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

    for name in NAMES:
        assert arguments(imgaug, name) == arguments(tp, name)


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
    ]:
        # tensorpack writes into its argument; ours does not.
        assert np.allclose(mine.apply_coords(points), theirs.apply_coords(points.copy()))


def test_tensorpack_s_augmentors_work_in_our_lists(photo: np.ndarray) -> None:
    chain = imgaug.AugmentorList(
        [tp.Resize(64), imgaug.Flip(horiz=True, prob=1), tp.Flip(vert=True)]
    )
    chain.reset_state()
    assert chain.augment(photo).shape == (64, 64, 3)
