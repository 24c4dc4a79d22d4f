"""Workers in inhospitable processes: no shared memory to speak of, threads everywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from patience import patient

SMALL_SHM = """
import os, sys
import numpy as np
import dataflow as df
assert os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize <= 1 << 20
source = df.DataFromList([[i] for i in range(100)], shuffle=False)
ds = df.PrefetchDataZMQ(source.map(lambda dp: [np.full((400, 400, 3), dp[0], np.uint8)]), 2)
kept = [image for image, in ds]
assert sorted(int(image[0, 0, 0]) for image in kept) == list(range(100))
assert all((image == image[0, 0, 0]).all() for image in kept)
assert not os.listdir("/dev/shm")
ds.close()
print("well")
"""


def test_shared_memory_of_one_megabyte(tmp_path: Path) -> None:
    """Images of 48 MB in all cross: anonymous memory does not depend on /dev/shm; no SIGBUS."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    mount = "mount -t tmpfs -o size=1m tmpfs /dev/shm"
    for options in (["-m"], ["-r", "-m"]):
        tried = subprocess.run(["unshare", *options, "sh", "-c", mount], capture_output=True)
        if tried.returncode == 0:
            break
    else:
        pytest.skip("may not mount anything here")
    script = tmp_path / "script.py"
    script.write_text(SMALL_SHM)
    done = subprocess.run(
        ["unshare", *options, "sh", "-c", f'{mount} && exec "$0" "$1"', sys.executable, script],
        capture_output=True,
        text=True,
        timeout=patient(60),
    )
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr


BUSY_PARENT = """
import os, sys, threading
import numpy as np, cv2
import dataflow as df

cv2.setNumThreads(8)
os.environ["OMP_NUM_THREADS"] = "8"
image = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
matrix = np.ones((200, 200), np.float32)
stop = threading.Event()

def busy():
    while not stop.is_set():
        cv2.resize(cv2.GaussianBlur(image, (7, 7), 0), (500, 500))
        matrix @ matrix

def work(dp):
    return [cv2.resize(cv2.GaussianBlur(image, (7, 7), 0), (50, 50)), dp[0]]

threads = [threading.Thread(target=busy) for _ in range(8)]
for thread in threads:
    thread.start()
try:
    for _ in range(int(sys.argv[1])):
        with df.PrefetchDataZMQ(df.DataFromList([[i] for i in range(8)]).map(work), 2) as ds:
            assert sorted(label for _, label in ds) == list(range(8))
finally:
    stop.set()
    for thread in threads:
        thread.join()
print("well")
"""


def start_and_stop_beside_busy_threads(tmp_path: Path, times: int, timeout: float) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(BUSY_PARENT))
    env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, str(script), str(times)],
        env=env,
        capture_output=True,
        text=True,
        timeout=patient(timeout),
    )
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr


def test_starts_and_stops_beside_busy_threads_of_opencv(tmp_path: Path) -> None:
    """No lock of the parent's threads comes along into the workers, so nothing hangs."""
    start_and_stop_beside_busy_threads(tmp_path, 10, 110)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_a_hundred_starts_and_stops_beside_busy_threads_of_opencv(tmp_path: Path) -> None:
    start_and_stop_beside_busy_threads(tmp_path, 100, 1100)
