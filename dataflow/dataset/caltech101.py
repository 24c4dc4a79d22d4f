"""The silhouettes of Caltech 101."""

from __future__ import annotations

import os
from typing import ClassVar

import numpy as np

from dataflow.dataset.arguments import one_of, place_of
from dataflow.dataset.arrays import ArrayImages
from dataflow.dataset.download import PublishedFile, obtain
from dataflow.dataset.mat import check_scipy, load_mat
from dataflow.errors import MissingData

__all__ = ["Caltech101Silhouettes"]


class Caltech101Silhouettes(ArrayImages):
    """Outlines of the objects in Caltech 101, filled: 4,100 for training, 2,264 and 2,307 others.

    Datapoints are ``[image, label]``: uint8, 28×28, each pixel 0 or 1; and an np.uint8 from 0 to
    100. The images lie on their side, as in the file, which counts rows as MATLAB does.
    Needs SciPy (``pip install scipy``).

    Args:
        name: ``"train"``, ``"val"`` or ``"test"``.
        shuffle: a new random order in each epoch.
        dir: the folder of ``caltech101_silhouettes_28_split1.mat``, which is downloaded to it if
            it is missing. None is ``caltech101_data`` in the folder of data sets (the environment
            variable DATAFLOW_DATASET or TENSORPACK_DATASET).

    Attributes:
        file: where the file [1]_ is. No checksum of it was published.
        images, labels: all of them, unshuffled.

    Raises:
        ConfigError: for any other split.
        MissingData: the file cannot be downloaded or read.
        MissingExtra: SciPy is not installed.

    .. [1] https://people.cs.umass.edu/~marlin/data.shtml
    """

    file: ClassVar[PublishedFile] = PublishedFile(
        ("https://people.cs.umass.edu/~marlin/data/caltech101_silhouettes_28_split1.mat",)
    )

    def __init__(
        self, name: str, shuffle: bool = True, dir: str | os.PathLike[str] | None = None
    ) -> None:
        self.name = one_of("name", name, "train", "test", "val")
        check_scipy()
        path = obtain(self.file, place_of(dir, "caltech101_data"))
        pixels, labels = load_mat(path, f"{name}_data", f"{name}_labels")
        if pixels.shape != (labels.size, 28 * 28):
            raise MissingData(f"{path}: {pixels.shape} pixels do not fit {labels.size} labels")
        # MATLAB counts from 1.
        super().__init__(pixels.reshape(-1, 28, 28), labels.ravel() - np.uint8(1), shuffle)
