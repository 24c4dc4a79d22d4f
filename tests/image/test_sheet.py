"""Contact sheets."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dataflow.image import contact_sheet
from dataflow.image.sheet import displayable, write_png


def test_any_images(cat: np.ndarray, tmp_path: Path) -> None:
    images = [
        cat,
        cat[:, :, 0],
        cat[:5, :3, :1],
        cat.astype(np.float32) / 255,
        cat.astype(np.float64) * 2 - 100,
        cat > 100,
        np.dstack([cat, cat[:, :, 0]]),
        np.zeros((0, 4, 3), np.uint8),
        np.full((1, 500), np.nan),
    ]
    labels = ["cat", 2, None, "a label that is far too long", "", "Ä 猫 кот", "x\ny", 8, 9.5]
    path = tmp_path / "new" / "sheet.png"
    sheet = contact_sheet(images, labels, columns=4, size=100, path=path)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (3 * (100 + 16 + 7) + 7, 4 * 107 + 7, 3)
    assert np.array_equal(cv2.imread(str(path)), sheet)


def test_images_are_where_they_belong() -> None:
    colours = [np.full((4, 4, 3), value, np.uint8) for value in (10, 80, 150)]
    sheet = contact_sheet(iter(colours), columns=2, size=28)
    assert sheet.shape == (2 * 34 + 6, 2 * 34 + 6, 3)
    assert (sheet[6:34, 6:34] == 10).all()
    assert (sheet[6:34, 40:68] == 80).all()
    assert (sheet[40:68, 6:34] == 150).all()
    assert (sheet[40:68, 40:68] == sheet[0, 0]).all()


def test_images_that_belong_together() -> None:
    black, white = np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8)
    sheet = contact_sheet([(black, white), [white], black], ["", "W" * 40, ""], columns=2, size=28)
    assert sheet.shape == (2 * (28 + 14 + 6) + 6, 2 * (58 + 6) + 6, 3)
    assert (sheet[6:34, 6:34] == 0).all() and (sheet[6:34, 36:64] == 255).all()
    assert (sheet[6:34, 70:98] == 255).all() and (sheet[6:34, 100:] == sheet[0, 0]).all()
    assert (sheet[54:82, 6:34] == 0).all()
    ink = np.flatnonzero((sheet != sheet[0, 0]).any(axis=2)[34:48].any(axis=0))
    assert 70 <= ink.min() < 98 < ink.max() < 128


def test_proportions_stay() -> None:
    sheet = contact_sheet([np.zeros((10, 40), np.uint8)], size=40)
    black = (sheet == 0).all(axis=2)
    assert black.any(axis=1).sum() == 10
    assert black.any(axis=0).sum() == 40


def test_labels_are_written_inside_their_place() -> None:
    images = [np.zeros((9, 9), np.uint8)] * 3
    sheet = contact_sheet(images, ["", "W" * 300, ""], size=64)
    ink = (sheet != sheet[0, 0]).any(axis=2)[70:]
    assert ink.any()
    columns = np.flatnonzero(ink.any(axis=0))
    assert 76 <= columns.min() <= columns.max() < 76 + 64


def test_without_the_newer_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataflow.image.sheet._FACE", None)
    sheet = contact_sheet([np.zeros((9, 9), np.uint8)], ["label"], size=64)
    assert (sheet[72:] != sheet[0, 0]).any()


def test_wrong_arguments() -> None:
    image = np.zeros((5, 5), np.uint8)
    for arguments, message in (
        ({"columns": 0}, "columns=0"),
        ({"size": 3}, "size=3"),
        ({"labels": [1, 2]}, "2 entries for 1"),
    ):
        with pytest.raises(ValueError, match=message):
            contact_sheet([image], **arguments)
    with pytest.raises(ValueError, match="empty"):
        contact_sheet([])
    with pytest.raises(ValueError, match=r"not \(5, 5, 2\)"):
        contact_sheet([np.zeros((5, 5, 2))])


def test_displayable() -> None:
    assert displayable(np.array([[0.0, 0.5, 1.0]]))[0, :, 0].tolist() == [0, 128, 255]
    assert displayable(np.array([[-5.0, 0.6, 300.0, np.nan]]))[0, :, 0].tolist() == [0, 1, 255, 0]
    assert displayable(np.array([[1, 0]]))[0, :, 0].tolist() == [1, 0]
    assert displayable(np.array([[-1, 999]]))[0, :, 0].tolist() == [0, 255]


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises((ValueError, cv2.error)):
        write_png(tmp_path / "a.png", np.zeros((0, 0, 3), np.uint8))
