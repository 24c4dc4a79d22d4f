"""Noise, and pixels that are lost."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.errors import ConfigError
from dataflow.stream.draws import generator
from dataflow.stream.graph import Node, constant, known
from dataflow.stream.operation import op
from dataflow.stream.ops.colour import white
from dataflow.stream.ops.sampling import likely, spread
from dataflow.stream.ops.shape import pixels, positive
from dataflow.stream.types import FLOAT, INT, Image, Type

__all__ = ["coarse_dropout", "dropout", "noise"]

_Pixels = NDArray[Any]


def _noisy(image: Node, deviation: Node) -> Type:
    spread(constant(0.0), deviation)
    if (kind := pixels(image)).depth == "bool":
        raise ConfigError(f"{kind} has nothing between black and white: st.depth brings it to more")
    return kind


@op(draws=True, image=Image(), deviation=FLOAT, gives=_noisy)
def noise(bits: int, image: Any, deviation: float) -> _Pixels:
    """Adds to each value a normal number of its own.

    Args:
        image: the image.
        deviation: as a part of the way from black to white: 0.1 of bytes is 25.5.
    """
    if not math.isfinite(deviation):  # drawn ones may be below 0, which is the same noise mirrored
        raise ValueError(f"noise(): deviation={deviation!r} must be finite")
    added = generator(bits).standard_normal(image.shape, np.float32)
    added *= deviation * white(image.dtype)
    if abs(deviation) > 1000:  # OpenCV goes by way of 32-bit integers
        np.clip(added, -2 * white(image.dtype), 2 * white(image.dtype), out=added)
    if image.dtype.kind == "u":
        depth = cv2.CV_8U if image.dtype == np.uint8 else cv2.CV_16U
        noisy: _Pixels = cv2.add(image, added, dtype=depth).reshape(image.shape)
        return noisy
    noisy = np.clip(image + added, 0, 1).astype(image.dtype)
    return noisy


def _dropped(image: Node, p: Node, *size: Node) -> Type:
    value = known(p)
    if value is not None and not 0 <= value <= 1:
        raise ConfigError(f"p={value!r} must be from 0 to 1")
    positive(**dict(zip(["size"], size, strict=False)))
    return pixels(image)


@op(draws=True, image=Image(), p=FLOAT, gives=_dropped)
def dropout(bits: int, image: Any, p: float) -> _Pixels:
    """Pixels become black, each with probability p."""
    kept = generator(bits).random(image.shape[:2], np.float32) >= likely("dropout", p)
    return _masked(image, kept)


@op(draws=True, image=Image(), p=FLOAT, size=INT, gives=_dropped)
def coarse_dropout(bits: int, image: Any, p: float, size: int = 16) -> _Pixels:
    """Squares of a grid become black, each with probability p.

    Args:
        image: the image.
        p: how likely a square is lost.
        size: of a square, in pixels.
    """
    height, width = image.shape[:2]
    cells = -(-height // size), -(-width // size)
    kept = generator(bits).random(cells, np.float32) >= likely("coarse_dropout", p)
    whole = kept.repeat(size, axis=0).repeat(size, axis=1)
    return _masked(image, whole[:height, :width])


def _masked(image: Any, kept: NDArray[np.bool_]) -> _Pixels:
    masked: _Pixels = image * (kept if image.ndim == 2 else kept[:, :, np.newaxis])
    return masked
