"""Tar archives of data sets, unpacked whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from dataflow.errors import MissingData

if TYPE_CHECKING:
    from tarfile import TarFile

__all__ = ["unpack"]

_MOST_BYTES = 64 << 30


def unpack(archive: Path, folder: Path, *, last: str) -> None:
    """Unpack a tar archive, compressed or not.

    Files appear in the folder when all is unpacked, so that neither a killed process nor another
    one at the same work leaves half of something. What is there already stays. Links and devices
    are left out: without them, no member can lead outside.

    Args:
        archive: the archive.
        folder: where to unpack it.
        last: the top-level member that is put in place last; where it is, there is everything.

    Raises:
        MissingData: the archive is damaged, has not `last`, or has a member that would lie outside
            of the folder.
    """
    import shutil
    import tarfile
    import tempfile
    import zlib

    aside = Path(tempfile.mkdtemp(prefix=f".{archive.name}.", dir=folder))
    try:
        try:
            with tarfile.open(archive) as tar:
                _extract(tar, aside)
        except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError) as error:
            if isinstance(error, OSError) and error.errno:
                raise  # of the disk: gzip's errors have no number
            raise MissingData(
                f"{archive} cannot be unpacked: {error}. Delete it, and it is downloaded again"
            ) from error
        if not (aside / last).exists():
            raise MissingData(f"{archive} has no {last}: is it another archive?")
        for member in sorted(aside.iterdir(), key=lambda path: path.name == last):
            target = folder / member.name
            if not target.exists():
                try:
                    os.rename(member, target)
                except OSError:
                    if not target.exists():  # another process was faster
                        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _extract(tar: TarFile, folder: Path) -> None:
    from shutil import copyfileobj

    total = 0
    for member in tar:
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts:
            raise ValueError(f"its member {member.name!r} would lie outside")
        total += member.size
        if total > _MOST_BYTES:
            raise ValueError(f"it unpacks to more than {_MOST_BYTES} bytes")
        path = folder / name
        source = tar.extractfile(member) if member.isfile() else None
        if source is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with source, open(path, "wb") as target:
                copyfileobj(source, target, 1 << 20)
        elif member.isdir():
            path.mkdir(parents=True, exist_ok=True)
