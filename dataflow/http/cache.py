"""Downloaded bodies, kept on disk."""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import logging
import os
import secrets
import struct
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

from dataflow.errors import ConfigError

__all__ = ["DiskCache"]

log = logging.getLogger(__name__)

# At the head of each file: a mark with the version, the CRC-32 of the body, and its length.
_HEAD = struct.Struct("<4sIQ")
_MAGIC = b"DFC1"
# The file "ledger": a mark with the version, the shard to look at next, and the sum of all files.
_LEDGER = struct.Struct("<4sIQ")
_LEDGER_MAGIC = b"DFL1"
_SHARDS = 256
_SAMPLE = 4096  # bodies looked at for one eviction: some 20 ms
_ABANDONED = 3600.0  # seconds after which a draft's writer is taken for dead
_REST = 60.0  # seconds until writing is tried again


class _Entry(NamedTuple):
    used: float
    size: int
    path: str


class DiskCache:
    """A folder of bodies, under the hashes of their URLs.

    Any number of threads and processes may share a folder. A body is written beside its place and
    then moved there, with its length and checksum, so a reader sees all of it or nothing, whatever
    was killed or lost power meanwhile. What cannot be written is not kept, and not an error: one
    warning is logged, and writing is tried again once a minute.

    With `max_bytes` the bodies used least recently go first. Which those are is judged by samples
    of some thousand bodies where there are more; the size is shared by all processes and exact, as
    long as nothing but caches with a bound changes the folder.

    Args:
        folder: made where it is missing. Nothing else should be kept in it.
        max_bytes: how large the sum of the files may become; None for no bound.

    Raises:
        ConfigError: `max_bytes` is not a positive integer.
    """

    def __init__(self, folder: str | os.PathLike[str], max_bytes: int | None = None) -> None:
        if max_bytes is not None and (
            not isinstance(max_bytes, int) or isinstance(max_bytes, bool) or max_bytes < 1
        ):
            raise ConfigError(f"max_bytes={max_bytes!r} is not a positive integer")
        self.folder = os.path.abspath(os.path.expanduser(folder))
        self.max_bytes = max_bytes
        self._drafts = os.path.join(self.folder, "drafts")
        self._token = secrets.token_hex(8)
        self._serial = itertools.count()
        self._lock = threading.Lock()
        self._warned = False
        self._resume = 0.0
        try:
            os.makedirs(self._drafts, exist_ok=True)
            self._sweep()
        except OSError as error:
            self._rest(error)

    def get(self, url: str) -> bytes | None:
        """The body that was kept for a URL, or None."""
        path = self._path(url)
        try:
            with open(path, "rb") as file:
                head = file.read(_HEAD.size)
                body = file.read()
        except OSError:
            return None
        if len(head) < _HEAD.size or head != _head(body):
            # Damaged, by a loss of power perhaps: it is downloaded again and written over.
            return None
        if self.max_bytes is not None:
            with suppress(OSError):  # a folder that can only be read still serves
                os.utime(path)
        return body

    def drop(self, url: str) -> None:
        """Keep the body of a URL no longer."""
        _remove(self._path(url))  # its size is set right at the next look at all of them

    def put(self, url: str, body: bytes) -> None:
        """Keep a body. Does nothing where that is not possible."""
        if self._resume > time.monotonic():
            return
        size = _HEAD.size + len(body)
        if self.max_bytes is not None and size > self.max_bytes:
            return
        path = self._path(url)
        draft = os.path.join(self._drafts, f"{self._token}-{os.getpid()}-{next(self._serial)}")
        try:
            try:
                with open(draft, "xb") as file:
                    file.write(_head(body))
                    file.write(body)
                if self.max_bytes is None:
                    _move(draft, path)
                else:
                    with _open_ledger(os.path.join(self.folder, "ledger")) as ledger:
                        self._move_within_bound(draft, path, size, ledger)
            except BaseException:
                _remove(draft)
                raise
        except OSError as error:
            self._rest(error)

    def _move_within_bound(self, draft: str, path: str, size: int, ledger: _Ledger) -> None:
        assert self.max_bytes is not None
        if ledger.total is None:
            ledger.total = sum(entry.size for entry in self._entries(range(_SHARDS)))
        if ledger.total + size > self.max_bytes:
            ledger.total = self._evict(size, ledger.total, ledger)
        try:
            before = os.stat(path).st_size
        except OSError:
            before = 0
        _move(draft, path)
        ledger.total = max(0, ledger.total + size - before)

    def _evict(self, size: int, total: int, ledger: _Ledger) -> int:
        """Make room for `size` bytes, and some more lest each `put` has to; returns the new sum."""
        assert self.max_bytes is not None
        whole = False
        while total + size > self.max_bytes and not whole:
            sample: list[_Entry] = []
            visited = 0
            while visited < _SHARDS and len(sample) < _SAMPLE:
                sample += self._entries([(ledger.cursor + visited) % _SHARDS])
                visited += 1
            ledger.cursor = (ledger.cursor + visited) % _SHARDS
            whole = visited == _SHARDS
            if whole:
                # All was seen, which also sets the sum right, whatever had become of it.
                total = sum(entry.size for entry in sample)
                goal = self.max_bytes - size - self.max_bytes // 8
            else:
                goal = total - sum(entry.size for entry in sample) // 4
            for entry in sorted(sample):
                if total <= goal:
                    break
                _remove(entry.path)
                total -= entry.size
        return max(0, total)

    def _entries(self, shards: Iterable[int]) -> list[_Entry]:
        found = []
        for shard in shards:
            for folder in _scan(os.path.join(self.folder, f"{shard:02x}")):
                for item in _scan(folder.path):
                    try:
                        stat = item.stat(follow_symlinks=False)
                    except OSError:
                        continue  # evicted by another process
                    found.append(_Entry(stat.st_mtime, stat.st_size, item.path))
        return found

    def _path(self, url: str) -> str:
        # Only the hash of a URL comes near the file system, so nothing in a URL leads elsewhere.
        name = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
        return os.path.join(self.folder, name[:2], name[2:4], name[4:])

    def _sweep(self) -> None:
        """Remove the drafts of writers that were killed."""
        limit = time.time() - _ABANDONED
        for item in _scan(self._drafts):
            try:
                if item.stat(follow_symlinks=False).st_mtime < limit:
                    _remove(item.path)
            except OSError:
                continue

    def _rest(self, error: OSError) -> None:
        with self._lock:
            self._resume = time.monotonic() + _REST
            warned, self._warned = self._warned, True
        if not warned:
            log.warning("downloads are not cached in %s: %s", self.folder, error)


@dataclass
class _Ledger:
    """What the processes that share a folder know together."""

    total: int | None
    """Bytes of all files; None where nobody knows."""
    cursor: int
    """The shard to look at first at the next eviction."""


@contextmanager
def _open_ledger(path: str) -> Iterator[_Ledger]:
    """The ledger, for one process and thread at a time; written back at the end."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        # Released by the kernel at the latest when the holder dies.
        fcntl.flock(fd, fcntl.LOCK_EX)
        raw = os.pread(fd, _LEDGER.size, 0)
        ledger = _Ledger(total=None, cursor=0)
        if len(raw) == _LEDGER.size:
            magic, cursor, total = _LEDGER.unpack(raw)
            if magic == _LEDGER_MAGIC:
                ledger = _Ledger(total=total, cursor=cursor % _SHARDS)
        yield ledger
        if ledger.total is not None:
            os.pwrite(fd, _LEDGER.pack(_LEDGER_MAGIC, ledger.cursor, ledger.total), 0)
    finally:
        os.close(fd)


def _head(body: bytes) -> bytes:
    return _HEAD.pack(_MAGIC, zlib.crc32(body), len(body))


def _move(draft: str, path: str) -> None:
    try:
        os.replace(draft, path)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.replace(draft, path)


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def _scan(folder: str) -> list[os.DirEntry[str]]:
    """A folder's entries; none where it is missing."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
