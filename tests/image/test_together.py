"""Several components that change alike: images, masks, coordinates."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import tensorpack.dataflow as tp
from tensorpack.dataflow import imgaug as tp_imgaug

import dataflow as df
from dataflow import imgaug

GEOMETRY = [
    imgaug.ResizeShortestEdge(40),
    imgaug.RandomCrop(24),
    imgaug.Flip(horiz=True),
]


def grid(height: int = 32, width: int = 48) -> np.ndarray:
    """An image whose pixels say where they are: channels 0 and 1 are x and y."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x, y, np.zeros_like(x)], axis=-1).astype(np.float32)


def datapoints(size: int = 12) -> df.DataFromList:
    points = np.array([[3.0, 4.0], [20.5, 8.5]], np.float32)
    return df.DataFromList(
        [[grid(), grid()[:, :, 0], points, i] for i in range(size)], shuffle=False
    )


def test_image_mask_and_points_change_alike() -> None:
    ds = df.AugmentImageComponents(datapoints(), GEOMETRY, (0, 1), (2,))
    crops = set()
    for image, mask, points, _ in ds:
        assert image.shape == (24, 24, 3) and mask.shape == (24, 24)
        assert np.array_equal(image[:, :, 0], mask)
        for (x, y), (was_x, was_y) in zip(points, [(3.0, 4.0), (20.5, 8.5)], strict=True):
            if 1 <= x < 23 and 1 <= y < 23:  # pixel centres are at + 0.5
                assert abs(image[int(y), int(x), 0] + 0.5 - was_x) < 1.5
                assert abs(image[int(y), int(x), 1] + 0.5 - was_y) < 1.5
        crops.add(mask.tobytes())
    assert len(crops) > 6, "each datapoint draws for itself"


def test_the_same_draws_as_of_one_component() -> None:
    one = df.AugmentImageComponent(datapoints(), GEOMETRY)
    both = df.AugmentImageCoordinates(datapoints(), GEOMETRY, 0, 2)
    several = df.AugmentImageComponents(datapoints(), GEOMETRY, (0, 1), (2,))
    for ds in (one, both, several):
        ds.seed(7)
    for a, b, c in zip(one, both, several, strict=True):
        assert np.array_equal(a[0], b[0]) and np.array_equal(a[0], c[0])
        assert np.array_equal(b[2], c[2])
        assert not np.array_equal(a[2], b[2])


def test_in_processes_the_same_bytes() -> None:
    ds = df.AugmentImageComponents(datapoints(), GEOMETRY, (0, 1), (2,))
    ds.seed(3)
    plain = list(ds)
    with df.PrefetchDataZMQ(ds, 2) as run:
        run.set_epoch(0)
        for one, other in zip(run, plain, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    ds.set_epoch(0)
    assert np.array_equal(ds[5][1], plain[5][1])


def test_dicts() -> None:
    flow = df.DataFromList([{"image": grid(), "points": np.zeros((1, 2)), "id": 1}])
    ds = df.AugmentImageCoordinates(flow, [imgaug.Flip(horiz=True, prob=1)], "image", "points")
    (found,) = ds
    assert found["points"].tolist() == [[48.0, 0.0]] and found["id"] == 1
    assert found["image"][0, 0, 0] == 47


class Spoils(imgaug.ImageAugmentor):
    """Writes into what it is given."""

    def get_transform(self, img):
        def spoil(array):
            array[:] = 0
            return array

        return imgaug.TransformFactory(apply_image=spoil, apply_coords=spoil)


@pytest.mark.parametrize("augmentors", [[Spoils()], [imgaug.Identity()], [imgaug.CenterCrop(8)]])
def test_what_came_in_stays_as_it_is(augmentors) -> None:
    before = [grid(), grid()[:, :, 0].copy(), np.ones((2, 2))]
    given = [array.copy() for array in before]
    ds = df.AugmentImageComponents(df.DataFromList([given]), augmentors, (0, 1), (2,))
    (found,) = ds
    for array, was, now in zip(given, before, found, strict=True):
        assert np.array_equal(array, was)
        assert not np.may_share_memory(array, now)


def test_without_copies() -> None:
    image = grid()
    flow = df.DataFromGenerator(lambda: iter([[image, image[:, :, 0]]]))  # which keeps nothing
    (found,) = df.AugmentImageComponents(flow, [imgaug.CenterCrop(8)], copy=False)
    assert np.may_share_memory(found[0], image)


def test_failures_are_dropped_where_that_is_asked_for() -> None:
    small = [[grid(4, 4), grid(4, 4)]] + [[grid(), grid()]] * 3
    flow = df.DataFromList(small, shuffle=False)
    with pytest.raises(Exception, match="cannot cut"):
        list(df.AugmentImageComponents(flow, [imgaug.RandomCrop(8)]))
    ds = df.AugmentImageComponents(flow, [imgaug.RandomCrop(8)], catch_exceptions=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(ds)) == 3
    many = df.RepeatedData(df.DataFromList(small[:1]), 101)
    ds = df.AugmentImageComponents(many, [imgaug.RandomCrop(8)], catch_exceptions=True)
    with pytest.warns(RuntimeWarning, match="more than 100 images"):
        assert list(ds) == []


@pytest.mark.parametrize(
    ("points", "error", "message"),
    [
        (np.zeros((3, 2), np.int64), TypeError, "component 1: .* not int64"),
        ([[1.0, 2.0]], TypeError, "component 1: .* not list"),
        (np.zeros((3, 3)), ValueError, r"not of shape \(3, 3\)"),
        (np.zeros(2), ValueError, r"not of shape \(2,\)"),
    ],
)
def test_coordinates_are_looked_at(points, error: type[Exception], message: str) -> None:
    flow = df.DataFromList([[grid(), points]])
    with pytest.raises(error, match=message):
        list(df.AugmentImageCoordinates(flow, GEOMETRY))


def test_arguments_are_checked() -> None:
    flow = datapoints()
    with pytest.raises(df.ConfigError, match=r"index=\(\)"):
        df.AugmentImageComponents(flow, GEOMETRY, ())
    with pytest.raises(df.ConfigError, match="twice"):
        df.AugmentImageComponents(flow, GEOMETRY, (0, 0))
    with pytest.raises(TypeError, match="NumPy array, not int"):
        list(df.AugmentImageComponents(flow, GEOMETRY, (0, 3)))
    with pytest.raises(IndexError, match="no component 9"):
        list(df.AugmentImageComponents(flow, GEOMETRY, (0, 9)))


def test_the_same_as_tensorpacks() -> None:
    """Augmentors that draw nothing. Theirs for coordinates fails on any current NumPy."""

    def chain(kit, augmentors):
        points = [[grid().astype(np.uint8), grid()[:, :, 0].astype(np.uint8), i] for i in range(3)]
        flow = kit.DataFromList(points, shuffle=False)
        return kit.AugmentImageComponents(flow, augmentors, (0, 1))

    def kinds(module):
        return [module.ResizeShortestEdge(20), module.CenterCrop(16), module.Flip(True, prob=1)]

    theirs = chain(tp, kinds(tp_imgaug))
    theirs.reset_state()
    ours = chain(df, kinds(imgaug))
    mixed = chain(df, tp_imgaug.AugmentorList(kinds(tp_imgaug)))
    for one, two, other in zip(ours, mixed, theirs, strict=True):
        for a, b, c in zip(one, two, other, strict=True):
            assert np.array_equal(a, c) and np.array_equal(b, c)
    with pytest.raises(AttributeError):
        flow = tp.DataFromList([[grid(), np.zeros((1, 2))]])
        broken = tp.AugmentImageCoordinates(flow, [tp_imgaug.Flip(horiz=True)])
        broken.reset_state()
        list(broken)
