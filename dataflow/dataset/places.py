"""Places365: scenes."""

from __future__ import annotations

import os
from typing import Any

from dataflow.dataset.arguments import existing_folder, one_of
from dataflow.dataset.files import FileImages
from dataflow.errors import MissingData
from dataflow.sources.columns import Columns

__all__ = ["Places365Standard"]

_EXPECTED = (
    "expected are train.txt and val.txt, lists of images such as train/airfield/00000001.jpg, and "
    "the images themselves: the small images in their easy directory structure, "
    "places365standard_easyformat.tar from http://places2.csail.mit.edu/download.html"
)


class Places365Standard(FileImages):
    """1.8 million photos for training and 36,500 for validation, of 365 kinds of scenes.

    Datapoints are ``[image, label]``: BGR, uint8, 256×256×3; and an int, the rank of the class
    among the names of all. Files are read and decoded in the workers; `parallel` as in
    `NetworkImages`.

    Args:
        dir: the folder of the data set, in its "easy directory structure".
        name: ``"train"`` or ``"val"``.
        shuffle: a new random order in each epoch. None means: for training.
        **options: see `NetworkImages`.

    Raises:
        ConfigError: for any other split.
        MissingData: the folder or the split's list is missing; says what is expected.
    """

    def __init__(
        self,
        dir: str | os.PathLike[str],
        name: str,
        shuffle: bool | None = None,
        **options: Any,
    ) -> None:
        one_of("name", name, "train", "val")
        super().__init__(name == "train" if shuffle is None else shuffle, **options)
        folder = existing_folder(dir, _EXPECTED)
        listing = folder / f"{name}.txt"
        if not listing.is_file():
            raise MissingData(f"{listing} is missing; {_EXPECTED}")
        paths = [
            stripped
            for line in listing.read_text("utf-8").splitlines()
            if (stripped := line.strip())
        ]
        wrong = next((path for path in paths if path.count("/") < 2), None)
        if wrong is not None or not paths:
            raise MissingData(f"{listing} has a line {wrong!r} that names no class; {_EXPECTED}")
        classes = [path.split("/")[1] for path in paths]
        self._labels = sorted(set(classes))
        rank = {label: index for index, label in enumerate(self._labels)}
        self.datapoints = Columns(
            (os.path.join(folder, path) for path in paths), [rank[name] for name in classes]
        )

    def get_label_names(self) -> list[str]:
        """The name of each class."""
        return self._labels
