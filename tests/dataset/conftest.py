"""Folders of real images, and servers for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from servers import Server

from dataflow.demo.server import serve

SIZE = 24
"""Images in the folder. Image i is 20 + i pixels high and 30 + i wide, which tells them apart."""


def encoded(index: int, suffix: str = ".jpg") -> bytes:
    """The file of image `index`."""
    rng = np.random.default_rng(index)
    image = rng.integers(0, 256, (20 + index, 30 + index, 3), np.uint8)
    good, data = cv2.imencode(suffix, cv2.GaussianBlur(image, (0, 0), 2))
    assert good
    return data.tobytes()


def index_of(image: np.ndarray) -> int:
    """Which image this is, after checking that it is a decoded one."""
    assert image.dtype == np.uint8 and image.ndim == 3
    assert image.shape == (image.shape[0], image.shape[0] + 10, 3)
    return image.shape[0] - 20


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`SIZE` images, ``0.jpg`` and so on."""
    path = tmp_path_factory.mktemp("images")
    for index in range(SIZE):
        (path / f"{index}.jpg").write_bytes(encoded(index))
    return path


@pytest.fixture(scope="session")
def base(folder: Path) -> Iterator[str]:
    """The URL under which a process of its own serves the folder."""
    with serve(folder) as url:
        yield url


@pytest.fixture
def points(base: str) -> list[list]:
    """The folder's images as datapoints; the label is the number."""
    return [[f"{base}/{index}.jpg", index] for index in range(SIZE)]


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that misbehaves as it is told."""
    with Server() as running:
        yield running
