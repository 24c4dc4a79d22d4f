"""Files that the authors of data sets publish: downloaded once, checked, and put in place whole."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from dataflow.errors import FetchError, MissingData
from dataflow.http import FetchPolicy

if TYPE_CHECKING:
    import requests

__all__ = ["PublishedFile", "mirrored", "obtain"]

logger = logging.getLogger(__name__)

_PIECE = 1 << 16
# How often the list of addresses is gone through: a transfer that broke off goes on where it was.
_ROUNDS = 2
_POLICY = FetchPolicy(connect_timeout=10, stall_timeout=60)


@dataclass(frozen=True)
class PublishedFile:
    """A file of a data set, and where it is.

    Args:
        urls: its addresses, tried in turn. The last part of the first one's path is the file's
            name.
        checksum: ``"md5:…"`` or ``"sha256:…"``; None where none was published.
        size: in bytes, where it is known.
        max_bytes: where it is not, larger files are refused.
    """

    urls: tuple[str, ...]
    checksum: str | None = None
    size: int | None = None
    max_bytes: int = 16 << 30

    @property
    def name(self) -> str:
        """What the file is called on disk."""
        return re.split("[?#]", self.urls[0])[0].rpartition("/")[2]


def mirrored(bases: tuple[str, ...], checksums: Mapping[str, str]) -> dict[str, PublishedFile]:
    """Files that several hosts have, by name.

    Args:
        bases: base URLs, each with a slash at its end.
        checksums: of each file, by name.
    """
    return {
        name: PublishedFile(tuple(base + name for base in bases), checksum)
        for name, checksum in checksums.items()
    }


def obtain(file: PublishedFile, folder: Path, stop: Callable[[], bool] | None = None) -> Path:
    """The file in a folder; downloaded to it if it is not there, or not of the size it should have.

    Any number of processes may ask at once: one downloads, the others wait. A download that was
    broken off is continued where a checksum can tell whether the parts fit.

    Args:
        file: which.
        folder: where to.
        stop: asked now and then: whether it is of no use any more.

    Raises:
        MissingData: no address has it, or none has it with the right checksum; or it was stopped.
    """
    place = folder / file.name
    if _is_there(file, place):
        return place
    folder.mkdir(parents=True, exist_ok=True)
    with _partial_file(place) as part:
        if _is_there(file, place):  # another process was faster
            os.unlink(part.name)
            return place
        if place.exists():
            logger.warning(
                "%s has not the published size of %s bytes: downloading it again", place, file.size
            )
        try:
            _download(file, part, stop)
        except MissingData:
            part.flush()
            if not os.fstat(part.fileno()).st_size:
                os.unlink(part.name)
            raise
        part.flush()
        os.fsync(part.fileno())
        os.replace(part.name, place)
    return place


def _is_there(file: PublishedFile, place: Path) -> bool:
    return place.is_file() and file.size in (None, place.stat().st_size)


@contextmanager
def _partial_file(place: Path) -> Iterator[BinaryIO]:
    """What is there of a file so far, to append to; no other process or thread has it meanwhile."""
    import fcntl
    import secrets

    path = place.with_name(f"{place.name}.part")
    while True:
        with open(path, "a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError:  # some network file systems have no locks
                path.unlink(missing_ok=True)
                break
            if _is_at(path, file):  # who held it before may have put it in place, or removed it
                yield file
                return
    own = path.with_name(f"{place.name}.{secrets.token_hex(4)}.part")
    try:
        with open(own, "a+b") as file:
            yield file
    finally:
        own.unlink(missing_ok=True)  # nobody would go on with it


def _is_at(path: Path, file: BinaryIO) -> bool:
    """Whether an open file is the one that has this path now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _download(file: PublishedFile, part: BinaryIO, stop: Callable[[], bool] | None) -> None:
    """Fill `part` from the first address that has the right content.

    Raises:
        MissingData: none has.
    """
    import requests
    import urllib3.exceptions

    problems: dict[str, str] = {}
    wrong: set[str] = set()
    if file.checksum is None:
        part.truncate(0)
    with requests.Session() as session:
        for url in file.urls * _ROUNDS:
            if url in wrong:
                continue
            begun = part.seek(0, os.SEEK_END)
            try:
                _transfer(session, file, url, part, stop)
                problem = _difference(file, part)
                if problem is None:
                    return
                part.truncate(0)
                if not begun:  # otherwise it may be the older part that is wrong
                    wrong.add(url)
            except FetchError as error:
                problem = error.reason
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                problem = type(error).__name__
            logger.warning("%s from %s: %s", file.name, url, problem)
            problems[url] = problem
            if file.checksum is None:
                part.truncate(0)
    tried = ", ".join(f"{url} ({problem})" for url, problem in problems.items())
    raise MissingData(
        f"{file.name} could not be downloaded: {tried}. Put it into {Path(part.name).parent} "
        "yourself if you have it"
    )


def _transfer(
    session: requests.Session,
    file: PublishedFile,
    url: str,
    part: BinaryIO,
    stop: Callable[[], bool] | None,
) -> None:
    """Append the bytes behind a URL that are not in `part` yet."""
    from tqdm import tqdm

    have = part.seek(0, os.SEEK_END)
    if have and have == file.size:  # whoever downloaded it was stopped before it was in place
        return
    with _answer(session, url, have) as response:
        status = response.status_code
        if status == 200 and have:  # this server cannot begin in the middle
            part.truncate(0)
            have = 0
        begins = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if status not in (200, 206) or (status == 206 and not begins):
            if status in (206, 416):
                part.truncate(0)
            raise FetchError(f"{url}: status {status}", reason=f"http_{status}", url=url)
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isascii() and length.isdigit() else None
        most = file.size or file.max_bytes
        logger.info("downloading %s from %s", file.name, url)
        bar: Any = tqdm(
            desc=file.name,
            initial=have,
            total=total,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=None,
        )
        with bar:
            # As they were sent: servers that call a .gz file an encoding mean the file itself.
            for piece in response.raw.stream(_PIECE, decode_content=False):
                if stop is not None and stop():
                    raise MissingData(f"{url}: it is not needed any more")
                have += len(piece)
                if have > most:
                    part.truncate(0)
                    what = f"{url}: more than {most} bytes"
                    raise FetchError(what, reason="too_large", url=url)
                part.write(piece)
                bar.update(len(piece))
        if total is not None and have < total:
            what = f"{url}: {have} of {total} bytes"
            raise FetchError(what, reason="truncated", url=url)


@contextmanager
def _answer(session: requests.Session, url: str, start: int) -> Iterator[requests.Response]:
    """The answer to a request for the bytes from `start` on.

    Redirects are followed by the same rules as everywhere: not far, not to other schemes, and not
    from a public host into a private network.
    """
    from urllib.parse import urljoin

    from requests.utils import get_environ_proxies

    from dataflow.http.jobs import Job
    from dataflow.http.redirects import follow, refusal
    from dataflow.http.sockets import peer_of, resolve

    job = Job(url, done=lambda body: None)
    if job.problem is not None:
        raise job.problem
    headers = {"Accept-Encoding": "identity", "User-Agent": _POLICY.agent}
    if start:
        headers["Range"] = f"bytes={start}-"
    while True:
        addresses = [] if get_environ_proxies(job.target) else resolve(job.target)
        for address in addresses:
            if reason := refusal(job, address, _POLICY):
                raise job.error("blocked", reason)
        response = session.get(
            job.target,
            headers=headers,
            timeout=(_POLICY.connect_timeout, _POLICY.stall_timeout),
            allow_redirects=False,
            stream=True,
        )
        with closing(response):
            location = session.get_redirect_target(response)
            if location is None:
                yield response
                return
            # Which server this was is not known any more where its answer had no body.
            public = [address for address in addresses if not _POLICY.is_private(address)]
            peer = peer_of(response) or next(iter(public or addresses), "")
            follow(job, urljoin(job.target, location), peer, _POLICY, response.status_code)


def _difference(file: PublishedFile, part: BinaryIO) -> str | None:
    """What is wrong with a whole file, or None."""
    part.flush()
    size = part.seek(0, os.SEEK_END)
    if not size:
        return "it is empty"
    if file.size not in (None, size):
        return f"it has {size} bytes, not {file.size}"
    if file.checksum is None:
        return None
    import hashlib

    name, _, expected = file.checksum.partition(":")
    digest = hashlib.new(name, usedforsecurity=False)
    part.seek(0)
    while piece := part.read(1 << 20):
        digest.update(piece)
    if digest.hexdigest() != expected:
        return f"its {name} is {digest.hexdigest()}, not {expected}"
    return None
