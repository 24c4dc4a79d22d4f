"""Images whose values are not in [0, 255]."""

from __future__ import annotations

from typing import Any

from dataflow.errors import ConfigError
from dataflow.imgaug.arguments import number
from dataflow.imgaug.augmentor import Effect
from dataflow.imgaug.chain import AugmentorList, effect_of_all
from dataflow.imgaug.scale import white_is
from dataflow.imgaug.transforms import Coords, Image, Transform, TransformList

__all__ = ["InRange", "RangedTransform"]


class InRange(AugmentorList):
    """Augmentors one after the other, for images in another range than [0, 255]::

        imgaug.InRange([imgaug.Gamma(), imgaug.Brightness(40), imgaug.JpegNoise()], 1)

    All arguments of the augmentors go on counting in [0, 255]: what is at most 255 there, here is
    at most `white`. This `Brightness` adds up to 40 / 255, and the results are in [0, 1]. That
    holds for floating point images and for uint16 ones; uint8 ones are in [0, 255] here, too, and
    become floats in [0, white] where an augmentor makes floats of them. The values are not
    converted to and fro, each augmentor counts in the range.

    It may be a part of a list, or hold lists. Functions, augmentors of other libraries and those
    that are not of this package get the images as they are.

    Draws what `AugmentorList` does.

    Args:
        augmentors: augmentors, or functions image → image.
        white: the largest value, above 0: 1 for floats in [0, 1], 65535 for uint16 images that
            use all of their bits.
    """

    def __init__(self, augmentors: Any, white: float) -> None:
        super().__init__(augmentors)
        self.white = number("white", white, 0)
        if not self.white:
            raise ConfigError(f"white={white!r} must be above 0")

    @property
    def _effect(self) -> Effect:
        return effect_of_all(self.augmentors[self._first :])

    def get_transform(self, img: Image) -> Transform:
        parts = super().get_transform(img)
        assert isinstance(parts, TransformList)
        return TransformList([RangedTransform(part, self.white) for part in parts.tfms])

    def __repr__(self) -> str:
        return super().__repr__().removesuffix(")") + f", white={self.white:g})"


class RangedTransform(Transform):
    """A transform, for images in [0, white].

    Args:
        transform: the transform.
        white: the largest value.
    """

    def __init__(self, transform: Any, white: float) -> None:
        self._transform = transform
        self._white = white

    def apply_image(self, img: Image) -> Image:
        with white_is(self._white):
            changed: Image = self._transform.apply_image(img)
        return changed

    def apply_coords(self, coords: Coords) -> Coords:
        changed: Coords = self._transform.apply_coords(coords)
        return changed

    def apply_mask(self, mask: Image, fill: Any = 0) -> Image:
        changed: Image = self._transform.apply_mask(mask, fill)
        return changed

    def __getattr__(self, name: str) -> Any:
        if name.startswith("apply_"):
            return getattr(self._transform, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"imgaug.RangedTransform({self._transform!r}, white={self._white:g})"
