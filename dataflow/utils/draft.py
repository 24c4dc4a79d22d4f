"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dataflow.errors import MissingData

__all__ = ["draft"]


@contextmanager
def draft(path: str | os.PathLike[str]) -> Iterator[str]:
    """A name to write a file under, beside `path`, which it is moved to at the end.

    Whatever is raised meanwhile removes it; a killed process leaves it, as a hidden file
    ``.NAME.….draft``, but nothing under the name itself.

    Raises:
        MissingData: the folder is not there.
    """
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    if not os.path.isdir(folder):
        raise MissingData(f"{os.fspath(path)} cannot be written: {folder} is not a folder")
    place = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.draft")
    try:
        yield place
        _sync(place)
        os.replace(place, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(place)
        raise
    _sync(folder)  # the new name, too, is there after a loss of power


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
