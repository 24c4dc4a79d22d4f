"""Where files are kept that can be made or fetched again, and where data sets are."""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["cache_folder", "dataset_folder", "digest", "kept_file"]


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


def digest(text: str) -> str:
    """A short name for a text of any length, such as a path or a URL."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def kept_file(kind: str, what: str, version: str, suffix: str = "") -> Path:
    """The path in the cache folder of something that was made of another thing, and is kept.

    Where it is not there, those that were made of other versions of the same thing are removed.

    Args:
        kind: the folder for things of the kind, which is made.
        what: names that other thing.
        version: differs where its contents do.
        suffix: of the file.
    """
    folder = cache_folder() / kind
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{digest(what)}-{digest(version)}{suffix}"
    if not path.exists():
        for older in folder.glob(f"{digest(what)}-*{suffix}"):
            with suppress(OSError):
                older.unlink()
    return path


def dataset_folder(*names: str) -> Path:
    """The folder of data sets, or what is called so below it.

    The environment variable DATAFLOW_DATASET names it, or TENSORPACK_DATASET, whose layout is the
    same; otherwise it is in the cache folder.
    """
    chosen = os.environ.get("DATAFLOW_DATASET") or os.environ.get("TENSORPACK_DATASET")
    root = Path(chosen).expanduser() if chosen else cache_folder() / "datasets"
    return root.joinpath(*names)
