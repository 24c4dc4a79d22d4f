"""Packed files as plain ones, in which every place can be read."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

from dataflow.errors import CodecError
from dataflow.utils.draft import draft
from dataflow.utils.extras import need
from dataflow.utils.folders import kept_file

__all__ = ["packing_of", "unpacked"]

_PIECE = 1 << 20

_MAGICS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


def packing_of(head: bytes) -> str | None:
    """How a file is packed that begins so: ``gzip``, ``bzip2``, ``xz``, ``zstd``, ``zlib``.

    None where it is not. What begins as zlib's do may be anything, so it is the last that is asked.
    """
    for magic, kind in _MAGICS.items():
        if head.startswith(magic):
            return kind
    # RFC 1950: method 8, a window of at most 32 kB, and both bytes a multiple of 31.
    zlib_s = len(head) > 1 and head[0] & 0xF == 8 and head[0] >> 4 < 8
    return "zlib" if zlib_s and (head[0] << 8 | head[1]) % 31 == 0 else None


def unpacked(path: str, kind: str, *, max_bytes: int | None = None, beside: bool = False) -> str:
    """The path of an unpacked copy, which is made where it is not there.

    It is in the cache folder (`DATAFLOW_CACHE`) and stays for the next time; one of a file that has
    changed takes its place.

    Args:
        path: the file.
        kind: as `packing_of` says.
        max_bytes: more is not unpacked.
        beside: make it in the same folder, for whoever puts it in the file's place.

    Raises:
        CodecError: it is damaged, not whole, or too large.
        MissingExtra: what unpacks it is not installed.
    """
    status = os.stat(path)
    if beside:
        place = Path(f"{path}.unpacked")
    else:
        version = f"{status.st_size} {status.st_mtime_ns}"
        place = kept_file("unpacked", os.path.abspath(path), version)
    if beside or not place.exists():
        with draft(place) as new, open(new, "wb") as file:
            _unpack(path, kind, file, status.st_size, max_bytes)
    return str(place)


def _unpack(path: str, kind: str, file: BinaryIO, size: int, max_bytes: int | None) -> None:
    from tqdm import tqdm

    done = 0
    about = f"unpacking {os.path.basename(path)}"
    bar: Any = tqdm(total=size, desc=about, unit="B", unit_scale=True, delay=2, disable=None)
    with open(path, "rb") as packed, bar:
        try:
            with closing(_pieces(packed, kind)) as pieces:
                for piece in pieces:
                    done += len(piece)
                    if max_bytes is not None and done > max_bytes:
                        what = f"{path} unpacks to more than {max_bytes} bytes"
                        raise CodecError(what, reason="too_large", url=path)
                    file.write(piece)
                    bar.update(packed.tell() - bar.n)
        except EOFError as error:
            what = f"{path} ends within what is packed with {kind}"
            raise CodecError(what, reason="truncated", url=path) from error
        except CodecError:
            raise
        except Exception as error:  # each library has its own
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the disk
            what = f"{path} cannot be unpacked with {kind}: {error}"
            raise CodecError(what, reason="corrupt", url=path) from error


def _pieces(packed: BinaryIO, kind: str) -> Generator[bytes, None, None]:
    if kind == "zlib":
        yield from _of_zlib(packed)
        return
    with _OPENERS[kind](packed) as stream:
        while piece := stream.read(_PIECE):
            yield piece


def _of_zlib(packed: BinaryIO) -> Iterator[bytes]:
    unpacker = zlib.decompressobj()
    rest = b""
    while not unpacker.eof:
        rest = rest or packed.read(_PIECE)
        if not rest:
            raise EOFError
        yield unpacker.decompress(rest, _PIECE)
        rest = unpacker.unconsumed_tail


def _zstd(packed: BinaryIO) -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found]  # from Python 3.14 on
    except ImportError:
        zstd = need("backports.zstd")
    return zstd.open(packed)


def _by(module: str, name: str) -> Callable[[BinaryIO], Any]:
    return lambda packed: getattr(need(module), name)(packed)


_OPENERS: dict[str, Callable[[BinaryIO], Any]] = {
    "gzip": _by("gzip", "open"),
    "bzip2": _by("bz2", "open"),
    "xz": _by("lzma", "open"),
    "zstd": _zstd,
}
