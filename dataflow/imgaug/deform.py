"""Bending images like rubber."""

from __future__ import annotations

import functools
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.errors import ConfigError
from dataflow.imgaug.arguments import number, shape_2d
from dataflow.imgaug.augmentor import Effect, ImageAugmentor
from dataflow.imgaug.pixels import as_type
from dataflow.imgaug.planes import interpolated, require_movable
from dataflow.imgaug.transforms import (
    Image,
    Transform,
    TransformFactory,
    moved_exactly,
)

__all__ = ["GaussianDeform", "GaussianMap"]


class GaussianDeform(ImageAugmentor):
    """Pull the image at some points, by a Gaussian of the distance from each.

    The pixel at p is taken from ``p + Σ v * exp(-d² / sigma)`` over the points, where v is the
    point's offset and d its distance from p as a part of height and width; beyond the image its
    edge is repeated. It cannot be applied to coordinates: where the image folds, one point of it
    is in several places.

    Takes bool, integers of 8 and 16 bits and floats of 16 to 64, in any range and of any number of
    channels. Floats of 64 bits are computed with in 32.

    Draws: two uniform numbers a point, for its offset in y and in x.

    Args:
        anchors: the points, pairs (y, x) in [0, 1].
        shape: (height, width) of the images, and of the results.
        sigma: how far a pull reaches.
        randrange: the largest offset in pixels; None for an eighth of the height.
    """

    _effect = Effect.FRESH

    def __init__(
        self, anchors: Any, shape: Any, sigma: float = 0.5, randrange: float | None = None
    ) -> None:
        super().__init__()
        self.anchors = anchors
        self.shape = shape_2d("shape", shape)
        self.sigma = number("sigma", sigma, 0)
        self.randrange = (
            self.shape[0] / 8 if randrange is None else number("randrange", randrange, 0)
        )
        points = np.asarray(anchors, np.float32)
        if points.ndim != 2 or points.shape[1] != 2:
            raise ConfigError(f"anchors={anchors!r} must be pairs (y, x)")
        if not self.sigma:
            raise ConfigError(f"sigma={sigma!r} must be above 0")
        self._down, self._across = (
            _reach(points[:, axis], self.shape[axis], self.sigma) for axis in range(2)
        )

    def get_transform(self, img: Image) -> Transform:
        require_movable(img, type(self).__name__)
        if img.shape[:2] != self.shape:
            raise ValueError(f"{self!r} is for images of its shape, not {img.shape}")
        offsets = self.randrange * (2 * self.rng.random_sample((self._down.shape[1], 2)) - 1)
        bend = functools.partial(_bend, self._down, self._across, offsets.astype(np.float32))
        mask = functools.partial(_bend_mask, self._down, self._across, offsets.astype(np.float32))
        return TransformFactory("GaussianDeform", apply_image=bend, apply_mask=mask)


class GaussianMap:
    """How strongly a point pulls at each pixel, as `GaussianDeform` counts it.

    Args:
        image_shape: (height, width) of the map.
        sigma: how far the point reaches.
    """

    def __init__(self, image_shape: Any, sigma: float = 0.5) -> None:
        self.shape = shape_2d("image_shape", image_shape)
        self.sigma = number("sigma", sigma, 0)

    def get_gaussian_weight(self, anchor: Any) -> NDArray[np.float32]:
        """H×W, float32, up to 1, for the point `anchor`: (y, x) in [0, 1]."""
        down, across = (
            _reach(np.array([anchor[axis]], np.float32), self.shape[axis], self.sigma)
            for axis in range(2)
        )
        weights: NDArray[np.float32] = down @ across.T
        return weights


def _reach(points: NDArray[np.float32], length: int, sigma: float) -> NDArray[np.float32]:
    """The Gaussian along one axis, length×points: the plane's is the product of two."""
    places = np.arange(length, dtype=np.float32)[:, np.newaxis] / length
    reach: NDArray[np.float32] = np.exp(-((places - points) ** 2) / np.float32(sigma))
    return reach


def _sources(
    down: NDArray[np.float32], across: NDArray[np.float32], offsets: NDArray[Any]
) -> tuple[Any, Any]:
    """Where each pixel comes from: y and x, each H×W."""
    places = np.indices((len(down), len(across)), np.float32)
    # OpenCV's product: for NumPy's the threads of BLAS wake up, and take ten times as long.
    y, x = (
        cv2.gemm(down * offsets[:, axis], across, 1, places[axis], 1, flags=cv2.GEMM_2_T)
        for axis in range(2)
    )
    return y, x


def _bend_mask(
    down: NDArray[np.float32],
    across: NDArray[np.float32],
    offsets: NDArray[Any],
    mask: Image,
    fill: Any = 0,
) -> Image:
    y, x = _sources(down, across, offsets)

    def bent(image: Image) -> Image:
        return interpolated(
            lambda part, _: cv2.remap(
                part, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
            ),
            image,
            "GaussianDeform",
            cv2.INTER_NEAREST,
        )

    return moved_exactly(bent, mask)


def _bend(
    down: NDArray[np.float32], across: NDArray[np.float32], offsets: NDArray[Any], img: Image
) -> Image:
    y, x = _sources(down, across, offsets)

    def bent(part: Image, _: int) -> Image:
        # Not as float64, in which OpenCV is coarser: it rounds places to 1/32 of a pixel.
        source = part if part.dtype == np.uint8 else part.astype(np.float32, copy=False)
        found = cv2.remap(source, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return as_type(found, part.dtype)

    return interpolated(bent, img, "GaussianDeform")
