"""Augmentors of other libraries; where one is not installed, objects with its interface."""

from __future__ import annotations

import pickle
import random
import sys
import types
from typing import Any

import cloudpickle
import numpy as np
import pytest
from optional import library

from dataflow import imgaug
from dataflow.errors import MissingExtra
from dataflow.randomness import enter, leave


def drawn_for(augmentor: Any, position: int, image: np.ndarray) -> np.ndarray:
    """The image as the datapoint at a position of a dataflow."""
    enter(1, (0, position), 0)
    try:
        changed: np.ndarray = augmentor.augment(image)
        return changed
    finally:
        leave()


# -- Albumentations ---------------------------------------------------------------------------


class Dims:
    """A transform of Albumentations: called by keyword, seeded in place."""

    def __init__(self) -> None:
        self.random = random.Random()

    def set_random_seed(self, seed: int | None) -> None:
        self.random = random.Random(seed)

    def __call__(self, *args: Any, image: np.ndarray) -> dict[str, np.ndarray]:
        assert not args
        return {"image": (image * self.random.random()).astype(image.dtype)}


def check_seeded(augmentor: Any, image: np.ndarray) -> None:
    images = [drawn_for(augmentor, position, image) for position in range(6)]
    assert len({changed.tobytes() for changed in images}) > 1
    copy = pickle.loads(cloudpickle.dumps(augmentor))
    for position in (4, 1):
        assert np.array_equal(drawn_for(copy, position, image), images[position])
    transform = augmentor.get_transform(image)
    augmentor.get_transform(image).apply_image(image)  # which moves nobody else's numbers
    first = transform.apply_image(image)
    assert np.array_equal(transform.apply_image(image), first)


def test_a_transform_like_albumentations(photo: np.ndarray) -> None:
    check_seeded(imgaug.Albumentations(Dims()), photo)
    with pytest.raises(NotImplementedError, match="apply_coords"):
        imgaug.Albumentations(Dims()).get_transform(photo).apply_coords(np.zeros((1, 2)))
    assert "Dims" in repr(imgaug.Albumentations(Dims()))


def test_albumentations(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network on import
    theirs = library("albumentations")
    for transform in (
        theirs.RandomRotate90(p=1),
        theirs.RandomBrightnessContrast(p=0.5),
        theirs.Compose([theirs.HorizontalFlip(), theirs.GaussNoise()]),
    ):
        chain = imgaug.AugmentorList([imgaug.CenterCrop(64), imgaug.Albumentations(transform)])
        check_seeded(chain, photo)
    flip = imgaug.Albumentations(theirs.HorizontalFlip(p=1))
    assert np.array_equal(flip.augment(photo), photo[:, ::-1])
    # Of a transform that need not be repeatable, its own call is a function of the image.
    assert (
        imgaug.MapImage(lambda img: theirs.VerticalFlip(p=1)(image=img)["image"])
        .augment(photo)
        .tobytes()
        == np.ascontiguousarray(photo[::-1]).tobytes()
    )


# -- imgaug, the other one --------------------------------------------------------------------


class Rolls:
    """An augmenter of imgaug: settled by `to_deterministic`, seeded afterwards."""

    def __init__(self, shift: int | None = None) -> None:
        self.shift = shift

    def to_deterministic(self) -> Rolls:
        return Rolls(-1)

    def seed_(self, entropy: int, deterministic_too: bool = False) -> None:
        assert deterministic_too
        self.shift = random.Random(entropy).randrange(1, 40)

    def augment_image(self, image: np.ndarray) -> np.ndarray:
        assert self.shift is not None
        return np.roll(image, self.shift, axis=1)

    def augment_keypoints(self, images: list[Any]) -> list[Any]:
        (points,) = images
        keypoint = sys.modules["imgaug"].Keypoint
        moved = [keypoint(x=point.x + self.shift, y=point.y) for point in points.keypoints]
        return [types.SimpleNamespace(keypoints=moved, shape=points.shape)]


class RollsOfOld(Rolls):
    """As before its release 0.4."""

    seed_: Any = None

    def __getattribute__(self, name: str) -> Any:
        if name == "seed_":
            raise AttributeError(name)
        return super().__getattribute__(name)

    def to_deterministic(self) -> RollsOfOld:
        return RollsOfOld(-1)

    def reseed(self, random_state: int, deterministic_too: bool = False) -> None:
        Rolls.seed_(self, random_state, deterministic_too)


class KeypointsOnImage:
    def __init__(self, keypoints: list[Any], shape: tuple[int, ...]) -> None:
        self.keypoints = keypoints
        self.shape = shape


@pytest.mark.parametrize("augmenter", [Rolls, RollsOfOld])
def test_an_augmenter_like_imgaug_s(
    augmenter: type, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    library: Any = types.ModuleType("imgaug")
    library.Keypoint = types.SimpleNamespace
    library.KeypointsOnImage = KeypointsOnImage
    augmentor = imgaug.IAAugmentor(augmenter())
    check_seeded(augmentor, photo)
    transform = augmentor.get_transform(photo)
    shift = transform.aug.shift
    points = np.array([[1.5, 2.5], [3, 4]], np.float32)
    monkeypatch.setitem(sys.modules, "imgaug", None)
    with pytest.raises(MissingExtra, match="pip install imgaug"):
        transform.apply_coords(points)
    monkeypatch.setitem(sys.modules, "imgaug", library)
    assert transform.apply_coords(points).tolist() == [[1.5 + shift, 2.5], [3 + shift, 4]]
    assert transform.apply_coords(points[:0]).shape == (0, 2)
    assert "Rolls" in repr(augmentor)


# -- any callable -----------------------------------------------------------------------------


class Compose:
    """Transforms in the manner of torchvision: objects that are called with the image."""

    def __init__(self, transforms: list[Any]) -> None:
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        for transform in self.transforms:
            img = transform(img)
        return img


def test_callables_need_no_wrapper(photo: np.ndarray) -> None:
    transform = Compose([np.flipud, np.ascontiguousarray])
    expected = np.ascontiguousarray(photo[::-1, ::-1])
    for augmentor in (transform, imgaug.MapImage(transform)):
        chain = imgaug.AugmentorList([imgaug.Flip(horiz=True, prob=1), augmentor])
        assert np.array_equal(chain.augment(photo), expected)
        assert np.array_equal(pickle.loads(cloudpickle.dumps(chain)).augment(photo), expected)


def test_torchvision(photo: np.ndarray) -> None:
    v2 = library("torchvision.transforms.v2")
    transform = v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip(p=1), v2.CenterCrop(64)])
    chain = imgaug.AugmentorList(
        [transform, lambda image: image.permute(1, 2, 0).numpy(), imgaug.Flip(vert=True, prob=1)]
    )
    expected = imgaug.CenterCrop(64).augment(np.ascontiguousarray(photo[::-1, ::-1]))
    assert np.array_equal(chain.augment(photo), expected)
