"""``dataflow bench grid``: whole, interrupted, failing."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import cv2
import pytest
from optional import library
from patience import patient

from dataflow.cli.child import CellError, run_cell
from dataflow.cli.heatmap import draw_heatmap
from dataflow.cli.results import Results, duration
from dataflow.demo.photos import ensure_photos
from dataflow.demo.server import serve
from dataflow.errors import ConfigError, MissingExtra

Run: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"
Start: TypeAlias = "Callable[..., subprocess.Popen[str]]"


SETTING = {"input": "x", "images": 10, "augment": False}


@pytest.fixture(scope="session")
def photos(cache: Path) -> Path:
    return ensure_photos(70, folder=cache / "photos-2")


def test_two_cells_then_a_third(run: Run, photos: Path, tmp_path: Path) -> None:
    words = ["bench", "grid", "--procs", "1", "--images", "40", "--latency-ms", "2", "--out", "o"]
    done = run(*words, "--threads", "2,4")
    assert done.returncode == 0, done.stderr
    assert "| threads \\ processes |" in " ".join(done.stdout.split())
    assert done.stdout.count("**") == 4  # the best of each table
    kept = json.loads((tmp_path / "o/grid.json").read_text())
    assert [(c["threads"], c["procs"], c["images"]) for c in kept["cells"]] == [
        (2, 1, 40),
        (4, 1, 40),
    ]
    assert all(cell["images_per_second"] > 5 for cell in kept["cells"])
    assert {"host", "versions", "commit", "setting"} == set(kept["head"])
    with (tmp_path / "o/grid.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["threads"] for row in rows] == ["2", "4"]
    assert cv2.imread(str(tmp_path / "o/grid.png")) is not None

    done = run(*words, "--threads", "2,4,8")
    assert done.returncode == 0, done.stderr
    assert "2 of 3 cells are there from before" in done.stdout
    again = json.loads((tmp_path / "o/grid.json").read_text())["cells"]
    assert [cell for cell in again if cell["threads"] != 8] == kept["cells"]

    done = run(*words, "--augment")
    assert done.returncode == 2
    assert "augment=False (now True)" in done.stderr
    assert done.stderr.count("\n") == 1


def test_augmented_files(run: Run, photos: Path, tmp_path: Path) -> None:
    words = ["bench", "grid", "--threads", "2", "--procs", "1", "--images", "20", "--augment"]
    done = run(*words, "--dir", photos)
    assert done.returncode == 0, done.stderr
    assert "images in the 10 classes of" in done.stdout
    assert (tmp_path / "dataflow-grid/grid.json").is_file()


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted(start: Start, run: Run, photos: Path, tmp_path: Path, how: int) -> None:
    words = ["bench", "grid", "--threads", "16", "--procs", "1,2", "--images", "60"]
    words += ["--latency-ms", "2", "--out", "o"]
    process = start(*words)
    path = tmp_path / "o/grid.json"
    deadline = time.monotonic() + patient(30)
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(how)
    _, err = process.communicate(timeout=patient(10))
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    assert "Traceback" not in err
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert "1 of 2 cells are there from before" in done.stdout


def test_failing_cells_are_reported_and_tried_again(run: Run, photos: Path, tmp_path: Path) -> None:
    words = ["bench", "grid", "--urls", "urls.txt", "--threads", "1", "--procs", "1,2"]
    with serve(photos) as base:
        (tmp_path / "urls.txt").write_text(f"{base}/missing.jpg 1\n" * 3)
        done = run(*words)
        again = run(*words, "--procs", "1")
    assert done.returncode == again.returncode == 1
    assert done.stdout.count("failed") == 4  # two cells in two tables
    assert done.stderr.count("TooManyErrors") == 2
    assert "Traceback" not in done.stderr
    assert "cells are there" not in again.stdout


def test_without_matplotlib(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/matplotlib.py").write_text("raise ImportError('not here')")
    root = str(Path(__file__).resolve().parents[2])
    done = run(
        *["bench", "grid", "--threads", "8", "--procs", "1", "--images", "20"],
        *["--latency-ms", "1"],
        PYTHONPATH=os.pathsep.join([str(tmp_path / "hidden"), root]),
    )
    assert done.returncode == 0, done.stderr
    assert "pip install matplotlib" in done.stderr
    assert "images per second" in done.stdout


def test_a_cell_that_dies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('out of luck')\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(CellError, match="exit status 1: out of luck"):
        run_cell({}, progress=lambda images: None)


def test_a_cell_that_stands_still(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr("dataflow.cli.child.SILENCE", 0.3)
    with pytest.raises(CellError, match="no image for"):
        run_cell({}, progress=lambda images: None)


def test_results_of_another_setting_are_kept(tmp_path: Path) -> None:
    results = Results.open(tmp_path, SETTING, fresh=False)
    results.add({"threads": 1, "procs": 1, "seconds": 2.0, "images_per_second": 5.0})
    assert Results.open(tmp_path, SETTING, fresh=False).has(1, 1)
    with pytest.raises(ConfigError, match=r"images=10 \(now 11\)"):
        Results.open(tmp_path, {**SETTING, "images": 11}, fresh=False)
    assert not Results.open(tmp_path, SETTING, fresh=True).has(1, 1)


def test_a_foreign_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "grid.json").write_text("[1, 2]")
    with pytest.raises(ConfigError, match="is not a grid's result"):
        Results.open(tmp_path, SETTING, fresh=False)


def test_tables(tmp_path: Path) -> None:
    results = Results.open(tmp_path, SETTING, fresh=False)
    for threads, procs, seconds in ((1, 1, 200.4), (1, 2, 100.2), (2, 1, 90.0)):
        results.add(
            {"threads": threads, "procs": procs, "seconds": seconds}
            | {"images_per_second": 1000 / seconds}
        )
    results.add({"threads": 2, "procs": 2, "error": "gone"})
    text = results.tables([1, 2], [1, 2])
    assert [line.split("|")[2:4] for line in text.splitlines() if line.startswith("|  ")][1:3] == [
        ["     3:20 ", "   1:40 "],
        [" **1:30** ", " failed "],
    ]
    assert "**11.11**" in text


def test_durations() -> None:
    assert duration(59.96, tenths=True) == "1:00.0"
    assert duration(1.26, tenths=True) == "0:01.3"
    assert duration(317, tenths=False) == "5:17"


def test_heatmap(tmp_path: Path) -> None:
    library("matplotlib")
    draw_heatmap([[1.0, None], [3.0, 4.0]], [1, 2], [1, 2], "title", tmp_path / "a.png")
    draw_heatmap([[None]], [1], [1], "nothing but failures", tmp_path / "b.png")
    picture = cv2.imread(str(tmp_path / "a.png"))
    assert picture is not None
    assert picture.std() > 10


def test_heatmap_needs_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match="pip install"):
        draw_heatmap([[1.0]], [1], [1], "title", tmp_path / "a.png")


def test_a_cell_ends_with_its_parent() -> None:
    cell = subprocess.Popen(
        [sys.executable, "-m", "dataflow.cli.cell"],
        cwd=Path(__file__).resolve().parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    config = {"points": [["http://192.0.2.1/x.jpg", 0]] * 40, "files": False, "augment": False}
    cell.stdin.write(json.dumps({**config, "threads": 1, "procs": 1}).encode() + b"\n")
    cell.stdin.flush()
    time.sleep(1.5)
    _, err = cell.communicate(timeout=patient(10))  # closes its input
    assert b"Traceback" not in err
