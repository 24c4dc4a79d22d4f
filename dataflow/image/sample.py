"""Augmentors on an image and on all that belongs to it: masks, boxes, points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dataflow.epoch import Datapoint
from dataflow.errors import ConfigError
from dataflow.image.boxes import Boxes, clipped, moved_by, require_boxes
from dataflow.image.together import AugmentTogether, require_coords
from dataflow.imgaug.arguments import probability
from dataflow.imgaug.augmentor import require_image
from dataflow.kinds import component

__all__ = ["AugmentImageBoxes", "AugmentSample"]

_Index: TypeAlias = int | str
_Indices: TypeAlias = _Index | Sequence[_Index] | None


class AugmentSample(AugmentTogether):
    """Apply augmentors to an image, and alike to its masks, boxes and points.

    Random numbers are drawn once for each datapoint. What changes places, such as a crop or a
    rotation, moves all of them; what changes colours changes the image alone. For example::

        ds = df.AugmentSample(ds, [imgaug.Rotation(10), imgaug.Flip(horiz=True), imgaug.Gamma()],
                              image="image", mask="segmentation", boxes="boxes", along="labels")

    Args:
        ds: the input, of datapoints that are lists or dicts.
        augmentors: an `imgaug.AugmentorList`, or a list of augmentors.
        image: the image's index, or its key in dict datapoints; of the following also a list of
            such, or None for none.
        mask: masks of the image's size, H×W or H×W×C, of any dtype. Their values stay: the nearest
            pixel is taken, and `mask_fill` where there was no image.
        boxes: N×4, floating point, rows of (x0, y0, x1, y1), the edges in pixels. As of
            `AugmentImageBoxes`, each becomes the upright box around where its corners get to,
            clipped to the image, at each augmentor; where too little is left of it, it is dropped.
        points: N×2, floating point, rows of (x, y) in pixels; or N×K×3, with visibility, as COCO
            has key points: what leaves the image gets visibility 0, and where there are boxes, rows
            go with theirs. N×2 ones may leave it. (A mirrored left hand stays the left one.)
        along: what has one row a box, such as labels, and loses it with the box.
        instances: N×H×W, a mask for each box, which it is dropped with.
        min_share: a box is kept where at least this part of its area is inside the image.
        mask_fill: of masks, where there was no image, such as 255 for "ignore".
        copy: whatever the augmentors do, what came in stays as it is, and what goes out shares no
            memory with it.
        catch_exceptions: drop the datapoints that an augmentor fails on; warns once, when there are
            more than 100.

    Raises:
        NotImplementedError: (from the iterator) an augmentor cannot move masks or points.
        TypeError, ValueError: (from the iterator) a component is of another kind, shape or size.
    """

    def __init__(
        self,
        ds: Any,
        augmentors: Any,
        image: _Index = 0,
        mask: _Indices = None,
        boxes: _Index | None = None,
        points: _Indices = None,
        *,
        along: _Indices = None,
        instances: _Indices = None,
        min_share: float = 0.25,
        mask_fill: Any = 0,
        copy: bool = True,
        catch_exceptions: bool = False,
    ) -> None:
        super().__init__(ds, augmentors, copy, catch_exceptions)
        self.image = image
        self.mask = _listed(mask)
        self.boxes = boxes
        self.points = _listed(points)
        self.along = _listed(along)
        self.instances = _listed(instances)
        self.min_share = probability("min_share", min_share)
        self.mask_fill = mask_fill
        named = [image, *self.mask, *self.points, *self.along, *self.instances]
        named += [] if boxes is None else [boxes]
        twice = sorted({str(name) for name in named if named.count(name) > 1})
        if twice:
            raise ConfigError(f"{type(self).__name__} names a component twice: {twice[0]}")
        if boxes is None and self.along:
            raise ConfigError(f"along={along!r} is of boxes, of which there are none")

    def _augment(self, datapoint: Datapoint) -> Datapoint:
        given = component(datapoint, self.image)
        require_image(given)
        image = self._guarded(given)
        masks = {name: self._mask(datapoint, name, image.shape) for name in self.mask}
        instances = {name: self._instances(datapoint, name, image) for name in self.instances}
        points = {name: _points(datapoint, name) for name in self.points}
        boxes = self._boxes(datapoint)
        shares = np.ones(len(boxes))
        for part in self.augs.get_transform(image).tfms:
            image = part.apply_image(image)
            for name, one in masks.items():
                masks[name] = part.apply_mask(one, self.mask_fill)
            for name, many in instances.items():
                instances[name] = [part.apply_mask(one) for one in many]
            for name, places in points.items():
                points[name] = part.apply_coords(places)
            if self.boxes is not None:
                boxes, left = clipped(moved_by(part, boxes), image.shape)
                shares *= left
        changed: Any = dict(datapoint) if isinstance(datapoint, dict) else list(datapoint)
        changed[self.image] = self._own(image, given)
        for name, one in masks.items():
            changed[name] = self._own(one, component(datapoint, name))
        kept = (shares > 0) & (shares >= self.min_share - 1e-6)
        for name, places in points.items():
            result = _like(places, component(datapoint, name), image.shape)
            changed[name] = result[kept] if self.boxes is not None and result.ndim == 3 else result
        for name, many in instances.items():
            stays = (
                many if self.boxes is None else [m for m, k in zip(many, kept, strict=True) if k]
            )
            dtype = component(datapoint, name).dtype
            changed[name] = np.array(stays, dtype).reshape(-1, *image.shape[:2])
        if self.boxes is not None:
            changed[self.boxes] = boxes[kept].astype(component(datapoint, self.boxes).dtype)
            for name in self.along:
                changed[name] = np.asarray(component(datapoint, name))[kept]
        return changed

    def _boxes(self, datapoint: Datapoint) -> Boxes:
        if self.boxes is None:
            return np.zeros((0, 4))
        boxes: Boxes = component(datapoint, self.boxes)
        require_boxes(boxes, self.boxes)
        rows_of_boxes = [n for n in self.points if np.ndim(component(datapoint, n)) == 3]
        for name in (*self.along, *self.instances, *rows_of_boxes):
            shape = np.shape(component(datapoint, name))
            if shape[:1] != boxes.shape[:1]:
                raise ValueError(
                    f"component {name!r} of shape {shape} has not one row for each of the "
                    f"{len(boxes)} boxes"
                )
        return boxes

    def _mask(self, datapoint: Datapoint, name: _Index, shape: Sequence[int]) -> NDArray[Any]:
        mask: NDArray[Any] = component(datapoint, name)
        require_image(mask)
        if mask.shape[:2] != tuple(shape[:2]):
            raise ValueError(
                f"component {name!r}: a mask of shape {mask.shape} for an image of shape "
                f"{tuple(shape)}: height and width must be the same"
            )
        if mask.dtype.kind in "iu" and self.mask_fill not in _ends(mask.dtype):
            raise ConfigError(
                f"mask_fill={self.mask_fill!r} is no value of component {name!r}, a mask of dtype "
                f"{mask.dtype}"
            )
        return mask

    def _instances(self, datapoint: Datapoint, name: _Index, image: Any) -> list[NDArray[Any]]:
        many = component(datapoint, name)
        if not isinstance(many, np.ndarray) or many.ndim != 3:
            kind = getattr(many, "shape", type(many).__name__)
            raise ValueError(f"component {name!r}: masks of instances are N×H×W, not {kind}")
        if len(many) and many.shape[1:] != image.shape[:2]:
            raise ValueError(
                f"component {name!r}: masks of shape {many.shape} for an image of {image.shape}"
            )
        return list(many)


def _ends(dtype: np.dtype[Any]) -> range:
    """The numbers of a kind of integers."""
    limits = np.iinfo(dtype)
    return range(int(limits.min), int(limits.max) + 1)


def _listed(names: _Indices) -> tuple[_Index, ...]:
    if names is None:
        return ()
    return (names,) if isinstance(names, int | str) else tuple(names)


def _points(datapoint: Datapoint, name: _Index) -> NDArray[Any]:
    """As rows of (x, y)."""
    points = component(datapoint, name)
    if isinstance(points, np.ndarray) and points.ndim == 3 and points.shape[2] == 3:
        points = points[:, :, :2].reshape(-1, 2)
    require_coords(points, name)
    places: NDArray[Any] = points
    return places


def _like(places: NDArray[Any], given: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """Rows of (x, y) in the form in which they were given."""
    if given.ndim == 2:
        return places.copy() if np.may_share_memory(places, given) else places
    height, width = shape[:2]
    result: NDArray[Any] = given.copy()
    result[:, :, :2] = places.reshape(*given.shape[:2], 2)
    x, y = result[:, :, 0], result[:, :, 1]
    outside = (x < 0) | (y < 0) | (x > width) | (y > height)
    result[:, :, 2][outside] = 0
    # Those that are not labelled have no place, and none that could move.
    nowhere = (given == 0).all(axis=2)
    result[nowhere] = 0
    return result


class AugmentImageBoxes(AugmentSample):
    """Apply augmentors to an image and to the boxes of the objects in it.

    `AugmentSample` for datapoints ``[image, boxes, labels]``.

    Args:
        ds: the input.
        augmentors: an `imgaug.AugmentorList`, or a list of augmentors.
        img_index: the image's index, or its key in dict datapoints.
        box_index: the boxes': N×4, floating point, see `dataflow.dataset.PascalVOC`.
        along: those of arrays with one row a box, which are dropped with it.
        min_share: a box is kept where at least this part of its area is inside the image. 0 keeps
            all that have any.
        copy: as of `AugmentSample`, like the following.
        catch_exceptions: drop the datapoints that an augmentor fails on.
    """

    def __init__(
        self,
        ds: Any,
        augmentors: Any,
        img_index: _Index = 0,
        box_index: _Index = 1,
        along: Sequence[_Index] = (2,),
        min_share: float = 0.25,
        copy: bool = True,
        catch_exceptions: bool = False,
    ) -> None:
        super().__init__(
            ds,
            augmentors,
            img_index,
            boxes=box_index,
            along=along,
            min_share=min_share,
            copy=copy,
            catch_exceptions=catch_exceptions,
        )
        self.img_index = img_index
        self.box_index = box_index
