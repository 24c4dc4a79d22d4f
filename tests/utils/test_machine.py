"""What a container allows is read from its control group."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.utils import machine


def test_this_machine() -> None:
    assert machine.usable_cores() >= 1
    assert machine.cpu_model()


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "_groups", lambda: [inner, inner.parent, tmp_path])
    return inner


def test_quota(group: Path) -> None:
    assert machine.core_quota() is None
    (group / "cpu.max").write_text("max 100000\n")
    (group.parent / "cpu.max").write_text("150000 100000\n")
    assert machine.core_quota() == 1.5
    assert machine.usable_cores() <= 2


def test_memory_limit(group: Path) -> None:
    assert machine.memory_limit() is None
    (group / "memory.max").write_text("max\n")
    (group.parent / "memory.max").write_text("1073741824\n")
    assert machine.memory_limit() == 1 << 30


def test_version_1(group: Path) -> None:
    for folder in ("cpu", "memory"):
        (machine.CGROUPS / folder).mkdir()
    (machine.CGROUPS / "cpu/cpu.cfs_quota_us").write_text("50000\n")
    (machine.CGROUPS / "cpu/cpu.cfs_period_us").write_text("100000\n")
    (machine.CGROUPS / "memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert machine.core_quota() == 0.5
    assert machine.usable_cores() == 1
    assert machine.memory_limit() is None
