"""The shards of a WebDataset: where each is, here or behind a URL, and the samples in it."""

from __future__ import annotations

import os
import re
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import numpy as np

from dataflow.codec.tar import members
from dataflow.codec.tensor import bad
from dataflow.dataset.download import PublishedFile, obtain
from dataflow.dataset.samples import split_name
from dataflow.errors import CodecError, ConfigError, MissingData
from dataflow.stores import is_object, save_object
from dataflow.utils.draft import draft
from dataflow.utils.folders import digest, kept_file
from dataflow.utils.unpacked import packing_of, unpacked

__all__ = ["PIPE", "Places", "Shards", "is_remote"]

PIPE = "pipe:"
"""Before a command of the shell whose output is a shard."""

Places: TypeAlias = "tuple[array[int], array[int]]"
"""First and last byte of each sample of a shard."""

_PACKED = ("gzip", "bzip2", "xz", "zstd")
_PIPES = "pipes"
_OURS = re.compile(f"[0-9a-f]{{16}}|{_PIPES}")  # folders of fetched shards
_INDEX = ".index"
_GIVEN_UP = 3  # times that a file may vanish between being there and being opened


def is_remote(url: str) -> bool:
    """Whether a shard has to be fetched before it can be read."""
    return url.startswith(PIPE) or ("://" in url and not os.path.exists(url))


class Shards:
    """The shards, each of which is fetched when it is first needed, and kept.

    Where the samples are in a shard is kept for much longer: 16 bytes each, also for shards that
    are files here. Any number of processes may share the folder.

    Args:
        urls: of the shards: paths, URLs of http, https or an object store, or ``pipe:COMMAND``.
        folder: where those are kept that were fetched.
        max_bytes: larger ones are not fetched, nor unpacked.
        cache_bytes: fetched shards that were not used for the longest time are removed, so that
            they have no more bytes together, but for those that are needed; None: all are kept.
    """

    def __init__(
        self, urls: Sequence[str], folder: Path, max_bytes: int, cache_bytes: int | None
    ) -> None:
        self.urls = list(urls)
        self._folder = folder
        self._max_bytes = max_bytes
        self._cache_bytes = cache_bytes
        self._making = threading.Lock()
        self._needed: set[int] = set()
        self._here: dict[int, str] = {}  # where those are that need not be fetched

    def need(self, number: int) -> None:
        """Do not remove a shard until `keep_only` leaves it out."""
        with self._making:
            self._needed.add(number)

    def keep_only(self, numbers: Iterable[int]) -> None:
        """Of those that are needed, only these are from now on."""
        with self._making:
            self._needed.intersection_update(numbers)
        if self._cache_bytes is not None:
            self._make_room(None)

    def path(self, number: int, stop: Callable[[], bool] | None = None) -> str:
        """Where a shard is, which is fetched if that is necessary.

        Args:
            number: of the shard.
            stop: asked now and then while it is fetched: whether that is of no use any more.

        Raises:
            MissingData: it is not there, cannot be fetched, or need not any more.
            CodecError: it is packed, and damaged.
            MissingExtra: it is in a store, or packed, with what no library is there for.
        """
        url = self.urls[number]
        if (known := self._here.get(number)) is not None:
            return known
        if not is_remote(url):
            path = self._here[number] = _plain(url, self._max_bytes)
            return path
        place = self._place(url)
        if place.exists():
            if self._cache_bytes is not None:
                with suppress(OSError):
                    os.utime(place)  # it was used
            return str(place)
        arriving = place.parent / "arriving" / place.name
        arriving.parent.mkdir(parents=True, exist_ok=True)
        with _alone(arriving):
            if not place.exists():  # otherwise another process was faster
                self._fetch(url, arriving, stop)
                os.replace(arriving, place)
        if self._cache_bytes is not None:
            self._make_room(place)
        return str(place)

    def read(self, number: int, stop: Callable[[], bool] | None = None) -> int:
        """A file descriptor of a shard, for whoever closes it; see `path`.

        Raises:
            MissingData: as of `path`.
            OSError: it cannot be opened.
        """
        for trial in range(_GIVEN_UP):
            path = self.path(number, stop)
            try:
                return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            except FileNotFoundError:  # somebody has made room meanwhile
                self._here.pop(number, None)
                if trial == _GIVEN_UP - 1:
                    raise
        raise AssertionError

    def places(self, number: int, stop: Callable[[], bool] | None = None) -> Places:
        """Where the samples of a shard begin and end; it is fetched if that is not known yet.

        Raises:
            MissingData: as of `path`.
            CodecError: it is no tar archive, or damaged.
        """
        known = self.known(number)
        if known is not None:
            return known
        url = self.urls[number]
        for trial in range(2):
            try:
                fd = self.read(number, stop)
            except MissingData:
                raise
            except OSError as error:
                raise MissingData(f"{url} cannot be read: {error.strerror}") from error
            try:
                found = _samples(fd, url)
                self._keep(number, found, os.fstat(fd).st_size)
                return found
            except CodecError:
                if not is_remote(url):
                    raise
                # What came by the network once may come better now; it is not kept as it is.
                self._place(url).unlink(missing_ok=True)
                if trial:
                    raise
            finally:
                os.close(fd)
        raise AssertionError

    def known(self, number: int) -> Places | None:
        """The same where it is known without fetching anything."""
        try:
            both = np.load(self._index(number), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if both.ndim != 2 or len(both) != 2 or both.dtype != np.int64 or not both.size:
            return None
        url = self.urls[number]
        if is_remote(url) and (place := self._place(url)).exists():
            with suppress(OSError):
                if place.stat().st_size != both[0, 0]:  # it became another one
                    return None
        starts, stops = array("q"), array("q")
        starts.frombytes(both[0, 1:].tobytes())
        stops.frombytes(both[1, 1:].tobytes())
        return starts, stops

    def _keep(self, number: int, places: Places, size: int) -> None:
        """Write down where the samples are, behind the size of the whole shard."""
        path = self._index(number)
        with suppress(OSError, MissingData):  # a folder that can only be read
            path.parent.mkdir(parents=True, exist_ok=True)
            both = np.array([[size, *places[0]], [0, *places[1]]], np.int64)
            with draft(path) as place, open(place, "wb") as file:
                np.save(file, both, allow_pickle=False)

    def _index(self, number: int) -> Path:
        """The file that keeps where the samples of a shard are."""
        url = self.urls[number]
        if is_remote(url):
            place = self._place(url)
            return place.with_name(f"{place.name}{_INDEX}")
        status = os.stat(url)
        version = f"{status.st_size} {status.st_mtime_ns}"
        return kept_file("shard-indices", os.path.abspath(url), version, _INDEX)

    def _place(self, url: str) -> Path:
        """Where a fetched shard is kept."""
        if url.startswith(PIPE):
            return self._folder / _PIPES / f"{digest(url)}.tar"
        base, _, query = url.partition("?")
        origin, _, name = base.rpartition("/")
        if name in ("", ".", ".."):
            raise ConfigError(f"{url} does not end with the name of a file")
        # Shards that lie together stay together, and others of the same name apart from them.
        return self._folder / digest(f"{origin}?{query}") / name

    def _fetch(self, url: str, place: Path, stop: Callable[[], bool] | None) -> None:
        if url.startswith(PIPE):
            _run(url, place, self._max_bytes, stop)
        elif is_object(url):
            save_object(url, place, self._max_bytes, stop)
        else:
            obtain(PublishedFile((url,), max_bytes=self._max_bytes), place.parent, stop)
        with open(place, "rb") as file:
            kind = packing_of(file.read(16))
        if kind in _PACKED:
            plain = unpacked(str(place), kind, max_bytes=self._max_bytes, beside=True)
            os.replace(plain, place)

    def _make_room(self, newest: Path | None) -> None:
        """Remove those that were not used for the longest time, and are not needed."""
        assert self._cache_bytes is not None
        with self._making:
            kept = {newest, *(self._place(self.urls[number]) for number in self._needed)}
            found = []
            for path in self._folder.glob("*/*"):
                drafted = path.name.startswith(".")  # somebody is writing it
                ours = _OURS.fullmatch(path.parent.name)  # the folder may be for other things, too
                if ours and path.suffix != _INDEX and not drafted and path.is_file():
                    with suppress(OSError):
                        status = path.stat()
                        found.append((status.st_mtime, status.st_size, path))
            size = sum(one[1] for one in found)
            for _, bytes_, path in sorted(found):
                if size <= self._cache_bytes:
                    break
                if path not in kept:
                    with suppress(OSError):
                        path.unlink()
                        size -= bytes_

    def __getstate__(self) -> dict[str, object]:
        # Workers do not know what is needed, and remove nothing.
        own: dict[str, object] = {"_needed": set(), "_here": {}, "_cache_bytes": None}
        return self.__dict__ | {"_making": None, **own}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _making=threading.Lock())


def _plain(path: str, max_bytes: int) -> str:
    """A file here, or its unpacked copy."""
    try:
        with open(path, "rb") as file:
            kind = packing_of(file.read(16))
    except FileNotFoundError:
        raise MissingData(f"{path} is not there") from None
    except OSError as error:
        raise MissingData(f"{path} cannot be read: {error.strerror}") from error
    return unpacked(path, kind, max_bytes=max_bytes) if kind in _PACKED else path


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While no other process or thread fetches the same shard."""
    import fcntl

    with open(f"{path}.lock", "a") as file:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(url: str, place: Path, max_bytes: int, stop: Callable[[], bool] | None) -> None:
    """Write what a command puts out."""
    import subprocess  # it is dear

    command = url.removeprefix(PIPE)
    with draft(place) as path, open(path, "wb") as file:
        process = subprocess.Popen(
            command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        size = 0
        with process:
            while piece := process.stdout.read(1 << 16):
                size += len(piece)
                stopped = stop is not None and stop()
                if stopped or size > max_bytes:
                    process.kill()
                    why = "not needed any more" if stopped else f"more than {max_bytes=}"
                    raise MissingData(f"{url}: {why}")
                file.write(piece)
        if process.returncode:
            raise MissingData(f"{url}: the command ended with status {process.returncode}")


def _samples(fd: int, url: str) -> Places:
    """Where the samples of a shard begin and end: neighbours of the same key."""
    starts, stops = array("q"), array("q")
    key: str | None = None
    seen: set[str] = set()
    try:
        for member in members(fd):
            if (parts := split_name(member.name)) is None:
                continue
            if parts[0] != key:
                key, seen = parts[0], set()
                starts.append(member.head)
                stops.append(member.end)
            if parts[1] in seen:
                bad("corrupt", f"{member.name!r} at byte {member.head} is there twice")
            seen.add(parts[1])
            stops[-1] = member.end
    except CodecError as error:
        raise CodecError(f"{url}: {error}", url=url, reason=error.reason) from None
    except OSError as error:
        raise MissingData(f"{url} cannot be read: {error.strerror}") from error
    return starts, stops
