"""Tar archives: which files they have, and where, without reading these.

The formats of POSIX (ustar, pax) and GNU's, see
https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html and
https://www.gnu.org/software/tar/manual/html_node/Standard.html. The standard library's `tarfile`
takes a broken header for the end of the archive, so that half of one looks like a smaller one, and
reads extended headers of any size into memory.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from dataflow.codec.tensor import bad

__all__ = ["Member", "members", "read_member"]

_BLOCK = 512
_END = bytes(_BLOCK)
_MOST = 1 << 20  # bytes of an extended header

# Name, size, checksum, type, magic, and what stands before the name.
_HEADER = struct.Struct("100s24x12s12x8s1s100x6s82x155s12x")
_CHECKSUM = slice(148, 156)

_FILES = b"0\x007"
_BARE = b"123456"  # links, devices, folders: nothing follows, whatever their size says
_LONG_NAME, _LONG_LINK, _PAX, _GLOBAL, _SPARSE = b"LKxgS"

_FOREIGN = {
    b"\x1f\x8b": "gzip, in which nothing can be found without unpacking all before it: gunzip it",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PK": "a ZIP archive",
}


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        name: with its folders; what is no UTF-8 has lone surrogates.
        head: where its headers begin, in bytes.
        start: where the file itself begins.
        size: of it, in bytes.
        end: where the next one's headers may begin.
    """

    name: str
    head: int
    start: int
    size: int
    end: int


def members(fd: int, place: int = 0, stop: int | None = None) -> Iterator[Member]:
    """The files of an open archive, in its order; folders, links and devices are left out.

    Args:
        fd: the archive, not compressed.
        place: a `Member.head` to begin at.
        stop: a `Member.end` to end at; None: at the mark of the archive's end.

    Raises:
        CodecError: it is no archive, broken, or not whole; the message says at which byte.
    """
    total = os.fstat(fd).st_size
    head, name, size = place, None, None
    while stop is None or place < stop:
        if place and place == total == head and stop is None:
            return  # some writers leave the mark of the end out
        block = os.pread(fd, _BLOCK, place)
        if len(block) < _BLOCK and not place:
            bad("foreign", f"this is no tar archive, but {_kind(block)}")
        if len(block) < _BLOCK:
            bad("truncated", f"it ends at byte {total}, without the mark of an archive's end")
        if block == _END and stop is None:
            return
        plain, length, kind = _read_header(block, place)
        length = size if size is not None and kind in _FILES else length
        place += _BLOCK
        follows = 0 if kind in _BARE else length
        if place + follows > total:
            what = f"a file of {follows} bytes begins at byte {place}, but it ends at byte {total}"
            bad("truncated", what)
        end = place + -(-follows // _BLOCK) * _BLOCK
        if kind in (_LONG_NAME, _PAX):
            if follows > _MOST:
                bad("corrupt", f"the extended header at byte {place} has {follows} bytes")
            body = os.pread(fd, follows, place)
            if kind == _PAX:
                name, size = _read_pax(body, place, name)
            else:
                name = _text(body)
        elif kind == _SPARSE:
            bad("unsupported", f"the file at byte {place} is stored with its holes left out")
        elif kind not in (_LONG_LINK, _GLOBAL):
            full = plain if name is None else name
            if kind in _FILES and not full.endswith("/"):
                yield Member(full, head, place, length, end)
            head, name, size = end, None, None
        place = end


def read_member(fd: int, member: Member) -> bytes:
    """The file itself.

    Raises:
        CodecError: the archive became shorter.
    """
    data = os.pread(fd, member.size, member.start)
    while len(data) < member.size:  # at most 2 GiB come at once
        more = os.pread(fd, member.size - len(data), member.start + len(data))
        if not more:
            bad("truncated", f"it ends at byte {member.start + len(data)}, within {member.name!r}")
        data += more
    return data


def _read_header(block: bytes, place: int) -> tuple[str, int, int]:
    """Name, size in bytes, and type of what begins at a place."""
    name, size, checksum, kind, magic, before = _HEADER.unpack(block)
    try:
        same = _number(checksum) == sum(block) - sum(block[_CHECKSUM]) + 8 * ord(" ")
        length = _number(size) if same else 0
    except ValueError:
        same = False
    if not same:
        if place:
            bad("corrupt", f"no file begins at byte {place}")
        bad("foreign", f"this is no tar archive, but {_kind(block)}")
    # GNU's own magic ends with a space, and has other things in that place.
    folders = _text(before) if magic == b"ustar\0" else ""
    full = _text(name)
    return (f"{folders}/{full}" if folders else full), length, kind[0]


def _read_pax(body: bytes, place: int, name: str | None) -> tuple[str | None, int | None]:
    """Name and size as an extended header has them: records of ``LENGTH KEY=VALUE\\n``."""
    size, at = None, 0
    while at < len(body):
        digits, _, _ = body[at : at + 20].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        key, equals, value = body[at + len(digits) + 1 : at + length].partition(b"=")
        if not equals or not value.endswith(b"\n") or at + length > len(body):
            bad("corrupt", f"the extended header at byte {place} is broken")
        at += length
        if key == b"path":
            name = _text(value[:-1])
        elif key == b"size":
            size = int(value) if value[:-1].isdigit() and len(value) < 20 else -1
            if size < 0:
                bad("corrupt", f"the extended header at byte {place} has no size")
        elif key.startswith(b"GNU.sparse."):
            bad("unsupported", f"the file after byte {place} is stored with its holes left out")
    return name, size


def _number(field: bytes) -> int:
    """Octal digits; or with the highest bit set, what does not fit into them, as it is.

    Raises:
        ValueError: neither, or a negative number.
    """
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip()
    if not digits:
        return 0
    if not digits.isdigit():
        raise ValueError
    return int(digits, 8)


def _kind(block: bytes) -> str:
    """What an archive's first bytes are instead, for a person."""
    known = [what for start, what in _FOREIGN.items() if block.startswith(start)]
    return (known or ["some other format" if block else "empty"])[0]


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")
