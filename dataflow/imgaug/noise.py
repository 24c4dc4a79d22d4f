"""What cameras and files do to images: noise, blur, lossy compression."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.errors import ConfigError
from dataflow.imgaug.arguments import integers, interval, number, probability
from dataflow.imgaug.augmentor import Effect, PhotometricAugmentor
from dataflow.imgaug.pixels import as_float, as_type, as_value, channels, on_colour
from dataflow.imgaug.scale import Takes, described, unit, white
from dataflow.imgaug.transforms import Image, restore_channel

__all__ = ["GaussianBlur", "GaussianNoise", "JpegNoise", "SaltPepperNoise", "fast_generator"]


class GaussianBlur(PhotometricAugmentor):
    """Blur with a Gaussian window of random size; at the border the edge is repeated.

    Takes uint8, uint16, float16, float32 and float64, in any range. Any number of channels.

    Draws: four uniform numbers, for the size in x and in y and for the deviation in x and in y,
    whichever of them count.

    Args:
        size_range: (low, high): the window is 2 s + 1 pixels wide, s from low to high - 1. An int
            stands for (0, high).
        sigma_range: smallest and largest deviation in pixels; 0 for the one that OpenCV derives
            from the size.
        symmetric: y as x.
        max_size: older: `size_range` as an int.
    """

    _effect = Effect.FRESH
    _takes = Takes.SCALED

    def __init__(
        self,
        size_range: Any = (0, 3),
        sigma_range: tuple[float, float] = (0, 0),
        symmetric: bool = True,
        max_size: int | None = None,
    ) -> None:
        super().__init__()
        if max_size is not None:
            warnings.warn("max_size is older: use size_range", DeprecationWarning, stacklevel=2)
            size_range = max_size
        if not isinstance(size_range, list | tuple):
            size_range = (0, size_range)
        self.size_range = integers("size_range", size_range)
        self.sigma_range = interval("sigma_range", sigma_range)
        if self.sigma_range[0] < 0:
            raise ConfigError(f"sigma_range={sigma_range!r} must not be negative")
        self.symmetric = symmetric
        self.max_size = max_size

    def _get_augment_params(self, img: Image) -> Any:
        drawn = self.rng.random_sample(4)
        low, high = self.size_range
        sizes = [2 * (low + int(part * (high - low))) + 1 for part in drawn[:2]]
        sigmas = self.sigma_range[0] + (self.sigma_range[1] - self.sigma_range[0]) * drawn[2:]
        if self.symmetric:
            sizes[1], sigmas[1] = sizes[0], sigmas[0]
        return tuple(sizes), tuple(sigmas.tolist())

    def _augment(self, img: Image, params: Any) -> Image:
        size, (sigma_x, sigma_y) = params
        source = img if img.dtype == np.uint8 else as_float(img)
        blurred = cv2.GaussianBlur(
            source, size, sigmaX=sigma_x, sigmaY=sigma_y, borderType=cv2.BORDER_REPLICATE
        )
        return as_type(restore_channel(blurred, img), img.dtype)


class GaussianNoise(PhotometricAugmentor):
    """Add to each value a normal number of its own.

    Takes uint8, and float16, float32 and float64 in [0, 255]; other floats, and uint16, in
    `InRange`. Any number of channels.

    Draws: 16 bytes, which seed a faster generator for the numbers.

    Args:
        sigma: the deviation.
        clip: clip to black and white (255, see `InRange`) also where the image is not uint8.
    """

    _effect = Effect.FRESH
    _takes = Takes.COUNTED

    def __init__(self, sigma: float = 1, clip: bool = True) -> None:
        super().__init__()
        self.sigma = number("sigma", sigma, 0)
        self.clip = clip

    def _get_augment_params(self, img: Image) -> NDArray[np.float32]:
        """As many numbers as the image has, of deviation 1."""
        noise: NDArray[np.float32] = fast_generator(self.rng).standard_normal(img.shape, np.float32)
        return noise

    def _augment(self, img: Image, params: NDArray[Any]) -> Image:
        noise = params * np.float32(self.sigma * unit(img.dtype))
        if img.dtype == np.uint8:
            return cv2.add(img, noise, dtype=cv2.CV_8U).reshape(img.shape)
        noisy = as_float(img) + noise
        if self.clip:
            np.clip(noisy, 0, white(img.dtype), out=noisy)
        return as_type(noisy, img.dtype)


class SaltPepperNoise(PhotometricAugmentor):
    """Set some values to white, 255, and some to 0, each channel's by itself.

    Takes uint8, and float16, float32 and float64 in [0, 255]; other floats, and uint16, in
    `InRange`, where white is another number. Any number of channels.

    Draws: 16 bytes, which seed a faster generator for a uniform number per value.

    Args:
        white_prob, black_prob: how likely a value becomes 255, and 0.
    """

    _effect = Effect.FRESH
    _takes = Takes.COUNTED

    def __init__(self, white_prob: float = 0.05, black_prob: float = 0.05) -> None:
        super().__init__()
        self.white_prob = probability("white_prob", white_prob)
        self.black_prob = probability("black_prob", black_prob)
        if self.white_prob + self.black_prob > 1:
            raise ConfigError(
                f"white_prob={white_prob!r}, black_prob={black_prob!r} must not exceed 1 together"
            )

    def _get_augment_params(self, img: Image) -> NDArray[np.float32]:
        """As many numbers as the image has, uniform in [0, 1)."""
        chances: NDArray[np.float32] = fast_generator(self.rng).random(img.shape, np.float32)
        return chances

    def _augment(self, img: Image, params: NDArray[Any]) -> Image:
        bright = params > 1 - self.white_prob
        dark = params < self.black_prob
        if img.dtype == np.uint8:  # by bits, in a fifth of the time
            bits: Image = (img | -bright.view(np.uint8)) & (dark.view(np.uint8) - np.uint8(1))
            return bits
        noisy: Image = img.copy()
        np.copyto(noisy, as_value(white(img.dtype), img.dtype), where=bright)
        np.copyto(noisy, 0, where=dark)
        return noisy


class JpegNoise(PhotometricAugmentor):
    """Encode as JPEG and decode. A fourth channel stays as it is.

    Takes uint8, and float16, float32 and float64 in [0, 255]; other floats, and uint16, in
    `InRange`. They are rounded to 256 steps from black to white, which are all that JPEG has.
    Grey images and such of 3 or 4 channels.

    Draws: one uniform number, for the quality.

    Args:
        quality_range: (low, high): the quality is from low to high - 1, of 0 to 100.
    """

    _effect = Effect.FRESH
    _takes = Takes.COUNTED

    def __init__(self, quality_range: tuple[int, int] = (40, 100)) -> None:
        super().__init__()
        self.quality_range = integers("quality_range", quality_range)
        if self.quality_range[1] > 101:
            raise ConfigError(f"quality_range={quality_range!r} must end at 101 or before")

    def _get_augment_params(self, img: Image) -> int:
        low, high = self.quality_range
        return low + int(self.rng.random_sample() * (high - low))

    def _augment(self, img: Image, params: int) -> Image:
        if channels(img) not in (1, 3, 4):
            raise ValueError(f"JpegNoise takes 1, 3 or 4 channels, not {described(img)}")
        return on_colour(img, functools.partial(_through_jpeg, params))


def _through_jpeg(quality: int, img: Image) -> Image:
    step = unit(img.dtype)
    steps = img if step == 1 else as_float(img) / step
    code = cv2.imencode(".jpg", as_type(steps, np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    flag = cv2.IMREAD_GRAYSCALE if channels(img) == 1 else cv2.IMREAD_COLOR
    decoded: Any = cv2.imdecode(code, flag)
    result: Image = restore_channel(decoded, img)
    if step != 1:
        return as_type(result * step, img.dtype)
    return result.astype(img.dtype, copy=False)


def fast_generator(rng: np.random.RandomState) -> np.random.Generator:
    """A generator for many numbers, seeded by `rng`, from which it draws 16 bytes."""
    return np.random.Generator(np.random.SFC64(int.from_bytes(rng.bytes(16), "little")))
