"""Tests that measure time run alone, whatever other processes of pytest do besides.

A test marked ``alone`` has the suite for itself while it runs. They come last, so that hardly
anybody waits for them.
"""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_DOOR, _ROOM = 0, 1  # bytes of the file, each of them a lock


class Turns:
    """A lock that many processes may share, or one has for itself.

    Args:
        path: a file of theirs. None: a new one.
    """

    def __init__(self, path: str | None) -> None:
        self._file = open(path, "r+b") if path else tempfile.NamedTemporaryFile()  # noqa: SIM115
        self.path = self._file.name

    def close(self) -> None:
        self._file.close()

    @contextmanager
    def turn(self, alone: bool) -> Iterator[None]:
        """While it is held: nobody else holds it; or, not alone, nobody has it for himself."""
        self._take(alone)
        try:
            yield
        finally:
            self._lock(_ROOM, fcntl.LOCK_UN)

    def _take(self, alone: bool) -> None:
        self._lock(_DOOR, fcntl.LOCK_EX)  # so that newcomers queue behind who waits
        try:
            self._lock(_ROOM, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        finally:
            self._lock(_DOOR, fcntl.LOCK_UN)

    def _lock(self, place: int, how: int) -> None:
        fcntl.lockf(self._file, how, 1, place)
