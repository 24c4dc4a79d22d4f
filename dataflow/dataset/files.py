"""Images in files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dataflow.dataset.folders import (
    SUFFIXES,
    class_names,
    images_below,
    is_image,
    is_system,
    pinned,
    told_of_empty,
)
from dataflow.dataset.network import NetworkImages
from dataflow.errors import MissingData
from dataflow.sources.read import ReadFile
from dataflow.stages.item import ItemStage
from dataflow.stores import is_object, matching

__all__ = ["FileImages", "ImageFolder"]


class FileImages(NetworkImages):
    """Like `NetworkImages`, with paths instead of URLs in its `datapoints`."""

    def _reader(self) -> ItemStage:
        return ReadFile(self.max_bytes)

    def _needs_threads(self) -> bool:
        return True


class ImageFolder(FileImages):
    """The images of a folder with one sub-folder a class, in the order of their names.

    Hidden files and folders are left out, as are those of systems (``__MACOSX``); links are
    followed.

    Args:
        folder: the folder; or a URL of one in an object store, ``s3://bucket/train``, whose images
            are then read as those of `NetworkImages`.
        shuffle: a new random order in each epoch.
        classes: the names of the classes, in the order of their labels; None: those of the
            sub-folders, sorted. Of a folder for validation, ``classes=train.classes`` gives the
            same labels, and finds out where both disagree.
        **options: see `NetworkImages`.

    Attributes:
        classes: the names of the classes; a label is a place in this list.

    Raises:
        MissingData: where there is no such folder, or no image in it.
        ConfigError: a sub-folder is none of `classes`. (Of classes without images a warning tells.)
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        shuffle: bool = False,
        *,
        classes: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(shuffle, **options)
        self._in_store = isinstance(folder, str) and is_object(folder)
        if self._in_store:
            root: Any = folder
            self.classes, self.datapoints = _of_store(str(folder), self.storage_options, classes)
        else:
            root = Path(folder)
            self.classes, self.datapoints = _of_folder(root, classes)
        if not self.datapoints:
            raise MissingData(
                f"{root} has no images in sub-folders (one a class; {', '.join(sorted(SUFFIXES))})"
            )
        told_of_empty(root, self.classes, {label for _, label in self.datapoints})

    def _reader(self) -> ItemStage:
        return NetworkImages._reader(self) if self._in_store else super()._reader()

    def _needs_threads(self) -> bool:
        return not self._in_store


def _of_folder(root: Path, classes: Sequence[str] | None) -> tuple[list[str], list[list[Any]]]:
    """The classes, and [path, label] of each image."""
    names = class_names(root, classes)
    return names, [
        [str(path), label]
        for label, name in enumerate(names)
        if (root / name).is_dir()
        for path in images_below(root / name)
    ]


def _of_store(
    root: str, options: Mapping[str, Any], wanted: Sequence[str] | None
) -> tuple[list[str], list[list[Any]]]:
    """The same of a folder in an object store."""
    base = root.rstrip("/") + "/"
    found = [
        url
        for url in matching(f"{base}**", options)
        if "/" in (inner := url[len(base) :])
        and is_image(url.rpartition("/")[2])
        and not any(map(is_system, inner.split("/")))
    ]
    names = [url[len(base) :].partition("/")[0] for url in found]
    classes = sorted(set(names)) if wanted is None else pinned(root, wanted, sorted(set(names)))
    labels = {name: label for label, name in enumerate(classes)}
    return classes, [[url, labels[name]] for url, name in zip(found, names, strict=True)]
