"""The server and the training loop of Tensorcom's README, as programs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from patience import patient

ROOT = Path(__file__).parents[2]


def test_two_servers_and_two_training_jobs(tmp_path: Path) -> None:
    for label in range(2):
        folder = tmp_path / f"images/class-{label}"
        folder.mkdir(parents=True)
        for i in range(8):
            image = np.full((40, 50, 3), (200, 30, 40 + i) if label else (30, 200, 60), np.uint8)
            cv2.imwrite(str(folder / f"{i}.png"), image)
    local = ("127.0.0.1", 0)
    with socket.create_server(local) as one, socket.create_server(local) as other:
        ports = ",".join(str(server.getsockname()[1]) for server in (one, other))
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path}

    def program(name: str, *words: object) -> subprocess.Popen[str]:
        script = str(ROOT / "examples/tensorcom" / name)
        return subprocess.Popen(
            [sys.executable, script, *map(str, words)],
            env=env,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    words = ("-d", "images", "-b", 4, "-s", 16, "-w", 1, "-r", 4)
    server = program("serve.py", f"zpub://127.0.0.1:{{{ports}}}", *words)
    try:
        words = ("--classes", 2, "--steps", 40, "--timeout", 60)
        jobs = [program("train.py", f"zsub://127.0.0.1:{{{ports}}}", *words) for _ in range(2)]
        for job in jobs:
            out, err = job.communicate(timeout=patient(90))
            assert job.returncode == 0, err
            lines = out.splitlines()
            assert [line.split(":")[0] for line in lines[:-1]] == [
                f"step {step}" for step in (10, 20, 30, 40)
            ]
            assert float(lines[3].split()[3].rstrip(",")) < 0.69
            assert lines[-1] == "images (4, 16, 16, 3) uint8, labels int32; loss 0.69 at first"
    finally:
        server.terminate()
        _, err = server.communicate(timeout=patient(30))
    assert server.returncode in (-15, 143), err
    assert "count 0 rate" in err
