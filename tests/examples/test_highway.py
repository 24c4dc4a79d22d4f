"""Both programs of Highway's README."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from optional import library
from patience import patient

skimage = library("skimage")

ROOT = Path(__file__).parents[2]
PRINTED = "images (16, 240, 320, 3) uint8, labels (16, 2) float32\n"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of photographs."""
    folder = tmp_path_factory.mktemp("photos")
    for name, file in (("cats", "chelsea.png"), ("rockets", "rocket.jpg")):
        image = cv2.imread(str(Path(skimage.__file__).parent / "data" / file))
        (folder / name).mkdir()
        for part in range(4):
            cv2.imwrite(str(folder / name / f"{part}.jpg"), image[20 * part :, 20 * part :])
    return folder


def program(name: str, *words: object) -> subprocess.Popen[str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, str(ROOT / "examples/highway" / name), *map(str, words)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_one_machine(photos: Path) -> None:
    assert program("augment.py", photos).communicate(timeout=patient(90)) == (PRINTED, "")


def test_three_machines_and_how_they_end(photos: Path) -> None:
    """The trainer ends by itself, the others by Ctrl-C, after their main thread has ended."""
    local = ("127.0.0.1", 0)
    with socket.create_server(local) as one, socket.create_server(local) as other:
        ports = [server.getsockname()[1] for server in (one, other)]
    source, trainer = (f"tcp://127.0.0.1:{port}" for port in ports)
    where = ("--source", source, "--trainer", trainer)
    others = [
        program("machines.py", "source", photos, *where),
        program("machines.py", "worker", "--procs", 1, *where),
    ]
    try:
        training = program("machines.py", "trainer", "--steps", 10, *where)
        out, err = training.communicate(timeout=patient(90))
        # Machines that take long to start are waited for, which is told after a while.
        told = [line for line in err.splitlines() if not line.startswith("waiting for a ")]
        assert (out, told) == (PRINTED, [])
        for process in others:
            process.send_signal(signal.SIGINT)
        for process in others:
            _, err = process.communicate(timeout=patient(30))
            assert process.returncode == 0
            assert "Traceback" not in err
    finally:
        for process in others:
            process.kill()
            process.communicate()
