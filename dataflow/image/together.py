"""Augmentors on several components of a datapoint that must change alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dataflow.epoch import Datapoint
from dataflow.errors import ConfigError
from dataflow.image.augment import Failures, listed
from dataflow.imgaug.augmentor import Effect, require_image
from dataflow.imgaug.chain import effect_of
from dataflow.imgaug.transforms import Coords
from dataflow.kinds import component
from dataflow.stages.item import ItemStage

__all__ = [
    "AugmentImageComponents",
    "AugmentImageCoordinates",
    "AugmentTogether",
    "require_coords",
]

_Index = int | str


class AugmentTogether(ItemStage):
    """The base of stages that apply augmentors to several components alike.

    Args:
        ds: the input.
        augmentors: an `imgaug.AugmentorList`, or a list of augmentors.
        copy: what came in stays as it is, and what goes out shares no memory with it.
        catch_exceptions: drop the datapoints that an augmentor fails on.
    """

    def __init__(self, ds: Any, augmentors: Any, copy: bool, catch_exceptions: bool) -> None:
        super().__init__(ds)
        self.augs = listed(augmentors)
        self.copy = copy
        self.catch_exceptions = catch_exceptions
        self._failures = Failures()

    def reset_state(self) -> None:
        super().reset_state()
        self.augs.reset_state()

    def apply(self, datapoint: Datapoint) -> Datapoint | None:
        if not self.catch_exceptions:
            return self._augment(datapoint)
        try:
            return self._augment(datapoint)
        except Exception as error:
            self._failures.add(error)
            return None

    def _augment(self, datapoint: Datapoint) -> Datapoint:
        raise NotImplementedError(f"{type(self).__name__} defines no _augment()")

    def _guarded(self, image: Any) -> Any:
        """What the augmentors may write into."""
        unknown = self.copy and effect_of(self.augs) is Effect.UNKNOWN
        return image.copy() if unknown else image

    def _own(self, result: Any, image: Any) -> Any:
        shares = self.copy and np.may_share_memory(result, image)
        return result.copy() if shares else result


class AugmentImageComponents(AugmentTogether):
    """Apply augmentors to several images and to coordinates, with the same random numbers.

    They are drawn once for each datapoint, for the first of the images; the others need its size
    wherever an augmentor depends on it. For example `index=(0, 1), coords_index=(2,)` for
    ``[image (H×W×3), mask (H×W), points (N×2)]``.

    Args:
        ds: the input.
        augmentors: an `imgaug.AugmentorList`, or a list of augmentors.
        index: the images' indices, or their keys in dict datapoints; at least one.
        coords_index: those of arrays of points: N×2, floating point, rows of (x, y) in pixels.
        mask_index: those of masks, H×W or H×W×C, of any dtype: these keep their values (nothing is
            interpolated between class 0 and class 2), and colours leave them alone. They get 0
            where there was no image; `AugmentSample` can fill in something else.
        copy: whatever the augmentors do, what came in stays as it is, and what goes out shares no
            memory with it. Costs nothing where the augmentors make new arrays anyway.
        catch_exceptions: drop the datapoints that an augmentor fails on; warns once, when there
            are more than 100.
    """

    def __init__(
        self,
        ds: Any,
        augmentors: Any,
        index: Sequence[_Index] = (0, 1),
        coords_index: Sequence[_Index] = (),
        copy: bool = True,
        catch_exceptions: bool = False,
        *,
        mask_index: Sequence[_Index] = (),
    ) -> None:
        super().__init__(ds, augmentors, copy, catch_exceptions)
        self.index = _indices("index", index)
        self.coords_index = _indices("coords_index", coords_index)
        self.mask_index = _indices("mask_index", mask_index)
        if not self.index:
            raise ConfigError(f"index={index!r} must name at least one image")

    def _augment(self, datapoint: Datapoint) -> Datapoint:
        changed: Any = dict(datapoint) if isinstance(datapoint, dict) else list(datapoint)
        images = [component(datapoint, index) for index in self.index]
        points = [component(datapoint, index) for index in self.coords_index]
        for image in images:
            require_image(image)
        for index, coords in zip(self.coords_index, points, strict=True):
            require_coords(coords, index)
        first = self._guarded(images[0])
        transform = self.augs.get_transform(first)
        # First of all this one: augmentors further on draw when they see what it has become.
        changed[self.index[0]] = self._own(transform.apply_image(first), images[0])
        for index, image in zip(self.index[1:], images[1:], strict=True):
            changed[index] = self._own(transform.apply_image(self._guarded(image)), image)
        for index in self.mask_index:
            mask = component(datapoint, index)
            changed[index] = self._own(transform.apply_mask(mask), mask)
        for index, coords in zip(self.coords_index, points, strict=True):
            given = coords.copy() if self.copy else coords
            changed[index] = transform.apply_coords(given)
        return changed


class AugmentImageCoordinates(AugmentImageComponents):
    """Apply augmentors to an image and to the coordinates of points in it.

    Args:
        ds: the input.
        augmentors: an `imgaug.AugmentorList`, or a list of augmentors.
        img_index: the image's index, or its key in dict datapoints.
        coords_index: the coordinates': N×2, floating point, rows of (x, y) in pixels.
        copy: as of `AugmentImageComponents`, like the following.
        catch_exceptions: drop the datapoints that an augmentor fails on.
    """

    def __init__(
        self,
        ds: Any,
        augmentors: Any,
        img_index: _Index = 0,
        coords_index: _Index = 1,
        copy: bool = True,
        catch_exceptions: bool = False,
    ) -> None:
        super().__init__(ds, augmentors, (img_index,), (coords_index,), copy, catch_exceptions)
        self.img_index = img_index


def _indices(name: str, value: Any) -> tuple[_Index, ...]:
    if isinstance(value, (int, str)):
        return (value,)
    indices = tuple(value)
    if len(set(indices)) != len(indices):
        raise ConfigError(f"{name}={value!r} names a component twice")
    return indices


def require_coords(coords: Coords, index: _Index) -> None:
    """Raise unless these are coordinates."""
    if not isinstance(coords, np.ndarray) or not np.issubdtype(coords.dtype, np.floating):
        kind = getattr(coords, "dtype", type(coords).__name__)
        raise TypeError(f"component {index!r}: coordinates are a floating point array, not {kind}")
    if coords.ndim != 2 or coords.shape[1] != 2:
        raise ValueError(f"component {index!r}: coordinates are N×2, not of shape {coords.shape}")
