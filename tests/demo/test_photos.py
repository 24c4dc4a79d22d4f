"""The drawn photos weigh and look, to a decoder and to an eye, as photographs do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from patience import patient

from dataflow.demo.photos import CLASSES, draw_photo, ensure_photos, label_of, photo_path
from dataflow.errors import ConfigError


@pytest.fixture(scope="module")
def photos() -> list[bytes]:
    return [draw_photo(index) for index in range(100)]


def decode(photo: bytes, flag: int = cv2.IMREAD_COLOR) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(photo, np.uint8), flag)
    assert image is not None
    return image


def spectrum_slope(image: np.ndarray) -> float:
    """The exponent with which the amplitude of a grey image falls over spatial frequency."""
    side = min(256, *image.shape)
    window = np.hanning(side)
    part = image[:side, :side].astype(float)
    part = (part - part.mean()) * window * window[:, None]
    amplitude = np.abs(np.fft.fftshift(np.fft.fft2(part)))
    y, x = np.indices(amplitude.shape) - side // 2
    ring = np.hypot(x, y).astype(int).ravel()
    mean = np.bincount(ring, amplitude.ravel()) / np.bincount(ring)
    frequency = np.arange(4, side // 2)
    return np.polyfit(np.log(frequency), np.log(mean[frequency]), 1)[0]


def test_weight_is_that_of_imagenet(photos: list[bytes]) -> None:
    sizes = np.array([len(photo) for photo in photos])
    assert 85_000 < sizes.mean() < 110_000
    assert sizes.min() > 15_000
    assert sizes.std() > 10_000  # a mix, as in life


def test_sizes_are_imagenets(photos: list[bytes]) -> None:
    shapes = [decode(photo).shape for photo in photos]
    assert all(shape[2] == 3 for shape in shapes)
    usual = sum(shape[:2] in ((375, 500), (500, 375)) for shape in shapes)
    assert 55 <= usual <= 90
    assert len(set(shapes)) >= 4


def test_spectrum_is_that_of_natural_images(photos: list[bytes]) -> None:
    slopes = [spectrum_slope(decode(photo, cv2.IMREAD_GRAYSCALE)) for photo in photos[:40]]
    assert -1.6 < np.mean(slopes) < -0.8
    assert np.std(slopes) < 0.4


def test_not_flat_and_channels_are_correlated(photos: list[bytes]) -> None:
    for photo in photos[:20]:
        image = decode(photo)
        assert image.std() > 20
        assert len(np.unique(image)) > 100
    correlations = [
        np.corrcoef(decode(photo).reshape(-1, 3).T.astype(float))[0, 1] for photo in photos[:20]
    ]
    assert np.mean(correlations) > 0.4


def test_same_index_same_bytes(photos: list[bytes]) -> None:
    assert draw_photo(17) == photos[17]
    assert len(set(photos)) == len(photos)


def test_classes_differ_in_colour(photos: list[bytes]) -> None:
    means = np.zeros((len(CLASSES), 3))
    for index, photo in enumerate(photos):
        means[label_of(index)] += decode(photo).mean(axis=(0, 1)) / (100 / len(CLASSES))
    distance = np.linalg.norm(means[:, None] - means[None], axis=-1)
    assert distance[np.triu_indices(len(CLASSES), 1)].min() > 4


def test_chosen_size() -> None:
    assert decode(draw_photo(3, size=(120, 90))).shape == (90, 120, 3)


def test_negative_index() -> None:
    with pytest.raises(ValueError, match="index=-1"):
        draw_photo(-1)


# -- on disk -----------------------------------------------------------------------------------


def files(folder: Path) -> dict[str, int]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in found}


def test_drawn_once(tmp_path: Path) -> None:
    folder = ensure_photos(30, folder=tmp_path / "new" / "photos")
    first = files(folder)
    assert sorted(first) == sorted(photo_path(index) for index in range(30))
    assert (folder / photo_path(7)).read_bytes() == draw_photo(7)
    (folder / photo_path(7)).unlink()
    ensure_photos(30, folder=folder)
    second = files(folder)
    assert {name for name in first if first[name] != second[name]} == {photo_path(7)}


def test_one_folder_a_class(tmp_path: Path) -> None:
    folder = ensure_photos(10, folder=tmp_path)
    assert len([path for path in folder.iterdir() if path.is_dir()]) == 10


def test_unwritable_folder_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigError, match="DATAFLOW_CACHE"):
        ensure_photos(1, folder=tmp_path / "file" / "photos")
    (tmp_path / "pebbles").write_text("in the way of a class's folder")
    with pytest.raises(ConfigError, match="DATAFLOW_CACHE"):
        ensure_photos(1, folder=tmp_path)


def test_needs_no_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\n"
        "from dataflow.demo.photos import ensure_photos\n"
        "print('once')\n"
        "ensure_photos(60, folder=Path(sys.argv[1]))\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "photos")],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "once\n", "")
    assert len(files(tmp_path / "photos")) == 60
