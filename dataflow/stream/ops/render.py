"""Images of nothing: noise and gradients. One channel, float32; 0 is black and 1 is white."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.errors import ConfigError
from dataflow.stream.draws import generator
from dataflow.stream.graph import Node, known
from dataflow.stream.operation import op
from dataflow.stream.ops.sampling import finite, likely, spread
from dataflow.stream.ops.shape import positive
from dataflow.stream.types import BOOL, FLOAT, INT, Image, Type

__all__ = ["binary_image", "linear_image", "normal_image", "uniform_image"]

_Pixels = NDArray[np.float32]


def _sized(width: Node, height: Node) -> Type:
    positive(width=width, height=height)
    return Image(1, "float32", known(width), known(height))


def _normal(width: Node, height: Node, mean: Node, deviation: Node) -> Type:
    spread(mean, deviation)
    return _sized(width, height)


@op(draws=True, width=INT, height=INT, mean=FLOAT, deviation=FLOAT, gives=_normal)
def normal_image(
    bits: int, width: int, height: int, mean: float = 0.5, deviation: float = 0.1
) -> _Pixels:
    """Each pixel a normal number of its own; they are not cut off at black and white."""
    pixels = generator(bits).standard_normal((height, width), np.float32)
    pixels *= np.float32(deviation)
    pixels += np.float32(mean)
    return pixels


def _uniform(width: Node, height: Node, low: Node, high: Node) -> Type:
    finite(low=low, high=high)
    ends = known(low), known(high)
    if None not in ends and ends[0] > ends[1]:
        raise ConfigError(f"low={ends[0]!r} must not be above high={ends[1]!r}")
    return _sized(width, height)


@op(draws=True, width=INT, height=INT, low=FLOAT, high=FLOAT, gives=_uniform)
def uniform_image(
    bits: int, width: int, height: int, low: float = 0.0, high: float = 1.0
) -> _Pixels:
    """Each pixel a number in [low, high) of its own."""
    pixels = generator(bits).random((height, width), np.float32)
    pixels *= np.float32(high - low)
    pixels += np.float32(low)
    return pixels


def _binary(width: Node, height: Node, white: Node) -> Type:
    share = known(white)
    if share is not None and not 0 <= share <= 1:
        raise ConfigError(f"white={share!r} must be from 0 to 1")
    return _sized(width, height)


@op(draws=True, width=INT, height=INT, white=FLOAT, gives=_binary)
def binary_image(bits: int, width: int, height: int, white: float = 0.5) -> _Pixels:
    """Black and white pixels at random places; `white` is the share of white ones, exactly."""
    pixels = np.zeros(width * height, np.float32)
    pixels[: round(likely("binary_image", white) * pixels.size)] = 1
    generator(bits).shuffle(pixels)
    return pixels.reshape(height, width)


def _linear(width: Node, height: Node, first: Node, last: Node, down: Node) -> Type:
    finite(first=first, last=last)
    return _sized(width, height)


@op(width=INT, height=INT, first=FLOAT, last=FLOAT, down=BOOL, gives=_linear)
def linear_image(
    width: int, height: int, first: float = 0.0, last: float = 1.0, down: bool = False
) -> _Pixels:
    """A gradient from the value of the first column to that of the last; or of rows, `down`."""
    line: Any = np.linspace(first, last, height if down else width, dtype=np.float32)
    return np.ascontiguousarray(
        np.broadcast_to(line[:, np.newaxis] if down else line, (height, width))
    )
