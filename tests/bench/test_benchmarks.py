"""Each benchmark runs as it is, on little work; what it finds is for no test to judge."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from patience import patient

from dataflow.demo.photos import photo_path

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small photos, so that nothing needs to be drawn."""
    cache = tmp_path_factory.mktemp("cache")
    rng = np.random.default_rng(0)
    for index in range(50):
        path = cache / "photos-2" / photo_path(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 256, (60, 80, 3), np.uint8))
    return cache


def bench(name: str, *words: object, cache: Path, status: int = 0) -> str:
    """Run a script of bench/; returns what it printed."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / name), *map(str, words)],
        env={**os.environ, "PYTHONPATH": path, "DATAFLOW_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=patient(100),
    )
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def quick(name: str, cache: Path, out: Path) -> dict[str, Any]:
    """The result of a quick run, of this project alone."""
    words = ("--quick", "--only", "dataflow", "--out", out)
    bench(f"{name}.py", *words, cache=cache)
    result: dict[str, Any] = json.loads((out / f"{name}.json").read_text())
    return result


def check(result: dict[str, Any], name: str) -> None:
    assert result["bench"] == name
    assert result["command"] == f"python bench/{name}.py --quick"
    assert {"host", "title", "versions", "left_out", "targets"} <= set(result)
    first = result["columns"][0]["key"]
    for case in result["cases"]:
        assert case["system"] == "dataflow"
        assert len(case["runs"]) == result["runs"] == 1
        assert case["min"] == case["median"][first] == case["max"] > 0
        assert set(case["median"]) == {column["key"] for column in result["columns"]}


@pytest.mark.parametrize(
    ("name", "cases"),
    [
        ("augment", 44),
        ("pool", 4),
        ("overhead", 2),
        ("parallel", 6),
        ("transport", 2),
        ("files", 2),
        ("kill", 2),
        ("overlap", 6 if find_spec("torch") else 5),
        ("remote", 6),
        ("streams", 5),
    ],
)
def test_it_runs_and_writes_its_result(
    name: str,
    cases: int,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = quick(name, cache, tmp_path)
    check(result, name)
    assert len(result["cases"]) == cases
    if name == "kill":
        undisturbed, disturbed = (case["median"] for case in result["cases"])
        # A worker that is killed at the very end is not missed.
        assert undisturbed["kills"] == 0 <= disturbed["restarts"] <= disturbed["kills"] > 0
    if name == "files":
        assert len(result["cases"][0]["tried"]) == 2
    picture = tmp_path / "speed.png"
    words = ["report.py", str(tmp_path / f"{name}.json"), "--plot", str(picture)]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(ROOT / "bench/report.py"), run_name="__main__")
    text = capsys.readouterr().out
    assert f"`python bench/{name}.py --quick`" in text
    assert all(f"| {case['name']}" in text for case in result["cases"])
    assert cv2.imread(str(picture)) is not None


def test_a_peer_that_is_not_there_is_left_out(cache: Path, tmp_path: Path) -> None:
    words = ("--quick", "--only", "torch,spdl", "--out", tmp_path)
    interpreter = tmp_path / "none" / "python"
    options = ("--python", f"torch={interpreter}", "--python", "spdl=/bin/false")
    text = bench("overhead.py", *words, *options, cache=cache)
    assert (
        "Left out: torch (its interpreter: No such file or directory)" in text
        and "spdl (no version found)." in text
    )
    result = json.loads((tmp_path / "overhead.json").read_text())
    assert result["cases"] == [] and set(result["left_out"]) == {"torch", "spdl"}


def test_unknown_systems_are_refused(cache: Path, tmp_path: Path) -> None:
    text = bench("kill.py", "--only", "tensorpack", cache=cache, status=1)
    assert "--only tensorpack: there is dataflow" in text
    text = bench("overhead.py", "--python", "tourch=x", cache=cache, status=1)
    assert "not peer=path with a peer of aiohttp, daft, grain" in text
