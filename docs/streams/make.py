"""The pictures of docs/streams.md, made by the examples themselves.

python docs/streams/make.py

The photos are those of the demo, drawn if need be; the digits are written by OpenCV, in the files
that MNIST comes in.
"""

from __future__ import annotations

import gzip
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from dataflow.demo.photos import ensure_photos, photo_path

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples" / "streams"
PHOTOS = (3, 11, 17, 26, 34, 41, 55, 63)
WIDTH = 640
PART = (368, 968)  # 3 rows and 8 columns of a contact sheet


def write_digits(folder: Path, count: int = 500) -> None:
    """Digits in the place of MNIST's."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, count).astype(np.uint8)
    images = np.zeros((count, 28, 28), np.uint8)
    for image, label in zip(images, labels, strict=True):
        turn = cv2.getRotationMatrix2D((14, 14), rng.uniform(-20, 20), rng.uniform(0.8, 1.1))
        cv2.putText(image, str(label), (5, 23), cv2.FONT_HERSHEY_DUPLEX, 0.8, 255, 1, cv2.LINE_AA)
        image[:] = cv2.warpAffine(image, turn, (28, 28))
    for what, array, magic in (("images-idx3", images, 2051), ("labels-idx1", labels, 2049)):
        header = struct.pack(f">{1 + array.ndim}I", magic, *array.shape)
        (folder / f"train-{what}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))


def shrink(path: Path, target: Path) -> None:
    """The first images of the picture, as wide as a page, in fewer colours."""
    picture = cv2.imread(str(path))[: PART[0], : PART[1]]
    height, width = picture.shape[:2]
    if width > WIDTH:
        size = (WIDTH, round(height * WIDTH / width))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    # Without the lowest bits of noise it takes half the bytes.
    fewer = np.minimum(picture.astype(int) + 4, 255) // 8 * 8
    cv2.imwrite(str(target), fewer.astype(np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 9])


def main() -> None:
    root = ensure_photos(max(PHOTOS) + 1)
    with tempfile.TemporaryDirectory() as place:
        photos, digits = Path(place, "photos"), Path(place, "digits")
        photos.mkdir()
        digits.mkdir()
        for index in PHOTOS:
            shutil.copy(root / photo_path(index), photos)
        write_digits(digits)
        for name, *words in (
            ("patches", photos),
            ("birds", photos),
            ("mnist", "--dir", digits),
            ("aligned",),
        ):
            command = [sys.executable, EXAMPLES / f"{name}.py", *words]
            subprocess.run(list(map(str, command)), cwd=place, check=True)
        for name in ("patches", "birds", "digits", "aligned"):
            shrink(Path(place, f"{name}.png"), HERE / f"{name}.png")
        shutil.copy(Path(place, "birds.svg"), HERE / "birds.svg")


if __name__ == "__main__":
    main()
