"""Where the random numbers come from."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import cloudpickle
import numpy as np
import pytest

from dataflow import imgaug
from dataflow.randomness import enter, leave


@pytest.fixture(autouse=True)
def outside() -> Iterator[None]:
    yield
    leave()


def training() -> imgaug.AugmentorList:
    """The augmentation of ResNet."""
    return imgaug.AugmentorList(
        [
            imgaug.GoogleNetRandomCropAndResize(target_shape=64),
            imgaug.RandomOrderAug(
                [
                    imgaug.BrightnessScale((0.6, 1.4)),
                    imgaug.Contrast((0.6, 1.4), rgb=False),
                    imgaug.Saturation(0.4, rgb=False),
                    imgaug.Lighting(0.1, [55, 4.8, 1.1], np.eye(3)),
                ]
            ),
            imgaug.Flip(horiz=True),
        ]
    )


def at(augmentor: Any, image: np.ndarray, position: int, *, seed: int = 1, stage: int = 2) -> Any:
    enter(seed, (0, position), stage)
    return augmentor.augment(image)


def test_belong_to_the_datapoint(photo: np.ndarray) -> None:
    first, second = training(), training()
    images = [at(first, photo, position) for position in range(6)]
    for position in (3, 0, 5, 1, 4, 2):
        assert np.array_equal(at(second, photo, position), images[position])
    assert len({image.tobytes() for image in images}) == 6
    assert not np.array_equal(at(first, photo, 0, seed=2), images[0])
    assert not np.array_equal(at(first, photo, 0, stage=3), images[0])


def test_do_not_depend_on_the_thread_or_the_copy(photo: np.ndarray) -> None:
    augmentor = training()
    images = [at(augmentor, photo, position) for position in range(8)]
    copy = pickle.loads(cloudpickle.dumps(augmentor))
    results: dict[int, np.ndarray] = {}

    def work(start: int) -> None:
        for position in range(start, 8, 2):
            results[position] = at(copy, photo, position)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(results[position], images[position]) for position in range(8))


def test_equal_augmentors_in_a_list_draw_differently(photo: np.ndarray) -> None:
    def factors(augmentor: Any) -> list[float]:
        return [child._get_augment_params(photo) for child in augmentor]

    seen: list[float] = []

    class Probe(imgaug.ImageAugmentor):
        def get_transform(self, img: np.ndarray) -> imgaug.Transform:
            seen.append(self.rng.random_sample())
            return imgaug.NoOpTransform()

    for composite in (imgaug.AugmentorList, imgaug.RandomOrderAug):
        seen.clear()
        at(composite([Probe(), Probe(), imgaug.RandomApplyAug(Probe(), 1)]), photo, 0)
        assert len(set(seen)) == 3
    seen.clear()
    nested = imgaug.AugmentorList([imgaug.AugmentorList([Probe(), Probe()]) for _ in range(2)])
    at(nested, photo, 0)
    assert len(set(seen)) == 4
    first = seen.copy()
    at(nested, photo, 0)
    assert seen[4:] == first


def test_one_augmentor_does_not_move_another_s_numbers(photo: np.ndarray) -> None:
    few = imgaug.AugmentorList([imgaug.Identity(), imgaug.RandomCrop(64)])
    many = imgaug.AugmentorList(
        [imgaug.RandomOrderAug([imgaug.Identity()] * 9), imgaug.RandomCrop(64)]
    )
    assert np.array_equal(at(few, photo, 4), at(many, photo, 4))


def test_a_transform_made_first_and_applied_later_is_the_same(photo: np.ndarray) -> None:
    augmentor = imgaug.AugmentorList([imgaug.RandomApplyAug(training(), 0.9), training()])
    whole = at(augmentor, photo, 3)
    enter(1, (0, 3), 2)
    transform = augmentor.get_transform(photo)
    assert np.array_equal(transform.apply_image(photo), whole)
    leave()
    assert np.array_equal(transform.apply_image(photo), whole)  # settled now


def test_branches_of_a_datapoint_differ(photo: np.ndarray) -> None:
    augmentor = training()
    enter(1, (0, 0, 0), 2)
    first = augmentor.augment(photo)
    enter(1, (0, 0, 1), 2)
    assert not np.array_equal(augmentor.augment(photo), first)


def test_outside_a_dataflow_each_augmentor_has_its_own() -> None:
    first, second = imgaug.Flip(horiz=True), imgaug.Flip(horiz=True)
    assert first.rng is first.rng
    assert first.rng is not second.rng
    assert first.rng.randint(2**31) != second.rng.randint(2**31)
    before = first.rng
    first.reset_state()
    assert first.rng is not before


def test_one_set_by_hand_wins(photo: np.ndarray) -> None:
    first, second = imgaug.RandomCrop(50), imgaug.RandomCrop(50)
    first.rng, second.rng = np.random.RandomState(3), np.random.RandomState(3)
    enter(1, (0, 0), 2)
    images = [first.augment(photo) for _ in range(4)]
    first.reset_state()
    enter(1, (0, 1), 2)
    assert all(np.array_equal(second.augment(photo), image) for image in images)
    restored = pickle.loads(pickle.dumps(first))
    assert np.array_equal(restored.augment(photo), second.augment(photo))


def test_copies_and_children_do_not_draw_alike() -> None:
    augmentor = imgaug.Flip(horiz=True)
    own = augmentor.rng
    copy = pickle.loads(pickle.dumps(augmentor))
    assert copy.rng.randint(2**31) != own.randint(2**31)
    # As after a fork: the generator is another process's.
    key = "_ImageAugmentor__own"
    augmentor.__dict__[key] = (os.getpid() + 1, own)
    assert augmentor.rng is not own


def test_reset_reaches_every_augmentor() -> None:
    count = 0

    class Counting(imgaug.ImageAugmentor):
        def reset_state(self) -> None:
            nonlocal count
            count += 1
            super().reset_state()

    inner = [Counting(), Counting(), Counting(), Counting()]
    outer = imgaug.AugmentorList(
        [
            inner[0],
            imgaug.RandomApplyAug(inner[1], 0.5),
            imgaug.RandomOrderAug([inner[2]]),
            imgaug.RandomChooseAug([inner[3]]),
        ]
    )
    count = 0
    outer.reset_state()
    assert count == 4


def test_rand_range() -> None:
    augmentor = imgaug.Identity()
    augmentor.rng = np.random.RandomState(0)
    for drawn in (augmentor._rand_range(), augmentor._rand_range(2), augmentor._rand_range(-1, 1)):
        assert isinstance(drawn, np.float32)
    many = augmentor._rand_range(5, 6, size=(100, 2))
    assert isinstance(many, np.ndarray)
    assert many.shape == (100, 2)
    assert many.dtype == np.float32
    assert 5 <= many.min() < many.max() < 6
    assert 0 <= augmentor._rand_range(0.5) < 0.5
