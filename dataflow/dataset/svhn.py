"""Street View House Numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from dataflow.dataset.arguments import one_of, place_of
from dataflow.dataset.arrays import ArrayImages, mean_image
from dataflow.dataset.download import PublishedFile, obtain
from dataflow.dataset.mat import check_scipy, load_mat
from dataflow.errors import MissingData

__all__ = ["SVHNDigit"]

_BASE = "http://ufldl.stanford.edu/housenumbers/"


class SVHNDigit(ArrayImages):
    """Digits of house numbers, cropped: 73,257 for training, 26,032 for tests, 531,131 extra ones.

    Datapoints are ``[image, label]``: RGB, uint8, 32×32×3; and an np.uint8 from 0 to 9.
    Needs SciPy (``pip install scipy``).

    Args:
        name: ``"train"``, ``"test"`` or ``"extra"``.
        data_dir: the folder of ``train_32x32.mat`` and so on; what is missing there is downloaded.
            None is ``svhn_data`` in the folder of data sets (the environment variable
            DATAFLOW_DATASET or TENSORPACK_DATASET).
        shuffle: a new random order in each epoch.

    Attributes:
        files: where the files [1]_ are. The checksums are torchvision's.
        images, labels: all of them, unshuffled.

    Raises:
        ConfigError: for any other split.
        MissingData: a file cannot be downloaded or read.
        MissingExtra: SciPy is not installed.

    .. [1] http://ufldl.stanford.edu/housenumbers/
    """

    files: ClassVar[Mapping[str, PublishedFile]] = {
        name: PublishedFile((f"{_BASE}{name}_32x32.mat",), checksum)
        for name, checksum in {
            "train": "md5:e26dedcc434d2e4c54c9b2d4a06d8373",
            "test": "md5:eb5a983be6a315427106f1b164d9cef3",
            "extra": "md5:a93ce644f1a588dc4d68dda5feec44a7",
        }.items()
    }

    def __init__(
        self, name: str, data_dir: str | os.PathLike[str] | None = None, shuffle: bool = True
    ) -> None:
        self.name = one_of("name", name, "train", "test", "extra")
        check_scipy()
        path = obtain(self.files[name], place_of(data_dir, "svhn_data"))
        pixels, digits = load_mat(path, "X", "y")
        if pixels.ndim != 4 or pixels.dtype != np.uint8 or pixels.shape[3] != digits.size:
            raise MissingData(
                f"{path} has images of {pixels.dtype} and shape {pixels.shape}, "
                f"and {digits.size} labels"
            )
        labels = digits.reshape(-1)
        labels[labels == 10] = 0  # MATLAB counts from 1, so the file calls the digit 0 ten
        super().__init__(pixels.transpose(3, 0, 1, 2), labels, shuffle)

    @classmethod
    def get_per_pixel_mean(
        cls,
        names: Sequence[str] = ("train", "test", "extra"),
        data_dir: str | os.PathLike[str] | None = None,
    ) -> npt.NDArray[np.float64]:
        """The mean of all images in some splits: float64, 32×32×3.

        Args:
            names: the splits.
            data_dir: as in the constructor.
        """
        return mean_image([cls(name, data_dir)._images for name in names])
