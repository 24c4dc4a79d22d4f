"""The photos are drawn once, whole or not at all, where the user wants them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from patience import patient

from dataflow.demo.library import ensure_photos, photo_path
from dataflow.demo.photos import draw_photo
from dataflow.errors import ConfigError


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
        "from dataflow.demo.library import ensure_photos\n"
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
