"""Augmentors of augmentors."""

from __future__ import annotations

import bisect
import itertools
import math
from typing import Any

from dataflow.errors import ConfigError
from dataflow.imgaug.arguments import probability
from dataflow.imgaug.augmentor import Effect, ImageAugmentor
from dataflow.imgaug.chain import as_augmentor, effect_of
from dataflow.imgaug.transforms import (
    Image,
    NoOpTransform,
    PartTransform,
    Transform,
    TransformList,
)
from dataflow.randomness import nested

__all__ = ["Identity", "RandomApplyAug", "RandomChooseAug", "RandomOrderAug"]


class Identity(ImageAugmentor):
    """Does nothing and draws nothing."""

    _effect = Effect.KEPT

    def get_transform(self, img: Image) -> Transform:
        return NoOpTransform()


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


class RandomChooseAug(ImageAugmentor):
    """Apply one of several augmentors.

    Draws: one uniform number, by which augmentor i is chosen; then it, from stream i.

    Args:
        aug_lists: augmentors (or functions image → image), each as likely; or pairs (augmentor,
            probability), whose probabilities sum up to 1.
    """

    def __init__(self, aug_lists: Any) -> None:
        if not isinstance(aug_lists, list | tuple) or not aug_lists:
            raise ConfigError(f"aug_lists={aug_lists!r} must be a list of at least one augmentor")
        pairs = [isinstance(choice, list | tuple) and len(choice) == 2 for choice in aug_lists]
        if any(pairs) and not all(pairs):
            raise ConfigError(f"aug_lists={aug_lists!r}: all of them need probabilities, or none")
        if all(pairs):
            self.aug_lists = [as_augmentor(augmentor) for augmentor, _ in aug_lists]
            self.prob = [probability("aug_lists", chance) for _, chance in aug_lists]
        else:
            self.aug_lists = [as_augmentor(augmentor) for augmentor in aug_lists]
            self.prob = [1 / len(aug_lists)] * len(aug_lists)
        self._ends = list(itertools.accumulate(self.prob))
        if not math.isclose(self._ends[-1], 1, abs_tol=1e-6):
            raise ConfigError(f"aug_lists={aug_lists!r}: the probabilities must sum up to 1")
        super().__init__()

    @property
    def _effect(self) -> Effect:
        effects = {effect_of(augmentor) for augmentor in self.aug_lists}
        if len(effects) == 1:
            return effects.pop()
        return Effect.UNKNOWN if Effect.UNKNOWN in effects else Effect.KEPT

    def reset_state(self) -> None:
        """Also those of the list."""
        super().reset_state()
        for augmentor in self.aug_lists:
            augmentor.reset_state()

    def get_transform(self, img: Image) -> Transform:
        drawn = self.rng.random_sample() * self._ends[-1]
        chosen = bisect.bisect_right(self._ends, drawn, hi=len(self._ends) - 1)
        return _part(self.aug_lists[chosen], chosen, img)


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
