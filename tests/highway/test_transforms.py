"""Highway's transforms, each by what it says of itself."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import dataflow as df
from dataflow.highway import Augmentations, FlowSource, Pipeline, transforms
from dataflow.highway.transforms import (
    AdditiveNoise,
    FlipX,
    HistEq,
    PadCrop,
    RescaleImages,
    Resize,
    Rotate,
    Shift,
    Slicer,
    TopCenterCrop,
    Transform,
    Zoom,
)

from .conftest import DATA

ALL = [
    FlipX(),
    PadCrop(3),
    AdditiveNoise(),
    Shift(0.2),
    Rotate(20, order=1),
    Zoom(0.3, order=1),
    HistEq(),
    Slicer(0.5, 0.5),
    RescaleImages(),
    TopCenterCrop((10, 8)),
    Resize((9, 14)),
]
RANDOM = [FlipX, PadCrop, AdditiveNoise, Shift, Rotate, Zoom, Slicer]
each = pytest.mark.parametrize("transform", ALL, ids=lambda one: type(one).__name__)


@pytest.fixture(scope="module", params=["uint8", "float32"])
def batch(request: pytest.FixtureRequest) -> np.ndarray:
    """Eight times the same photograph, 30×40."""
    image = cv2.resize(cv2.imread(str(DATA / "chelsea.png")), (40, 30))
    images = np.repeat(image[None], 8, axis=0).astype(request.param)
    images.flags.writeable = False
    return images


def through(transform: Any, images: Any, seed: int = 1, deterministic: bool = False) -> Any:
    flow = df.DataFromList([{"images": images, "labels": np.eye(len(images))}])
    augmentations = Augmentations([transform], deterministic, n_worker=0)
    with Pipeline([FlowSource(flow, once=True), augmentations]) as p:
        p.flow.seed(seed)
        changed, labels = p.dequeue()
    assert np.array_equal(labels, np.eye(len(images)))
    return changed


@each
@pytest.mark.parametrize("deterministic", [False, True])
def test_grey_images_need_no_axis_of_channels(
    transform: Transform, deterministic: bool, batch: np.ndarray
) -> None:
    grey = batch[..., 1]
    expected = through(transform, grey[..., None], deterministic=deterministic)[..., 0]
    np.testing.assert_array_equal(through(transform, grey, deterministic=deterministic), expected)
    single = transform.apply({"images": [*grey]}, deterministic)["images"]
    assert single.shape == expected.shape
    mixed = transform.apply({"images": [grey[0], batch[0]]}, True)["images"]
    assert [one.ndim for one in mixed] == [2, 3]


def test_all_of_them() -> None:
    names = {type(transform).__name__ for transform in ALL} | {"Transform"}
    assert set(transforms.__all__) == names and len(ALL) == 11
    for transform in ALL:
        assert repr(transform).startswith(f"{type(transform).__name__}(")


@each
def test_the_seed_decides_and_each_image_draws_for_itself(
    transform: Transform, batch: np.ndarray
) -> None:
    one = through(transform, batch)
    assert np.array_equal(one, through(transform, batch)) and one.ndim == 4
    assert one.dtype == (np.float32 if isinstance(transform, RescaleImages) else batch.dtype)
    differ = any(not np.array_equal(one[0], other) for other in one[1:])
    assert differ == (type(transform) in RANDOM)
    assert differ == (not np.array_equal(one, through(transform, batch, seed=2)))


@each
def test_deterministic_draws_nothing(transform: Transform, batch: np.ndarray) -> None:
    one = through(transform, batch, 1, True)
    assert np.array_equal(one, through(transform, batch, 2, True))
    assert (one == one[:1]).all()
    assert one.shape == through(transform, batch).shape
    if type(transform) in RANDOM and not isinstance(transform, Slicer):
        assert np.array_equal(one, batch)


@each
def test_lists_of_images(transform: Transform, batch: np.ndarray) -> None:
    images = list(batch)
    changed = through(transform, images)
    assert isinstance(changed, np.ndarray) and len(changed) == 8
    if not isinstance(transform, AdditiveNoise):  # it draws for all at once
        assert np.array_equal(changed, through(transform, batch))
    images[0] = np.repeat(images[0], 2, axis=0)
    changed = through(transform, images)
    assert isinstance(changed, np.ndarray) == isinstance(transform, Resize | TopCenterCrop)


@each
def test_what_is_no_batch_of_images(transform: Transform) -> None:
    for images in (np.zeros((3, 3)), [np.zeros(3)], np.zeros((1, 2, 3, 4, 5)), 5):
        with pytest.raises(ValueError, match="H×W×C"):
            transform.apply({"images": images})
    empty = np.zeros((0, 20, 20, 3), np.uint8)
    assert len(transform.apply({"images": empty})["images"]) == 0


def test_outside_of_a_flow(batch: np.ndarray) -> None:
    values = {"images": batch, "more": 1}
    changed = FlipX().apply(values)
    assert changed["more"] == 1 and values["images"] is batch
    assert any(
        not np.array_equal(FlipX().apply(values)["images"], changed["images"]) for _ in range(20)
    )


def test_flipping(batch: np.ndarray) -> None:
    assert np.array_equal(through(FlipX(1), batch), batch[:, :, ::-1])
    assert np.array_equal(through(FlipX(0), batch), batch)
    with pytest.raises(df.ConfigError, match="p=2"):
        FlipX(2)


@settings(max_examples=25)
@given(
    hnp.arrays(np.uint8, (2, 7, 9, 3)),
    st.integers(0, 5),
    st.sampled_from(["constant", "edge", "wrap"]),
)
def test_padding_and_cropping(images: np.ndarray, size: int, mode: Any) -> None:
    """Each result is a part of the padded image."""
    padding = ((0, 0), (size, size), (size, size), (0, 0))
    padded = np.pad(images, padding, mode=mode)
    changed = through(PadCrop(size, mode), images)
    for image, frame in zip(changed, padded, strict=True):
        parts = np.lib.stride_tricks.sliding_window_view(frame, image.shape)[:, :, 0]
        assert (parts == image).all(axis=(2, 3, 4)).any()


def centre(image: np.ndarray) -> tuple[float, float]:
    y, x = np.nonzero(image[:, :, 0] > 100)
    return y.mean(), x.mean()


def test_shifting_rotating_zooming() -> None:
    """A white square in the middle."""
    images = np.zeros((16, 41, 61, 3), np.uint8)
    images[:, 15:26, 25:36] = 255
    places = np.array([centre(image) for image in through(Shift(0.25), images)]) - (20, 30)
    assert (np.abs(places) <= (10.5, 15.5)).all() and (np.ptp(places, axis=0) > (6, 9)).all()
    assert np.array_equal(places, np.rint(places))
    turned = through(Rotate(45, order=1), images)
    areas = (turned[:, :, :, 0] > 127).sum(axis=(1, 2))
    assert np.abs(areas - 121).max() <= 12
    assert all(np.allclose(centre(image), (20, 30), atol=0.3) for image in turned)
    zoomed = (through(Zoom(0.5), images[:, 10:31, 20:41])[:, :, :, 0] > 127).sum(axis=(1, 2))
    assert zoomed.min() < 80 and zoomed.max() > 160
    corner = np.full((4, 20, 20, 1), 255, np.uint8)
    assert through(Shift(0.5, "nearest"), corner).min() == 255
    assert through(Shift(0.5), corner).min() == 0
    assert through(Zoom(0), corner).min() == 255


def test_rotating_keeps_all_in_a_larger_frame() -> None:
    images = np.full((6, 20, 40, 1), 255, np.uint8)
    plain = through(Rotate(90, reshape=True), images, deterministic=True)
    assert plain.shape == (6, 45, 45, 1) and (plain > 0).sum() == 6 * 800
    changed = through(Rotate(90, reshape=True), images)
    assert changed.shape == plain.shape
    assert np.abs((changed > 127).sum(axis=(1, 2, 3)) - 800).max() < 60
    assert through(Rotate(0, reshape=True), images).shape == images.shape


def test_noise() -> None:
    images = np.full((2, 60, 60, 3), 100, np.float32)
    noise = through(AdditiveNoise(0.5, mu=10, sigma=20), images) - 100
    assert abs(noise.mean() - 5) < 0.5 and abs(noise.std() - 10) < 0.5
    even = through(AdditiveNoise(0.5, mu=10, sigma=20), images, deterministic=True)
    assert (even == 105).all()
    assert through(AdditiveNoise(sigma=1e4), np.zeros((2, 9, 9, 3), np.uint8)).max() == 255


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_equalizing(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    dark = np.clip(rng.normal(40, 5, (2, 64, 64, 3)), 0, 255).astype(dtype)
    equal = through(HistEq(), dark)
    counts, _ = np.histogram(equal, 8, (0, 256))
    assert counts.min() > 0.4 * counts.mean() and equal.max() == 255
    order = np.argsort(dark[0].ravel(), kind="stable")
    assert (np.diff(equal[0].ravel()[order].astype(float)) >= 0).all(), "brighter stays brighter"
    plain = np.full((2, 4, 4, 1), 7, dtype)
    assert np.array_equal(through(HistEq(), plain), plain)


def test_windows() -> None:
    images = np.repeat(np.arange(40, dtype=np.uint8)[None, :, None, None], 32, axis=0)
    images = np.repeat(np.repeat(images, 20, axis=2), 1, axis=3)
    (starts,) = [through(Slicer(0.25, yoffset=0.1), images)[:, 0, 0, 0]]
    assert starts.min() >= 4 and starts.max() <= 26 and np.ptp(starts) > 12
    middle = through(Slicer(0.25, 0.5, yoffset=0.1), images, deterministic=True)
    assert middle.shape == (32, 10, 10, 1) and (middle[:, 0] == 15).all()
    assert through(Slicer(1, 1), images).shape == images.shape
    for bad in ({"height": 0}, {"height": 1.1}, {"width": 0.9, "xoffset": 0.1}):
        with pytest.raises(df.ConfigError, match="leave room"):
            Slicer(**bad)
    with pytest.raises(ValueError, match="leaves nothing"):
        Slicer(0.1).apply({"images": images[:, :5]})


def test_sizes(batch: np.ndarray) -> None:
    assert np.array_equal(through(TopCenterCrop((10, 8)), batch), batch[:, :10, 16:24])
    with pytest.raises(ValueError, match="cannot cut"):
        TopCenterCrop(31).apply({"images": batch})
    for resize, shape in [
        (Resize((20, 10)), (20, 10)),
        (Resize(50), (15, 20)),
        (Resize(0.5, interp="nearest"), (15, 20)),
        (Resize(20, mode="width", interp="bilinear"), (15, 20)),
    ]:
        assert through(resize, batch).shape == (8, *shape, 3)
    with pytest.raises(df.ConfigError, match="mode='height'"):
        Resize(3, mode="height")
    with pytest.raises(df.ConfigError, match="interp='area'"):
        Resize(3, interp="area")
    with pytest.raises(df.ConfigError, match="more than 0"):
        Resize(0)


def test_scaling(batch: np.ndarray) -> None:
    changed = through(RescaleImages(), batch)
    assert np.allclose(changed, (batch.astype(np.float64) - 128) / 128)


def test_arguments() -> None:
    with pytest.raises(df.ConfigError, match="mode='edge'"):
        Shift(0.1, "edge")
    with pytest.raises(df.ConfigError, match="order=2"):
        Rotate(10, order=2)
    with pytest.raises(df.ConfigError, match="fac=1"):
        Zoom(1)


class Halved(Transform):
    """As users' classes for Highway are."""

    def apply(self, values: Any, deterministic: bool = False) -> Any:
        values["images"] = values["images"] // 2
        return values


def test_transforms_of_ones_own(batch: np.ndarray) -> None:
    assert np.array_equal(through(Halved(), batch), batch // 2)
