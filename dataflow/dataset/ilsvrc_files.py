"""The files of ImageNet's challenge of 2012, by Caffe's lists."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dataflow.dataset.arguments import existing_folder, one_of
from dataflow.dataset.ilsvrc_meta import EXPECTED_IMAGES, ILSVRCMeta
from dataflow.errors import MissingData
from dataflow.sources.columns import Columns
from dataflow.sources.keyed import KeyedSource

__all__ = ["ILSVRC12Files", "Listing", "read_listing"]

_LOOKED_AT = 10


class Listing(NamedTuple):
    """The images of a split.

    Attributes:
        folder: where they are.
        images: path below the folder, with slashes, and label of each.
        synsets: the synset ids; a label is a place in this list.
    """

    folder: Path
    images: Columns
    synsets: list[str]


class ILSVRC12Files(KeyedSource):
    """Paths and labels of ImageNet's images; `ILSVRC12` has the images themselves.

    Datapoints are ``[path, label]``: a str, and an int that is a place in ``synsets.txt``.

    Args:
        dir: a folder with the sub-folders ``train``, ``val``, ``test``, as far as they are used.
        name: which of them.
        meta_dir: the folder of the lists, see `ILSVRCMeta`; they are downloaded where they are
            missing in the default folder.
        shuffle: a new random order in each epoch. None means: for training.
        dir_structure: ``"original"``, where all images of the split are in one folder,
            ``"train"``, where they are in one sub-folder a class, or None to find out.

    Attributes:
        full_dir: the folder of the split.
        imglist: path below that folder and label of each image.

    Raises:
        ConfigError: an argument has another value.
        MissingData: a folder, a list or an image is missing; says what is expected where.
    """

    _consumer_only = ("imglist",)

    def __init__(
        self,
        dir: str | os.PathLike[str],
        name: str,
        meta_dir: str | os.PathLike[str] | None = None,
        shuffle: bool | None = None,
        dir_structure: str | None = None,
    ) -> None:
        listing = read_listing(dir, name, meta_dir, dir_structure)
        self.name = name
        self.full_dir = listing.folder
        self.imglist: Sequence[Any] = listing.images
        self.shuffle = name == "train" if shuffle is None else bool(shuffle)

    def keys(self) -> Sequence[Any]:
        return self.imglist

    def loader(self) -> _Below:
        return _Below(str(self.full_dir))

    def _over(self, keys: list[Any]) -> ILSVRC12Files:
        other = copy.copy(self)
        other.imglist = keys
        return other


class _Below:
    """Puts a folder before component 0: a key without it is small."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __call__(self, key: list[Any]) -> list[Any]:
        name, label = key
        return [os.path.join(self._folder, name), label]


def read_listing(
    dir: str | os.PathLike[str],
    name: str,
    meta_dir: str | os.PathLike[str] | None = None,
    dir_structure: str | None = None,
) -> Listing:
    """The images of a split. Arguments and exceptions are those of `ILSVRC12Files`."""
    one_of("name", name, "train", "val", "test")
    one_of("dir_structure", dir_structure, None, "original", "train")
    folder = existing_folder(existing_folder(dir, EXPECTED_IMAGES) / name, EXPECTED_IMAGES)
    if meta_dir is not None:
        existing_folder(meta_dir, "meta_dir has to have the lists, such as synsets.txt")
    if name == "train":
        dir_structure = "train"
    meta = ILSVRCMeta(meta_dir)
    structure = dir_structure or meta.guess_dir_structure(folder)
    images = Columns.from_rows(meta.get_image_list(name, structure))
    for path, _ in images[:_LOOKED_AT]:
        if not (folder / path).is_file():
            raise MissingData(
                f"{folder / path} is missing, with dir_structure={structure!r}; {EXPECTED_IMAGES}"
            )
    return Listing(folder, images, list(meta.get_synset_1000().values()))
