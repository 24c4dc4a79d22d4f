"""Images in files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dataflow.dataset.network import NetworkImages
from dataflow.errors import MissingData
from dataflow.sources.read import ReadFile
from dataflow.stages.item import ItemStage

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
        folder: the folder.
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
        root = Path(folder)
        if not root.is_dir():
            raise MissingData(f"{root} is not a folder")
        self.classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        self.datapoints = [
            [str(path), label]
            for label, name in enumerate(self.classes)
            for path in sorted((root / name).rglob("*"))
            if path.suffix.lower() in SUFFIXES
        ]
        if not self.datapoints:
            raise MissingData(
                f"{root} has no images in sub-folders (one a class; {', '.join(sorted(SUFFIXES))})"
            )
