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
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

from dataflow.errors import ConfigError

__all__ = ["DiskCache", "Kept"]

log = logging.getLogger(__name__)

# At the head of each file: a mark with the version, the CRC-32 of all that follows, the length of
# the body; then when it was stored, the lengths of three headers of its answer, and these.
_HEAD = struct.Struct("<4sIQ")
_MAGIC = b"DFC2"
_FORMER_MAGIC = b"DFC1"  # the body alone
_STORED = struct.Struct("<dHHH")
_MOST_HEADER = 1000  # characters of one that is kept
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


class Kept(NamedTuple):
    """A body of the cache.

    Attributes:
        body: itself.
        stale: it is older than `DiskCache.max_age`, so its server has to be asked.
        etag: the ``ETag`` of its answer; empty where there was none.
        modified: the ``Last-Modified``.
        robots: the ``X-Robots-Tag`` headers; None where nobody knows.
    """

    body: bytes
    stale: bool
    etag: str
    modified: str
    robots: list[str] | None

    @property
    def conditions(self) -> dict[str, str]:
        """The headers that ask whether it is still the one."""
        both = {"If-None-Match": self.etag, "If-Modified-Since": self.modified}
        return {name: value for name, value in both.items() if value}


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
        max_age: after so many seconds a body's server is asked whether it has changed; None: never.

    Raises:
        ConfigError: `max_bytes` is not a positive integer, or `max_age` no number of seconds.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        max_bytes: int | None = None,
        max_age: float | None = None,
    ) -> None:
        if max_age is not None and not (_is_number(max_age) and max_age >= 0):
            raise ConfigError(f"max_age={max_age!r} is not a number of seconds from 0")
        self.max_age = max_age
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
        """The body that was kept for a URL, however old, or None."""
        kept = self.kept(url)
        return None if kept is None else kept.body

    def kept(self, url: str) -> Kept | None:
        """The same, with what is known of it."""
        path = self._path(url)
        try:
            with open(path, "rb") as file:
                head = file.read(_HEAD.size)
                rest = file.read()
        except OSError:
            return None
        found = self._read(head, rest)
        if found is not None and self.max_bytes is not None:
            with suppress(OSError):  # a folder that can only be read still serves
                os.utime(path)
        return found

    def _read(self, head: bytes, rest: bytes) -> Kept | None:
        """What a file has; None where it is damaged, by a loss of power perhaps.

        Then it is downloaded again and written over.
        """
        if len(head) < _HEAD.size:
            return None
        magic, checksum, length = _HEAD.unpack(head)
        if zlib.crc32(rest) != checksum:
            return None
        if magic == _FORMER_MAGIC and length == len(rest):
            return Kept(rest, self.max_age is not None, "", "", None)
        if magic != _MAGIC or len(rest) < _STORED.size:
            return None
        stored, *lengths = _STORED.unpack_from(rest)
        begin = _STORED.size + sum(lengths)
        if len(rest) != begin + length:
            return None
        notes, at = [], _STORED.size
        for size in lengths:
            notes.append(rest[at : at + size].decode("latin-1"))
            at += size
        etag, modified, robots = notes
        stale = self.max_age is not None and not 0 <= time.time() - stored <= self.max_age
        return Kept(rest[begin:], stale, etag, modified, robots.split("\n") if robots else [])

    def drop(self, url: str) -> None:
        """Keep the body of a URL no longer."""
        _remove(self._path(url))  # its size is set right at the next look at all of them

    def put(
        self,
        url: str,
        body: bytes,
        etag: str = "",
        modified: str = "",
        robots: Sequence[str] | None = (),
    ) -> None:
        """Keep a body. Does nothing where that is not possible.

        Args:
            url: of it.
            body: itself.
            etag: the ``ETag`` of its answer.
            modified: the ``Last-Modified``.
            robots: the ``X-Robots-Tag`` headers.
        """
        if self._resume > time.monotonic():
            return
        notes = [
            text.encode("latin-1", "replace") if len(text) <= _MOST_HEADER else b""
            for text in (etag, modified, "\n".join(robots or ()))
        ]
        first = _STORED.pack(time.time(), *map(len, notes)) + b"".join(notes)
        checksum = zlib.crc32(body, zlib.crc32(first))
        head = _HEAD.pack(_MAGIC, checksum, len(body)) + first
        size = len(head) + len(body)
        if self.max_bytes is not None and size > self.max_bytes:
            return
        path = self._path(url)
        draft = os.path.join(self._drafts, f"{self._token}-{os.getpid()}-{next(self._serial)}")
        try:
            try:
                with open(draft, "xb") as file:
                    file.write(head)
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


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


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
