"""Where files are kept that can be made or fetched again, and where data sets are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["cache_folder", "dataset_folder"]


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


def dataset_folder(*names: str) -> Path:
    """The folder of data sets, or what is called so below it.

    The environment variable DATAFLOW_DATASET names it, or TENSORPACK_DATASET, whose layout is the
    same; otherwise it is in the cache folder.
    """
    chosen = os.environ.get("DATAFLOW_DATASET") or os.environ.get("TENSORPACK_DATASET")
    root = Path(chosen).expanduser() if chosen else cache_folder() / "datasets"
    return root.joinpath(*names)
