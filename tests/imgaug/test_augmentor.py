"""Augmentors and transforms of the user's own, in the newer form and in the older one."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from typing import Any

import cloudpickle
import numpy as np
import pytest

from dataflow import imgaug
from dataflow.imgaug import augmentor
from dataflow.imgaug.transforms import PartTransform


class Shift(imgaug.ImageAugmentor):
    """The older form, without a call of the base's `__init__`."""

    def __init__(self, most: int = 20, wrap: bool = True) -> None:
        self._init(locals())

    def _get_augment_params(self, img: np.ndarray) -> int:
        return int(self._rand_range(1, self.most))  # type: ignore[attr-defined]

    def _augment(self, img: np.ndarray, param: int) -> np.ndarray:
        return np.roll(img, param, axis=1)

    def _augment_coords(self, coords: np.ndarray, param: int) -> np.ndarray:
        return coords + np.array([param, 0], coords.dtype)


def test_older_form(photo: np.ndarray) -> None:
    augmentor = Shift(30)
    assert repr(augmentor) == "imgaug.Shift(most=30)"
    changed, params = augmentor.augment_return_params(photo)
    assert not np.array_equal(changed, photo)
    assert np.array_equal(augmentor.augment_with_params(photo, params), changed)
    shift = augmentor.augment_coords(np.zeros((1, 2)), params)[0, 0]
    assert np.array_equal(np.roll(photo, int(shift), axis=1), changed)
    chain = imgaug.AugmentorList([augmentor, imgaug.Flip(horiz=True, prob=1)])
    assert chain.augment(photo).shape == photo.shape


def test_older_form_without_parameters_or_coordinates(photo: np.ndarray) -> None:
    class Negative(imgaug.ImageAugmentor):
        def _augment(self, img: np.ndarray, _: Any) -> np.ndarray:
            return 255 - img

    changed, params = Negative().augment_return_params(photo)
    assert np.array_equal(changed, 255 - photo)
    points = np.ones((2, 2))
    assert np.array_equal(Negative().augment_coords(points, params), points)


def test_older_form_that_draws_a_transform(photo: np.ndarray) -> None:
    class Corner(imgaug.ImageAugmentor):
        def get_augment_params(self, img: np.ndarray) -> imgaug.Transform:
            return imgaug.CropTransform(0, 0, 10, 12)

    assert Corner().augment(photo).shape == (10, 12, 3)


def test_oldest_form_for_coordinates(photo: np.ndarray) -> None:
    class Corner(imgaug.ImageAugmentor):
        def get_augment_params(self, img: np.ndarray) -> int:
            return 7

        def _augment(self, img: np.ndarray, param: int) -> np.ndarray:
            return img[param:, param:]

        def augment_coords(self, coords: np.ndarray, param: Any) -> np.ndarray:
            return coords - param

    transform = Corner().get_transform(photo)
    assert transform.apply_image(photo).shape == (293, 444, 3)
    assert transform.apply_coords(np.full((1, 2), 9.0)).tolist() == [[2, 2]]


def test_older_methods_warn_once(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmentor, "_warned", set())
    flip = imgaug.Flip(horiz=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            _, transform = flip.augment_return_params(photo)
            flip.augment_with_params(photo, transform)
            flip.augment_coords(np.ones((1, 2)), transform)
    assert [warning.category for warning in caught] == [DeprecationWarning] * 3
    newer = ["get_transform", "apply_image", "apply_coords"]
    assert all(name in str(warning.message) for name, warning in zip(newer, caught, strict=True))
    assert {warning.filename for warning in caught} == {__file__}


def test_an_error_in_the_user_s_code_is_not_hidden(photo: np.ndarray) -> None:
    class Wrong(imgaug.ImageAugmentor):
        def _get_augment_params(self, img: np.ndarray) -> Any:
            return img.no_such_thing  # type: ignore[attr-defined]

        def _augment(self, img: np.ndarray, _: Any) -> np.ndarray:
            return img

    with pytest.raises(AttributeError, match="no_such_thing"):
        Wrong().augment(photo)


def test_newer_form(photo: np.ndarray) -> None:
    class Gamma(imgaug.Transform):
        def __init__(self, gamma: float) -> None:
            self._init(locals())

        def apply_image(self, img: np.ndarray) -> np.ndarray:
            return (255 * (img / 255) ** self.gamma).astype(img.dtype)

        def apply_box(self, box: str) -> str:
            return f"<{box}>"

    class RandomGamma(imgaug.ImageAugmentor):
        def get_transform(self, img: np.ndarray) -> imgaug.Transform:
            return Gamma(self.rng.uniform(0.5, 2))

    chain = imgaug.AugmentorList([imgaug.Identity(), RandomGamma()])
    transform = chain.get_transform(photo)
    with pytest.raises(ValueError, match="before apply_image"):
        transform.apply_box("a")
    assert transform.apply_image(photo).shape == photo.shape
    assert transform.apply_box("a") == "<a>"
    with pytest.raises(NotImplementedError, match="Gamma does not implement apply_coords"):
        transform.apply_coords(np.zeros((1, 2)))
    assert "Gamma(gamma=" in repr(transform)


def test_photometric_base(photo: np.ndarray) -> None:
    class Dim(imgaug.PhotometricAugmentor):
        def _get_augment_params(self, img: np.ndarray) -> int:
            return int(self.rng.randint(2, 4))

        def _augment(self, img: np.ndarray, param: int) -> np.ndarray:
            return img // param

    changed, params = Dim().augment_return_params(photo)
    assert changed.max() < 128
    points = np.ones((1, 2))
    assert params.apply_coords(points) is points
    assert np.array_equal(pickle.loads(cloudpickle.dumps(params)).apply_image(photo), changed)


@pytest.mark.parametrize("base", [imgaug.ImageAugmentor, imgaug.PhotometricAugmentor])
def test_a_class_without_hooks_says_so(base: type, photo: np.ndarray) -> None:
    with pytest.raises(NotImplementedError, match="_augment"):
        base().augment(photo)
    with pytest.raises(NotImplementedError, match="apply_image"):
        imgaug.Transform().apply_image(photo)


def test_a_function_is_an_augmentor(photo: np.ndarray) -> None:
    chain = imgaug.AugmentorList([lambda image: image[:10], imgaug.Flip(vert=True, prob=1)])
    assert np.array_equal(chain.augment(photo), photo[9::-1])
    transform = imgaug.MapImage(np.negative).get_transform(photo)
    with pytest.raises(NotImplementedError):
        transform.apply_coords(np.zeros((1, 2)))
    both = imgaug.MapImage(np.negative, lambda points: points + 1).get_transform(photo)
    assert both.apply_coords(np.zeros((1, 2))).tolist() == [[1, 1]]


def test_transform_lists(photo: np.ndarray) -> None:
    flip, crop = imgaug.FlipTransform(300, 451), imgaug.CropTransform(0, 0, 9, 9)
    nothing = imgaug.NoOpTransform()
    total = imgaug.TransformList([flip]) + crop
    total += imgaug.TransformList([nothing])
    assert total.tfms == [flip, crop, nothing]
    assert (nothing + total if hasattr(nothing, "__add__") else total.__radd__(nothing)).tfms == [
        nothing,
        flip,
        crop,
        nothing,
    ]
    assert total.apply_image(photo).shape == (9, 9, 3)
    assert nothing.apply_anything(5) == 5
    shift = imgaug.WarpAffineTransform([[1, 0, 5], [0, 1, 5]], (9, 9))
    paste = imgaug.RandomPaste(500).get_transform(photo)
    swap = imgaug.TransposeTransform()
    part = PartTransform(lambda _: nothing, 0)
    for transform in (nothing, total, flip, shift, paste, swap, part):
        with pytest.raises(AttributeError):
            _ = transform.unknown
        assert "imgaug." in repr(transform)
        pickle.loads(cloudpickle.dumps(transform))


def test_transforms_refuse_other_images(photo: np.ndarray) -> None:
    with pytest.raises(ValueError, match="for 10×10 images"):
        imgaug.ResizeTransform(10, 10, 5, 5, 1).apply_image(photo)
    with pytest.raises(ValueError, match="beyond the image"):
        imgaug.CropTransform(295, 0, 10, 10).apply_image(photo)
    with pytest.raises(ValueError, match="unknown="):
        imgaug.TransformFactory(unknown=abs)


def test_one_transform_for_image_and_mask(photo: np.ndarray) -> None:
    chain = imgaug.AugmentorList([imgaug.GoogleNetRandomCropAndResize(), imgaug.Flip(horiz=True)])
    transform = chain.get_transform(photo)
    changed = transform.apply_image(photo)
    assert np.array_equal(transform.apply_image(photo[:, :, 0]), changed[:, :, 0])


def test_empty_list(photo: np.ndarray) -> None:
    assert imgaug.AugmentorList([]).augment(photo) is photo


def test_text() -> None:
    assert repr(imgaug.Resize(256)) == "imgaug.Resize(shape=(256, 256))"
    assert repr(imgaug.Flip(horiz=True)) == "imgaug.Flip(horiz=True)"
    assert repr(imgaug.AugmentorList([imgaug.Identity()])) == (
        "imgaug.AugmentorList([\n  imgaug.Identity(),\n])"
    )

    class Odd(imgaug.ImageAugmentor):
        def __init__(self, hidden: int) -> None:
            super().__init__()

    assert "Odd" in repr(Odd(3))


def test_exports_are_sorted() -> None:
    assert imgaug.__all__ == sorted(imgaug.__all__)
    assert all(hasattr(imgaug, name) for name in imgaug.__all__)


def test_no_heavy_imports_of_its_own() -> None:
    code = (
        "import sys, types; p = types.ModuleType('dataflow'); p.__path__ = [sys.argv[1]];"
        "sys.modules['dataflow'] = p; import dataflow.imgaug;"
        "heavy = {'matplotlib', 'scipy', 'skimage', 'zmq', 'pycurl', 'requests', 'tensorpack'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    package = imgaug.__path__[0].removesuffix("imgaug")
    done = subprocess.run(
        [sys.executable, "-c", code, package], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
