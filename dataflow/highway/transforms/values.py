"""Transforms that change values: noise, histograms, scales."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.highway.transforms.base import Images, Transform
from dataflow.imgaug.arguments import number
from dataflow.imgaug.noise import fast_generator
from dataflow.imgaug.pixels import as_float, as_type

__all__ = ["AdditiveNoise", "HistEq", "RescaleImages"]

_BINS = 256


class AdditiveNoise(Transform):
    """Add to each value ``strength`` times a normal number of its own.

    uint8 is rounded, and clipped to [0, 255]; floating point is not clipped. Deterministic: the
    noise's mean alone, ``strength * mu``. Draws: 16 bytes, which seed a faster generator.

    Args:
        strength: the factor.
        mu: the mean.
        sigma: the deviation.
    """

    def __init__(self, strength: float = 0.2, mu: float = 0, sigma: float = 50) -> None:
        self.strength = float(strength)
        self.mu = float(mu)
        self.sigma = number("sigma", sigma, 0)

    def change(self, images: Images, rng: np.random.RandomState | None) -> Images:
        mean = np.float32(self.strength * self.mu)
        if rng is None:
            return as_type(as_float(images) + mean, images.dtype) if mean else images
        noise = fast_generator(rng).standard_normal(images.shape, np.float32)
        noise *= np.float32(self.strength * self.sigma)
        noise += mean
        return as_type(as_float(images) + noise, images.dtype)


class HistEq(Transform):
    """Spread each image's values over [0, 255], so that each range of them is equally frequent.

    All channels share a histogram, of 256 bins. An image of one single value stays. Draws nothing:
    both modes are the same.
    """

    def change(self, images: Images, rng: np.random.RandomState | None) -> Images:
        equal = _equalized_bytes if images.dtype == np.uint8 else _equalized
        return np.stack([equal(image) for image in images]) if len(images) else images


class RescaleImages(Transform):
    """``(images - offset) * scale``, as float32 (float64 stays).

    Draws nothing: both modes are the same.

    Args:
        scale: the factor.
        offset: what is subtracted before.
    """

    def __init__(self, scale: float = 1 / 128, offset: float = 128.0) -> None:
        self.scale = float(scale)
        self.offset = float(offset)

    def change(self, images: Images, rng: np.random.RandomState | None) -> Images:
        values = as_float(images)
        scaled: Images = (values - values.dtype.type(self.offset)) * values.dtype.type(self.scale)
        return scaled


def _equalized_bytes(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    counts = np.bincount(image.ravel(), minlength=_BINS)
    if counts.max(initial=0) == image.size:
        return image
    table = as_type(np.cumsum(counts) * (255 / image.size), np.uint8)
    return np.asarray(cv2.LUT(image, table), np.uint8).reshape(image.shape)


def _equalized(image: Images) -> Images:
    if not image.size or image.min() == image.max():
        return image
    counts, edges = np.histogram(image, _BINS)
    shares = np.concatenate([[0], np.cumsum(counts)]) * (255 / image.size)
    spread: Images = np.interp(image, edges, shares).astype(image.dtype)
    return spread
