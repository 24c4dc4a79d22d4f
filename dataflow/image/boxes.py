"""Boxes in images: what moves and clips them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Boxes", "clipped", "moved_by", "require_boxes"]

Boxes: TypeAlias = NDArray[Any]
"""N×4, floating point, rows of (x0, y0, x1, y1) in pixels: left, top, right and bottom edge.

As for coordinates, pixel (column i, row j) covers [i, i+1) × [j, j+1); so the box of that pixel
alone is (i, j, i+1, j+1), and a whole image's (0, 0, width, height).
"""

_CORNERS = (0, 1, 2, 1, 2, 3, 0, 3)
_ROUNDING = 1e-6


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
    """Raise unless a component, the one at `index`, is boxes."""
    if not isinstance(boxes, np.ndarray) or not np.issubdtype(boxes.dtype, np.floating):
        kind = getattr(boxes, "dtype", type(boxes).__name__)
        raise TypeError(f"component {index!r}: boxes are a floating point array, not {kind}")
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"component {index!r}: boxes are N×4, not of shape {boxes.shape}")
    if (turned := np.flatnonzero((boxes[:, 2:] < boxes[:, :2]).any(axis=1))).size:
        raise ValueError(
            f"component {index!r}: box {turned[0]} is {boxes[turned[0]].tolist()}: boxes are "
            "(x0, y0, x1, y1), with x0 ≤ x1 and y0 ≤ y1"
        )
