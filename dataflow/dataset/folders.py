"""Which files of a folder are images, and which of its folders are classes: one rule for all.

What is hidden or the system's own is neither: ``.ipynb_checkpoints``, ``__MACOSX``, the ``._``
files that macOS leaves beside others. Links are followed, unless they lead back to a folder that
they are in. Folders are no images, nor are pipes, sockets and devices, whatever they are called.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from dataflow.errors import ConfigError, MissingData

__all__ = ["SUFFIXES", "class_names", "images_below", "is_image", "is_system", "told_of_empty"]

SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif"),
        *(".tif", ".tiff", ".avif", ".ppm", ".pgm", ".pnm", ".jp2"),
    )
)
"""Of image files, in small letters."""

_SYSTEM = frozenset(
    (
        *("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information"),
        *("lost+found", "Thumbs.db", "desktop.ini"),
    )
)
_SHOWN = 5


def is_system(name: str) -> bool:
    """Whether a file or folder of this name is hidden or the system's own."""
    return name.startswith(".") or name in _SYSTEM


def is_image(name: str) -> bool:
    """Whether a file of this name is taken for an image."""
    return os.path.splitext(name)[1].lower() in SUFFIXES and not is_system(name)


def images_below(folder: str | os.PathLike[str]) -> list[Path]:
    """The image files in a folder and all below it, sorted.

    Raises:
        MissingData: there is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise MissingData(f"{root} is not a folder")
    return sorted(_files(root, frozenset(map(_identity, root.resolve().parents))))


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _files(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    here = _identity(folder)
    if here in above:  # a link back to where we came from
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_system(entry.name):
                continue
            try:
                inner = entry.is_dir()
            except OSError:  # links in a circle
                continue
            if inner:
                yield from _files(folder / entry.name, above | {here})
            # A link to nothing counts: that it cannot be read shall be seen.
            elif is_image(entry.name) and (entry.is_file() or not os.path.exists(entry)):
                yield folder / entry.name


def class_names(folder: str | os.PathLike[str], classes: Sequence[str] | None = None) -> list[str]:
    """The names of the classes of a folder: of its sub-folders, sorted; or `classes`.

    Raises:
        MissingData: there is no such folder.
        ConfigError: it has a sub-folder that is none of `classes`, or these are not all different.
    """
    root = Path(folder)
    if not root.is_dir():
        raise MissingData(f"{root} is not a folder")
    with os.scandir(root) as entries:
        found = sorted(e.name for e in entries if not is_system(e.name) and e.is_dir())
    return found if classes is None else pinned(root, classes, found)


def pinned(place: object, classes: Sequence[str], found: Sequence[str]) -> list[str]:
    """`classes` as a list, where all that were found are among them."""
    if isinstance(classes, str) or len(set(classes)) != len(classes):
        raise ConfigError(f"classes={classes!r} must be a list of different names")
    others = sorted(set(found).difference(classes))
    if others:
        raise ConfigError(
            f"{place} has the sub-folders {_some(others)}, which are none of the "
            f"{len(classes)} classes: {_some(classes)}"
        )
    return list(classes)


def told_of_empty(place: object, classes: Sequence[str], labels: set[int]) -> None:
    """Warn of classes that have no images."""
    empty = [name for label, name in enumerate(classes) if label not in labels]
    if empty:
        warnings.warn(
            f"{place} has no images of {len(empty)} of its {len(classes)} classes: {_some(empty)}",
            RuntimeWarning,
            stacklevel=3,
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more
