"""Checks of augmentors' arguments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dataflow.errors import ConfigError

__all__ = ["integers", "interval", "number", "pixel", "probability", "shape_2d", "side"]


def side(name: str, value: Any) -> int:
    """A length in pixels."""
    pixels = int(value) if isinstance(value, int | float | np.number) else 0
    if isinstance(value, bool) or pixels < 1:
        raise ConfigError(f"{name}={value!r} must be a positive number of pixels")
    return pixels


def shape_2d(name: str, value: Any) -> tuple[int, int]:
    """(height, width), from one int for a square or from a pair."""
    if isinstance(value, int | np.integer):
        return side(name, value), side(name, value)
    if isinstance(value, list | tuple) and len(value) == 2:
        return side(name, value[0]), side(name, value[1])
    raise ConfigError(f"{name}={value!r} must be an int or a pair (height, width)")


def interval(name: str, value: Any) -> tuple[float, float]:
    """(low, high) to draw from."""
    try:
        low, high = (float(end) for end in value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name}={value!r} must be a pair (low, high)") from None
    if not low <= high:
        raise ConfigError(f"{name}={value!r} must be a pair (low, high) with low <= high")
    return low, high


def integers(name: str, value: Any, least: int = 0) -> tuple[int, int]:
    """(low, high) to draw an integer from: low, low + 1, …, high - 1."""
    pair = value if isinstance(value, list | tuple) else ()
    if (
        len(pair) != 2
        or not all(isinstance(end, int | np.integer) for end in pair)
        or not least <= pair[0] < pair[1]
    ):
        raise ConfigError(
            f"{name}={value!r} must be a pair of integers (low, high) with {least} <= low < high"
        )
    return int(pair[0]), int(pair[1])


def number(name: str, value: Any, least: float, below: float = math.inf) -> float:
    """A number in [least, below)."""
    known = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not known or not least <= value < below:
        limit = "" if below == math.inf else f", below {below:g}"
        raise ConfigError(f"{name}={value!r} must be a number, at least {least:g}{limit}")
    return float(value)


def pixel(name: str, value: Any) -> float | tuple[float, ...]:
    """A pixel's value: one number, or one for each channel."""
    try:
        values = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        values = np.empty((0, 0))
    if values.ndim > 1:
        raise ConfigError(f"{name}={value!r} must be a number, or one for each channel")
    return float(values) if values.ndim == 0 else tuple(values.tolist())


def probability(name: str, value: Any) -> float:
    """A number in [0, 1]."""
    chance = float(value) if isinstance(value, int | float | np.number) else -1.0
    if not 0 <= chance <= 1:
        raise ConfigError(f"{name}={value!r} must be a probability, from 0 to 1")
    return chance
