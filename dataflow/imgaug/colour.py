"""Changes of colour and light: all but `Hue` are affine maps of a pixel's channels.

Results are rounded to the nearest integer for integer images, and clipped to the type's range;
others are clipped to [0, 255] where `clip` says so, or to the range that `InRange` states.
Any number of channels means up to what OpenCV takes, 128 or 512, as it does in all of the package
where values are changed.
"""

from __future__ import annotations

import functools
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.errors import ConfigError
from dataflow.imgaug.arguments import interval, number
from dataflow.imgaug.augmentor import Effect, PhotometricAugmentor
from dataflow.imgaug.pixels import as_float, as_type, channels, on_colour, require_colour
from dataflow.imgaug.scale import Takes, unit, white
from dataflow.imgaug.transforms import Image

__all__ = ["Brightness", "BrightnessScale", "Contrast", "Hue", "Lighting", "Saturation"]

_LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in the brightness that the eye sees (ITU-R BT.601)."""


class Brightness(PhotometricAugmentor):
    """Add a random number.

    Takes uint8, and floats of 16 to 64 bits in [0, 255]; other floats, and uint16, in `InRange`,
    where `delta` is the same part of white. Any number of channels.

    Draws: the number, uniform in [-delta, delta).

    Args:
        delta: the largest change, above 0.
        clip: clip to black and white (255, see `InRange`) also where the image is not uint8.
    """

    _effect = Effect.FRESH
    _takes = Takes.COUNTED

    def __init__(self, delta: float, clip: bool = True) -> None:
        super().__init__()
        self.delta = number("delta", delta, 0)
        if not self.delta:
            raise ConfigError(f"delta={delta!r} must be above 0")
        self.clip = clip

    def _get_augment_params(self, img: Image) -> float:
        return self.rng.uniform(-self.delta, self.delta)

    def _augment(self, img: Image, params: float) -> Image:
        count = channels(img)
        return _affine(img, np.eye(count), np.full(count, params * unit(img.dtype)), self.clip)


class BrightnessScale(PhotometricAugmentor):
    """Multiply by a random factor.

    Takes uint8, and floats of 16 to 64 bits in [0, 255]; other floats, and uint16, in `InRange`, or
    where `clip` is False. Any number of channels.

    Draws: the factor, uniform in `range`.

    Args:
        range: smallest and largest factor.
        clip: clip to black and white (255, see `InRange`) also where the image is not uint8.
    """

    _effect = Effect.FRESH

    def __init__(self, range: tuple[float, float], clip: bool = True) -> None:
        super().__init__()
        self.range = interval("range", range)
        self.clip = clip

    @property
    def _takes(self) -> Takes:  # type: ignore[override]
        return Takes.COUNTED if self.clip else Takes.SCALED

    def _get_augment_params(self, img: Image) -> float:
        return self.rng.uniform(*self.range)

    def _augment(self, img: Image, params: float) -> Image:
        count = channels(img)
        return _affine(img, np.eye(count) * params, np.zeros(count), self.clip)


class Contrast(PhotometricAugmentor):
    """Spread the values around their mean: ``x = (x - mean) * factor + mean``.

    Takes uint8, and floats of 16 to 64 bits in [0, 255]; other floats, and uint16, in `InRange`, or
    where `clip` is False. Any number of channels.

    Draws: the factor, uniform in `factor_range`.

    Args:
        factor_range: smallest and largest factor.
        rgb: None takes the mean of each channel; otherwise it is that of the grey image, with
            True for channels in the order RGB and False for BGR.
        clip: clip to black and white (255, see `InRange`) also where the image is not uint8.
    """

    _effect = Effect.FRESH

    def __init__(
        self, factor_range: tuple[float, float], rgb: bool | None = None, clip: bool = True
    ) -> None:
        super().__init__()
        self.factor_range = interval("factor_range", factor_range)
        self.rgb = rgb
        self.clip = clip

    @property
    def _takes(self) -> Takes:  # type: ignore[override]
        return Takes.COUNTED if self.clip else Takes.SCALED

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

    Takes uint8, and floats of 16 to 64 bits in [0, 255]; other floats, and uint16, in `InRange`, or
    where `clip` is False. Images of less than three channels stay as they are.

    Draws: v, uniform in [1 - alpha, 1 + alpha).

    Args:
        alpha: the largest change, below 1.
        rgb: whether the channels' order is RGB; False for BGR.
        clip: clip to black and white (255, see `InRange`) also where the image is not uint8.
    """

    _effect = Effect.KEPT

    def __init__(self, alpha: float = 0.4, rgb: bool = True, clip: bool = True) -> None:
        super().__init__()
        if not 0 <= alpha < 1:
            raise ConfigError(f"alpha={alpha!r} must be in [0, 1)")
        self.alpha = alpha
        self.rgb = bool(rgb)
        self.clip = clip

    @property
    def _takes(self) -> Takes:  # type: ignore[override]
        return Takes.COUNTED if self.clip else Takes.SCALED

    def _get_augment_params(self, img: Image) -> float:
        return self.rng.uniform(1 - self.alpha, 1 + self.alpha)

    def _augment(self, img: Image, params: float) -> Image:
        count = channels(img)
        if count < 3:
            return img
        matrix = np.eye(count)
        matrix[:3, :3] = np.eye(3) * params + _luma(self.rgb) * (1 - params)
        return _affine(img, matrix, np.zeros(count), self.clip)


class Lighting(PhotometricAugmentor):
    """Add noise along the principal components of the data set's colours.

    From "ImageNet Classification with Deep Convolutional Neural Networks" (Krizhevsky et al., NIPS
    2012, section 4.1), in the form of fb.resnet.torch: adds ``eigvec @ (a * eigval)`` to each
    pixel, with three normal numbers `a` of deviation `std`. A fourth channel stays as it is.

    Takes uint8, and floats of 16 to 64 bits in [0, 255]; other floats, and uint16, in `InRange`. Of
    3 or 4 channels.

    Draws: three normal numbers.

    Args:
        std: the deviation.
        eigval: the 3 eigenvalues.
        eigvec: 3×3, a column for each eigenvector, its rows in the order of the channels.
        clip: clip to black and white (255, see `InRange`) also where the image is not uint8.
    """

    _effect = Effect.FRESH
    _takes = Takes.COUNTED

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
        require_colour(img, "Lighting")
        return self.rng.standard_normal(3) * self.std

    def _augment(self, img: Image, params: NDArray[np.float64]) -> Image:
        count = channels(img)
        change = np.zeros(count)
        change[:3] = self.eigvec @ (params * self.eigval) * unit(img.dtype)
        return _affine(img, np.eye(count), change, self.clip)


class Hue(PhotometricAugmentor):
    """Turn the colour wheel. A fourth channel stays as it is; a grey image raises ValueError.

    Takes uint8, uint16, and floats of 16 to 64 bits, in any range, of 3 or 4 channels.

    Draws: the angle, uniform in `range`.

    Args:
        range: smallest and largest angle, in units of two degrees: 180 is the whole wheel. For
            uint8 images it is rounded to such units, which OpenCV counts hues in.
        rgb: whether the channels' order is RGB; False for BGR.
    """

    _effect = Effect.FRESH
    _takes = Takes.SCALED

    def __init__(self, range: tuple[float, float] = (0, 180), rgb: bool = True) -> None:
        super().__init__()
        self.range = interval("range", range)
        self.rgb = bool(rgb)

    def _get_augment_params(self, img: Image) -> float:
        return self.rng.uniform(*self.range)

    def _augment(self, img: Image, params: float) -> Image:
        require_colour(img, "Hue")
        return on_colour(img, functools.partial(self._turn, params))

    def _turn(self, angle: float, img: Image) -> Image:
        there, back = (
            (cv2.COLOR_RGB2HSV, cv2.COLOR_HSV2RGB)
            if self.rgb
            else (cv2.COLOR_BGR2HSV, cv2.COLOR_HSV2BGR)
        )
        if img.dtype == np.uint8:
            table = np.repeat(np.arange(256)[:, np.newaxis], 3, axis=1)
            table[:, 0] = (table[:, 0] + round(angle)) % 180
            hsv = cv2.LUT(cv2.cvtColor(img, there), table[np.newaxis].astype(np.uint8))
            return cv2.cvtColor(hsv, back)
        hsv = cv2.cvtColor(img.astype(np.float32, copy=False), there)
        hue = hsv[:, :, 0]
        np.add(hue, np.float32(2 * angle % 360), out=hue)
        np.subtract(hue, 360, out=hue, where=hue >= 360)
        return as_type(cv2.cvtColor(hsv, back), img.dtype)


def _luma(rgb: bool) -> NDArray[np.float64]:
    return np.array(_LUMA if rgb else _LUMA[::-1])


def _means(img: Image) -> NDArray[np.float64]:
    """The mean of each channel."""
    count = channels(img)
    if count <= 4 and img.dtype in (np.uint8, np.float32, np.float64):
        return np.array(cv2.mean(img)[:count])  # a hundred times faster than NumPy's
    means: NDArray[np.float64] = img.reshape(-1, count).mean(axis=0, dtype=np.float64)
    return means


def _affine(
    img: Image, matrix: NDArray[np.float64], offset: NDArray[np.float64], clip: bool
) -> Image:
    """``matrix @ pixel + offset`` for every pixel, in the type and shape of `img`."""
    weights = np.column_stack([matrix, offset])
    if img.dtype == np.uint8:
        return cv2.transform(img, weights).reshape(img.shape)  # rounds and clips itself
    result = cv2.transform(as_float(img), weights).reshape(img.shape)
    if clip:
        np.clip(result, 0, white(img.dtype), out=result)
    return as_type(result, img.dtype)
