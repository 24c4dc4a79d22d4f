"""The native decoder of JPEGs: any part of one, at its size or at a half, a quarter or an eighth.

It is optional, see ``_jpeg.c`` beside this file: without it everything works, by OpenCV, which
decodes the whole and keeps to itself that a file is damaged. Pixels are the same either way.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["MISSING", "Part", "decode_part", "is_native", "version"]

_GREY, _BGR, _RGB = 0, 1, 2
ORDERS = {"grey": _GREY, "bgr": _BGR, "rgb": _RGB}

_UNSUPPORTED, _BROKEN = -2, -1
_ROOM_FOR_TEXT = 200  # libjpeg's JMSG_LENGTH_MAX


class Part(NamedTuple):
    """A rectangle of pixels of an image, at the size at which it is decoded."""

    top: int
    left: int
    rows: int
    columns: int


class Broken(Exception):
    """There are no pixels; the text is libjpeg's."""


def _load() -> tuple[Any, str]:
    """The library and ``""``, or None and why there is none."""
    if os.environ.get("DATAFLOW_NATIVE", "1") == "0":
        return None, "DATAFLOW_NATIVE=0 turns it off"
    found = sorted(Path(__file__).parent.glob("_jpeg.so*"))
    if not found:
        return None, (
            "it was not built: it needs a C compiler and the headers of libjpeg-turbo "
            "(apt install gcc libjpeg62-turbo-dev, dnf install gcc libjpeg-turbo-devel) when this "
            "package is installed"
        )
    try:
        library = ctypes.CDLL(str(found[0]))
    except OSError as error:
        return None, f"{found[0].name} cannot be loaded: {error}"
    decode = library.dataflow_jpeg_decode
    pointer, number = ctypes.c_void_p, ctypes.c_int
    decode.argtypes = (pointer, ctypes.c_size_t, *(number,) * 8, pointer, ctypes.c_char_p)
    return library, ""


_library, MISSING = _load()
"""`MISSING`: why there is no native decoder; ``""`` where there is one."""


def is_native() -> bool:
    """Whether the native decoder is there."""
    return _library is not None


def version() -> str:
    """That of libjpeg-turbo, such as ``"2.1.5"``. Only where the native decoder is there."""
    number = _library.dataflow_jpeg_version()
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def decode_part(
    data: Any,
    size: tuple[int, int],
    mode: str = "bgr",
    part: Part | None = None,
    denominator: int = 1,
) -> tuple[NDArray[np.uint8], str] | None:
    """Decode a part of a JPEG.

    Args:
        data: the file, `bytes` or any buffer.
        size: (height, width) of the whole, from its header.
        mode: ``"bgr"``, ``"rgb"`` or ``"grey"``.
        part: of the image at the size that `denominator` gives; None: all of it.
        denominator: 1, 2, 4 or 8: sides are divided by it, and rounded up.

    Returns:
        The pixels, rows×columns×3 or rows×columns, and what libjpeg says of the damage in the file,
        or ``""``; None where this is left to OpenCV, as of CMYK.

    Raises:
        Broken: there are no pixels.
    """
    if _library is None:
        return None
    height, width = size
    if part is None:
        part = Part(0, 0, -(-height // denominator), -(-width // denominator))
    shape: Any = (part.rows, part.columns) if mode == "grey" else (part.rows, part.columns, 3)
    if type(data) is not bytes:
        data = np.frombuffer(data, np.uint8)
    out = np.empty(shape, np.uint8)
    text = ctypes.create_string_buffer(_ROOM_FOR_TEXT)
    outcome = _library.dataflow_jpeg_decode(
        data if type(data) is bytes else data.ctypes.data,
        len(data),
        height,
        width,
        denominator,
        *part,
        ORDERS[mode],
        out.ctypes.data,
        text,
    )
    if outcome == _UNSUPPORTED:
        return None
    complaint = text.value.decode("ascii", "replace")
    if outcome == _BROKEN:
        raise Broken(complaint)
    return out, complaint
