"""Data sets that fit into memory."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.errors import ConfigError
from dataflow.sources.keyed import KeyedSource

__all__ = ["ArrayImages", "Row", "mean_image"]


class Row:
    """Makes ``[image, label]`` of a place. The image is a copy, the datapoint's own.

    Args:
        images: an array; its first axis counts the images.
        labels: a label for each.
    """

    def __init__(self, images: npt.NDArray[Any], labels: Sequence[Any] | npt.NDArray[Any]) -> None:
        self.images = images
        self.labels = labels

    def __call__(self, place: int) -> list[Any]:
        return [self.images[place].copy(), self.labels[place]]


class ArrayImages(KeyedSource):
    """Images and labels in arrays.

    The keys are places in them. Worker processes get the arrays once, when they start.

    Args:
        images: an array; its first axis counts the images.
        labels: a label for each.
        shuffle: a new random order in each epoch.
    """

    _consumer_only = ("_images", "labels")

    def __init__(
        self, images: npt.NDArray[Any], labels: Sequence[Any] | npt.NDArray[Any], shuffle: bool
    ) -> None:
        self._images = images
        self.labels = labels
        self.shuffle = bool(shuffle)
        self._places: Sequence[int] = range(len(images))

    @property
    def images(self) -> npt.NDArray[Any]:
        """All images, unshuffled."""
        return self._images

    def keys(self) -> Sequence[int]:
        return self._places

    def loader(self) -> Row:
        return Row(self._images, self.labels)

    def _over(self, keys: list[int]) -> ArrayImages:
        other = copy.copy(self)
        other._places = keys
        return other


def mean_image(arrays: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float64]:
    """The mean of all images in some arrays, exact to the last rounding.

    Args:
        arrays: each of shape (images, …), with the same axes after the first.

    Raises:
        ConfigError: there are no images.
    """
    if not sum(map(len, arrays)):
        raise ConfigError("the mean of no images is asked for: names has no split")
    # Sums of bytes are whole numbers: no order of adding them makes a difference.
    total = sum(array.sum(axis=0, dtype=np.uint64) for array in arrays)
    mean: npt.NDArray[np.float64] = total / sum(map(len, arrays))
    return mean
