"""Images in files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataflow.dataset.network import NetworkImages
from dataflow.errors import MissingData
from dataflow.sources.read import ReadFile
from dataflow.stages.item import ItemStage
from dataflow.stores import is_object, matching

__all__ = ["FileImages", "ImageFolder"]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})


class FileImages(NetworkImages):
    """Like `NetworkImages`, with paths instead of URLs in its `datapoints`."""

    def _reader(self) -> ItemStage:
        return ReadFile(self.max_bytes)

    def _needs_threads(self) -> bool:
        return True


class ImageFolder(FileImages):
    """The images of a folder with one sub-folder a class, in the order of their names.

    Args:
        folder: the folder; or a URL of one in an object store, ``s3://bucket/train``, whose images
            are then read as those of `NetworkImages`.
        shuffle: a new random order in each epoch.
        **options: see `NetworkImages`.

    Attributes:
        classes: the names of the classes; a label is a place in this list.

    Raises:
        MissingData: where there is no such folder, or no image in it.
    """

    def __init__(
        self, folder: str | os.PathLike[str], shuffle: bool = False, **options: Any
    ) -> None:
        super().__init__(shuffle, **options)
        self._in_store = isinstance(folder, str) and is_object(folder)
        if self._in_store:
            root: Any = folder
            self.classes, self.datapoints = _of_store(str(folder), self.storage_options)
        else:
            root = Path(folder)
            self.classes, self.datapoints = _of_folder(root)
        if not self.datapoints:
            raise MissingData(
                f"{root} has no images in sub-folders (one a class; {', '.join(sorted(SUFFIXES))})"
            )

    def _reader(self) -> ItemStage:
        return NetworkImages._reader(self) if self._in_store else super()._reader()

    def _needs_threads(self) -> bool:
        return not self._in_store


def _of_folder(root: Path) -> tuple[list[str], list[list[Any]]]:
    """The classes, and [path, label] of each image."""
    if not root.is_dir():
        raise MissingData(f"{root} is not a folder")
    classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
    return classes, [
        [str(path), label]
        for label, name in enumerate(classes)
        for path in sorted((root / name).rglob("*"))
        if path.suffix.lower() in SUFFIXES
    ]


def _of_store(root: str, options: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """The same of a folder in an object store."""
    base = root.rstrip("/") + "/"
    found = [
        url
        for url in matching(f"{base}**", options)
        if Path(url).suffix.lower() in SUFFIXES and "/" in url[len(base) :]
    ]
    names = [url[len(base) :].partition("/")[0] for url in found]
    classes = sorted(set(names))
    labels = {name: label for label, name in enumerate(classes)}
    return classes, [[url, labels[name]] for url, name in zip(found, names, strict=True)]
