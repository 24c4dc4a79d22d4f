"""The dataflows that commands start from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dataflow.dataset import FileImages, NetworkImages

__all__ = ["FileList", "UrlList", "first_flow"]

Points = Sequence[Sequence[Any]]


class UrlList(NetworkImages):
    """The images behind a list of URLs and labels."""

    def __init__(self, datapoints: Points, shuffle: bool = False) -> None:
        super().__init__(shuffle)
        self.datapoints = [list(datapoint) for datapoint in datapoints]


class FileList(FileImages):
    """The images in a list of paths and labels."""

    def __init__(self, datapoints: Points, shuffle: bool = False) -> None:
        super().__init__(shuffle)
        self.datapoints = [list(datapoint) for datapoint in datapoints]


def first_flow(points: Points, *, files: bool) -> NetworkImages:
    """The source over a list of images, in a new random order each epoch.

    Args:
        points: URL or path, and label, of each.
        files: whether they are paths.
    """
    return (FileList if files else UrlList)(points, shuffle=True)
