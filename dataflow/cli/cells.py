"""A sheet of the images in datapoints of others, with labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataflow.cli.components import Component, components, printable, samples
from dataflow.image.guess import Pictures, pictures_in
from dataflow.image.sheet import contact_sheet

__all__ = ["NoImages", "Sheet"]

_COLUMNS = 8
_BESIDE = 4  # images of one sample, at most


class NoImages(Exception):
    """Nothing of what came looks like an image; says what came."""


class Sheet:
    """Samples to be shown together.

    Args:
        rows: of samples, at most.
        columns: of them; None: as many as make 8 images side by side.
        classes: names of labels.

    Attributes:
        cells: images that go side by side, BGR, and the label of each sample.
        total: samples of the datapoints, including those for which there was no room.
    """

    def __init__(self, rows: int, columns: int | None, classes: Mapping[str, str]) -> None:
        self._rows = rows
        self._columns = columns
        self._classes = classes
        self._told: dict[str, str] = {}
        self.cells: list[tuple[list[NDArray[np.uint8]], str]] = []
        self.total = 0

    @property
    def full(self) -> bool:
        """Whether there is no more room."""
        return len(self.cells) >= self._room

    @property
    def _room(self) -> int:
        return self._rows * (self._columns or _COLUMNS)

    def add(self, datapoint: Any, infos: Sequence[str], *, rgb: bool, unbatched: bool) -> bool:
        """Add the samples of a datapoint.

        Args:
            datapoint: a batch, or a single one.
            infos: texts of its components.
            rgb: the first of three channels is red.
            unbatched: it is a single one.

        Returns:
            Whether it was a batch.

        Raises:
            NoImages: none of its components looks like an image.
        """
        parts = components(datapoint, infos)
        batch = not unbatched and samples(parts) is not None
        images = self._images(parts, batch=batch)
        if not images and not unbatched:
            batch = not batch
            images = self._images(parts, batch=batch, rank=3)
        if not images:
            came = "; ".join(f"{part.name}: {part.form}" for part in parts) or "nothing"
            hint = "" if unbatched else " (--unbatched: each datapoint is one sample)"
            raise NoImages(f"no component looks like images{hint}. There are: {came}")
        self._columns = self._columns or max(1, _COLUMNS // len(images))
        rest = [part.value for part in parts if part.name not in images]
        first = next(iter(images.values())).images
        length = samples(parts) if batch else 1
        self.total += length if length is not None else len(first)
        there = min(len(found.images) for found in images.values())
        for index in range(min(there, self._room - len(self.cells))):
            group = [_bgr(found.images[index], rgb) for found in images.values()]
            self.cells.append((group, self._label(rest, index if batch else None)))
        for part in parts:
            note = f" ({found.note})" if (found := images.get(part.name)) and found.note else ""
            self._told[part.name] = f"{part.name}: {part.form}{note}"
        return batch

    def told(self) -> str:
        """What it shows, on one line."""
        many = f"{len(self.cells)} of {self.total}" if len(self.cells) < self.total else self.total
        return f"{many} samples; {'; '.join(self._told.values())}"

    def picture(self, *, size: int) -> NDArray[np.uint8]:
        """As a picture, H×W×3 uint8 BGR."""
        labels = [label for _, label in self.cells]
        images = [images for images, _ in self.cells]
        columns = self._columns or _COLUMNS
        return contact_sheet(images, labels if any(labels) else None, columns=columns, size=size)

    def _images(
        self, parts: Sequence[Component], *, batch: bool, rank: int = 2
    ) -> dict[str, Pictures]:
        room = self._room - len(self.cells)
        found: dict[str, Pictures] = {}
        for part in parts:
            if not isinstance(part.value, np.ndarray) or part.value.ndim < rank:
                continue
            value = part.value[:room] if batch else part.value
            pictures = pictures_in(value, batch=batch)
            if pictures is not None and len(found) < _BESIDE:
                found[part.name] = pictures
        return found

    def _label(self, values: Sequence[Any], index: int | None) -> str:
        """Of one sample: its numbers and texts."""
        found = []
        for value in values:
            if index is not None:
                if not (isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim)):
                    continue
                value = value[index] if index < len(value) else None
            if isinstance(value, np.ndarray) and value.size == 1:
                value = value.reshape(-1)[0]
            if isinstance(value, np.generic):
                value = value.item()
            if isinstance(value, (bool, int, float, str)):
                text = f"{value:.4g}" if isinstance(value, float) else printable(value)
                found.append(printable(self._classes.get(text, text)))
        return ", ".join(found)


def _bgr(image: NDArray[np.uint8], rgb: bool) -> NDArray[np.uint8]:
    """OpenCV's order of channels."""
    if not rgb or image.shape[2] == 1:
        return image
    return image[:, :, [2, 1, 0, 3][: image.shape[2]]]
