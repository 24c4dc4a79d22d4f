"""Many images in one picture."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.errors import ConfigError

__all__ = ["contact_sheet", "displayable", "write_png"]

Picture = NDArray[np.uint8]

_PAPER = (250, 250, 250)
_FRAME = (236, 236, 236)
_INK = (70, 66, 64)
_SEAM = 2  # pixels between images that belong together


def contact_sheet(
    images: Iterable[NDArray[Any] | Sequence[NDArray[Any]]],
    labels: Sequence[object] | None = None,
    *,
    columns: int = 8,
    size: int = 112,
    path: str | os.PathLike[str] | None = None,
) -> Picture:
    """Put images side by side, each scaled into a square, with its label underneath.

    Args:
        images: any sizes, see `displayable`. Lists or tuples of images, such as an input and its
            target, get as many squares next to each other, over one label.
        labels: one an image; what does not fit is cut.
        columns: images in a row.
        size: the squares' side, in pixels, at least 16.
        path: also write the picture there, as PNG. Missing directories are made.

    Returns:
        The picture, H×W×3 uint8 BGR.

    Raises:
        ConfigError: there are no images, or not as many labels.
    """
    if columns < 1:
        raise ConfigError(f"columns={columns!r} must be at least 1")
    if size < 16:
        raise ConfigError(f"size={size!r} must be at least 16 pixels")
    pictures = [
        [displayable(one) for one in image]
        if isinstance(image, (list, tuple))
        else [displayable(np.asarray(image))]
        for image in images
    ]
    if not pictures:
        raise ConfigError("images=[] is empty")
    if labels is not None and len(labels) != len(pictures):
        raise ConfigError(f"labels has {len(labels)} entries for {len(pictures)} images")
    columns = min(columns, len(pictures))
    gap = max(6, size // 14)
    strip = 0 if labels is None else max(14, size // 6)
    rows = -(-len(pictures) // columns)
    step = size + _SEAM
    wide = max(map(len, pictures)) * step - _SEAM
    height, width = size + strip + gap, wide + gap
    sheet = np.full((rows * height + gap, columns * width + gap, 3), _PAPER, np.uint8)
    for index, group in enumerate(pictures):
        y, x = gap + index // columns * height, gap + index % columns * width
        for number, picture in enumerate(group):
            left = x + number * step
            _place(sheet[y : y + size, left : left + size], picture)
        if labels is not None:
            below = sheet[y + size : y + size + strip, x : x + wide]
            below[:] = _written(str(labels[index]), strip, wide)
    if path is not None:
        write_png(path, sheet)
    return sheet


def displayable(image: NDArray[Any]) -> Picture:
    """An image as uint8 BGR, whatever it is.

    Floating point images are clipped to [0, 255]; where all values are in [0, 1], that is taken
    for the range from black to white. So are boolean images. Transparency is left out.

    Args:
        image: H×W, H×W×1, H×W×3 (BGR) or H×W×4 (BGRA), of any numeric type.

    Raises:
        ValueError: another shape.
    """
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ValueError(f"an image has the shape H×W, H×W×1, H×W×3 or H×W×4, not {array.shape}")
    if array.dtype != np.uint8:
        wide = np.nan_to_num(array.astype(np.float32), posinf=255, neginf=0)
        fractions = np.issubdtype(array.dtype, np.floating) or array.dtype == np.bool_
        if fractions and wide.size and wide.min() >= 0 and wide.max() <= 1:
            wide *= 255
        array = np.clip(np.rint(wide), 0, 255).astype(np.uint8)
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    return np.ascontiguousarray(array[:, :, :3])


def write_png(path: str | os.PathLike[str], picture: Picture) -> None:
    """Write a BGR picture. (`cv2.imwrite` says nothing where it cannot.)"""
    done, data = cv2.imencode(".png", picture)
    if not done:
        raise ValueError(f"OpenCV could not encode a picture of shape {picture.shape}")
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data.tobytes())


def _place(square: Picture, picture: Picture) -> None:
    """Scale `picture` into the middle of `square`, in place."""
    square[:] = _FRAME
    height, width = picture.shape[:2]
    if not height or not width:
        return
    side = square.shape[0]
    scale = side / max(height, width)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    y, x = (side - h) // 2, (side - w) // 2
    square[y : y + h, x : x + w] = cv2.resize(picture, (w, h), interpolation=how)


def _written(text: str, height: int, width: int) -> Picture:
    """One line of text in the middle of a strip of paper."""
    strip = np.full((height, width, 3), _PAPER, np.uint8)
    text = " ".join(text.split())
    if not text:
        return strip
    shown, (extent, rise) = text, _extent(text, height)
    while extent > width and len(text) > 1:
        text = text[:-1].rstrip()
        shown = text + "..."
        extent, rise = _extent(shown, height)
    origin = (max(0, (width - extent) // 2), (height + rise) // 2)
    _write(strip, shown, origin, height)
    return strip


# OpenCV 5 draws any script, with a font of its own; older ones have the strokes of plotters.
_FACE: Any = getattr(cv2, "FontFace", None)


def _extent(text: str, height: int) -> tuple[int, int]:
    """Width of the line, and how far it rises above its base line."""
    if _FACE is None:
        (width, rise), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, height / 50, 1)
        return width, rise
    draw: Any = cv2.getTextSize
    _x, _y, width, _ = draw((0, 0), text, (0, 0), _FACE("sans"), _points(height), 400)
    return width, round(_points(height) * 0.72)


def _write(strip: Picture, text: str, origin: tuple[int, int], height: int) -> None:
    if _FACE is None:
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(strip, text, origin, font, height / 50, _INK, 1, cv2.LINE_AA)
    else:
        draw: Any = cv2.putText
        draw(strip, text, origin, _INK, _FACE("sans"), _points(height), 400)


def _points(height: int) -> int:
    return max(9, round(height * 0.68))
