"""CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from dataflow.dataset.archive import unpack
from dataflow.dataset.arguments import one_of, place_of
from dataflow.dataset.arrays import ArrayImages, mean_image
from dataflow.dataset.download import PublishedFile, obtain
from dataflow.dataset.pickles import load_plain_pickle
from dataflow.errors import MissingData

__all__ = ["Cifar10", "Cifar100", "CifarBase"]


class _Layout(NamedTuple):
    """What the archive's folder holds, and under which keys."""

    folder: str
    splits: dict[str, tuple[str, ...]]
    labels: bytes
    meta: str
    names: bytes


_LAYOUTS = {
    10: _Layout(
        "cifar-10-batches-py",
        {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
        b"labels",
        "batches.meta",
        b"label_names",
    ),
    100: _Layout(
        "cifar-100-python",
        {"train": ("train",), "test": ("test",)},
        b"fine_labels",
        "meta",
        b"fine_label_names",
    ),
}


class CifarBase(ArrayImages):
    """50,000 small photos for training, 10,000 for tests, of 10 or 100 classes.

    Datapoints are ``[image, label]``: RGB, uint8, 32×32×3; and an int. Of CIFAR-100 it is the
    fine label.

    Args:
        train_or_test: ``"train"`` or ``"test"``.
        shuffle: a new random order in each epoch. None means: for training.
        dir: the folder with the archive's folder in it (``cifar-10-batches-py`` or
            ``cifar-100-python``); where that is missing, it is downloaded. None is
            ``cifar10_data`` or ``cifar100_data`` in the folder of data sets (the environment
            variable DATAFLOW_DATASET or TENSORPACK_DATASET).
        cifar_classnum: 10 or 100.

    Attributes:
        archives: where the archives are. Size and MD5 are those that their page [1]_ tells.
        images, labels: all of them, unshuffled.

    Raises:
        ConfigError: for any other split or number.
        MissingData: the archive cannot be downloaded, or a file not be read.

    .. [1] https://www.cs.toronto.edu/~kriz/cifar.html
    """

    archives: ClassVar[Mapping[int, PublishedFile]] = {
        10: PublishedFile(
            ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            "md5:c58f30108f718f92721af3b95e74349a",
            170_498_071,
        ),
        100: PublishedFile(
            ("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",),
            "md5:eb9058c3a382ffc7106e4002c42a8d85",
            169_001_437,
        ),
    }

    def __init__(
        self,
        train_or_test: str,
        shuffle: bool | None = None,
        dir: str | os.PathLike[str] | None = None,
        cifar_classnum: int = 10,
    ) -> None:
        self.train_or_test = one_of("train_or_test", train_or_test, "train", "test")
        self.cifar_classnum = one_of("cifar_classnum", cifar_classnum, 10, 100)
        self._layout = _LAYOUTS[cifar_classnum]
        self.dir = place_of(dir, f"cifar{cifar_classnum}_data")
        self._folder = self.dir / self._layout.folder
        if not self._folder.is_dir():
            archive = obtain(self.archives[cifar_classnum], self.dir)
            unpack(archive, self.dir, last=self._layout.folder)
        self._label_names = _names(self._folder / self._layout.meta, self._layout.names)
        images, labels = self._read(train_or_test)
        super().__init__(images, labels, train_or_test == "train" if shuffle is None else shuffle)

    def _read(self, split: str) -> tuple[npt.NDArray[np.uint8], list[int]]:
        files = [self._folder / name for name in self._layout.splits[split]]
        parts = [_batch(file, self._layout.labels) for file in files]
        # The files hold the red plane of each image, then the green and the blue one.
        planes = np.concatenate([data for data, _ in parts]).reshape(-1, 3, 32, 32)
        images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
        return images, [label for _, labels in parts for label in labels]

    def get_label_names(self) -> list[str]:
        """The name of each class."""
        return self._label_names

    def get_per_pixel_mean(
        self, names: Sequence[str] = ("train", "test")
    ) -> npt.NDArray[np.float32]:
        """The mean of all images in some splits: float32, 32×32×3."""
        splits = {one_of("names", name, "train", "test") for name in names}
        own = self.train_or_test
        arrays = [self._images if name == own else self._read(name)[0] for name in splits]
        return mean_image(arrays).astype(np.float32)

    def get_per_channel_mean(
        self, names: Sequence[str] = ("train", "test")
    ) -> npt.NDArray[np.float32]:
        """The mean of each channel in some splits: three float32."""
        mean: npt.NDArray[np.float32] = self.get_per_pixel_mean(names).mean(axis=(0, 1))
        return mean


class Cifar10(CifarBase):
    """`CifarBase` with 10 classes; see there."""

    def __init__(
        self,
        train_or_test: str,
        shuffle: bool | None = None,
        dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(train_or_test, shuffle, dir, 10)


class Cifar100(CifarBase):
    """`CifarBase` with 100 classes; see there."""

    def __init__(
        self,
        train_or_test: str,
        shuffle: bool | None = None,
        dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(train_or_test, shuffle, dir, 100)


def _batch(file: Path, key: bytes) -> tuple[npt.NDArray[np.uint8], list[int]]:
    """Pixels (images × 3072) and labels of one file."""
    content = load_plain_pickle(file)
    data, labels = content.get(b"data"), content.get(key)
    if not isinstance(data, np.ndarray) or not isinstance(labels, list):
        raise MissingData(f"{file} has no data, or no {key.decode()}")
    if data.dtype != np.uint8 or data.shape != (len(labels), 3072):
        raise MissingData(
            f"{file} has data of {data.dtype} and shape {data.shape} with {len(labels)} labels"
        )
    return data, labels


def _names(file: Path, key: bytes) -> list[str]:
    """The names of the classes."""
    names = load_plain_pickle(file).get(key)
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise MissingData(f"{file} has no {key.decode()}")
    return [name.decode("ascii", "replace") for name in names]
