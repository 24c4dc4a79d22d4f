"""Small photographs in folders."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from optional import library

skimage = library("skimage")
DATA = Path(skimage.__file__).parent / "data"

CLASSES = {"animals": ["chelsea.png"], "space": ["rocket.jpg"], "things": ["coffee.png"]}
COPIES = 4
SIZE = COPIES * len(CLASSES)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of four parts of photographs each, about 60×80."""
    folder = tmp_path_factory.mktemp("photos")
    for name, files in CLASSES.items():
        (folder / name).mkdir()
        for file in files:
            image = cv2.imread(str(DATA / file))
            image = cv2.resize(image, (84, 64), interpolation=cv2.INTER_AREA)
            for copy in range(COPIES):
                part = image[copy : 60 + copy, copy : 80 + copy]
                cv2.imwrite(str(folder / name / f"{Path(file).stem}-{copy}.png"), part)
    return folder
