"""Tiny ImageNet: 200 classes of ImageNet, 64×64 pixels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dataflow.dataset.arguments import existing_folder, one_of
from dataflow.dataset.files import FileImages
from dataflow.dataset.folders import is_image
from dataflow.errors import MissingData
from dataflow.sources.columns import Columns

__all__ = ["TinyImageNet"]

_EXPECTED = (
    "expected are wnids.txt, train/<class>/images/*.JPEG, val/images/*.JPEG and "
    "val/val_annotations.txt, as in http://cs231n.stanford.edu/tiny-imagenet-200.zip"
)


class TinyImageNet(FileImages):
    """100,000 photos for training and 10,000 for validation, of 200 classes of ImageNet.

    Datapoints are ``[image, label]``: BGR, uint8, 64×64×3; and an int, the place of the class in
    ``wnids.txt``. Files are read and decoded in the workers; `parallel` as in `NetworkImages`.

    Args:
        dir: the folder of the data set, as it is unpacked.
        name: ``"train"`` or ``"val"``.
        shuffle: a new random order in each epoch. None means: for training.
        **options: see `NetworkImages`.

    Raises:
        ConfigError: for any other split.
        MissingData: the folder or a part of it is missing; says what is expected.
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
        classes = [line.strip() for line in _lines(folder / "wnids.txt")]
        images = _training if name == "train" else _validation
        rows = images(folder / name, {synset: label for label, synset in enumerate(classes)})
        if not rows:
            raise MissingData(f"{folder / name} has no images; {_EXPECTED}")
        self.datapoints = Columns.from_rows(rows)


def _training(folder: Path, labels: dict[str, int]) -> list[list[Any]]:
    """Path and label of each image in the classes' folders."""
    return [
        [str(path), label]
        for synset, label in labels.items()
        for path in sorted((folder / synset / "images").glob("*"))
        if is_image(path.name)
    ]


def _validation(folder: Path, labels: dict[str, int]) -> list[list[Any]]:
    """Path and label of each image in the list."""
    listing = folder / "val_annotations.txt"
    rows = [line.split()[:2] for line in _lines(listing)]
    wrong = next((row for row in rows if len(row) < 2 or row[1] not in labels), None)
    if wrong is not None:
        raise MissingData(f"{listing} has a line {wrong!r} without a known class; {_EXPECTED}")
    return [[str(folder / "images" / name), labels[synset]] for name, synset in rows]


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        raise MissingData(f"{file} is missing; {_EXPECTED}")
    return [line for line in file.read_text("utf-8").splitlines() if line.strip()]
