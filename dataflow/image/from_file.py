"""Images in files, without labels."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import cv2
import numpy as np

from dataflow.epoch import Datapoint
from dataflow.errors import ConfigError
from dataflow.image.decode import decoded
from dataflow.image.decoding import Decoding
from dataflow.image.enough import Head, head_of
from dataflow.imgaug.arguments import shape_2d
from dataflow.imgaug.chain import AugmentorList
from dataflow.imgaug.resize import Resize
from dataflow.sources.columns import Columns
from dataflow.sources.keyed import KeyedSource
from dataflow.sources.read import ReadFile
from dataflow.stages.item import ItemStage

__all__ = ["ImageFromFile"]

_MAX_BYTES = 1 << 30


class ImageFromFile(KeyedSource):
    """The images in files, each as a datapoint ``[image]``; read and decoded by the workers.

    Args:
        files: their paths. This sequence stays as it is, also where the order is shuffled.
        channel: 3 for H×W×3, uint8, in the order **RGB** (other sources here deliver BGR); 1 for
            grey, H×W×1.
        resize: (height, width) in pixels, or one int for a square; bilinear. None leaves the sizes.
        shuffle: a new random order in each epoch.
        decode: with ``"enough"``, of JPEGs only as much is decoded as `resize`, or augmentors that
            follow, take; see `NetworkImages`.
        **options: `exif`, `alpha`, `lenient` and `max_pixels` of `dataflow.decode_image`.

    Raises:
        FetchError: (from the iterator) a file cannot be read; `on_error` of a runner decides.
        DecodeError: (from the iterator) it is no whole image.
    """

    _consumer_only = ("files", "_paths")

    def __init__(
        self,
        files: Sequence[str | os.PathLike[str]],
        channel: int = 3,
        resize: Any = None,
        shuffle: bool = False,
        *,
        decode: Literal["full", "enough"] = "full",
        **options: Any,
    ) -> None:
        if isinstance(files, (str, bytes)) or not len(files):
            raise ConfigError(f"files={files!r} must be a list of at least one path")
        if channel not in (1, 3):
            raise ConfigError(f"channel={channel!r} must be 1 or 3")
        self.files = files
        self.channel = int(channel)
        self.resize = None if resize is None else shape_2d("resize", resize)
        self.shuffle = shuffle
        self._paths: Sequence[Any] = Columns(map(os.fspath, files))
        if decode not in ("full", "enough"):
            raise ConfigError(f'decode={decode!r} must be "full" or "enough"')
        how = Decoding("rgb" if self.channel == 3 else "grey", **options)
        self._built = [ReadFile(_MAX_BYTES), _Pixels(how, self.resize, decode == "enough")]

    def keys(self) -> Sequence[Any]:
        return self._paths

    def loader(self) -> Callable[[list[str]], list[str]]:
        return _twice

    def _stages(self) -> list[ItemStage]:
        return list(self._built)

    def _stage_rows(self) -> list[dict[str, Any]]:
        return [stage._row() for stage in self._built]

    def _over(self, keys: list[Any]) -> ImageFromFile:
        other = copy.copy(self)
        other._paths = keys
        other.files = [path for (path,) in other._paths]
        return other


def _twice(key: list[str]) -> list[str]:
    """One to be read, one for the message of an error."""
    return key * 2


class _Pixels(ItemStage):
    """Bytes and path to pixels, as `ImageFromFile` delivers them."""

    def __init__(self, how: Decoding, resize: tuple[int, int] | None, enough: bool) -> None:
        self._how = how
        self._resize = resize
        self._enough = enough
        self._decode: Callable[..., Any] = decoded
        if enough and resize is not None:
            self._decode = Head(AugmentorList([Resize(resize)]), 1, 0).pixels

    def apply(self, datapoint: Datapoint) -> Datapoint | None:
        body, path = datapoint
        image: Any = self._decode(body, self._how, path)
        if image is None:
            return None
        if self._resize is not None and not self._enough:
            image = cv2.resize(image, self._resize[::-1])
        return [image[:, :, np.newaxis] if image.ndim == 2 else image]

    def with_next(self, stage: ItemStage, number: int) -> tuple[ItemStage, ItemStage]:
        found = self._enough and self._resize is None and head_of(stage, 0, number, self._how)
        if not found:
            return self, stage
        own = _Pixels(self._how, None, True)
        own._decode = found[0].pixels
        return own, found[1]
