"""Versions of this package, of its source and of what it stands on."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

__all__ = ["commit", "own_version", "versions"]

# Its name on the package index, where `dataflow` is somebody else's.
DISTRIBUTION = "dataflow-feeder"
STANDS_ON = ("numpy", "opencv", "pyzmq", "pycurl")
OPENCV = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python-headless",
    "opencv-contrib-python",
)


def own_version() -> str:
    """The version of this package."""
    from dataflow.version import __version__

    return __version__


def version(distribution: str) -> str | None:
    """The installed version of a distribution, None where there is none. Imports nothing."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def opencv() -> tuple[str, str] | None:
    """The installed OpenCV distribution (there are four) and its version."""
    return next(((name, found) for name in OPENCV if (found := version(name))), None)


def versions() -> dict[str, str]:
    """Python's version, this package's, and those of what decides its speed."""
    found = {"python": platform.python_version(), "dataflow": own_version()}
    for name in STANDS_ON:
        if name == "opencv":
            found[name] = " ".join(reversed(opencv() or ("", "none")))
        else:
            found[name] = version(name) or "none"
    return found


def commit() -> str | None:
    """The commit that this package runs from, with ``-dirty`` where files differ from it.

    None for an installed package, which is in no repository of its own.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        described = subprocess.run(
            [
                "git",
                "-C",
                str(root),
                "describe",
                "--always",
                "--dirty",
                "--exclude=*",
                "--abbrev=12",
            ],
            check=False,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None
