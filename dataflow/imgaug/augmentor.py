"""What an augmentor is."""

from __future__ import annotations

import enum
import functools
import inspect
import os
import secrets
import warnings
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.imgaug.scale import Takes, described, require_taken
from dataflow.imgaug.transforms import (
    Coords,
    Image,
    LegacyTransform,
    PhotometricTransform,
    Transform,
)
from dataflow.randomness import datapoint_rng

__all__ = [
    "Augmentor",
    "Effect",
    "ImageAugmentor",
    "PhotometricAugmentor",
]

_warned: set[str] = set()
_forks = 0  # how many made this process; asking for its pid would be a system call each time


def _forked() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Effect(enum.Enum):
    """What an augmentor does to the array that it is given.

    An augmentor class says so in `_effect`, which counts for itself alone: a subclass has code of
    its own, about which this says nothing.
    """

    UNKNOWN = "may write into it"
    KEPT = "leaves it alone; the result may be the same memory"
    FRESH = "leaves it alone; the result is other memory"


class ImageAugmentor:
    """The base of all augmentors.

    A subclass defines ``get_transform(img) -> Transform``, or in the older form
    ``_augment(img, params)`` and, where it applies, ``_get_augment_params(img) -> params`` and
    ``_augment_coords(coords, params)``. All that is random it draws from `self.rng` while the
    transform or the parameters are made, so that the change itself can be repeated.
    """

    # Class-level defaults, because older subclasses do not call `super().__init__()`.
    __chosen: np.random.RandomState | None = None
    __own: tuple[int, np.random.RandomState] | None = None

    def __init__(self) -> None:
        self.reset_state()

    # -- what users call ---------------------------------------------------------------------

    def augment(self, img: Image) -> Image:
        """Draw, and change the image.

        Raises:
            TypeError: `img` is no array.
            ValueError: it has neither 2 nor 3 dimensions, no pixels, or does not suit the
                augmentor.
        """
        require_image(img)
        return self.get_transform(img).apply_image(img)

    def get_transform(self, img: Image) -> Transform:
        """Draw the parameters for an image like `img`."""
        cls = type(self)
        draw = getattr(self, "get_augment_params", None) or self._get_augment_params
        params = draw(img)
        if isinstance(params, Transform):
            return params
        if not hasattr(cls, "_augment"):
            raise NotImplementedError(f"{cls.__name__} defines neither get_transform nor _augment")
        if hasattr(cls, "_augment_coords") or cls.augment_coords is ImageAugmentor.augment_coords:
            return LegacyTransform(self, params)
        return LegacyTransform(self, params, "augment_coords")  # the oldest form

    def augment_return_params(self, img: Image) -> tuple[Image, Any]:
        """`augment`, and the transform. Older: `get_transform` says the same."""
        _older("augment_return_params", "get_transform(img), and its apply_image(img)")
        require_image(img)
        transform = self.get_transform(img)
        return transform.apply_image(img), transform

    def augment_with_params(self, img: Image, param: Any) -> Image:
        """Change another image in the same way. Older: `param` is a `Transform`."""
        _older("augment_with_params", "apply_image(img) of the transform")
        changed: Image = param.apply_image(img)
        return changed

    def augment_coords(self, coords: Coords, param: Any) -> Coords:
        """Change coordinates in the same way as the image. Older: `param` is a `Transform`."""
        _older("augment_coords", "apply_coords(coords) of the transform")
        changed: Coords = param.apply_coords(coords)
        return changed

    def reset_state(self) -> None:
        """Seed afresh what is drawn outside of dataflows."""
        self.__own = None

    # -- what subclasses use -----------------------------------------------------------------

    @property
    def rng(self) -> np.random.RandomState:
        """Where the random numbers come from.

        The one that was assigned, if any; else the current datapoint's; else one of this
        augmentor's own, which differs from run to run.
        """
        if self.__chosen is not None:
            return self.__chosen
        state = datapoint_rng()
        if state is not None:
            return state
        if self.__own is None or self.__own[0] != _forks:  # forked children must not draw alike
            self.__own = (_forks, np.random.RandomState(secrets.randbits(32)))
        return self.__own[1]

    @rng.setter
    def rng(self, value: np.random.RandomState) -> None:
        self.__chosen = value

    def _init(self, params: dict[str, Any] | None = None) -> None:
        """Keep constructor arguments as attributes: ``self._init(locals())``."""
        for name, value in (params or {}).items():
            if name != "self" and not name.startswith("_"):
                setattr(self, name, value)

    def _rand_range(
        self, low: float = 1.0, high: float | None = None, size: Any = None
    ) -> np.float32 | NDArray[np.float32]:
        """Uniform float32 numbers from [low, high), or from [0, low) where only `low` is given."""
        if high is None:
            low, high = 0.0, low
        drawn: NDArray[np.float64] = np.asarray(self.rng.uniform(low, high, size))
        return np.float32(drawn) if size is None else drawn.astype(np.float32)

    def _get_augment_params(self, img: Image) -> Any:
        return None

    # -- copies and text ---------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Copies do not share the private generator: they would draw alike."""
        state = self.__dict__.copy()
        state.pop("_ImageAugmentor__own", None)
        return state

    def __repr__(self) -> str:
        arguments = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            if not hasattr(self, name):
                return object.__repr__(self)
            value = getattr(self, name)
            if not _same(value, parameter.default):
                arguments.append(f"{name}={value!r}")
        return f"imgaug.{type(self).__name__}({', '.join(arguments)})"


Augmentor = ImageAugmentor
"""The older name."""


class PhotometricAugmentor(ImageAugmentor):
    """The base of augmentors that change pixel values only: coordinates stay.

    A subclass defines ``_augment(img, params)`` and, if it draws, ``_get_augment_params(img)``.
    """

    # What beside uint8; for those of the package. A subclass elsewhere checks for itself.
    _takes: Takes | None = None

    def get_transform(self, img: Image) -> Transform:
        params = self._get_augment_params(img)
        return PhotometricTransform(
            functools.partial(_augment_with, self, params), type(self).__name__
        )

    def _augment(self, img: Image, params: Any) -> Image:
        raise NotImplementedError(f"{type(self).__name__} does not define _augment")


def _older(method: str, newer: str) -> None:
    """Warn of a method's older name, once."""
    if method not in _warned:
        _warned.add(method)
        warnings.warn(f"{method}() is an older name: use {newer}", DeprecationWarning, stacklevel=3)


def _augment_with(augmentor: PhotometricAugmentor, params: Any, img: Image) -> Image:
    takes = augmentor._takes
    if takes is None:
        return augmentor._augment(img, params)
    if img.dtype != np.uint8:
        require_taken(img, type(augmentor).__name__, takes)
    try:
        return augmentor._augment(img, params)
    except cv2.error as error:
        raise ValueError(f"{augmentor!r} does not take {described(img)}") from error


def require_image(img: Any) -> None:
    """Raise unless `img` is an array of H×W or H×W×C, and not empty."""
    if not isinstance(img, np.ndarray):
        raise TypeError(f"an image is a NumPy array, not {type(img).__name__}")
    if img.ndim not in (2, 3):
        raise ValueError(f"an image has 2 or 3 dimensions, not the shape {img.shape}")
    if not img.size:
        raise ValueError(f"an image of shape {img.shape} has no pixels")


def _same(value: Any, default: Any) -> bool:
    try:
        return value is default or bool(value == default)
    except ValueError:  # arrays compare element by element
        return False
