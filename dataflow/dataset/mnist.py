"""MNIST, and the data sets that come in its format."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dataflow.dataset.arguments import one_of, place_of
from dataflow.dataset.arrays import ArrayImages, Row
from dataflow.dataset.download import PublishedFile, mirrored, obtain
from dataflow.errors import MissingData

__all__ = ["FashionMnist", "Mnist", "read_idx"]

_FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
_MOST_BYTES = 1 << 30


class Mnist(ArrayImages):
    """60,000 handwritten digits for training, 10,000 for tests.

    Datapoints are ``[image, label]``: float32, 28×28, from 0 to 1; and an np.uint8 from 0 to 9.

    Args:
        train_or_test: ``"train"`` or ``"test"``.
        shuffle: a new random order in each epoch.
        dir: the folder of the four files, as they are published; what is missing there is
            downloaded. None is ``mnist_data`` in the folder of data sets (the environment
            variable DATAFLOW_DATASET or TENSORPACK_DATASET).

    Attributes:
        files: where the files are and what their checksums [1]_ are. A subclass may have others.
        labels: all labels, uint8.

    Raises:
        ConfigError: for any other split.
        MissingData: a file cannot be downloaded or read.

    .. [1] As torchvision has them (``torchvision.datasets.MNIST.resources``).
    """

    _FOLDER = "mnist_data"

    files: ClassVar[Mapping[str, PublishedFile]] = mirrored(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            # Their home, which answers few requests nowadays.
            "http://yann.lecun.com/exdb/mnist/",
        ),
        {
            "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
        },
    )

    def __init__(
        self,
        train_or_test: str,
        shuffle: bool = True,
        dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self.train_or_test = one_of("train_or_test", train_or_test, "train", "test")
        folder = place_of(dir, self._FOLDER)
        paths = [obtain(self.files[name], folder) for name in _FILES[train_or_test]]
        images, labels = read_idx(paths[0], axes=3), read_idx(paths[1], axes=1)
        if len(images) != len(labels):
            raise MissingData(
                f"{paths[0]} has {len(images)} images, {paths[1]} has {len(labels)} labels"
            )
        super().__init__(images, labels, shuffle)

    @property
    def images(self) -> npt.NDArray[np.float32]:
        """All images, unshuffled, with an axis for their one channel: N×28×28×1. A new array."""
        return _unit_range(self._images[..., np.newaxis])

    def loader(self) -> Row:
        return _UnitRow(self._images, self.labels)


class FashionMnist(Mnist):
    """Pictures of clothes in the format of `Mnist`, with the same arguments.

    Its folder is ``fashion_mnist_data``; `get_label_names` has the names of the classes.
    """

    _FOLDER = "fashion_mnist_data"

    files: ClassVar[Mapping[str, PublishedFile]] = mirrored(
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        {
            "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
        },
    )

    def get_label_names(self) -> list[str]:
        """The name of each class, as https://github.com/zalandoresearch/fashion-mnist has it."""
        return [
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ]


class _UnitRow(Row):
    """`Row` with images from 0 to 1. Bytes take a quarter of the memory of floats until then."""

    def __call__(self, place: int) -> list[Any]:
        return [_unit_range(self.images[place]), self.labels[place]]


def _unit_range(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    scaled: npt.NDArray[np.float32] = pixels.astype(np.float32) / np.float32(255)
    return scaled


def read_idx(path: Path, *, axes: int) -> npt.NDArray[np.uint8]:
    """An array of bytes in MNIST's own format, gzipped.

    Two zero bytes, 8 for unsigned bytes, the number of axes, the length of each as a big-endian
    32-bit number, then the elements (http://yann.lecun.com/exdb/mnist/).

    Args:
        path: the file.
        axes: how many the array has to have.

    Raises:
        MissingData: the file is damaged, or something else.
    """
    import gzip
    import math
    import struct
    import zlib

    try:
        with gzip.open(path) as file:
            magic, *shape = struct.unpack(f">{1 + axes}I", file.read(4 + 4 * axes))
            if magic != 0x800 + axes:
                raise ValueError(f"magic number {magic}, not {0x800 + axes}")
            size = math.prod(shape)
            if size > _MOST_BYTES:
                raise ValueError(f"{size} elements")
            data = file.read(size + 1)  # up to its end, where the checksum is
        if len(data) != size:
            raise ValueError(f"{len(data)} elements instead of {size}")
    except (gzip.BadGzipFile, EOFError, zlib.error, struct.error, ValueError) as error:
        raise MissingData(
            f"{path} cannot be read: {error}. Delete it, and it is downloaded again"
        ) from error
    return np.frombuffer(data, np.uint8).reshape(shape)
