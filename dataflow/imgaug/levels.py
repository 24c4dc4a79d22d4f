"""Changes of each value by itself: gamma, limits, normal forms."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.errors import ConfigError
from dataflow.imgaug.arguments import interval
from dataflow.imgaug.augmentor import Effect, PhotometricAugmentor
from dataflow.imgaug.pixels import as_float, as_type, channels
from dataflow.imgaug.scale import Takes, unit, white
from dataflow.imgaug.transforms import Image

__all__ = ["Clip", "Gamma", "MeanVarianceNormalize", "MinMaxNormalize"]


class Gamma(PhotometricAugmentor):
    """Brighten or darken the middle: ``x = 255 * (x / 255) ** (1 / (1 + gamma))``.

    Takes uint8, and float16, float32 and float64 in [0, 255], which are clipped to that; other
    floats, and uint16, in `InRange`. Any number of channels.

    Draws: gamma, uniform in `range`.

    Args:
        range: smallest and largest gamma, above -1; positive ones brighten.
    """

    _effect = Effect.FRESH
    _takes = Takes.COUNTED

    def __init__(self, range: tuple[float, float] = (-0.5, 0.5)) -> None:
        super().__init__()
        self.range = interval("range", range)
        if self.range[0] <= -1:
            raise ConfigError(f"range={range!r} must be above -1")

    def _get_augment_params(self, img: Image) -> float:
        return self.rng.uniform(*self.range)

    def _augment(self, img: Image, params: float) -> Image:
        if img.dtype == np.uint8:
            table = _curve(np.arange(256, dtype=np.float64), params, 255)
            return cv2.LUT(img, as_type(table, np.uint8)).reshape(img.shape)
        return as_type(_curve(as_float(img), params, white(img.dtype)), img.dtype)


class Clip(PhotometricAugmentor):
    """Limit the values. Draws nothing.

    Takes uint8, float16, float32 and float64; in `InRange` also uint16. Any number of channels.

    Args:
        min, max: the smallest and the largest value; for integer images rounded inwards. In
            `InRange` they count in [0, 255] all the same.
    """

    _effect = Effect.FRESH

    @property
    def _takes(self) -> Takes:  # type: ignore[override]
        return Takes.COUNTED if self.max > 1 else Takes.SCALED  # limits for [0, 1] are no mistake

    def __init__(self, min: float = 0, max: float = 255) -> None:
        super().__init__()
        self.min = min
        self.max = max
        interval("(min, max)", (min, max))

    def _augment(self, img: Image, params: Any) -> Image:
        _require_counted(self, img.dtype)
        low, high = self.min * unit(img.dtype), self.max * unit(img.dtype)
        if np.issubdtype(img.dtype, np.integer):
            limits = np.iinfo(img.dtype)
            low, high = np.clip([np.ceil(low), np.floor(high)], limits.min, limits.max).tolist()
            low, high = int(low), int(high)
        return np.clip(img, low, high)


class MeanVarianceNormalize(PhotometricAugmentor):
    """Shift and scale to mean 0 and deviation 1, as float32. Draws nothing.

    The deviation is taken to be at least 1 / √(number of values), so that a plain image gets 0
    (of white 255; of another one, see `InRange`, in proportion). The results are in no range: it
    comes last, behind all that count in one.

    Takes uint8, uint16, float16, float32 and float64, in any range. Any number of channels.

    Args:
        all_channel: all channels together; otherwise each by itself.
    """

    _effect = Effect.FRESH
    _takes = Takes.SCALED

    def __init__(self, all_channel: bool = True) -> None:
        super().__init__()
        self.all_channel = all_channel

    def _augment(self, img: Image, params: Any) -> Image:
        known = img if img.dtype == np.uint8 else as_float(img)
        mean, deviation = (np.ravel(moment) for moment in cv2.meanStdDev(known))
        if self.all_channel:
            whole = mean.mean()
            # The variance within the channels, and that between them.
            deviation = np.sqrt(np.mean(deviation**2) + np.mean((mean - whole) ** 2))
            mean = whole
        gain = 1 / np.maximum(deviation, unit(img.dtype) / np.sqrt(img.size))
        return _linear(img, gain, -mean * gain)


class MinMaxNormalize(PhotometricAugmentor):
    """Shift and scale so that the values reach from `min` to `max`, as float32. Draws nothing.

    What has one value only gets `min`.

    Takes uint8, uint16, float16, float32 and float64, in any range. Any number of channels.

    Args:
        min, max: what the smallest and the largest value become. In `InRange` they count in
            [0, 255] all the same, so that 255 becomes white.
        all_channel: all channels together; otherwise each by itself.
    """

    _effect = Effect.FRESH
    _takes = Takes.SCALED

    def __init__(self, min: float = 0, max: float = 255, all_channel: bool = True) -> None:
        super().__init__()
        self.min = min
        self.max = max
        self.all_channel = all_channel

    def _augment(self, img: Image, params: Any) -> Image:
        _require_counted(self, np.float32)
        low, high = _extremes(img, self.all_channel)
        extent = np.where(high > low, high - low, np.inf)
        step = unit(np.float32)
        gain = (self.max - self.min) * step / extent
        return _linear(img, gain, self.min * step - low * gain)


def _curve(values: NDArray[Any], gamma: float, top: float) -> NDArray[Any]:
    curved: NDArray[Any] = np.clip(values, 0, top)
    power = 1 / (1 + gamma)
    np.power(curved, power, out=curved)
    curved *= top ** (1 - power)
    return curved


def _require_counted(limits: Clip | MinMaxNormalize, dtype: Any) -> None:
    """Raise where the limits of floats in [0, 1] seem to be given as such, and not in [0, 255]."""
    top = white(dtype)
    if 0 < limits.max <= top < 255:
        raise ValueError(
            f"{limits!r} is in imgaug.InRange([...], {top:g}), where arguments count in [0, 255]: "
            f"what is to be {limits.max:g} in the image is {limits.max / top * 255:g} there"
        )


def _extremes(img: Image, all_channel: bool) -> tuple[Any, Any]:
    """The smallest and the largest value, float64, of all channels or of each."""
    if all_channel or img.ndim == 2:
        return np.float64(img.min()), np.float64(img.max())
    known = img if img.dtype == np.uint8 else as_float(img)
    # OpenCV first, over the rows: NumPy takes ten times as long over both axes.
    low = cv2.reduce(known, 0, cv2.REDUCE_MIN).reshape(-1, channels(img)).min(axis=0)
    high = cv2.reduce(known, 0, cv2.REDUCE_MAX).reshape(-1, channels(img)).max(axis=0)
    return low.astype(np.float64), high.astype(np.float64)


def _linear(img: Image, gain: Any, offset: Any) -> Image:
    """``gain * x + offset`` as float32, for all channels or each with its own."""
    count = channels(img)
    gain, offset = np.broadcast_to(gain, count), np.broadcast_to(offset, count)
    if img.dtype == np.uint8:
        table = np.arange(256)[:, np.newaxis] * gain + offset
        return cv2.LUT(img, table[np.newaxis].astype(np.float32)).reshape(img.shape)
    weights = np.column_stack([np.diag(gain), offset])
    return as_type(cv2.transform(as_float(img), weights).reshape(img.shape), np.float32)
