"""Sources that read images from folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.dataset.files import FileImages, ImageFolder
from dataflow.dataset.folders import SUFFIXES, images_below
from dataflow.errors import ConfigError, MissingData
from dataflow.failures import OnError
from dataflow.highway.node import Source
from dataflow.imgaug.arguments import shape_2d
from dataflow.stages.batch import BatchData
from dataflow.stages.map import MapData
from dataflow.stages.repeat import RepeatedData

__all__ = ["ImageFileReader", "ImgReader", "fit"]


class ImageFileReader(Source):
    """The images of a folder with one sub-folder a class.

    Batches have ``"images"``, N×H×W×3, uint8, RGB; ``"labels"``, one-hot N×classes, float32, the
    classes in the order of their names; ``"keys"``, the paths below the folder, text. Files are
    read, decoded, fitted and batched in the worker processes.

    Args:
        data_dir: the folder.
        batch_size: images in a batch.
        shape: (height, width) in pixels. What is beyond this aspect ratio is cut off on both sides.
        shuffle: a new random order each epoch.
        once: end after one epoch, with a smaller batch if need be. Otherwise the next epoch
            follows, without end, and batches go across.
        on_error: what becomes of files that are no images: ``"skip"`` (they are counted in
            ``p.flow.stats()``), ``"raise"``, or a function, see `NetworkImages`.
        n_worker: processes.
        queue_size: batches that may wait.

    Attributes:
        classes: their names.

    Raises:
        MissingData: there is no such folder, or no image in it.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str],
        batch_size: int,
        shape: Any,
        *,
        shuffle: bool = True,
        once: bool = False,
        on_error: OnError = "skip",
        n_worker: int = 1,
        queue_size: int = 128,
    ) -> None:
        super().__init__(n_worker, queue_size)
        self.batch_size = _positive("batch_size", batch_size)
        self.shape = shape_2d("shape", shape)
        self.once = once
        self._folder = ImageFolder(data_dir, shuffle, on_error=on_error)
        self._folder.datapoints = [
            [path, label, Path(path).relative_to(data_dir).as_posix()]
            for path, label in self._folder.datapoints
        ]
        self.classes = self._folder.classes

    def flow(self) -> BatchData:
        ds: Any = MapData(self._folder, _Sample(self.shape, len(self.classes)))
        ds = ds if self.once else RepeatedData(ds, -1)
        return BatchData(ds, self.batch_size, remainder=self.once)


class ImgReader(Source):
    """The images of a folder and its sub-folders as they are.

    Batches have ``"images"``, a list of H×W×3, uint8, RGB; and ``"keys"``, a list of the images'
    numbers in the order of their paths.

    Args:
        data_dir: the folder.
        batch_size: images in a batch.
        random: a new random order each epoch.
        once: as of `ImageFileReader`, like the following.
        on_error: what becomes of files that are no images.
        n_worker: processes.
        queue_size: batches that may wait.

    Attributes:
        filenames: the paths below the folder.

    Raises:
        MissingData: there is no such folder, or no image in it.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str],
        batch_size: int = 32,
        random: bool = True,
        once: bool = False,
        *,
        on_error: OnError = "skip",
        n_worker: int = 1,
        queue_size: int = 128,
    ) -> None:
        super().__init__(n_worker, queue_size)
        self.batch_size = _positive("batch_size", batch_size)
        self.once = once
        root = Path(data_dir)
        paths = images_below(root)
        if not paths:
            raise MissingData(f"{root} has no images ({', '.join(sorted(SUFFIXES))})")
        self.filenames = [path.relative_to(root).as_posix() for path in paths]
        self._files = FileImages(random, on_error=on_error)
        self._files.datapoints = [[str(path), number] for number, path in enumerate(paths)]

    def flow(self) -> BatchData:
        ds: Any = MapData(self._files, _unaltered)
        ds = ds if self.once else RepeatedData(ds, -1)
        return BatchData(ds, self.batch_size, remainder=self.once, use_list=True)


def fit(image: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """The middle of an image, as much as has the aspect ratio of `shape`, scaled to it.

    Args:
        image: H×W×C.
        shape: (height, width) in pixels.
    """
    (high, wide), (height, width) = image.shape[:2], shape
    scale = min(high / height, wide / width)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    y, x = (high - h) // 2, (wide - w) // 2
    # Averages of what becomes smaller: fine patterns would give coarse ones otherwise.
    kind = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image[y : y + h, x : x + w], (width, height), interpolation=kind))


class _Sample:
    """Makes a dict of ``[BGR image, label, key]``."""

    def __init__(self, shape: tuple[int, int], classes: int) -> None:
        self._shape = shape
        self._classes = classes

    def __call__(self, datapoint: list[Any]) -> dict[str, Any]:
        image, label, key = datapoint
        one_hot = np.zeros(self._classes, np.float32)
        one_hot[label] = 1
        return {"images": _rgb(fit(image, self._shape)), "labels": one_hot, "keys": key}


def _unaltered(datapoint: list[Any]) -> dict[str, Any]:
    image, number = datapoint
    return {"images": _rgb(image), "keys": number}


def _rgb(image: Any) -> NDArray[Any]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise ConfigError(f"{name}={value!r} must be at least 1")
    return int(value)
