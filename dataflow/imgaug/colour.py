"""Changes of colour and light, each of which is an affine map of a pixel's channels.

Results are rounded to the nearest integer for integer images, and clipped to the type's range;
floating point images are clipped to [0, 255] where `clip` says so.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.errors import ConfigError
from dataflow.imgaug.arguments import interval
from dataflow.imgaug.base import Effect, PhotometricAugmentor
from dataflow.imgaug.transform import Image

__all__ = ["BrightnessScale", "Contrast", "Lighting", "Saturation"]

_LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in the brightness that the eye sees (ITU-R BT.601)."""


class BrightnessScale(PhotometricAugmentor):
    """Multiply by a random factor.

    Draws: the factor, uniform in `range`.

    Args:
        range: smallest and largest factor.
        clip: clip to [0, 255] also where the image is not uint8.
    """

    _effect = Effect.FRESH

    def __init__(self, range: tuple[float, float], clip: bool = True) -> None:
        super().__init__()
        self.range = interval("range", range)
        self.clip = clip

    def _get_augment_params(self, img: Image) -> float:
        return self.rng.uniform(*self.range)

    def _augment(self, img: Image, params: float) -> Image:
        channels = _channels(img)
        return _affine(img, np.eye(channels) * params, np.zeros(channels), self.clip)


class Contrast(PhotometricAugmentor):
    """Spread the values around their mean: ``x = (x - mean) * factor + mean``.

    Draws: the factor, uniform in `factor_range`.

    Args:
        factor_range: smallest and largest factor.
        rgb: None takes the mean of each channel; otherwise it is that of the grey image, with
            True for channels in the order RGB and False for BGR.
        clip: clip to [0, 255] also where the image is not uint8.
    """

    _effect = Effect.FRESH

    def __init__(
        self, factor_range: tuple[float, float], rgb: bool | None = None, clip: bool = True
    ) -> None:
        super().__init__()
        self.factor_range = interval("factor_range", factor_range)
        self.rgb = rgb
        self.clip = clip

    def _get_augment_params(self, img: Image) -> float:
        return self.rng.uniform(*self.factor_range)

    def _augment(self, img: Image, params: float) -> Image:
        mean = _means(img)
        if self.rgb is not None and len(mean) >= 3:
            # The mean of the grey image, without making one.
            mean = np.full(len(mean), _luma(self.rgb) @ mean[:3])
        return _affine(img, np.eye(len(mean)) * params, mean * (1 - params), self.clip)


class Saturation(PhotometricAugmentor):
    """Mix with the grey image: ``x = x * v + grey * (1 - v)``.

    As in fb.resnet.torch. A grey image stays as it is, and so does a fourth channel.

    Draws: v, uniform in [1 - alpha, 1 + alpha).

    Args:
        alpha: the largest change, below 1.
        rgb: whether the channels' order is RGB; False for BGR.
        clip: clip to [0, 255] also where the image is not uint8.
    """

    _effect = Effect.KEPT

    def __init__(self, alpha: float = 0.4, rgb: bool = True, clip: bool = True) -> None:
        super().__init__()
        if not 0 <= alpha < 1:
            raise ConfigError(f"alpha={alpha!r} must be in [0, 1)")
        self.alpha = alpha
        self.rgb = bool(rgb)
        self.clip = clip

    def _get_augment_params(self, img: Image) -> float:
        return self.rng.uniform(1 - self.alpha, 1 + self.alpha)

    def _augment(self, img: Image, params: float) -> Image:
        channels = _channels(img)
        if channels < 3:
            return img
        matrix = np.eye(channels)
        matrix[:3, :3] = np.eye(3) * params + _luma(self.rgb) * (1 - params)
        return _affine(img, matrix, np.zeros(channels), self.clip)


class Lighting(PhotometricAugmentor):
    """Add noise along the principal components of the data set's colours.

    From "ImageNet Classification with Deep Convolutional Neural Networks" (Krizhevsky et al., NIPS
    2012, section 4.1), in the form of fb.resnet.torch: adds ``eigvec @ (a * eigval)`` to each
    pixel, with three normal numbers `a` of deviation `std`. A fourth channel stays as it is.

    Draws: three normal numbers.

    Args:
        std: the deviation.
        eigval: the 3 eigenvalues.
        eigvec: 3×3, a column for each eigenvector, its rows in the order of the channels.
        clip: clip to [0, 255] also where the image is not uint8.
    """

    _effect = Effect.FRESH

    def __init__(self, std: float, eigval: Any, eigvec: Any, clip: bool = True) -> None:
        super().__init__()
        self.std = std
        self.eigval = np.asarray(eigval, dtype=np.float32)
        self.eigvec = np.asarray(eigvec, dtype=np.float32)
        self.clip = clip
        if self.eigval.shape != (3,):
            raise ConfigError(f"eigval={eigval!r} must be 3 numbers")
        if self.eigvec.shape != (3, 3):
            raise ConfigError(f"eigvec={eigvec!r} must be 3×3")

    def _get_augment_params(self, img: Image) -> NDArray[np.float64]:
        if _channels(img) not in (3, 4):
            raise ValueError(f"Lighting needs a colour image, not the shape {img.shape}")
        return self.rng.standard_normal(3) * self.std

    def _augment(self, img: Image, params: NDArray[np.float64]) -> Image:
        channels = _channels(img)
        change = np.zeros(channels)
        change[:3] = self.eigvec @ (params * self.eigval)
        return _affine(img, np.eye(channels), change, self.clip)


def _luma(rgb: bool) -> NDArray[np.float64]:
    return np.array(_LUMA if rgb else _LUMA[::-1])


def _channels(img: Image) -> int:
    return 1 if img.ndim == 2 else img.shape[2]


def _means(img: Image) -> NDArray[np.float64]:
    """The mean of each channel."""
    channels = _channels(img)
    if channels <= 4 and img.dtype in (np.uint8, np.float32, np.float64):
        return np.array(cv2.mean(img)[:channels])  # a hundred times faster than NumPy's
    means: NDArray[np.float64] = img.reshape(-1, channels).mean(axis=0, dtype=np.float64)
    return means


def _affine(
    img: Image, matrix: NDArray[np.float64], offset: NDArray[np.float64], clip: bool
) -> Image:
    """``matrix @ pixel + offset`` for every pixel, in the type and shape of `img`."""
    weights = np.column_stack([matrix, offset])
    if img.dtype == np.uint8:
        return cv2.transform(img, weights).reshape(img.shape)  # rounds and clips itself
    wide = img if img.dtype in (np.float32, np.float64) else img.astype(np.float32)
    result = cv2.transform(wide, weights).reshape(img.shape)
    if clip:
        np.clip(result, 0, 255, out=result)
    if not np.issubdtype(img.dtype, np.floating):
        limits = np.iinfo(img.dtype)
        result = np.clip(np.rint(result), limits.min, limits.max)
    return result.astype(img.dtype, copy=False)
