"""What is wanted of an image file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from dataflow.errors import ConfigError

__all__ = ["MAX_PIXELS", "Alpha", "Decoding", "Mode"]

MAX_PIXELS = 64_000_000
"""192 MB once decoded. A few kB of a PNG can claim to be 30 times as much."""

Mode: TypeAlias = Literal["bgr", "rgb", "grey", "unchanged"]
"""The channels: H×W×3 in one order or the other, H×W, or whatever the file has."""

Alpha: TypeAlias = Literal["drop", "keep", "white", "black"] | tuple[int, int, int]
"""What becomes of transparency: left out, a fourth channel, or the image lies on a colour."""

_MODES = ("bgr", "rgb", "grey", "unchanged")
_COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0)}


@dataclass(frozen=True)
class Decoding:
    """The options of `dataflow.decode_image`, which says what they are; data sets have them as
    well.

    Raises:
        ConfigError: one of them cannot be.
    """

    mode: Mode = "bgr"
    exif: bool = True
    alpha: Alpha = "drop"
    lenient: bool = False
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if isinstance(self.alpha, np.ndarray):
            object.__setattr__(self, "alpha", tuple(self.alpha.tolist()))
        if self.mode not in _MODES:
            raise ConfigError(f"mode={self.mode!r} must be one of {', '.join(map(repr, _MODES))}")
        if not isinstance(self.max_pixels, int) or self.max_pixels < 0:
            raise ConfigError(f"max_pixels={self.max_pixels!r} must be a whole number")
        if self.alpha in ("drop", "keep", *_COLOURS):
            colour = self.alpha != "drop"
        else:
            colour = _is_colour(self.alpha)
            if not colour:
                raise ConfigError(
                    f'alpha={self.alpha!r} must be "drop", "keep", "white", "black" or three '
                    f"numbers from 0 to 255, in the order of mode={self.mode!r}"
                )
        if colour and (self.mode == "unchanged" or (self.mode, self.alpha) == ("grey", "keep")):
            raise ConfigError(
                f"alpha={self.alpha!r} does not go with mode={self.mode!r}, which "
                + (
                    "has alpha where the file has"
                    if self.mode == "unchanged"
                    else "has one channel"
                )
            )

    @property
    def background(self) -> tuple[int, int, int] | None:
        """What transparent images lie on, as blue, green and red."""
        if self.alpha in ("drop", "keep"):
            return None
        if isinstance(self.alpha, str):
            return _COLOURS[self.alpha]
        first, second, third = self.alpha
        return (third, second, first) if self.mode == "rgb" else (first, second, third)

    def but(self, **changes: Any) -> Decoding:
        """The same with other values of some."""
        return replace(self, **changes)


def _is_colour(value: Any) -> bool:
    return (
        isinstance(value, (tuple, list))
        and len(value) == 3
        and all(isinstance(part, int) and 0 <= part <= 255 for part in value)
    )
