"""Augmentors one after the other, and functions among them."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from dataflow.errors import ConfigError
from dataflow.imgaug.augmentor import Effect, ImageAugmentor
from dataflow.imgaug.transforms import (
    Coords,
    Image,
    PartTransform,
    Transform,
    TransformFactory,
    TransformList,
)
from dataflow.randomness import nested

__all__ = ["AugmentorList", "MapImage", "as_augmentor", "effect_of", "effect_of_all"]


class MapImage(ImageAugmentor):
    """Change the image by a function, which gets it as it is. Draws nothing.

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


class AugmentorList(ImageAugmentor):
    """Augmentors one after the other; each sees what the one before it made.

    For images in another range than [0, 255] there is `InRange`.

    Draws nothing itself; augmentor i draws from stream i of the list.

    Args:
        augmentors: augmentors, or functions image → image (see `MapImage`).
    """

    _first = 0  # those before it were applied elsewhere

    def __init__(self, augmentors: Any) -> None:
        if not isinstance(augmentors, list | tuple):
            raise ConfigError(f"augmentors={augmentors!r} must be a list")
        self.augmentors = [as_augmentor(augmentor) for augmentor in augmentors]
        super().__init__()

    def reset_state(self) -> None:
        """Also those of the list."""
        super().reset_state()
        for augmentor in self.augmentors:
            augmentor.reset_state()

    def get_transform(self, img: Image) -> Transform:
        parts: list[Transform] = []
        for part, augmentor in enumerate(self.augmentors[self._first :], self._first):
            first = None
            if part == 0:  # the others must wait for the image that this one makes
                with nested(0):
                    first = augmentor.get_transform(img)
            parts.append(PartTransform(augmentor.get_transform, part, first))
        return TransformList(parts)

    def without(self, count: int) -> AugmentorList:
        """The list for images to which the first `count` were applied."""
        rest = copy(self)
        rest._first = count
        return rest

    def __repr__(self) -> str:
        rows = "".join(f"  {augmentor!r},\n" for augmentor in self.augmentors)
        return f"imgaug.{type(self).__name__}([\n{rows}])"


def as_augmentor(value: Any) -> Any:
    """`value` as an augmentor: itself (also a foreign one), or a function wrapped by `MapImage`.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(value, type):
        raise ConfigError(f"{value!r} is a class and not an augmentor: it needs parentheses")
    if hasattr(value, "get_transform"):
        return value
    if callable(value):
        return MapImage(value)
    raise ConfigError(f"{value!r} is neither an augmentor nor a function of an image")


def effect_of(augmentor: Any) -> Effect:
    """What is known of what `augmentor` does to the array that it is given."""
    cls = type(augmentor)
    if cls is not AugmentorList:
        if "_effect" not in cls.__dict__:
            return Effect.UNKNOWN
        own: Effect = augmentor._effect  # a property where it depends on the arguments
        return own if isinstance(own, Effect) else Effect.UNKNOWN
    return effect_of_all(augmentor.augmentors[augmentor._first :])


def effect_of_all(augmentors: list[Any]) -> Effect:
    """The same of several, one after the other."""
    for part in augmentors:
        if (effect := effect_of(part)) is not Effect.KEPT:
            return effect  # from here on the array is another one
    return Effect.KEPT
