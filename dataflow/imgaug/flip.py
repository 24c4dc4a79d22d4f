"""Mirroring: left and right, top and bottom, rows and columns."""

from __future__ import annotations

from dataflow.errors import ConfigError
from dataflow.imgaug.arguments import probability
from dataflow.imgaug.augmentor import Effect, ImageAugmentor
from dataflow.imgaug.transforms import (
    FlipTransform,
    Image,
    NoOpTransform,
    Transform,
    TransposeTransform,
)

__all__ = ["Flip", "Transpose"]


class Flip(ImageAugmentor):
    """Mirror the image, sometimes.

    Takes any type and any number of channels.

    Draws: one uniform number; mirrored where it is below `prob`.

    Args:
        horiz: left becomes right.
        vert: top becomes bottom. Exactly one of the two must be asked for.
        prob: how often.
    """

    _effect = Effect.KEPT

    def __init__(self, horiz: bool = False, vert: bool = False, prob: float = 0.5) -> None:
        super().__init__()
        if bool(horiz) == bool(vert):
            raise ConfigError(
                f"horiz={horiz!r}, vert={vert!r}: ask for one of them; for both, use two Flips"
            )
        self.horiz = bool(horiz)
        self.vert = bool(vert)
        self.prob = probability("prob", prob)

    def get_transform(self, img: Image) -> Transform:
        if self.rng.random_sample() < self.prob:
            return FlipTransform(img.shape[0], img.shape[1], self.horiz)
        return NoOpTransform()


class Transpose(ImageAugmentor):
    """Exchange rows and columns, sometimes.

    Takes any type and any number of channels.

    Draws: one uniform number; exchanged where it is below `prob`.

    Args:
        prob: how often.
    """

    _effect = Effect.KEPT

    def __init__(self, prob: float = 0.5) -> None:
        super().__init__()
        self.prob = probability("prob", prob)

    def get_transform(self, img: Image) -> Transform:
        return TransposeTransform() if self.rng.random_sample() < self.prob else NoOpTransform()
