"""Where files are kept that can be made or fetched again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """The environment variable DATAFLOW_CACHE if it is set; otherwise the platform's own place."""
    if chosen := os.environ.get("DATAFLOW_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        return Path(base) / "dataflow" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "dataflow"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dataflow"
