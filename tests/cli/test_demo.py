"""``dataflow demo``, as a stranger runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import cv2
import pytest
from patience import patient

from dataflow.demo.photos import ensure_photos, label_of, photo_path
from dataflow.demo.server import serve

Run: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"
Start: TypeAlias = "Callable[..., subprocess.Popen[str]]"


@pytest.fixture(scope="session")
def photos(cache: Path) -> Path:
    return ensure_photos(70, folder=cache / "photos-2")


def test_without_input(run: Run, photos: Path, tmp_path: Path) -> None:
    done = run("demo", "--images", 70, "--threads", 8, "--procs", 2)
    assert (done.returncode, done.stderr) == (0, "")
    text = " ".join(done.stdout.split())
    for part in ("images/s", "70 in ", "MB/s", "failures 0", "Decode", "holds the run back"):
        assert part in text, done.stdout
    assert "contact sheet of the first batch: dataflow-demo.png" in done.stdout
    sheet = cv2.imread(str(tmp_path / "dataflow-demo.png"))
    assert sheet is not None
    assert sheet.shape[0] > 8 * 100
    assert sheet.std() > 30


def test_urls_with_failures(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"no image at all")
    with serve(photos) as base:
        lines = [f"{base}/{photo_path(index)} {label_of(index)}" for index in range(20)]
        lines += [f"{base}/missing{index}.jpg 3" for index in range(5)]
        lines += ["", "  # a remark", f"{base}/broken.jpg 4"]
        (tmp_path / "urls.txt").write_text("\n".join(lines))
        done = run("demo", "--urls", "urls.txt", "--procs", 1, "--out", "new/folder")
    assert done.returncode == 0, done.stderr
    assert "26 images from the URLs in urls.txt" in done.stdout
    assert "20 in " in done.stdout
    assert "failures 6" in " ".join(done.stdout.split())
    assert done.stdout.count("404") >= 3
    assert done.stdout.count("/missing") == 3
    assert (tmp_path / "new/folder/dataflow-demo.png").is_file()


def test_folder(run: Run, photos: Path, tmp_path: Path) -> None:
    done = run("demo", "--dir", photos, "--images", 15, "--procs", 1)
    assert done.returncode == 0, done.stderr
    assert f"15 images in the 10 classes of {photos}" in done.stdout
    assert "15 in " in done.stdout
    assert "MB/s" in done.stdout


def test_dead_links_only(run: Run, photos: Path, tmp_path: Path) -> None:
    with serve(photos) as base:
        (tmp_path / "urls.txt").write_text(f"{base}/missing.jpg 1\n" * 60)
        done = run("demo", "--urls", "urls.txt", "--procs", 1)
    assert done.returncode == 1
    assert done.stderr.startswith("dataflow demo: all of the first 50 datapoints failed")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c(start: Start, photos: Path) -> None:
    with serve(photos, latency=0.5) as base:
        urls = photos.parent / "slow.txt"
        urls.write_text(f"{base}/{photo_path(0)} 1\n" * 1000)
        process = start("demo", "--urls", urls, "--images", 1000, "--threads", 2, "--procs", 2)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=patient(10))
    assert process.returncode == 130
    assert "Traceback" not in err
