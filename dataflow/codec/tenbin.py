"""``.ten`` files: lists of arrays, as the package tensorcom writes them.

`dataflow.codec.tensorcom` has the format, whose functions are here, too. A file may be larger than
memory: `load` maps it, `Writer` appends to it, `dataflow.TenData` reads it array by array.
"""

from __future__ import annotations

import fcntl
import logging
import mmap as mapping
import os
import threading
from collections.abc import Iterator, Sequence
from numbers import Integral
from types import TracebackType
from typing import Any

import numpy as np

from dataflow.codec.tensor import bad
from dataflow.codec.tensorcom import (
    DTYPES,
    ENTRY_BYTES,
    Entry,
    bytes_of,
    decode,
    decode_frames,
    encode,
    encode_frames,
    entry,
    pieces,
)
from dataflow.errors import CodecError, ConfigError, MissingData

__all__ = [
    "DTYPES",
    "Writer",
    "append",
    "check_components",
    "decode",
    "decode_frames",
    "encode",
    "encode_frames",
    "file_entries",
    "load",
    "read_array",
    "save",
]

logger = logging.getLogger(__name__)


def save(path: str | os.PathLike[str], *arrays: Any, infos: Sequence[str] | None = None) -> None:
    """Write arrays to a file, which is there as a whole or not at all.

    Args:
        path: the file; an older one is replaced.
        arrays: see `encode`, as for `infos`.
        infos: text for each of them.

    Raises:
        CodecError: the format has nothing for one of them.
    """
    from dataflow.utils.draft import draft  # with what only writers need

    with draft(path) as place, open(place, "wb") as file:
        file.writelines(pieces(arrays, infos))


def load(
    path: str | os.PathLike[str],
    infos: bool | Sequence[str] | None = False,
    *,
    mmap: bool = True,
) -> Any:
    """The arrays of a file.

    By default they are read-only views of the file itself, of which only the parts that are used
    come into memory. The file must not be made shorter meanwhile: the system ends a process that
    looks at what is no longer there.

    Args:
        path: the file.
        infos: see `decode`.
        mmap: False: read all of it into memory; the arrays are writable, then.

    Raises:
        MissingData: there is no such file.
        CodecError: something is not right with it.
    """
    try:
        with open(path, "rb") as file:
            if not mmap:
                content: Any = bytearray(os.fstat(file.fileno()).st_size)
                del content[file.readinto(content) :]
            elif os.fstat(file.fileno()).st_size:
                content = mapping.mmap(file.fileno(), 0, access=mapping.ACCESS_READ)
            else:
                content = b""  # nothing can be mapped
    except FileNotFoundError:
        raise MissingData(f"{os.fspath(path)} is not there") from None
    try:
        return decode(content, infos)
    except CodecError as error:
        raise _of_file(error, path) from None


def append(path: str | os.PathLike[str], *arrays: Any, infos: Sequence[str] | None = None) -> None:
    """Write arrays behind those of a file; for more than a few there is `Writer`.

    Raises:
        CodecError: as `Writer`, and as `encode`.
    """
    with Writer(path) as writer:
        writer.write(arrays, infos)


class Writer:
    """Appends to a file, which it makes where there is none.

    What was written is in the file when `write` returns. Any thread may write. Where the last
    writer was killed, the file may end within an array: that one is taken away, with a warning.

    Args:
        path: the file.
        components: how many arrays belong together, see `dataflow.TenData`: only so many can be
            written at once, and what a killed writer left of them is taken away, too.

    Raises:
        ConfigError: somebody else writes to it.
        CodecError: it is another file, or a broken one.
    """

    def __init__(self, path: str | os.PathLike[str], components: int | None = None) -> None:
        check_components(components)
        self.path = os.fspath(path)
        self.components = components
        self._writing = threading.RLock()  # again by a handler of signals that closes
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - `close` closes it
        try:
            self._lock()
            self._end = self._mended()
        except BaseException:
            self._file.close()
            raise

    def write(self, arrays: Sequence[Any], infos: Sequence[str] | None = None) -> None:
        """Append arrays, all of them or, where that fails, none.

        Raises:
            CodecError: the format has nothing for one of them.
            ConfigError: they are not `components`, or the writer is closed.
        """
        if self.components not in (None, len(arrays)):
            raise ConfigError(f"{len(arrays)} arrays, but components={self.components!r}")
        with self._writing:
            if self._file.closed:
                raise ConfigError(f"the writer of {self.path} is closed")
            try:
                for piece in pieces(arrays, infos):
                    self._all(piece)
            except BaseException:
                self._file.truncate(self._end)
                raise
            self._end = os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Close the file, safe against a loss of power. Idempotent."""
        with self._writing:
            if not self._file.closed:
                os.fsync(self._file.fileno())
                self._file.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _all(self, piece: Any) -> None:
        view = memoryview(piece)
        while view:  # at most 2 GiB go at once
            view = view[self._file.write(view) :]

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"somebody else is writing to {self.path}") from None

    def _mended(self) -> int:
        """The end of the last whole array, where the file ends now."""
        ends = [0]
        with open(self.path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                ends.extend(one.end for one in file_entries(file.fileno()))
            except CodecError as error:
                if error.reason != "truncated":
                    raise _of_file(error, self.path) from None
        end = ends[len(ends) - 1 - (len(ends) - 1) % (self.components or 1)]
        if end < size:
            logger.warning("%s: %d bytes of a broken end are taken away", self.path, size - end)
            self._file.truncate(end)
        return end


# -- of open files -----------------------------------------------------------------------------


def file_entries(fd: int, place: int = 0) -> Iterator[Entry]:
    """The arrays of an open file, from a place on; what they hold is not read.

    Raises:
        CodecError: something is not right with the next one.
    """
    size = os.fstat(fd).st_size
    while place < size:
        one = entry(os.pread(fd, ENTRY_BYTES, place), place, size)
        yield one
        place = one.end


def read_array(fd: int, one: Entry) -> np.ndarray:
    """One of them, in memory of its own.

    Raises:
        CodecError: the file became shorter.
    """
    array = np.empty(one.shape, one.dtype)
    view, place = bytes_of(array), one.start
    while view:  # at most 2 GiB come at once
        count = os.preadv(fd, [view], place)
        if not count:
            bad("truncated", f"the file ends at byte {place}, within an array")
        view, place = view[count:], place + count
    return array


def check_components(components: Any) -> None:
    """Refuse what is no number of arrays.

    Raises:
        ConfigError: it is not.
    """
    if components is not None and (not isinstance(components, Integral) or components < 1):
        raise ConfigError(f"components={components!r} must be an integer of at least 1")


def _of_file(error: CodecError, path: str | os.PathLike[str]) -> CodecError:
    """The same, with the file's name."""
    name = os.fspath(path)
    return CodecError(f"{name}: {error}", reason=error.reason, url=str(name))
