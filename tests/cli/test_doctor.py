"""The report for a bug report."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from dataflow.cli import checks
from dataflow.cli.main import main

Run: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"


def test_report(run: Run) -> None:
    done = run("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for start in ("python", "numpy", "opencv", "cores", "memory", "/dev/shm", "open files", "jpeg"):
        assert any(line.startswith(f"  {start}") for line in lines), start
    assert "libzmq" in done.stdout
    assert "http2" in done.stdout
    section = lines[lines.index("checks") + 1 :]
    assert len(section) == len(checks.CHECKS)
    assert all(line[20:].startswith("ok") for line in section)


def test_nothing_personal(run: Run) -> None:
    text = run("doctor").stdout
    assert str(Path.home()) not in text.replace(" /", " ") or str(Path.home()) == "/"
    assert os.getcwd() not in text
    if len(platform.node()) > 3:
        assert platform.node() not in text
        assert platform.node() in run("doctor", "--host").stdout


def test_a_failing_check_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> str:
        raise OSError("no such thing\nhere")

    monkeypatch.setattr(checks, "CHECKS", (("broken", broken), ("jpeg", checks.jpeg)))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "  broken            FAIL  OSError: no such thing here\n" in out
    assert "  jpeg              ok\n" in out


def test_unwritable_cache_fails_without_its_path(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("doctor", DATAFLOW_CACHE=str(tmp_path / "file" / "cache"))
    assert done.returncode == 1
    assert "cache folder      FAIL" in done.stdout
    assert str(tmp_path) not in done.stdout
