"""Images as networks take them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from optional import library

import dataflow as df


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 4, 5, 3), np.uint8)


def by_hand(batch: np.ndarray) -> np.ndarray:
    rgb = batch[..., ::-1] / 255
    return ((rgb - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)).transpose(0, 3, 1, 2)


def test_imagenet() -> None:
    batch = images()
    found = df.to_tensor()(batch)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    np.testing.assert_allclose(found, by_hand(batch), atol=1e-5)
    np.testing.assert_array_equal(df.to_tensor()(batch[0]), found[0])
    bgr = df.to_tensor(order="bgr")(batch)
    np.testing.assert_allclose(bgr[:, ::-1], found, atol=1e-6)
    rgb = np.ascontiguousarray(batch[..., ::-1])
    np.testing.assert_array_equal(df.to_tensor(given="rgb")(rgb), found)
    half = pickle.loads(pickle.dumps(df.to_tensor(dtype=np.float16)))(batch)
    assert half.dtype == np.float16


def test_own_figures() -> None:
    found = df.to_tensor((0, 0, 0), (1, 1, 1), order="bgr")(images())
    np.testing.assert_allclose(found, images().transpose(0, 3, 1, 2) / 255, atol=1e-6)


def test_tensors() -> None:
    torch = library("torch")
    batch = images()
    found = df.to_tensor()(torch.from_numpy(batch))
    assert found.dtype == torch.float32 and found.is_contiguous()
    np.testing.assert_allclose(found.numpy(), by_hand(batch), atol=1e-5)
    assert df.to_tensor(dtype="float16")(torch.from_numpy(batch[0])).dtype == torch.float16
    with pytest.raises(TypeError, match=r"torch\.float32"):
        df.to_tensor()(found.movedim(1, 3))


def test_in_workers() -> None:
    ds = df.BatchData(df.DataFromList([[image] for image in images(8)], shuffle=False), 4)
    with df.PrefetchDataZMQ(df.MapDataComponent(ds, df.to_tensor()), 2) as runner:
        found = np.concatenate([batch for (batch,) in runner])
    np.testing.assert_allclose(
        np.sort(found.ravel()), np.sort(by_hand(images(8)).ravel()), atol=1e-5
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mean": "cifar"}, "mean='cifar'"),
        ({"mean": (0.5,), "std": (0.5, 0.5)}, "as many of both"),
        ({"mean": (0.5,)}, "std=None"),
        ({"mean": (0.5,), "std": (0,)}, "and std positive"),
        ({"order": "gbr"}, "order='gbr'"),
        ({"dtype": np.uint8}, "must be float16"),
    ],
)
def test_mistakes(options: dict[str, Any], said: str) -> None:
    with pytest.raises(df.ConfigError, match=said):
        df.to_tensor(**options)


def test_wrong_images() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 4, 5\): they must be N×H×W×3 or H×W×3"):
        df.to_tensor()(images()[..., 0])
    with pytest.raises(TypeError, match="dtype float32: they must be uint8"):
        df.to_tensor()(images().astype(np.float32))
