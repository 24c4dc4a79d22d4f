"""What the systems in a benchmark of images have in common: the functions that they run.

(In a module of its own, because worker processes import it by name.)
"""

from __future__ import annotations

import math
import random
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["POOL", "SHAPE", "SIDE", "augment", "decode", "from_memory", "load", "pool"]

SIDE = 224
SHAPE = (SIDE, SIDE, 3)
POOL = 256  # 39 MB: more than most processors' caches hold

Image = NDArray[np.uint8]


# -- from memory ------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def pool() -> Image:
    """Images of noise, the same in every process."""
    return np.random.default_rng(0).integers(0, 256, (POOL, *SHAPE), np.uint8)


def from_memory(datapoint: list[int]) -> list[Any]:
    """[number] → [image, number]; the image is not copied."""
    return [pool()[datapoint[0] % POOL], datapoint[0]]


# -- from files -------------------------------------------------------------------------------


def load(datapoint: list[Any]) -> list[Any]:
    """[path, label] → [image, label], decoded, cut out and perhaps mirrored."""
    return [augment(decode(datapoint[0])), datapoint[1]]


def decode(path: str) -> Image:
    """The pixels of a file: BGR."""
    import cv2

    with open(path, "rb") as file:
        image: Any = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None, path
    pixels: Image = image
    return pixels


def augment(image: Image) -> Image:
    """A part of random area and aspect ratio, scaled to a square, mirrored half of the time.

    The same as ``imgaug.GoogleNetRandomCropAndResize()`` and ``imgaug.Flip(horiz=True)``.
    """
    import cv2

    y, x, h, w = random_part(*image.shape[:2])
    part = cv2.resize(image[y : y + h, x : x + w], (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    mirrored: Any = cv2.flip(part, 1) if random.random() < 0.5 else part
    pixels: Image = mirrored
    return pixels


def random_part(height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of 8 to 100 % of the area, 3:4 to 4:3."""
    for _ in range(10):
        area = random.uniform(0.08, 1.0) * height * width
        aspect = random.uniform(0.75, 1.333)
        w = int(math.sqrt(area * aspect) + 0.5)
        h = int(math.sqrt(area / aspect) + 0.5)
        if random.random() < 0.5:
            w, h = h, w
        if 0 < h <= height and 0 < w <= width:
            return random.randint(0, height - h), random.randint(0, width - w), h, w
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side
