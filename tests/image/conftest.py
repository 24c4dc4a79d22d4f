"""Photographs as files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from optional import library

skimage = library("skimage")
FOLDER = Path(skimage.__file__).parent / "data"


@pytest.fixture(scope="session")
def cat() -> np.ndarray:
    """A photograph, 300×451×3, uint8, BGR."""
    image = cv2.imread(str(FOLDER / "chelsea.png"))
    image.flags.writeable = False
    return image


@pytest.fixture(scope="session")
def files() -> dict[str, bytes]:
    """JPEG and PNG files as they came from cameras, telescopes and editors."""
    names = ("rocket.jpg", "retina.jpg", "hubble_deep_field.jpg", "chelsea.png", "camera.png")
    return {name: (FOLDER / name).read_bytes() for name in names}
