"""The lists of ImageNet's challenge of 2012, as Caffe's authors publish them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dataflow.dataset.archive import unpack
from dataflow.dataset.arguments import one_of, place_of
from dataflow.dataset.blob import read_blob
from dataflow.dataset.download import PublishedFile, obtain
from dataflow.errors import ConfigError, MissingData

__all__ = ["EXPECTED_IMAGES", "META_FOLDER", "ILSVRCMeta"]

META_FOLDER = "ilsvrc_metadata"
"""The folder of the lists, among the data sets."""

EXPECTED_IMAGES = (
    "expected are train/n01440764/n01440764_10026.JPEG and so on, one sub-folder a class; "
    "val/ILSVRC2012_val_00000001.JPEG, or val/n01751748/ILSVRC2012_val_00000001.JPEG, and so on; "
    "test/ILSVRC2012_test_00000001.JPEG and so on: the content of ILSVRC2012_img_train.tar and of "
    "the archives in it, of ILSVRC2012_img_val.tar and ILSVRC2012_img_test.tar from "
    "https://image-net.org/challenges/LSVRC/2012/"
)
"""For messages: what has to be in a folder of images."""

_SYNSETS = "synsets.txt"
_CLASS_FOLDER = re.compile(r"n\d{8}")


class ILSVRCMeta:
    """Names of the classes, lists of the images and the mean image.

    Args:
        dir: the folder of ``synsets.txt``, ``synset_words.txt``, ``train.txt``, ``val.txt``,
            ``test.txt`` and ``imagenet_mean.binaryproto``. Where there is no ``synsets.txt``, all
            are downloaded to it. None is ``ilsvrc_metadata`` in the folder of data sets (the
            environment variable DATAFLOW_DATASET or TENSORPACK_DATASET).

    Attributes:
        archive: where the archive of these files is. The checksum is the one that OpenEmbedded's
            recipes and Caffe's users have for it.

    Raises:
        MissingData: the files cannot be downloaded.
    """

    archive: ClassVar[PublishedFile] = PublishedFile(
        (
            "http://dl.caffe.berkeleyvision.org/caffe_ilsvrc12.tar.gz",
            "https://download.openmmlab.com/mmclassification/datasets/imagenet/meta/"
            "caffe_ilsvrc12.tar.gz",
        ),
        "md5:f963098ea0e785a968ca1eb634003a90",
        17_858_008,
    )

    def __init__(self, dir: str | os.PathLike[str] | None = None) -> None:
        self.dir = place_of(dir, META_FOLDER)
        if not (self.dir / _SYNSETS).is_file():
            unpack(obtain(self.archive, self.dir), self.dir, last=_SYNSETS)

    def get_synset_1000(self) -> dict[int, str]:
        """The synset id, such as ``n01440764``, of each class."""
        return dict(enumerate(self._lines(_SYNSETS)))

    def get_synset_words_1000(self) -> dict[int, str]:
        """The synset id of each class and the words for it: ``n01440764 tench, Tinca tinca``."""
        return dict(enumerate(self._lines("synset_words.txt")))

    def get_image_list(self, name: str, dir_structure: str = "original") -> list[tuple[str, int]]:
        """File name and label of each image in a split.

        Args:
            name: ``"train"``, ``"val"`` or ``"test"``, whose labels are all 0.
            dir_structure: ``"original"``, where all validation and test images are in one folder,
                or ``"train"``, where they are in one sub-folder a class.

        Raises:
            ConfigError: an argument is something else.
            MissingData: there is no such list, or it is damaged.
        """
        one_of("name", name, "train", "val", "test")
        one_of("dir_structure", dir_structure, "original", "train")
        in_classes = name != "train" and dir_structure == "train"
        synsets = self.get_synset_1000() if in_classes else {}
        images = []
        for line in self._lines(f"{name}.txt"):
            try:
                file, number = line.split()
                label = int(number)
                images.append((f"{synsets[label]}/{file}" if in_classes else file, label))
            except (ValueError, KeyError):
                raise MissingData(
                    f"{self.dir / name}.txt has a line {line!r}, which is not a file and a label"
                ) from None
        if not images:
            raise MissingData(f"{self.dir / name}.txt is empty")
        return images

    def get_per_pixel_mean(self, size: tuple[int, int] | None = None) -> npt.NDArray[np.float32]:
        """The mean of the training images: BGR, float32, 0 to 255, 256×256×3.

        Args:
            size: (height, width) to resize it to.

        Raises:
            MissingData: ``imagenet_mean.binaryproto`` is missing or damaged.
        """
        import cv2

        file = self.dir / "imagenet_mean.binaryproto"
        try:
            blob = read_blob(file.read_bytes())
            mean: Any = np.ascontiguousarray(blob.reshape(3, 256, 256).transpose(1, 2, 0))
        except (FileNotFoundError, ValueError) as error:
            raise MissingData(f"{file} cannot be read: {error}") from error
        resized: npt.NDArray[np.float32] = mean if size is None else cv2.resize(mean, size[::-1])
        return resized

    @staticmethod
    def guess_dir_structure(dir: str | os.PathLike[str]) -> str:
        """How the images of a split lie in its folder: ``"train"`` or ``"original"``.

        It is ``"train"`` where there are sub-folders with the names of synsets.

        Args:
            dir: the folder of a split, such as ``/path/to/imagenet/val``.

        Raises:
            ConfigError: there are images beside such folders.
        """
        with os.scandir(dir) as entries:
            kinds = {
                "train" if entry.is_dir() else "original"
                for entry in entries
                if _CLASS_FOLDER.fullmatch(entry.name) or entry.name.endswith(".JPEG")
            }
        if len(kinds) > 1:
            raise ConfigError(
                f"{os.fspath(dir)} has images beside folders of classes: give "
                "dir_structure='original' or dir_structure='train'"
            )
        return kinds.pop() if kinds else "original"

    def _lines(self, name: str) -> list[str]:
        file = Path(self.dir / name)
        if not file.is_file():
            raise MissingData(
                f"{file} is missing. Delete {self.dir / _SYNSETS}, and all lists are downloaded "
                "again"
            )
        return [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
