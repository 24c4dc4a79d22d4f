"""Checks of augmentors' arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from dataflow.errors import ConfigError

__all__ = ["interval", "probability", "shape_2d", "side"]


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


def probability(name: str, value: Any) -> float:
    """A number in [0, 1]."""
    chance = float(value) if isinstance(value, int | float | np.number) else -1.0
    if not 0 <= chance <= 1:
        raise ConfigError(f"{name}={value!r} must be a probability, from 0 to 1")
    return chance
