"""Augmentors as a stage."""

from __future__ import annotations

import threading
import warnings
from copy import copy
from typing import Any

import numpy as np

from dataflow.imgaug.augmentor import Effect
from dataflow.imgaug.chain import AugmentorList, effect_of
from dataflow.imgaug.transforms import Image
from dataflow.stages.map import MapDataComponent

__all__ = ["AugmentImageComponent", "Failures", "listed"]

_MANY = 100
"""So many failed images are an accident; one more is a fault worth a warning."""


class AugmentImageComponent(MapDataComponent):
    """Apply augmentors to one component, the image.

    Args:
        ds: the input.
        augmentors: an `imgaug.AugmentorList`, or a list of augmentors and of functions
            image → image.
        index: the image's index, or its key in dict datapoints.
        copy: whatever the augmentors do, the image that came in stays as it is, and the one that
            goes out shares no memory with it. Costs nothing where the augmentors make a new image
            anyway. False lets augmentors write into the image and return views of it.
        catch_exceptions: drop the datapoints whose image an augmentor fails on; warns once, when
            there are more than 100.
    """

    def __init__(
        self,
        ds: Any,
        augmentors: Any,
        index: int | str = 0,
        copy: bool = True,
        catch_exceptions: bool = False,
    ) -> None:
        self.augs = listed(augmentors)
        # Not a bound method of this stage: what travels to workers should not hold `ds`.
        super().__init__(ds, ImageMap(self.augs, copy, catch_exceptions), index)

    def reset_state(self) -> None:
        super().reset_state()
        self.augs.reset_state()


class ImageMap:
    """The function image → augmented image, or None where it failed and may fail."""

    def __init__(self, augmentors: Any, copy: bool, catch_exceptions: bool) -> None:
        self.augmentors = augmentors
        self.copy = copy
        self.catch_exceptions = catch_exceptions
        self.failures = Failures()

    def __call__(self, img: Image) -> Image | None:
        if not self.catch_exceptions:
            return self._augment(img)
        try:
            return self._augment(img)
        except Exception as error:
            self.failures.add(error)
            return None

    def without(self, count: int) -> ImageMap:
        """The function of new images to which the first `count` augmentors were applied."""
        rest = copy(self)
        rest.augmentors = self.augmentors.without(count)
        rest.copy = False
        return rest

    def _augment(self, img: Image) -> Image:
        protect = self.copy and isinstance(img, np.ndarray)
        if protect and effect_of(self.augmentors) is Effect.UNKNOWN:
            img = img.copy()
            protect = False
        result: Image = self.augmentors.augment(img)
        # Of a crop this copies the part only, and makes it contiguous.
        return result.copy() if protect and np.may_share_memory(result, img) else result


class Failures:
    """Counts failed images, over all threads, and warns once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def add(self, error: Exception) -> None:
        with self._lock:
            self.count += 1
            if self.count != _MANY + 1:
                return
        warnings.warn(
            f"augmentors failed on more than {_MANY} images, which were dropped; the last error "
            f"was {type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=2,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {"count": 0}  # a copy counts for itself

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]


def listed(augmentors: Any) -> AugmentorList:
    """`augmentors` as a list of them, if it is none yet."""
    if isinstance(augmentors, AugmentorList):
        return augmentors
    return AugmentorList(augmentors if isinstance(augmentors, list | tuple) else [augmentors])
