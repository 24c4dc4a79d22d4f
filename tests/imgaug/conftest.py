"""Photographs in every form that augmentors take."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from optional import library

skimage = library("skimage")


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A cat, 300×451×3, uint8, BGR. Write-protected: an augmentor that writes into it fails."""
    image = cv2.imread(str(Path(skimage.__file__).parent / "data" / "chelsea.png"))
    image.flags.writeable = False
    return image


@pytest.fixture(
    params=[
        f"{dtype}-{form}"
        for dtype in ("uint8", "float32")
        for form in ("HxW", "HxWx1", "HxWx3", "HxWx4", "view")
    ]
)
def form(request: pytest.FixtureRequest, photo: np.ndarray) -> np.ndarray:
    """The photograph in one of the types and shapes."""
    dtype, shape = request.param.split("-")
    image = {
        "HxW": lambda: photo[:, :, 1].copy(),
        "HxWx1": lambda: photo[:, :, 1:2].copy(),
        "HxWx3": lambda: photo,
        "HxWx4": lambda: np.dstack([photo, photo[:, :, 0]]),
        "view": lambda: photo[5:290, 7:440],
    }[shape]()
    image = image.astype(dtype, copy=False)
    if dtype == "float32":
        image = image + np.float32(0.25)
    image.flags.writeable = False
    return image
