"""What this machine has: cores, memory, and the limits a container puts on them."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

__all__ = ["core_quota", "cpu_model", "memory", "memory_limit", "usable_cores"]

CGROUPS = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """The cores that this process may keep busy: its affinity, and its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, round(core_quota() or 1e9)))


def core_quota() -> float | None:
    """The cores' worth of time that the control group allows; None where it does not limit it."""
    for folder in _groups():
        words = _read(folder / "cpu.max").split()
        if len(words) == 2 and words[0] != "max":
            return int(words[0]) / int(words[1])
    quota = _read(CGROUPS / "cpu/cpu.cfs_quota_us")  # cgroup v1
    period = _read(CGROUPS / "cpu/cpu.cfs_period_us")
    if quota.isdecimal() and period.isdecimal():
        return int(quota) / int(period)
    return None


def memory() -> int | None:
    """Bytes of physical memory."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def memory_limit() -> int | None:
    """Bytes that the control group allows; None where it does not limit them."""
    found = [_read(folder / "memory.max") for folder in _groups()]
    found.append(_read(CGROUPS / "memory/memory.limit_in_bytes"))  # cgroup v1
    limits = [int(text) for text in found if text.isdecimal()]
    # Version 1 writes "no limit" as a number near 2**63.
    return min((limit for limit in limits if limit < 1 << 60), default=None)


def cpu_model() -> str:
    """The processor's name."""
    if sys.platform == "linux":
        for line in _read(Path("/proc/cpuinfo")).splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def _groups() -> list[Path]:
    """This process's control group (version 2) and those above it, innermost first."""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        if line.startswith("0::"):
            inner = CGROUPS / line[3:].lstrip("/")
            return [inner, *(path for path in inner.parents if path.is_relative_to(CGROUPS))]
    return []


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
