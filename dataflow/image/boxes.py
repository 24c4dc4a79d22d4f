"""Augmentors on an image and the boxes in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dataflow.epoch import Datapoint
from dataflow.errors import ConfigError
from dataflow.image.together import AugmentImageComponents
from dataflow.imgaug.arguments import probability
from dataflow.imgaug.augmentor import require_image
from dataflow.kinds import component

__all__ = ["AugmentImageBoxes", "Boxes", "clipped", "moved_by", "require_boxes"]

Boxes: TypeAlias = NDArray[Any]
"""N×4, floating point, rows of (x0, y0, x1, y1) in pixels: left, top, right and bottom edge.

As for coordinates, pixel (column i, row j) covers [i, i+1) × [j, j+1); so the box of that pixel
alone is (i, j, i+1, j+1), and a whole image's (0, 0, width, height).
"""

_CORNERS = (0, 1, 2, 1, 2, 3, 0, 3)
_ROUNDING = 1e-6


class AugmentImageBoxes(AugmentImageComponents):
    """Apply augmentors to an image and to the boxes of the objects in it.

    At each augmentor of the list a box becomes the upright box around its four corners, wherever
    they get to (so rotations make it looser than the object), and is clipped to the image. Where
    too little of it is left in the end, it is dropped, and with it its row of what belongs to
    boxes, such as labels.

    Args:
        ds: the input.
        augmentors: an `imgaug.AugmentorList`, or a list of augmentors.
        img_index: the image's index, or its key in dict datapoints.
        box_index: the boxes': N×4, floating point, see `dataflow.dataset.PascalVOC`.
        along: those of arrays with one row a box, which are dropped with it.
        min_share: a box is kept where at least this part of its area is inside the image. 0 keeps
            all that have any.
        copy: as of `AugmentImageComponents`, like the following.
        catch_exceptions: drop the datapoints that an augmentor fails on.
    """

    def __init__(
        self,
        ds: Any,
        augmentors: Any,
        img_index: int | str = 0,
        box_index: int | str = 1,
        along: Sequence[int | str] = (2,),
        min_share: float = 0.25,
        copy: bool = True,
        catch_exceptions: bool = False,
    ) -> None:
        super().__init__(ds, augmentors, (img_index,), (box_index,), copy, catch_exceptions)
        self.img_index = img_index
        self.box_index = box_index
        self.along = (along,) if isinstance(along, int | str) else tuple(along)
        if len({img_index, box_index, *self.along}) != 2 + len(self.along):
            raise ConfigError(
                f"along={along!r} names a component twice, or the image, or the boxes"
            )
        self.min_share = probability("min_share", min_share)

    def _augment(self, datapoint: Datapoint) -> Datapoint:
        boxes = component(datapoint, self.box_index)
        require_boxes(boxes, self.box_index)
        rows = [np.asarray(component(datapoint, index)) for index in self.along]
        for index, row in zip(self.along, rows, strict=True):
            if row.shape[:1] != boxes.shape[:1]:
                raise ValueError(
                    f"component {index!r} of shape {row.shape} has not one row for each of the "
                    f"{len(boxes)} boxes"
                )
        given = component(datapoint, self.img_index)
        require_image(given)
        image = self._guarded(given)
        moved, shares = clipped(boxes, image.shape)
        # What one augmentor moves out of the image, the next one does not bring back.
        for part in self.augs.get_transform(image).tfms:
            image = part.apply_image(image)
            moved, left = clipped(moved_by(part, moved), image.shape)
            shares *= left
        kept = (shares > 0) & (shares >= self.min_share - _ROUNDING)
        changed: Any = dict(datapoint) if isinstance(datapoint, dict) else list(datapoint)
        changed[self.img_index] = self._own(image, given)
        changed[self.box_index] = moved[kept].astype(boxes.dtype, copy=False)
        for index, row in zip(self.along, rows, strict=True):
            changed[index] = row[kept]
        return changed


def clipped(boxes: Boxes, shape: Sequence[int]) -> tuple[Boxes, NDArray[np.float64]]:
    """What is left of boxes in an image.

    Args:
        boxes: N×4.
        shape: of the image: H×W or H×W×C.

    Returns:
        The boxes, clipped; and how much of each that is, from 0 to 1.
    """
    height, width = shape[:2]
    inside = np.clip(boxes, 0, np.array([width, height, width, height], boxes.dtype))
    before = _areas(boxes)
    shares = np.divide(_areas(inside), before, out=np.zeros_like(before), where=before > 0)
    return inside, shares


def moved_by(transform: Any, boxes: Boxes) -> Boxes:
    """The boxes around where the corners of boxes get to."""
    corners = transform.apply_coords(boxes[:, _CORNERS].reshape(-1, 2)).reshape(-1, 4, 2)
    around: Boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return around


def _areas(boxes: Boxes) -> NDArray[np.float64]:
    sides = np.asarray(boxes[:, 2:] - boxes[:, :2], np.float64)
    areas: NDArray[np.float64] = np.maximum(sides, 0).prod(axis=1)
    return areas


def require_boxes(boxes: Any, index: int | str) -> None:
    if not isinstance(boxes, np.ndarray) or not np.issubdtype(boxes.dtype, np.floating):
        kind = getattr(boxes, "dtype", type(boxes).__name__)
        raise TypeError(f"component {index!r}: boxes are a floating point array, not {kind}")
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"component {index!r}: boxes are N×4, not of shape {boxes.shape}")
