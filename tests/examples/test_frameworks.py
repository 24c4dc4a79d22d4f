"""The programs of ``examples/frameworks``: each goes on as if nothing had stopped it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from optional import library
from patience import patient

import dataflow as df

EXAMPLES = Path(__file__).parents[2] / "examples" / "frameworks"
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "ACCELERATE_USE_CPU": "true",
    "KERAS_BACKEND": "tensorflow",
}
PROGRAMS = {
    "torch_loop.py": ("torch",),
    "lightning_fit.py": ("lightning", "torch"),
    "accelerate_loop.py": ("accelerate", "torch"),
    "transformers_trainer.py": ("transformers", "torch"),
    "keras_fit.py": ("keras", "tensorflow"),
    "jax_loop.py": ("jax",),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty photos of two classes."""
    root = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir()
        for number in range(10):
            image = generator.integers(0, 256, (48, 64, 3), np.uint8)
            cv2.imwrite(str(root / name / f"{number}.jpg"), image)
    return root


def lines(program: str, *arguments: Any, ranks: int = 1) -> list[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    ran = subprocess.run(
        [
            *(sys.executable, *(launch if ranks > 1 else [])),
            *(str(EXAMPLES / program), *map(str, arguments)),
        ],
        capture_output=True,
        text=True,
        timeout=patient(100),
        env=os.environ | ENVIRONMENT,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return [line for line in ran.stdout.splitlines() if line.startswith("epoch")]


def test_every_program_is_tried() -> None:
    programs = {path.name: path.read_text() for path in EXAMPLES.glob("*.py")}
    assert set(programs) - {"photos.py"} == set(PROGRAMS)
    for name, text in programs.items():
        assert f"python examples/frameworks/{name} FOLDER" in text and len(text.splitlines()) <= 60


def plain(folder: Path) -> list[str]:
    """What an undisturbed training on it prints, in three epochs."""
    photos = df.dataset.ImageFolder(folder, shuffle=True).seed(1)
    batches = df.BatchData(df.MapData(photos, lambda dp: [dp[1]]), 8)
    epochs = [[str(label) for (labels,) in batches for label in labels] for _ in range(3)]
    assert len(set(map(tuple, epochs))) == 3, "a new order in each"
    return [" ".join([f"epoch {epoch}:", *labels]) for epoch, labels in enumerate(epochs)]


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "program",
    # By default one of those that import PyTorch goes without; two processes try it below.
    [pytest.param(one, marks=pytest.mark.soak) if "accel" in one else one for one in PROGRAMS],
)
def test_a_training_that_is_resumed(program: str, folder: Path, tmp_path: Path) -> None:
    for module in PROGRAMS[program]:
        library(module)
    kept = tmp_path / ("kept.keras" if program.startswith("keras") else "kept")
    shown = lines(program, folder, kept, 1) + lines(program, folder, kept, 3)
    # The Trainer makes the batches, and keeps the last one, which is smaller.
    assert [line[: len(other)] for line, other in zip(shown, plain(folder), strict=True)] == plain(
        folder
    )


@pytest.mark.timeout(400)
@pytest.mark.parametrize("program", ["accelerate_loop.py", "transformers_trainer.py"])
def test_two_processes(program: str, folder: Path, tmp_path: Path) -> None:
    """Together they have every photo once in each epoch: ten of each class."""
    for module in PROGRAMS[program]:
        library(module)
    shown = lines(program, folder, tmp_path / "kept", 2, ranks=2)
    for epoch in range(2):
        ranks = [line.split()[2:] for line in shown if line.startswith(f"epoch {epoch}:")]
        assert len(ranks) == 2 and len(ranks[0]) == len(ranks[1])
        labels = sorted(label for rank in ranks for label in rank)
        assert len(labels) in (16, 20), "a batch of eight on each, or three batches for both"
        assert len(labels) < 20 or labels == ["0"] * 10 + ["1"] * 10
