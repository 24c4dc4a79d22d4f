"""Noise with the spectrum and the colours of natural images.

The amplitude spectrum of photographs falls about as 1/f (Field, "Relations between the statistics
of natural images and the response properties of cortical cells", JOSA A 4, 1987), and their colour
channels are strongly correlated: the covariance of ImageNet's pixels is the one published with
AlexNet (Krizhevsky et al., NIPS 2012, section 4.1).
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Image", "coloured", "grain", "patch"]

Image = npt.NDArray[np.float32]

# Every patch is cut out of a few fields that are drawn once a process: an FFT an image would
# cost more than all the rest of the picture.
FIELD = 1024
EXPONENTS = (0.75, 0.9, 1.0, 1.1)

# Principal axes of ImageNet's colours (columns, in BGR) times the standard deviation along each.
COLOUR_AXES = np.array(
    [
        [-0.5836, -0.6948, 0.4203],
        [-0.5808, -0.0045, -0.8140],
        [-0.5675, 0.7192, 0.4009],
    ],
    np.float32,
) * np.sqrt(np.array([0.2175, 0.0188, 0.0045], np.float32))


@functools.cache
def _fields() -> list[Image]:
    """Periodic noise fields of mean 0 and standard deviation 1, one an exponent."""
    rng = np.random.default_rng(1987)
    fx = np.fft.rfftfreq(FIELD)[None, :]
    fy = np.fft.fftfreq(FIELD)[:, None]
    frequency = np.hypot(fx, fy)
    # Below one period in 256 pixels the spectrum is kept flat, so that no patch is a mere ramp.
    frequency = np.maximum(frequency, 1 / 256)
    fields = []
    for exponent in EXPONENTS:
        white = np.fft.rfft2(rng.standard_normal((FIELD, FIELD), np.float32))
        white[0, 0] = 0
        field = np.fft.irfft2(white * frequency**-exponent, (FIELD, FIELD))
        fields.append((field / field.std()).astype(np.float32))
    return fields


@functools.cache
def _white() -> Image:
    return np.random.default_rng(2012).standard_normal((FIELD, FIELD), np.float32)


def patch(rng: np.random.Generator, height: int, width: int) -> Image:
    """A patch of 1/f noise, H×W, mean about 0 and standard deviation about 1."""
    fields = _fields()
    field = fields[rng.integers(len(fields))]
    return _cut(rng, field, height, width)


def grain(rng: np.random.Generator, height: int, width: int) -> Image:
    """White noise, H×W, of standard deviation 1: a sensor's."""
    return _cut(rng, _white(), height, width)


def coloured(rng: np.random.Generator, height: int, width: int) -> Image:
    """1/f noise in colour, H×W×3 (BGR): its luminance has a standard deviation of about 1."""
    axes = cv2.merge([patch(rng, height, width) for _ in range(3)])
    return np.asarray(cv2.transform(axes, COLOUR_AXES / 0.27), np.float32)


def _cut(rng: np.random.Generator, field: Image, height: int, width: int) -> Image:
    y, x, *mirrored = (int(n) for n in rng.integers((FIELD - height, FIELD - width, 2, 2, 2)))
    # Mirrored, upside down or inverted at random: eight times as many different patches.
    ways = [1 - 2 * m for m in mirrored]
    cut: Image = field[y : y + height, x : x + width][:: ways[0], :: ways[1]]
    turned: Image = np.multiply(cut, np.float32(ways[2]))
    return turned
