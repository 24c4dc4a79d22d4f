"""Augmentors as a stage of a dataflow."""

from __future__ import annotations

import pickle
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import cloudpickle
import numpy as np
import pytest
from optional import library

from dataflow import imgaug
from dataflow.epoch import Epoch, Stream
from dataflow.flow import DataFlow
from dataflow.image import AugmentImageComponent
from dataflow.randomness import enter, leave
from dataflow.stages.map import MapDataComponent


class Given(DataFlow):
    """The given datapoints, again every epoch."""

    def __init__(self, datapoints: list[Any]) -> None:
        self.datapoints = datapoints

    def _stream(self, epoch: Epoch) -> Stream:
        for position, datapoint in enumerate(self.datapoints):
            yield (epoch.number, position), datapoint

    def _length(self) -> int:
        return len(self.datapoints)


def darken_in_place(image: np.ndarray) -> np.ndarray:
    image //= 2
    return image


def test_augments_one_component(cat: np.ndarray) -> None:
    ds = AugmentImageComponent(Given([[cat, 7]] * 3), [imgaug.Resize(64), imgaug.Flip(horiz=True)])
    assert len(ds) == 3
    assert [(image.shape, label) for image, label in ds] == [((64, 64, 3), 7)] * 3
    assert isinstance(ds, MapDataComponent)
    assert isinstance(ds.augs, imgaug.AugmentorList)


@pytest.mark.parametrize("index", [1, "image"])
def test_the_component_is_found(index: Any, cat: np.ndarray) -> None:
    datapoint: Any = {"image": cat, "label": 1} if index == "image" else [1, cat]
    (result,) = AugmentImageComponent(Given([datapoint]), [imgaug.CenterCrop(9)], index)
    assert result[index].shape == (9, 9, 3)
    assert datapoint[index] is cat


def test_every_way_to_give_augmentors(cat: np.ndarray) -> None:
    crop = imgaug.CenterCrop(64)
    for augmentors in (
        [crop],
        (crop,),
        imgaug.AugmentorList([crop]),
        crop,
        [lambda x: x[:64, :64]],
    ):
        ((image,),) = AugmentImageComponent(Given([[cat]]), augmentors)
        assert image.shape == (64, 64, 3)


def test_keyed_by_datapoint(cat: np.ndarray) -> None:
    augmentors = [imgaug.RandomCrop(50), imgaug.RandomCrop(40), imgaug.Flip(horiz=True)]

    def run(seed: int) -> list[bytes]:
        ds = AugmentImageComponent(Given([[cat]] * 5), augmentors).seed(seed)
        return [image.tobytes() for _ in range(2) for (image,) in ds]

    assert run(1) == run(1)
    assert len(set(run(1))) == 10
    assert run(1) != run(2)


@pytest.mark.parametrize(
    "augmentors",
    [
        [],
        [imgaug.Flip(horiz=True, prob=0)],
        [imgaug.CenterCrop(100)],
        [imgaug.CenterCrop(100), imgaug.MapImage(darken_in_place)],
        [darken_in_place],
        [imgaug.RandomApplyAug(darken_in_place, 1)],
        [imgaug.Resize(20), darken_in_place],
    ],
)
def test_what_comes_in_stays_as_it_is(augmentors: list[Any], cat: np.ndarray) -> None:
    image = cat.copy()
    ((result,),) = AugmentImageComponent(Given([[image]]), augmentors)
    assert np.array_equal(image, cat)
    result[:] = 0  # whoever comes later may write into what it got
    assert np.array_equal(image, cat)


def test_no_copy_where_it_was_not_wanted(cat: np.ndarray) -> None:
    image = cat.copy()
    ((result,),) = AugmentImageComponent(Given([[image]]), [darken_in_place], copy=False)
    assert result is image
    assert np.array_equal(image, cat // 2)


def test_errors_are_raised(cat: np.ndarray) -> None:
    with pytest.raises(ValueError, match="cannot cut"):
        list(AugmentImageComponent(Given([[cat]]), [imgaug.CenterCrop(999)]))
    with pytest.raises(TypeError, match="NoneType"):
        list(AugmentImageComponent(Given([[None]]), [imgaug.CenterCrop(9)]))
    with pytest.raises(ValueError, match="neither an augmentor"):
        AugmentImageComponent(Given([]), [3])


def test_or_the_datapoint_is_dropped(cat: np.ndarray) -> None:
    small = cat[:20, :20]
    good: list[Any] = [[cat, 0], [cat, 1]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = Given([good[0], *[[small, 2]] * 99, [None, 3], good[1]])
        ds = AugmentImageComponent(source, [imgaug.CenterCrop(30)], catch_exceptions=True)
        assert [label for _, label in ds] == [0, 1]
    with pytest.warns(RuntimeWarning, match="more than 100 images.*cannot cut 30×30") as caught:
        assert [label for _, label in ds] == [0, 1]
    assert len(caught) == 1


def test_travels_to_workers(cat: np.ndarray) -> None:
    offset = 3
    ds = AugmentImageComponent(
        Given([[cat]]), [imgaug.RandomCrop(64), lambda image: image + offset], catch_exceptions=True
    )
    copy = pickle.loads(cloudpickle.dumps(ds))
    assert np.array_equal(at(copy, cat, 5), at(ds, cat, 5))


def test_threads(cat: np.ndarray) -> None:
    ds = AugmentImageComponent(
        Given([]), [imgaug.GoogleNetRandomCropAndResize(), imgaug.Flip(True)]
    )
    expected = [at(ds, cat, position) for position in range(20)]
    results: dict[int, Any] = {}

    def work(first: int) -> None:
        for position in range(first, 20, 4):
            results[position] = at(ds, cat, position)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(results[position], expected[position]) for position in range(20))


def at(ds: AugmentImageComponent, image: np.ndarray, position: int) -> Any:
    enter(1, (0, position), 4)
    try:
        return ds.apply([image])[0]
    finally:
        leave()


def test_reset_reaches_the_augmentors(cat: np.ndarray) -> None:
    class Counting(imgaug.Identity):
        count = 0

        def reset_state(self) -> None:
            self.count += 1

    augmentor = Counting()
    before = augmentor.count
    ds = AugmentImageComponent(Given([[cat]]), [augmentor])
    list(ds)
    assert augmentor.count > before


def test_tensorpack_s_augmentors(cat: np.ndarray) -> None:
    tp = library("tensorpack.dataflow.imgaug")
    ds = AugmentImageComponent(Given([[cat]]), [tp.ResizeShortestEdge(64), tp.CenterCrop(60)])
    ((image,),) = ds
    assert image.shape == (60, 60, 3)


def test_used_below_other_flows(cat: np.ndarray) -> None:
    class Own(DataFlow):
        def __iter__(self) -> Iterator[Any]:
            yield [cat, 1]

    ((image, label),) = AugmentImageComponent(Own(), [imgaug.Resize(8)])
    assert (image.shape, label) == ((8, 8, 3), 1)
