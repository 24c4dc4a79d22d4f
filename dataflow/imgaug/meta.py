"""Augmentors of augmentors, and of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dataflow.errors import ConfigError
from dataflow.imgaug.arguments import probability
from dataflow.imgaug.base import Effect, ImageAugmentor, as_augmentor, effect_of
from dataflow.imgaug.transform import (
    Coords,
    Image,
    NoOpTransform,
    PartTransform,
    Transform,
    TransformFactory,
    TransformList,
)
from dataflow.randomness import nested

__all__ = ["Identity", "MapImage", "RandomApplyAug", "RandomOrderAug"]


class Identity(ImageAugmentor):
    """Does nothing and draws nothing."""

    _effect = Effect.KEPT

    def get_transform(self, img: Image) -> Transform:
        return NoOpTransform()


class MapImage(ImageAugmentor):
    """Change the image by a function. Draws nothing.

    Args:
        func: image → image.
        coord_func: coordinates → coordinates, N×2 rows of (x, y). Without it the augmentor
            cannot be applied to coordinates.
    """

    def __init__(
        self,
        func: Callable[[Image], Image],
        coord_func: Callable[[Coords], Coords] | None = None,
    ) -> None:
        super().__init__()
        if not callable(func):
            raise ConfigError(f"func={func!r} must be callable")
        if coord_func is not None and not callable(coord_func):
            raise ConfigError(f"coord_func={coord_func!r} must be callable or None")
        self.func = func
        self.coord_func = coord_func

    def get_transform(self, img: Image) -> Transform:
        if self.coord_func is None:
            return TransformFactory("MapImage", apply_image=self.func)
        return TransformFactory("MapImage", apply_image=self.func, apply_coords=self.coord_func)


class RandomApplyAug(ImageAugmentor):
    """Apply an augmentor, sometimes.

    Draws: one uniform number, applied where it is below `prob`; then the augmentor, from stream 0.

    Args:
        aug: an augmentor, or a function image → image.
        prob: how often.
    """

    def __init__(self, aug: Any, prob: float) -> None:
        self.aug = as_augmentor(aug)
        self.prob = probability("prob", prob)
        super().__init__()

    @property
    def _effect(self) -> Effect:
        return Effect.UNKNOWN if effect_of(self.aug) is Effect.UNKNOWN else Effect.KEPT

    def reset_state(self) -> None:
        """Also that of the augmentor."""
        super().reset_state()
        self.aug.reset_state()

    def get_transform(self, img: Image) -> Transform:
        if self.rng.random_sample() < self.prob:
            return _part(self.aug, 0, img)
        return NoOpTransform()


class RandomOrderAug(ImageAugmentor):
    """Apply augmentors in random order.

    All of them draw for the image that comes in, so they must not change its shape.

    Draws: one permutation; then, in the order of the list, augmentor i from stream i.

    Args:
        aug_lists: augmentors, or functions image → image.
    """

    def __init__(self, aug_lists: Any) -> None:
        if not isinstance(aug_lists, list | tuple):
            raise ConfigError(f"aug_lists={aug_lists!r} must be a list")
        self.aug_lists = [as_augmentor(augmentor) for augmentor in aug_lists]
        super().__init__()

    @property
    def _effect(self) -> Effect:
        effects = {effect_of(augmentor) for augmentor in self.aug_lists}
        return Effect.UNKNOWN if Effect.UNKNOWN in effects else Effect.KEPT

    def reset_state(self) -> None:
        """Also those of the list."""
        super().reset_state()
        for augmentor in self.aug_lists:
            augmentor.reset_state()

    def get_transform(self, img: Image) -> Transform:
        order = self.rng.permutation(len(self.aug_lists)).tolist()
        parts = [_part(augmentor, i, img) for i, augmentor in enumerate(self.aug_lists)]
        return TransformList([parts[i] for i in order])


def _part(augmentor: Any, part: int, img: Image) -> Transform:
    with nested(part):
        return PartTransform(augmentor.get_transform, part, augmentor.get_transform(img))
