"""As ``tensorcom.tenbin``: arrays as frames of a message, as a block, in streams and files.

`dataflow.codec.tensorcom` has the format, and `dataflow.codec.tenbin` the files: what is here are
their names of old, for scripts that call them. A buffer that is not what it should be is a
`CodecError`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from dataflow.codec import tenbin
from dataflow.codec.tensor import bad
from dataflow.codec.tensorcom import (
    DTYPES,
    check_infos,
    chunk_at,
    chunked,
    decode,
    decode_frames,
    encode,
    encode_frames,
    header_of,
    plain_array,
    read_header,
)
from dataflow.errors import ConfigError

__all__ = [
    "bytedata",
    "bytelen",
    "check_acceptable_input_type",
    "check_infos",
    "decode_buffer",
    "decode_chunks",
    "decode_header",
    "decode_list",
    "encode_buffer",
    "encode_chunks",
    "encode_header",
    "encode_list",
    "load",
    "long_to_short",
    "magic",
    "magic_bytes",
    "magic_str",
    "read",
    "read_chunk",
    "roundup",
    "save",
    "short_to_long",
    "str64",
    "unstr64",
    "write",
    "write_chunk",
    "zrecv_multipart",
    "zrecv_single",
    "zsend_multipart",
    "zsend_single",
]

encode_list = encode_frames
decode_list = decode_frames
encode_buffer = encode
decode_buffer = decode

_MOST = 1 << 20  # bytes of a chunk are read at once: more come in parts


def str64(s: str) -> int:
    """Up to 8 characters of ASCII as an int64, padded with zeros.

    Raises:
        CodecError: they are not.
    """
    if len(s) > 8 or not s.isascii():
        bad("infos", f"{s!r} is not up to 8 characters of ASCII")
    return int.from_bytes(s.encode().ljust(8, b"\0"), "little", signed=True)


def unstr64(i: int) -> str:
    """The characters in an int64.

    Raises:
        CodecError: they are no ASCII.
    """
    text = int(i).to_bytes(8, "little", signed=True).strip(b"\0")
    if not text.isascii():
        bad("corrupt", f"{text!r} is no text of ASCII")
    return text.decode()


long_to_short = {np.dtype(short).name: short for short in map(str, DTYPES)}
"""The format's names of dtypes by NumPy's: ``{"float32": "f4", …}``."""
short_to_long = {short: long for long, short in long_to_short.items()}

magic_str = "~TenBin~"
magic_bytes = magic_str.encode()
magic = str64(magic_str)


def bytelen(a: Any) -> int:
    """The bytes of an array, or of bytes."""
    return memoryview(a).nbytes


def bytedata(a: Any) -> Any:
    """The memory of an array; bytes as they are."""
    return a if isinstance(a, (bytes, bytearray)) else memoryview(a)


def roundup(n: int, k: int = 64) -> int:
    """The next multiple of `k`."""
    return -(-n // k) * k


def check_acceptable_input_type(data: Sequence[Any], allow64: bool) -> None:
    """Refuse what cannot be sent.

    Raises:
        CodecError: an array has a dtype that the format has not, or without `allow64` one of 64
            bits.
    """
    for array in data:
        dtype = plain_array(array).dtype
        if not allow64 and dtype.itemsize == 8:
            bad("unsupported", f"dtype {dtype} needs allow64=True")


# -- messages ----------------------------------------------------------------------------------


def encode_header(a: Any, info: str = "") -> bytes:
    """The header of an array."""
    return header_of(plain_array(a), info)


def decode_header(h: Any) -> tuple[tuple[int, ...], np.dtype[Any], str]:
    """Shape, dtype and info that a header says."""
    found = read_header(memoryview(h).cast("B"))
    return found.shape, found.dtype, found.info


def zsend_multipart(socket: Any, l: Sequence[Any], infos: Sequence[str] | None = None) -> Any:  # noqa: E741
    """Send arrays as a message of frames over a socket of ZeroMQ."""
    return socket.send_multipart(encode_frames(l, infos))


def zrecv_multipart(socket: Any, infos: bool | Sequence[str] | None = False) -> Any:
    """Receive arrays from a message of frames."""
    return decode_frames(socket.recv_multipart(), infos)


def zsend_single(socket: Any, l: Sequence[Any], infos: Sequence[str] | None = None) -> Any:  # noqa: E741
    """Send arrays as a message of one frame."""
    return socket.send(encode(l, infos))


def zrecv_single(socket: Any, infos: bool | Sequence[str] | None = False) -> Any:
    """Receive arrays from a message of one frame."""
    return decode(socket.recv(), infos)


# -- chunks and streams ------------------------------------------------------------------------


def encode_chunks(l: Sequence[Any]) -> bytearray:  # noqa: E741
    """Each bytes as a chunk, one after the other."""
    return bytearray().join(piece for one in l for piece in chunked(memoryview(one).cast("B")))


def decode_chunks(buf: Any) -> list[memoryview]:
    """The contents of chunks; views of `buf`."""
    view, place, found = memoryview(buf).cast("B"), 0, []
    while place < len(view):
        length, end = chunk_at(view[place : place + 16], place, len(view))
        found.append(view[place + 16 : place + 16 + length])
        place = end
    return found


def write_chunk(stream: BinaryIO, buf: Any) -> None:
    """Write bytes as a chunk."""
    stream.writelines(chunked(memoryview(buf).cast("B")))


def read_chunk(stream: BinaryIO) -> bytes | None:
    """The content of the next chunk of a stream; None at its end."""
    head = stream.read(16)
    if not head:
        return None
    length, end = chunk_at(head, 0, 1 << 62)  # how long the stream is, is not known
    content = bytearray()
    while len(content) < end - 16:
        part = stream.read(min(end - 16 - len(content), _MOST))
        if not part:
            bad("truncated", f"the stream ends {end - 16 - len(content)} bytes too early")
        content += part
    return bytes(content[:length])


def write(stream: BinaryIO, l: Sequence[Any], infos: Sequence[str] | None = None) -> None:  # noqa: E741
    """Write arrays to a stream."""
    for frame in encode_frames(l, infos):
        write_chunk(stream, frame)


def read(stream: BinaryIO, n: int = 999999, infos: bool | Sequence[str] | None = False) -> Any:
    """The next `n` arrays of a stream, or what there is."""
    frames: list[bytes] = []
    for _ in range(n):
        header = read_chunk(stream)
        if header is None:
            break
        frames += [header, read_chunk(stream) or b""]
    return decode_frames(frames, infos)


# -- files -------------------------------------------------------------------------------------


def save(
    fname: str | os.PathLike[str],
    *args: Any,
    infos: Sequence[str] | None = None,
    nocheck: bool = False,
) -> None:
    """Write arrays to a file whose name ends in ``.ten``, unless `nocheck`."""
    _check_name(fname, nocheck)
    tenbin.save(fname, *args, infos=infos)


def load(
    fname: str | os.PathLike[str],
    infos: bool | Sequence[str] | None = False,
    nocheck: bool = False,
) -> Any:
    """The arrays of a file, as read-only views of it."""
    _check_name(fname, nocheck)
    return tenbin.load(fname, infos)


def _check_name(fname: str | os.PathLike[str], nocheck: bool) -> None:
    if not nocheck and not os.fspath(fname).endswith(".ten"):
        raise ConfigError(
            f"fname={os.fspath(fname)!r} does not end in .ten; nocheck=True allows it"
        )
