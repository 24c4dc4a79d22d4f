"""Putting images on a larger background."""

from __future__ import annotations

from typing import Any

import numpy as np

from dataflow.errors import ConfigError
from dataflow.imgaug.arguments import pixel, shape_2d
from dataflow.imgaug.augmentor import Effect, ImageAugmentor
from dataflow.imgaug.pixels import as_value
from dataflow.imgaug.scale import unit
from dataflow.imgaug.transforms import Coords, Image, Transform

__all__ = ["BackgroundFiller", "CenterPaste", "ConstantBackgroundFiller", "RandomPaste"]


class BackgroundFiller:
    """The base of what makes backgrounds. A subclass defines ``_fill(background_shape, img)``."""

    def fill(self, background_shape: Any, img: Image) -> Image:
        """A background for `img`.

        Args:
            background_shape: its (height, width).
            img: what will be put on it.

        Returns:
            An array of its own, which the caller may write into, with the type and channels of
            `img`.
        """
        return self._fill(tuple(background_shape), img)

    def _fill(self, background_shape: tuple[int, int], img: Image) -> Image:
        raise NotImplementedError(f"{type(self).__name__} does not define _fill")


class ConstantBackgroundFiller(BackgroundFiller):
    """A plain background.

    Args:
        value: its value, one or one for each channel; in `InRange` it counts in [0, 255].
    """

    def __init__(self, value: Any) -> None:
        self.value = pixel("value", value)

    def _fill(self, background_shape: tuple[int, int], img: Image) -> Image:
        shape = background_shape + img.shape[2:]
        return np.full(shape, as_value(self.value, img.dtype, unit(img.dtype)), img.dtype)

    def __repr__(self) -> str:
        return f"imgaug.{type(self).__name__}({self.value!r})"


class CenterPaste(ImageAugmentor):
    """Put the image in the middle of a background. Draws nothing.

    Takes any type and any number of channels.

    Args:
        background_shape: (height, width), or one int for a square. Larger images raise
            ValueError.
        background_filler: makes the background; None for black.
    """

    def __init__(
        self, background_shape: Any, background_filler: BackgroundFiller | None = None
    ) -> None:
        super().__init__()
        self.background_shape = shape_2d("background_shape", background_shape)
        if background_filler is None:
            background_filler = ConstantBackgroundFiller(0)
        if not hasattr(background_filler, "fill"):
            raise ConfigError(f"background_filler={background_filler!r} must be a BackgroundFiller")
        self.background_filler = background_filler

    @property
    def _effect(self) -> Effect:
        return _effect(self)

    def get_transform(self, img: Image) -> Transform:
        below, right = _room(self.background_shape, img)
        return PasteTransform(below // 2, right // 2, self.background_shape, self.background_filler)


class RandomPaste(CenterPaste):
    """Put the image at a random place of a background.

    Takes any type and any number of channels.

    Draws: two uniform numbers, for y and for x.

    Args:
        background_shape, background_filler: as for `CenterPaste`.
    """

    @property
    def _effect(self) -> Effect:
        return _effect(self)

    def get_transform(self, img: Image) -> Transform:
        below, right = _room(self.background_shape, img)
        y, x = self.rng.random_sample(2).tolist()
        return PasteTransform(
            int(y * (below + 1)),
            int(x * (right + 1)),
            self.background_shape,
            self.background_filler,
        )


class PasteTransform(Transform):
    """Put an image on a background.

    Args:
        y0, x0: where the image's top left pixel comes to be.
        background_shape: (height, width) of the background.
        background_filler: makes it.
    """

    def __init__(
        self, y0: int, x0: int, background_shape: tuple[int, int], background_filler: Any
    ) -> None:
        self.y0 = y0
        self.x0 = x0
        self.background_shape = background_shape
        self.background_filler = background_filler

    def apply_image(self, img: Image) -> Image:
        height, width = img.shape[:2]
        canvas: Image = self.background_filler.fill(self.background_shape, img)
        canvas[self.y0 : self.y0 + height, self.x0 : self.x0 + width] = img
        return canvas

    def apply_coords(self, coords: Coords) -> Coords:
        moved: Coords = coords + np.array([self.x0, self.y0], coords.dtype)
        return moved

    def apply_mask(self, mask: Image, fill: Any = 0) -> Image:
        height, width = mask.shape[:2]
        canvas: Image = np.full((*self.background_shape, *mask.shape[2:]), fill, mask.dtype)
        canvas[self.y0 : self.y0 + height, self.x0 : self.x0 + width] = mask
        return canvas


def _effect(augmentor: CenterPaste) -> Effect:
    known = type(augmentor.background_filler) is ConstantBackgroundFiller
    return Effect.FRESH if known else Effect.UNKNOWN


def _room(shape: tuple[int, int], img: Image) -> tuple[int, int]:
    """How much higher and wider the background is than the image."""
    below, right = shape[0] - img.shape[0], shape[1] - img.shape[1]
    if below < 0 or right < 0:
        raise ValueError(
            f"an image of {img.shape[0]}×{img.shape[1]} does not fit on {shape[0]}×{shape[1]}"
        )
    return below, right
