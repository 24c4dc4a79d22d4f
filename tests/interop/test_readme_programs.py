"""The two programs of the ancestor's README, word for word but for the addresses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorpack.dataflow as tp
from patience import patient

import dataflow as df
from dataflow.demo.server import serve

ROOT = Path(__file__).parents[2]

NETWORK_IMAGES = """
from dataflow.dataset import NetworkImages

class NetworkImagesImple(NetworkImages):
    def __init__(self, shuffle=False):
        super(NetworkImagesImple, self).__init__(shuffle)
        self.datapoints = [
            ['{base}/0.jpg', 0],
            ['{base}/1.jpg', 1],
            ['{base}/2.jpg', 2],
            ['{base}/3.jpg', 3],
            ['{base}/4.jpg', 4],
        ]

ds = NetworkImagesImple()

for datapoint in ds.get_data():
    pass
"""

ILSVRC12 = """
import {kit} as df
from dataflow.dataset import ILSVRC12

service_code = 'CONTACT_ME'
ds = ILSVRC12(service_code, 'train', shuffle=True).parallel(num_threads=16)
ds = df.PrefetchDataZMQ(ds, nr_proc=8)

for datapoint in ds.get_data():
    pass
"""

COUNT = """
    # what was a bare `pass`, for the test to see something
    seen = globals().setdefault('seen', [])
    seen.append((datapoint[0].shape, int(datapoint[1])))
print(sorted(seen))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("web")
    lists = root / "CONTACT_ME/ImageSets/CLS-LOC"
    lists.mkdir(parents=True)
    with (lists / "train_cls.txt").open("w") as file:
        for number in range(40):
            image = np.full((10 + number, 10, 3), number, np.uint8)
            cv2.imwrite(str(root / f"{number}.jpg"), image)
            name = f"n{number % 2:08d}/n{number % 2:08d}_{number}"
            path = root / f"CONTACT_ME/Data/CLS-LOC/train/{name}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
            file.write(f"{name} {number + 1}\n")
    with serve(root) as url:
        yield url


def run(program: str, base: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program from a file, as a user does, to the end of its process."""
    script = folder / "program.py"
    script.write_text(program)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, str(script)],
        env={
            **os.environ,
            "PYTHONPATH": path,
            "DATAFLOW_ILSVRC_URL": f"{base}/{{}}/",
            "DATAFLOW_CACHE": str(folder / "cache"),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=patient(90),
    )


def with_count(program: str) -> str:
    head, _, _ = program.rpartition("    pass\n")
    return head + COUNT


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a program said on standard error, but for that it is of older spelling."""
    lines = iter(done.stderr.splitlines())
    found = []
    for line in lines:
        if "DeprecationWarning" in line and "is the older spelling of" in line:
            next(lines)  # the line of the program
        else:
            found.append(line)
    return found


@pytest.mark.parametrize("change", [lambda program: program, with_count])
def test_general_network_images(change, base: str, tmp_path: Path) -> None:
    done = run(change(NETWORK_IMAGES.replace("{base}", base)), base, tmp_path)
    assert (done.returncode, complaints(done)) == (0, [])
    if change is with_count:
        assert done.stdout == f"{[((10 + i, 10, 3), i) for i in range(5)]}\n"


@pytest.mark.parametrize("change", [lambda program: program, with_count])
def test_multi_threaded_downloading_with_multi_processed_preprocessing(
    change, base: str, tmp_path: Path
) -> None:
    done = run(change(ILSVRC12.replace("{kit}", "dataflow")), base, tmp_path)
    assert (done.returncode, complaints(done)) == (0, [])
    assert done.stderr.count("is the older spelling of") == 2, "nr_proc and get_data()"
    if change is with_count:
        assert done.stdout == f"{[((10 + i, 10, 3), i % 2) for i in range(40)]}\n"


def test_why_the_second_one_cannot_run_on_tensorpack_as_it_stands() -> None:
    """Its current release has neither this argument nor an iteration without `reset_state`.

    With ``num_proc`` and a reset it runs: see `test_processes`.
    """
    flow = df.DataFromList([[1]])
    with pytest.raises(TypeError, match="nr_proc"):
        tp.PrefetchDataZMQ(flow, nr_proc=8)
    with pytest.raises(AttributeError, match="_guard"):
        next(iter(tp.PrefetchDataZMQ(flow, num_proc=1)))
