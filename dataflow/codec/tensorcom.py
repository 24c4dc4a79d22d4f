"""Tensorcom's tensors: lists of arrays as frames of a message, as one block, as ``.ten`` files.

An array is a header and its bytes, C-contiguous and little-endian. The header is int64 words: the
dtype's short name (``f4``) in 8 zero-padded bytes, 8 bytes of ASCII for whatever the writer wants
to say, the rank, the dimensions. A multipart message has the two as frames. In a block and in a
file each of them is a chunk: ``~TenBin~``, its length as an int64, the bytes, and zeros up to a
multiple of 64.

The bytes are those of the package tensorcom 0.1.0, which has no uint32 (it misspells it) and
cannot read rank 0. Nothing in them can make the reader run code, and every size is checked against
the bytes that are there before anything is allocated.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from dataflow.codec.tensor import bad
from dataflow.errors import CodecError

__all__ = [
    "DTYPES",
    "ENTRY_BYTES",
    "MAX_RANK",
    "Entry",
    "bytes_of",
    "check_infos",
    "chunk_at",
    "chunked",
    "decode",
    "decode_frames",
    "encode",
    "encode_frames",
    "entries",
    "entry",
    "header_of",
    "pieces",
    "plain_array",
    "plain_arrays",
    "read_header",
]

_NAMES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")

DTYPES = {name: np.dtype(name).newbyteorder("<") for name in _NAMES}
"""All that the format has, by their names in it."""

MAX_RANK = 9

_BY_FIELD = {name.encode().ljust(8, b"\0"): dtype for name, dtype in DTYPES.items()}
_FIELDS = {dtype: field for field, dtype in _BY_FIELD.items()}

_MAGIC = b"~TenBin~"
_UNIT = 64  # chunks are padded to a multiple of it
_CHUNK = struct.Struct("<8sq")
_HEADERS = range(24, 24 + 8 * MAX_RANK + 1, 8)  # lengths of headers

ENTRY_BYTES = 2 * _CHUNK.size + 2 * _UNIT
"""At most so many bytes come before the data of an array in a file."""


class Entry(NamedTuple):
    """An array in a block or file.

    Attributes:
        dtype: of its elements.
        shape: of it.
        info: what its writer had to say, up to 8 characters.
        start: where its bytes begin.
        nbytes: how many they are.
        end: where the next array begins.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    info: str
    start: int
    nbytes: int
    end: int


# -- writing -----------------------------------------------------------------------------------


def encode(arrays: Sequence[Any], infos: Sequence[str] | None = None) -> bytearray:
    """Arrays as one block of bytes.

    Args:
        arrays: of the dtypes in `DTYPES`; see `plain_array` for what else.
        infos: text for each of them, up to 8 characters of ASCII.

    Raises:
        CodecError: the format has nothing for one of them.
    """
    return bytearray().join(pieces(arrays, infos))


def encode_frames(arrays: Sequence[Any], infos: Sequence[str] | None = None) -> list[Any]:
    """Arrays as frames: header, bytes, header, bytes, …; the bytes are not copied.

    Raises:
        CodecError: as `encode`.
    """
    return [frame for pair in _pairs(arrays, infos) for frame in pair]


def pieces(arrays: Sequence[Any], infos: Sequence[str] | None = None) -> Iterator[Any]:
    """The block of `encode` in parts; the bytes of arrays are not copied.

    Raises:
        CodecError: as `encode`, before the first part.
    """
    for pair in _pairs(arrays, infos):
        for content in pair:
            yield from chunked(content)


def chunked(content: bytes | memoryview) -> Iterator[Any]:
    """A chunk with these bytes, in parts."""
    yield _CHUNK.pack(_MAGIC, len(content))
    yield content
    yield bytes(-len(content) % _UNIT)


def plain_array(value: Any) -> np.ndarray:
    """What the format has for a value: a C-contiguous little-endian array, the same if it is one.

    Numbers of NumPy and Python become arrays of rank 0; of Python's own, int32 and float32, as in
    batches. Whatever says that it is an array, such as a tensor of PyTorch in main memory, is one.

    Raises:
        CodecError: it has nothing for it.
    """
    if type(value) is np.ndarray and value.flags.c_contiguous and value.dtype in _FIELDS:
        if value.ndim <= MAX_RANK:
            return value
    elif type(value) is int:
        if not -(1 << 31) <= value < 1 << 31:
            bad("unsupported", f"the integer {str(value)[:30]} needs more than 32 bits")
        value = np.int32(value)
    elif type(value) is float:
        value = np.float32(value)
    if isinstance(value, np.ma.MaskedArray):
        bad("unsupported", "a masked array cannot be sent; send its data and mask")
    if not hasattr(value, "__array__"):
        bad("unsupported", f"a {type(value).__name__} cannot be sent, arrays and numbers can")
    array = np.asarray(value)
    dtype = array.dtype.newbyteorder("<")
    if dtype not in _FIELDS:
        hint = "; send it as uint8" if dtype.kind == "b" else ""
        bad("unsupported", f"dtype {array.dtype} is none of {', '.join(_NAMES)}{hint}")
    if array.ndim > MAX_RANK:
        bad("unsupported", f"an array of {array.ndim} dimensions, more than {MAX_RANK}")
    return np.asarray(array, dtype, order="C")


def plain_arrays(values: Sequence[Any]) -> list[np.ndarray]:
    """`plain_array` of each.

    Raises:
        CodecError: the format has nothing for one; says which.
    """
    if not isinstance(values, (list, tuple)):
        bad("unsupported", f"a {type(values).__name__} cannot be sent, a list of arrays can")
    arrays = []
    for number, value in enumerate(values):
        try:
            arrays.append(plain_array(value))
        except CodecError as error:
            bad(error.reason, f"component {number}: {error}")
    return arrays


def _pairs(arrays: Sequence[Any], infos: Sequence[str] | None) -> list[tuple[bytes, memoryview]]:
    """Header and bytes of each array."""
    plain = plain_arrays(arrays)
    if infos is None:
        infos = [""] * len(arrays)
    if len(infos) != len(arrays):
        bad("infos", f"{len(arrays)} arrays, but infos={list(infos)!r}")
    return [(header_of(a, info), bytes_of(a)) for a, info in zip(plain, infos, strict=True)]


def header_of(array: np.ndarray, info: str = "") -> bytes:
    """The header of an array as `plain_array` makes it.

    Raises:
        CodecError: `info` is not up to 8 characters of ASCII.
    """
    if not isinstance(info, str) or len(info) > 8 or not info.isascii() or "\0" in info:
        bad("infos", f"{info!r} is not up to 8 characters of ASCII")
    text = info.encode().ljust(8, b"\0")
    rank = array.ndim
    return struct.pack(f"<8s8sq{rank}q", _FIELDS[array.dtype], text, rank, *array.shape)


def bytes_of(array: np.ndarray) -> memoryview:
    """The memory of a contiguous array."""
    flat: Any = array.reshape(-1).view(np.uint8)
    return memoryview(flat)


# -- reading -----------------------------------------------------------------------------------


def decode(data: Any, infos: bool | Sequence[str] | None = False) -> Any:
    """The arrays of a block that `encode`, tensorcom, or anybody has written.

    They are views of `data`, writable where that is; where it is not aligned in memory they are
    copies.

    Args:
        data: bytes or the like.
        infos: False: the arrays; True: the pair of them and the list of infos; a list: the infos
            that the first arrays must have.

    Raises:
        CodecError: for whatever is not right with them. There is no other exception.
    """
    view = _view(data)
    found = list(entries(view))
    arrays = [_array(view[one.start : one.start + one.nbytes], one) for one in found]
    return check_infos(arrays, [one.info for one in found], infos)


def decode_frames(frames: Sequence[Any], infos: bool | Sequence[str] | None = False) -> Any:
    """The arrays of frames, as those of a block in `decode`.

    Raises:
        CodecError: for whatever is not right with them. There is no other exception.
    """
    if len(frames) % 2:
        bad("truncated", f"{len(frames)} frames, where each array has two")
    arrays, found = [], []
    for header, data in zip(map(_view, frames[::2]), map(_view, frames[1::2]), strict=True):
        one = read_header(header)
        if len(data) != one.nbytes:
            bad("corrupt", f"{one.dtype} of shape {one.shape} in {len(data)} bytes")
        arrays.append(_array(data, one))
        found.append(one.info)
    return check_infos(arrays, found, infos)


def entries(view: memoryview) -> Iterator[Entry]:
    """The arrays of a block, one after the other.

    Raises:
        CodecError: something is not right with the next one.
    """
    place = 0
    while place < len(view):
        one = entry(view[place : place + ENTRY_BYTES], place, len(view))
        yield one
        place = one.end


def entry(window: bytes | memoryview, place: int, total: int) -> Entry:
    """What comes before the bytes of an array in a block or file.

    Args:
        window: the next `ENTRY_BYTES`, or what there is.
        place: where it begins.
        total: the length of the block or file.

    Raises:
        CodecError: it is something else, or not all of the array is there.
    """
    length, end = chunk_at(window, place, total)
    if length not in _HEADERS:
        bad("corrupt", f"a header of {length} bytes at byte {place}")
    header = read_header(window[_CHUNK.size : _CHUNK.size + length])
    if end == total:
        bad("truncated", f"the header at byte {place} is the last thing in {total} bytes")
    length, behind = chunk_at(window[end - place :], end, total)
    if length != header.nbytes:
        what = f"{header.dtype} of shape {header.shape} at byte {place}"
        bad("corrupt", f"{what} takes {header.nbytes} bytes, not {length}")
    return header._replace(start=end + _CHUNK.size, end=behind)


def check_infos(
    arrays: list[np.ndarray], found: list[str], wanted: bool | Sequence[str] | None
) -> Any:
    """The arrays, if their infos are as they should be; see `decode`.

    Raises:
        CodecError: with the reason ``infos``: they are not.
    """
    if wanted is None or wanted is False:
        return arrays
    if wanted is True:
        return arrays, found
    if found[: len(wanted)] != list(wanted):
        bad("infos", f"the arrays are {found!r}, where infos={list(wanted)!r} are wanted")
    return arrays


def chunk_at(window: bytes | memoryview, place: int, total: int) -> tuple[int, int]:
    """The length of the chunk that begins there, and where the next one does.

    Args:
        window: what is there, at least 16 bytes of it if there are so many.
        place, total: as of `entry`.

    Raises:
        CodecError: there is none, or not all of it.
    """
    if not _MAGIC.startswith(bytes(window[: len(_MAGIC)])):
        reason = "corrupt" if place else "foreign"
        bad(reason, f"no ~TenBin~ at byte {place}")
    if len(window) < _CHUNK.size:
        bad("truncated", f"it ends at byte {total}, within what begins at {place}")
    _, length = _CHUNK.unpack_from(window)
    if length < 0:
        bad("corrupt", f"a length of {length} at byte {place}")
    end = place + _CHUNK.size + length + -length % _UNIT
    if end > total:
        bad("truncated", f"the {length} bytes at byte {place} go beyond the end, {total}")
    return length, end


def read_header(header: bytes | memoryview) -> Entry:
    """What a header says; `Entry.start` and `Entry.end` are 0.

    Raises:
        CodecError: it is none.
    """
    if len(header) not in _HEADERS:
        bad("corrupt", f"a header of {len(header)} bytes")
    return _parsed(bytes(header))


@functools.lru_cache(256)  # one array is mostly like the next
def _parsed(header: bytes) -> Entry:
    field, text, rank, *shape = struct.unpack(f"<8s8s{len(header) // 8 - 2}q", header)
    dtype = _BY_FIELD.get(field)
    if dtype is None:
        name = field.rstrip(b"\0")
        bad("unsupported", f"dtype {name!r} is none of {', '.join(_NAMES)}")
    info = text.strip(b"\0")
    if not info.isascii() or b"\0" in info:
        bad("corrupt", f"info {text!r} is no text of ASCII")
    if rank != len(shape):
        bad("corrupt", f"rank {rank} in a header of {len(header)} bytes")
    # NumPy multiplies the extents of empty arrays, too, zeros apart.
    if min(shape, default=0) < 0 or math.prod(n or 1 for n in shape) * dtype.itemsize >= 1 << 60:
        bad("corrupt", f"shape {tuple(shape)}")
    nbytes = math.prod(shape) * dtype.itemsize
    return Entry(dtype, tuple(shape), info.decode(), 0, nbytes, 0)


def _array(data: memoryview, one: Entry) -> np.ndarray:
    array = np.frombuffer(data, one.dtype) if one.nbytes else np.empty(0, one.dtype)
    return (array if array.flags.aligned else array.copy()).reshape(one.shape)


def _view(frame: Any) -> memoryview:
    """The bytes of a frame, whatever holds them."""
    view = memoryview(getattr(frame, "buffer", frame))
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")
