"""Images in files, without labels."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from dataflow.epoch import Datapoint
from dataflow.errors import ConfigError
from dataflow.image.decode import MAX_PIXELS, decode_image
from dataflow.imgaug.arguments import shape_2d
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
        self._built = [ReadFile(_MAX_BYTES), _Pixels(self.channel, self.resize)]

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

    def __init__(self, channel: int, resize: tuple[int, int] | None) -> None:
        self._grey = channel == 1
        self._resize = resize

    def apply(self, datapoint: Datapoint) -> Datapoint:
        body, path = datapoint
        image: Any = decode_image(body, max_pixels=MAX_PIXELS, url=path, grey=self._grey)
        if self._resize is not None:
            image = cv2.resize(image, self._resize[::-1])
        if self._grey:
            return [image[:, :, np.newaxis]]
        return [cv2.cvtColor(image, cv2.COLOR_BGR2RGB)]
