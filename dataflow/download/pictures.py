"""From bytes that were served to those that are kept."""

from __future__ import annotations

import hashlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.dataset.network import NetworkImages
from dataflow.download.settings import Settings
from dataflow.epoch import Datapoint
from dataflow.errors import DecodeError
from dataflow.image.decode import decode_image
from dataflow.image.header import read_header
from dataflow.stages.item import ItemStage

__all__ = ["ROW", "MakePicture", "Pictures"]

ROW = "__row__"
"""The name of a row's number in its list."""

# An image is decoded at a scale of the decoder's own, so many times as fine as it is wanted; closer
# to 1, scaling what is decoded blurs more than scaling all of it would.
_FINER = 1.15

_LINEAR = 0.5  # down to so much of a side, linear interpolation sees every pixel

_SUFFIXES = {"JPEG": "jpg", "PNM": "ppm"}
_REDUCED = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
)


class Pictures(NetworkImages):
    """Rows of a table with the images behind their URLs, as files.

    Args:
        settings: what these become.
        kept: the same in words, as machines of a pool compare it; None: made of `settings`.
        **options: of `NetworkImages`.
    """

    def __init__(self, settings: Settings, kept: str | None = None, **options: Any) -> None:
        shuffle = settings.seed is not None
        super().__init__(shuffle=shuffle, seed=settings.seed, **options)
        self.settings = settings
        self.kept = kept or settings.kept

    def _decoder(self) -> ItemStage:
        return MakePicture(self.settings, self.max_pixels)


class MakePicture(ItemStage):
    """Replaces ``"image"`` of a row, the bytes that were served, by what is kept of them.

    So ``{"url": …, "__row__": 7, "image": bytes}`` becomes ``{"row": {"url": …, "__row__": 7},
    "image": the file as uint8, "suffix": "jpg", "width": …, "height": …, "original_width": …,
    "original_height": …, "hash": None}``.

    Args:
        settings: what is kept.
        max_pixels: images that claim to have more are refused before they are decoded.
    """

    def __init__(self, settings: Settings, max_pixels: int) -> None:
        self._settings = settings
        self._max_pixels = max_pixels

    def apply(self, datapoint: Datapoint) -> Datapoint:
        row: Any = dict(datapoint)
        body: bytes = row.pop("image")
        header = read_header(body)
        assert header is not None and header.size is not None, "the download has looked at it"
        kept, suffix, size, original = self._kept(body, header.format, header.size)
        settings = self._settings
        digest = None
        if settings.hash is not None:
            digest = hashlib.new(settings.hash, body, usedforsecurity=False).hexdigest()
        return {
            "row": row,
            "image": kept,
            "suffix": suffix,
            "width": size[1],
            "height": size[0],
            "original_width": original[1],
            "original_height": original[0],
            "hash": digest,
        }

    def _kept(
        self, body: bytes, kind: str, size: tuple[int, int]
    ) -> tuple[NDArray[np.uint8], str, tuple[int, int], tuple[int, int]]:
        """The file, its suffix, its height and width, and those of what was served."""
        settings = self._settings
        whitens = settings.white and kind != "JPEG"
        if settings.resize == "no":
            as_it_is = np.frombuffer(body, np.uint8), _SUFFIXES.get(kind, kind.lower()), size, size
            if not whitens or (pixels := _on_white(body)) is None:
                return as_it_is
            image = pixels
        else:
            image = resized(self._decoded(body, kind, size, whitens=whitens), settings)
        return self._encoded(image), settings.encoding, image.shape[:2], size

    def _decoded(
        self, body: bytes, kind: str, size: tuple[int, int], *, whitens: bool
    ) -> NDArray[np.uint8]:
        """The pixels, no finer than they are needed."""
        settings = self._settings
        if whitens and (pixels := _on_white(body)) is not None:
            return pixels
        if kind == "JPEG":
            side = max(size) if settings.resize == "border" else min(size)
            for scale, mode in _REDUCED:
                if side >= scale * _FINER * settings.size or side == scale * settings.size:
                    image: Any = cv2.imdecode(np.frombuffer(body, np.uint8), mode)
                    if image is not None:
                        return image  # type: ignore[no-any-return]
                    break  # `decode_image` says what is wrong
        return decode_image(body, max_pixels=self._max_pixels)

    def _encoded(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        settings = self._settings
        flags = {"jpg": cv2.IMWRITE_JPEG_QUALITY, "webp": cv2.IMWRITE_WEBP_QUALITY}
        flag = flags.get(settings.encoding)
        options = [] if flag is None else [flag, settings.quality]
        try:
            done, file = cv2.imencode(f".{settings.encoding}", image, options)
        except cv2.error as error:  # such as more pixels on a side than a WebP may have
            done, problem = False, str(error)
        else:
            problem = "it has more pixels on a side than that can have, perhaps"
        if not done:
            what = f"{image.shape} cannot be encoded as {settings.encoding}: {problem}"
            raise DecodeError(what, reason="not_encoded")
        return file.ravel()


def resized(image: NDArray[np.uint8], settings: Settings) -> NDArray[np.uint8]:
    """An image by the rules of `Settings.resize`."""
    height, width = image.shape[:2]
    side = max(height, width) if settings.resize == "border" else min(height, width)
    scale = settings.size / side
    if not (settings.only_larger and scale >= 1):
        image = _scaled(image, scale)
    if settings.resize == "shortest":
        return image
    height, width = image.shape[:2]
    if settings.resize == "crop":
        down, right = max(0, height - settings.size) // 2, max(0, width - settings.size) // 2
        return image[down : down + settings.size, right : right + settings.size]
    missing = settings.size - height, settings.size - width
    if max(missing) <= 0:
        return image
    top, left = missing[0] // 2, missing[1] // 2
    edges = top, missing[0] - top, left, missing[1] - left
    framed: Any = cv2.copyMakeBorder(image, *edges, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return framed  # type: ignore[no-any-return]


def _scaled(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Both sides by a factor."""
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    if (height, width) == image.shape[:2]:
        return image
    # Linear interpolation takes a quarter of the time of averaging, from which it is 41 dB or more
    # away, on photographs.
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
    if scale < _LINEAR:
        method = cv2.INTER_AREA
    done: Any = cv2.resize(image, (width, height), interpolation=method)
    return done  # type: ignore[no-any-return]


def _on_white(body: bytes) -> NDArray[np.uint8] | None:
    """The pixels of an image with transparency, on white; None of one without."""
    image: Any = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4:
        return None
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.dtype != np.uint8:
        return None
    share = image[:, :, 3:].astype(np.float32) / 255
    mixed = image[:, :, :3] * share + 255 * (1 - share)
    whitened: NDArray[np.uint8] = np.rint(mixed).astype(np.uint8)
    return whitened
