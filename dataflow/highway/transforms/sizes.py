"""Transforms that give images another size."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from dataflow.errors import ConfigError
from dataflow.highway.transforms.base import Images, Transform
from dataflow.imgaug.arguments import number, shape_2d, side
from dataflow.imgaug.transforms import ResizeTransform

__all__ = ["Resize", "Slicer", "TopCenterCrop"]

_INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "cubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}


class Slicer(Transform):
    """Cut a window out of each image, at a random place.

    Deterministic: out of the middle. Draws: two uniform numbers for each image, for y and for x.

    Args:
        height: of the window, as a part of the image's, above 0 up to 1.
        width: the same for the width.
        yoffset: how far the window stays away from top and bottom, as a part of the height.
        xoffset: the same from the sides.

    Raises:
        ConfigError: window and offsets do not fit into an image.
        ValueError: (from `apply`) an image is so small that the window is empty.
    """

    def __init__(
        self, height: float = 0.33, width: float = 1.0, yoffset: float = 0.0, xoffset: float = 0.0
    ) -> None:
        self.height, self.width = number("height", height, 0), number("width", width, 0)
        self.yoffset, self.xoffset = number("yoffset", yoffset, 0), number("xoffset", xoffset, 0)
        for name, part, offset in (
            ("height", self.height, self.yoffset),
            ("width", self.width, self.xoffset),
        ):
            if not 0 < part <= 1 - 2 * offset + 1e-9:
                raise ConfigError(
                    f"{name}={part!r} must be above 0, and leave room for the offset {offset!r} on "
                    f"both sides: at most {1 - 2 * offset:g}"
                )

    def change(self, images: Images, rng: np.random.RandomState | None) -> Images:
        count, high, wide = images.shape[:3]
        h, w = int(self.height * high), int(self.width * wide)
        if not (h and w):
            raise ValueError(f"{self!r} leaves nothing of images of {high}×{wide}")
        above, left = int(self.yoffset * high), int(self.xoffset * wide)
        drawn = np.full((count, 2), 0.5) if rng is None else rng.random_sample((count, 2))
        # In the middle of an even number of places is the upper and left one of the two.
        rooms = np.array([max(high - h - 2 * above, 0), max(wide - w - 2 * left, 0)])
        places = (drawn * (rooms if rng is None else rooms + 1)).astype(int)
        places += np.array([above, left])
        cut = np.empty((count, h, w, images.shape[3]), images.dtype)
        for part, image, (y, x) in zip(cut, images, places.tolist(), strict=True):
            part[:] = image[y : y + h, x : x + w]
        return cut


class TopCenterCrop(Transform):
    """Cut out the part at the top, midway between the sides; the result is a view.

    Draws nothing: both modes are the same.

    Args:
        crop_shape: (height, width) in pixels, or one int for a square. Smaller images raise
            ValueError.
    """

    def __init__(self, crop_shape: Any) -> None:
        self.crop_shape = shape_2d("crop_shape", crop_shape)

    def change(self, images: Images, rng: np.random.RandomState | None) -> Images:
        h, w = self.crop_shape
        high, wide = images.shape[1:3]
        if h > high or w > wide:
            raise ValueError(f"cannot cut {h}×{w} out of images of {high}×{wide}")
        x = (wide - w) // 2
        return images[:, :h, x : x + w]


class Resize(Transform):
    """Scale the images. Draws nothing: both modes are the same.

    Args:
        shape: in the mode ``"resize"`` (height, width) in pixels, or a part of both: an int is
            percent, a float a factor; in the mode ``"width"`` the new width in pixels.
        mode: ``"resize"``, or ``"width"``, which keeps the aspect ratio.
        interp: ``"nearest"``, ``"bilinear"``, ``"bicubic"`` (also ``"cubic"``) or ``"lanczos"``.
    """

    def __init__(self, shape: Any, mode: str = "resize", interp: str = "bicubic") -> None:
        if mode not in ("resize", "width"):
            raise ConfigError(f"mode={mode!r} must be 'resize' or 'width'")
        if interp not in _INTERPOLATIONS:
            raise ConfigError(f"interp={interp!r} must be one of {', '.join(_INTERPOLATIONS)}")
        self.shape: Any
        if mode == "width":
            self.shape = side("shape", shape)
        elif isinstance(shape, list | tuple):
            self.shape = shape_2d("shape", shape)
        else:
            self.shape = shape
            if not number("shape", shape, 0):
                raise ConfigError(f"shape={shape!r} must be more than 0")
        self.mode = mode
        self.interp = interp

    def change(self, images: Images, rng: np.random.RandomState | None) -> Images:
        count, high, wide, channels = images.shape
        h, w = self._size(high, wide)
        scale = ResizeTransform(high, wide, h, w, _INTERPOLATIONS[self.interp])
        scaled = np.empty((count, h, w, channels), images.dtype)
        for frame, image in zip(scaled, images, strict=True):
            frame[:] = scale.apply_image(image)
        return scaled

    def _size(self, high: int, wide: int) -> tuple[int, int]:
        """Height and width of the result."""
        if isinstance(self.shape, tuple):
            return self.shape
        if self.mode == "width":
            return max(1, round(high * self.shape / wide)), self.shape
        factor = self.shape if isinstance(self.shape, float) else self.shape / 100
        return max(1, round(high * factor)), max(1, round(wide * factor))
