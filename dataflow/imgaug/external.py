"""Augmentors of other libraries.

Those that are functions image → image need no wrapper: a list of augmentors takes them as they
are (see `MapImage`). Only here their random numbers belong to the datapoint, and what they did to
one image can be done to another.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from dataflow.errors import ConfigError
from dataflow.imgaug.augmentor import ImageAugmentor
from dataflow.imgaug.scale import described
from dataflow.imgaug.transforms import Coords, Image, Transform
from dataflow.utils.extras import need

__all__ = ["Albumentations", "IAAugmentor"]

_SEEDS = 2**31 - 1


class IAAugmentor(ImageAugmentor):
    """An augmenter of `imgaug <https://github.com/aleju/imgaug>`_, the other library of this name.

    Takes uint8 images only.

    Draws: one integer, the augmenter's seed.

    Args:
        augmentor: the augmenter, an ``imgaug.augmenters.Augmenter``.
    """

    def __init__(self, augmentor: Any) -> None:
        super().__init__()
        if not hasattr(augmentor, "to_deterministic"):
            raise ConfigError(f"augmentor={augmentor!r} is no augmenter: no to_deterministic()")
        self._aug = augmentor

    def get_transform(self, img: Image) -> Transform:
        settled = self._aug.to_deterministic()
        seed = int(self.rng.randint(_SEEDS))
        if hasattr(settled, "seed_"):  # since its release 0.4
            settled.seed_(seed, deterministic_too=True)
        else:
            settled.reseed(seed, deterministic_too=True)
        return IAATransform(settled, img.shape)

    def __repr__(self) -> str:
        return f"imgaug.IAAugmentor({self._aug!r})"


class IAATransform(Transform):
    """What an augmenter of imgaug does, settled.

    Args:
        aug: the augmenter, deterministic.
        img_shape: the shape of the image.
    """

    def __init__(self, aug: Any, img_shape: tuple[int, ...]) -> None:
        self.aug = aug
        self.img_shape = img_shape

    def apply_image(self, img: Image) -> Image:
        if img.dtype != np.uint8:  # of which some of its augmenters make nonsense
            raise TypeError(
                f"IAAugmentor takes images of uint8, not {described(img)}: convert it, for example "
                "by imgaug.ToUint8()"
            )
        changed: Image = self.aug.augment_image(img)
        return changed

    def apply_coords(self, coords: Coords) -> Coords:
        library = need("imgaug")
        points = [library.Keypoint(x=x, y=y) for x, y in coords.tolist()]
        on_image = library.KeypointsOnImage(points, shape=self.img_shape)
        (moved,) = self.aug.augment_keypoints([on_image])
        rows = [(point.x, point.y) for point in moved.keypoints]
        return np.array(rows, coords.dtype).reshape(-1, 2)


class Albumentations(ImageAugmentor):
    """A transform of `Albumentations <https://albumentations.ai>`_ 1.4.19 or newer.

    Takes what the library does: for most of its transforms uint8 in [0, 255], and float32 in
    [0, 1], also outside of `InRange`. It cannot be applied to coordinates: the library's own are
    not those of this package.

    Draws: one integer, the transform's seed.

    Args:
        augmentor: the transform, or a composition of several.
    """

    def __init__(self, augmentor: Any) -> None:
        super().__init__()
        if not callable(augmentor) or not hasattr(augmentor, "set_random_seed"):
            raise ConfigError(
                f"augmentor={augmentor!r} must be a transform of Albumentations 1.4.19 or newer, "
                "with set_random_seed()"
            )
        self._aug = augmentor

    def get_transform(self, img: Image) -> Transform:
        # A copy, because the seed is set in place, and threads share this augmentor.
        return AlbumentationsTransform(copy.deepcopy(self._aug), int(self.rng.randint(_SEEDS)))

    def __repr__(self) -> str:
        return f"imgaug.Albumentations({self._aug!r})"


class AlbumentationsTransform(Transform):
    """What a transform of Albumentations does with one seed.

    Args:
        aug: the transform.
        seed: its seed.
    """

    def __init__(self, aug: Any, seed: int) -> None:
        self.aug = aug
        self.seed = seed

    def apply_image(self, img: Image) -> Image:
        self.aug.set_random_seed(self.seed)
        changed: Image = self.aug(image=img)["image"]
        return changed
