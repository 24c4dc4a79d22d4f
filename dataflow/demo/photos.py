"""Photo-like JPEGs, drawn: what the demo downloads where there is no network.

Benchmarks with flat or random pixels mislead: a JPEG's decoding time follows its bytes, and its
bytes follow its texture and edges. These have the sizes and the weight of ImageNet's; edges as in
the "dead leaves" model, things of power-law sizes that hide each other (Lee, Mumford and Huang,
"Occlusion models for natural images", IJCV 41, 2001); and surfaces whose amplitude spectrum falls
as 1/f (Field, JOSA A 4, 1987). They are drawn once and kept in the user's cache folder.
"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from dataflow.errors import ConfigError
from dataflow.utils.draft import draft
from dataflow.utils.folders import cache_folder
from dataflow.utils.machine import usable_cores

__all__ = ["CLASSES", "draw_photo", "ensure_photos", "label_of", "photo_path"]

# Part of the folder's name; counted up when the drawing changes.
EDITION = 2

# Width, height and share: ImageNet's training images, to the nearest percent.
_SIZES = (
    (500, 375, 0.57), (375, 500, 0.17), (500, 333, 0.10), (333, 500, 0.05), (500, 500, 0.03),
    (500, 400, 0.02), (400, 300, 0.02), (640, 480, 0.02), (300, 225, 0.01), (800, 600, 0.01),
)  # fmt: skip

_THINGS = 170
_FIELD = 1024  # pixels of a side of the noise that surfaces are cut out of


class _Look(NamedTuple):
    """A class: its things are circles whose radius waves, `waves` times around, and their colours.

    Attributes:
        waves: how often; `depth`: how deep, as a part of the radius.
        width: how much narrower a thing is than it is long.
        colours: of things, and at last of the background: ``rrggbb``.
    """

    waves: int
    depth: float
    width: float
    colours: str


_LOOKS = {
    "pebbles": _Look(3, 0.10, 0.80, "8d8578 b9b0a2 5e5a54 d2c8b6 524d47"),
    "leaves": _Look(2, 0.15, 0.40, "4f7d2a 7fa63b 2f5a22 a9bf4e 3d5a2c"),
    "flowers": _Look(5, 0.30, 1.00, "d95f8d f0a3bf b33a72 f7d7e0 5c7c4a"),
    "berries": _Look(1, 0.02, 0.95, "a5182b c8354a 7a1022 d9576a 304524"),
    "tiles": _Look(4, 0.14, 1.00, "2b6ca3 5b9bd0 1b4a7a bcd6ea 7c8d9c"),
    "shards": _Look(3, 0.33, 0.80, "bfe3e6 8cc4cf e6f4f3 5a9aab 6f8b93"),
    "stars": _Look(5, 0.45, 1.00, "f0b429 f7d774 d98a1f fbe9b0 1c2448"),
    "bricks": _Look(4, 0.14, 0.50, "a8492f c46a48 84351f d68d6a 8f847a"),
    "grass": _Look(2, 0.20, 0.10, "b9a95a 8a9a3c d6c884 6c7a2e 8a8f62"),
    "butterflies": _Look(4, 0.55, 0.85, "8a5fa8 b894cf 6a4088 dcc6e6 a6b3a0"),
}

CLASSES = list(_LOOKS)


def label_of(index: int) -> int:
    """The class of photo `index`: a place in `CLASSES`."""
    return index % len(CLASSES)


def photo_path(index: int) -> str:
    """Where photo `index` lies within the folder: ``class/number.jpg``."""
    return f"{CLASSES[label_of(index)]}/{index:05d}.jpg"


def draw_photo(index: int, *, size: tuple[int, int] | None = None) -> bytes:
    """Draw one photo.

    Args:
        index: which one; the same index gives the same photo.
        size: width and height in pixels; ImageNet's mix of sizes where it is None.

    Returns:
        A JPEG of quality 90 to 96, 4:2:0; about 100 kB on average.
    """
    if index < 0:
        raise ValueError(f"index={index!r} must not be negative")
    rng = np.random.default_rng([2001, index])
    if size is None:
        size = _SIZES[rng.choice(len(_SIZES), p=[share for *_, share in _SIZES])][:2]
    picture = _scene(rng, _LOOKS[CLASSES[label_of(index)]], *size)
    options = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(91, 97))]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    return cv2.imencode(".jpg", picture, options)[1].tobytes()


def _scene(rng: np.random.Generator, look: _Look, width: int, height: int) -> Any:
    """H×W×3, uint8, BGR."""
    hex_colours = np.array([bytes.fromhex(one)[::-1] for one in look.colours.split()], "S3")
    palette = hex_colours.view(np.uint8).reshape(-1, 3).astype(np.float32)
    diagonal = np.hypot(width, height)
    # Radii fall off as r^-3: uniform numbers between the ends of 1/r². The largest are furthest.
    radii = 1 / np.sqrt(rng.uniform(1 / 0.2**2, 1 / 0.025**2, _THINGS)) * diagonal
    radii[::-1].sort()
    middles = rng.uniform(-0.05, 1.05, (_THINGS, 2)) * (width, height)
    which = np.zeros((height, width), np.int32)  # the thing that is seen; 0 is the background
    around = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    for number, (radius, middle) in enumerate(zip(radii, middles, strict=True), 1):
        waves = 1 + look.depth * rng.uniform(0.7, 1.3) * np.cos(look.waves * around)
        outline = radius * waves * np.stack([np.cos(around), look.width * np.sin(around)])
        turn = rng.uniform(0, 2 * np.pi)
        cos, sin = np.cos(turn), np.sin(turn)
        corners = (np.array([[cos, -sin], [sin, cos]]) @ outline).T + middle
        cv2.fillPoly(which, [np.rint(corners).astype(np.int32)], number)
    # Of each thing, the background first: colour, slope of the light on it, place in the noise.
    colours = palette[rng.integers(0, len(palette) - 1, _THINGS + 1)]
    colours[0] = palette[-1]
    colours += rng.normal(0, 10, colours.shape)
    slopes = rng.normal(0, 0.3, (_THINGS + 1, 2)) / np.insert(radii, 0, diagonal)[:, np.newaxis]
    places = rng.integers(0, _FIELD, (_THINGS + 1, 2))
    rows, columns = np.indices((height, width), sparse=True)
    from_middle = np.insert(middles, 0, (width / 2, height / 2), axis=0)
    light = 1 + slopes[which, 0] * (columns - from_middle[which, 0])
    light += slopes[which, 1] * (rows - from_middle[which, 1])
    surface = _noise()[(rows + places[which, 0]) % _FIELD, (columns + places[which, 1]) % _FIELD]
    light = (np.clip(light, 0.55, 1.45) * (1 + 0.13 * surface)).astype(np.float32)
    picture = cv2.GaussianBlur(colours[which] * light[:, :, np.newaxis], (0, 0), 0.55)
    picture += rng.normal(0, 2.5, (height, width, 1)).astype(np.float32)  # of the camera
    return np.clip(picture, 0, 255).astype(np.uint8)


@functools.cache
def _noise() -> npt.NDArray[np.float32]:
    """Periodic noise of mean 0 and deviation 1 whose amplitude falls as 1/f."""
    frequency = np.hypot(np.fft.fftfreq(_FIELD)[:, np.newaxis], np.fft.rfftfreq(_FIELD))
    white = np.fft.rfft2(np.random.default_rng(1987).standard_normal((_FIELD, _FIELD)))
    white[0, 0] = 0
    # Below one period in 256 pixels it is flat, so that no surface is a mere ramp.
    field = np.fft.irfft2(white / np.maximum(frequency, 1 / 256) ** 0.8)
    unit: npt.NDArray[np.float32] = (field / field.std()).astype(np.float32)
    return unit


def ensure_photos(count: int, *, folder: Path | None = None, progress: bool = True) -> Path:
    """Draw the photos 0 to `count` - 1, those that are not there yet.

    Args:
        count: how many.
        folder: where they go, one sub-directory a class; the user's cache folder by default.
        progress: show a progress bar while they are drawn, on a terminal.

    Returns:
        The folder.

    Raises:
        ConfigError: where the folder cannot be written.
    """
    from tqdm import tqdm

    place = cache_folder() / f"photos-{EDITION}" if folder is None else folder
    missing = [index for index in range(count) if not (place / photo_path(index)).is_file()]
    if not missing:
        return place

    def keep(index: int) -> None:
        with draft(place / photo_path(index)) as unfinished:
            Path(unfinished).write_bytes(draw_photo(index))

    try:
        for name in CLASSES:
            (place / name).mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(usable_cores()) as pool:
            drawn = pool.map(keep, missing)
            shown = tqdm(
                drawn,
                desc="drawing photos",
                total=len(missing),
                unit=" photos",
                leave=False,
                disable=None if progress else True,
            )
            list(shown)
    except OSError as error:
        raise ConfigError(
            f"cannot write to the cache folder {place}: {error.strerror or error} "
            "(set DATAFLOW_CACHE to a folder that can be written)"
        ) from error
    return place
