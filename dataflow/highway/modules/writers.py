"""Nodes that write images to files."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from dataflow.dataset.folders import SUFFIXES
from dataflow.errors import ConfigError, DatapointError
from dataflow.highway.node import Map
from dataflow.imgaug.pixels import as_type, channels

__all__ = ["ImgDumper", "ImgSaver"]


class ImgSaver(Map):
    """Write each image to a file that is called as its key.

    A key may have folders in it, such as ``cats/1.jpg``; the suffix of an image in it gives way to
    `file_type`. Images are RGB, grey or RGBA, with values in [0, 255].

    Args:
        out_dir: the folder; it is made where it is missing.
        file_type: the suffix, which says the format.
        enqueue: hand the batches on.
        n_worker: processes.
        queue_size: batches that may wait.

    Raises:
        DatapointError: (from the pipeline) a key leads out of the folder, or an image cannot be
            written.
    """

    def __init__(
        self,
        out_dir: str | os.PathLike[str],
        file_type: str = ".jpg",
        enqueue: bool = False,
        *,
        n_worker: int = 1,
        queue_size: int = 128,
    ) -> None:
        super().__init__(n_worker, queue_size)
        self.out_dir = Path(out_dir)
        self.file_type = _suffix(file_type)
        self.enqueue = bool(enqueue)
        self.out_dir.mkdir(parents=True, exist_ok=True)

    def apply(self, batch: dict[str, Any]) -> dict[str, Any] | None:
        for image, key in zip(batch["images"], batch["keys"], strict=True):
            _write(self.out_dir / _name(str(key), self.file_type), image)
        return batch if self.enqueue else None


class ImgDumper(Map):
    """Write the images of the latest batch as ``0.jpg``, ``1.jpg`` and so on, to look at them.

    With several processes neighbours may be of different batches. Images as of `ImgSaver`.

    Args:
        out_dir: the folder; it is made where it is missing.
        enqueue: hand the batches on.
        batch_naming: accepted, as there, where it has no effect either.
        file_type: the suffix, which says the format.
        n_worker: processes.
        queue_size: batches that may wait.
    """

    def __init__(
        self,
        out_dir: str | os.PathLike[str],
        enqueue: bool = False,
        batch_naming: bool = True,
        file_type: str = ".jpg",
        *,
        n_worker: int = 1,
        queue_size: int = 128,
    ) -> None:
        super().__init__(n_worker, queue_size)
        self.file_type = _suffix(file_type)
        self.out_dir = Path(out_dir)
        self.enqueue = bool(enqueue)
        self.out_dir.mkdir(parents=True, exist_ok=True)

    def apply(self, batch: dict[str, Any]) -> dict[str, Any] | None:
        for number, image in enumerate(batch["images"]):
            _write(self.out_dir / f"{number}{self.file_type}", image)
        return batch if self.enqueue else None


def _suffix(file_type: str) -> str:
    if file_type.lower() not in SUFFIXES:
        known = ", ".join(sorted(SUFFIXES))
        raise ConfigError(f"file_type={file_type!r} must be one of {known}")
    return file_type


def _name(key: str, suffix: str) -> PurePosixPath:
    """The file's name below the folder. Keys may come from other hosts."""
    path = PurePosixPath(key)
    inside = path.name and not path.is_absolute() and ".." not in path.parts
    if not inside or not key.isprintable() or "\\" in key:
        raise DatapointError(f"key {key[:80]!r} is no name of a file here", reason="key", url=key)
    stem = path.stem if path.suffix.lower() in SUFFIXES else path.name
    return path.with_name(stem + suffix)


def _write(path: Path, image: Any) -> None:
    """Write a file that nobody sees before it is whole."""
    pixels = as_type(np.asarray(image), np.uint8)
    count = channels(pixels)
    if count in (3, 4):
        code = cv2.COLOR_RGB2BGR if count == 3 else cv2.COLOR_RGBA2BGRA
        pixels = np.asarray(cv2.cvtColor(pixels, code))
    try:
        _, data = cv2.imencode(path.suffix, pixels)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        unfinished.write_bytes(data.tobytes())
        os.replace(unfinished, path)
    except (OSError, cv2.error) as error:
        what = f"an image of shape {pixels.shape} cannot be written to {path}: {error}"
        raise DatapointError(what, reason="unwritable", url=str(path)) from error
