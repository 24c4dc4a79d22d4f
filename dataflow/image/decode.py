"""From bytes to pixels, and what can be told of the bytes before."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from dataflow.errors import ConfigError, DecodeError
from dataflow.image import jpeg
from dataflow.image.decoding import MAX_PIXELS, Alpha, Decoding, Mode
from dataflow.image.header import Header, image_size, read_header, transparent_grey
from dataflow.image.orientation import orientation, tags, turned, without

__all__ = [
    "MAX_PIXELS",
    "check_image",
    "checked",
    "decode_image",
    "decoded",
    "image_size",
    "native_part",
    "opencv_part",
    "plain_pixels",
    "register",
    "registered",
]

Decoder: TypeAlias = Callable[[bytes], NDArray[Any]]

_PHOTOMETRIC, _CMYK = 262, 5  # a tag of TIFFs, and what it says

_own: dict[str, Decoder] = {}  # by the names that headers have, in capitals

_READABLE = frozenset({"JPEG", "PNG", "WEBP", "GIF", "BMP", "PNM", "TIFF", "AVIF", "JPEG 2000"})
_HINTS = {
    "HEIC": "pip install pillow-heif",
    "JPEG XL": "pip install pillow-jxl-plugin",
}

# What OpenCV writes on standard error about files that it cannot read is in our exceptions.
if "OPENCV_LOG_LEVEL" not in os.environ and hasattr(cv2, "utils"):
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def register(name: str, decoder: Decoder | None) -> None:
    """Have images of a format decoded by a function; for all data sets, also in their workers.

    For example, with pillow-heif::

        def heic(data):
            image = pillow_heif.read_heif(data).to_pillow()
            return np.asarray(image.convert("RGB"))[:, :, ::-1]

        df.image.register("heic", heic)

    Args:
        name: ``"heic"``, ``"jxl"``, ``"jp2"``, or one of those that need none (``"png"``), instead
            of what is there.
        decoder: bytes → H×W, H×W×3 or H×W×4, uint8 or uint16, BGR, the right way up. It has to
            travel to workers: a function of a module, or one that can be pickled. None: as before.

    Raises:
        ConfigError: there is no such format.
    """
    known = {"HEIF": "HEIC", "JXL": "JPEG XL", "JP2": "JPEG 2000", "JPG": "JPEG", "PPM": "PNM"}
    key = known.get(str(name).upper(), str(name).upper())
    if key not in _READABLE | set(_HINTS):
        names = ", ".join(sorted(one.lower() for one in _READABLE | set(_HINTS)))
        raise ConfigError(f"name={name!r} is no format of images that is known here: {names}")
    if decoder is None:
        _own.pop(key, None)
    elif callable(decoder):
        _own[key] = decoder
    else:
        raise ConfigError(f"decoder={decoder!r} must be a function of bytes, or None")


def registered() -> dict[str, Decoder]:
    """The functions of `register`, by the names of formats."""
    return dict(_own)


def check_image(
    data: bytes,
    content_type: str | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    url: str | None = None,
) -> None:
    """Raise unless `data` is a whole image of a known format and of bearable size.

    Reads headers only, and takes a few microseconds. `decode_image` checks the same, so nobody
    needs to do both.

    Args:
        data: the file's bytes: JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, PGM, AVIF or JPEG 2000.
        content_type: what the server called it. It is only told in the message: servers err.
        max_pixels: height × width may not be more.
        url: where it comes from, for the message.

    Raises:
        DecodeError: with the reason ``empty``, ``not_image``, ``unsupported`` (an image that needs
            a decoder, see `register`), ``truncated``, ``too_large`` or ``corrupt`` (no usable
            structure).
    """
    checked(data, content_type, max_pixels=max_pixels, url=url)


def checked(
    data: bytes,
    content_type: str | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    url: str | None = None,
    lenient: bool = False,
) -> Header:
    """`check_image`, with what was found.

    Args:
        data: as there, like the others.
        lenient: images without their end are let through.
    """
    if not data:
        raise _error("empty", "there are no bytes", url)
    header = read_header(data)
    if header is None:
        called = f", which the server called {content_type[:80]!r}" if content_type else ""
        raise _error("not_image", f"{_kind(data)}{called}", url)
    name, size, problem = header[:3]
    if size is not None and size[0] * size[1] > max_pixels:
        what = f"a {name} of {size[0]}×{size[1]} pixels, more than max_pixels={max_pixels}"
        raise _error("too_large", what, url)
    if name in _HINTS:
        if name not in _own:
            raise _error("unsupported", _unsupported(name), url)
        return header
    if problem == "truncated" and not (lenient and size is not None):
        raise _error("truncated", f"a {name} of {len(data)} bytes without its end", url)
    if (problem == "corrupt" and not lenient) or size is None or 0 in size:
        raise _error("corrupt", f"a {name} with a broken structure", url)
    return header


def decode_image(
    data: bytes,
    *,
    mode: Mode = "bgr",
    exif: bool = True,
    alpha: Alpha = "drop",
    lenient: bool = False,
    max_pixels: int = MAX_PIXELS,
    url: str | None = None,
) -> NDArray[Any]:
    """The pixels of an image file, of an animation those of the first frame.

    Args:
        data: the file's bytes: JPEG, PNG, WebP, GIF, BMP, TIFF, PNM, AVIF, JPEG 2000 where
            OpenCV has it, or a format that has a decoder of its own, see `register`.
        mode: ``"bgr"``: H×W×3, uint8, in the order blue, green, red, which is OpenCV's; grey images
            have three equal channels, and 16 bits become 8. ``"rgb"``: the same, red first.
            ``"grey"``: H×W, uint8. ``"unchanged"``: H×W, H×W×3 or H×W×4 with alpha, BGR, uint8 or
            uint16 (of TIFFs also float32), as the file has it.
        exif: turn and mirror the image as EXIF asks for (and AVIF, in its own way), so that it
            comes as it is meant to be seen. False: as it is stored.
        alpha: of images with transparency, ``"drop"`` leaves it out, whatever colour it hides (in
            TIFFs black, where it hides it wholly, since OpenCV multiplies them);
            ``"keep"`` makes it a fourth channel, which is 255 in images that have none;
            ``"white"``, ``"black"`` or a colour of three numbers, in the order of `mode`, is what
            they lie on.
        lenient: take what there is of damaged and truncated JPEGs; decoders of other formats take
            no less than all. (That the data of a JPEG is damaged is seen by the native decoder
            only; see `dataflow doctor`.)
        max_pixels: height × width may not be more; decided before anything is decoded.
        url: where it comes from, for the error.

    Raises:
        DecodeError: with the reasons of `check_image`, or ``corrupt`` where data is damaged or the
            decoder gave up.
        ConfigError: options that cannot be.
        TypeError: `data` is no bytes.
    """
    return decoded(data, Decoding(mode, exif, alpha, lenient, max_pixels), url)


def decoded(data: bytes, how: Decoding, url: str | None = None) -> NDArray[Any]:
    """`decode_image`, with its options as one."""
    data = _as_bytes(data)
    header = checked(data, max_pixels=how.max_pixels, url=url, lenient=how.lenient)
    return plain_pixels(data, header, how, url)


def _as_bytes(data: Any) -> bytes:
    if isinstance(data, bytes):
        return data
    if isinstance(data, np.ndarray) and (data.ndim != 1 or data.dtype != np.uint8):
        raise TypeError(
            f"data is an array of shape {data.shape} and dtype {data.dtype}: it must be a file's "
            "bytes"
        )
    if not isinstance(data, (bytearray, memoryview, np.ndarray)):
        hint = ": open(path, 'rb').read() gives those of a file" if isinstance(data, str) else ""
        raise TypeError(f"data is of type {type(data).__name__}, and must be bytes{hint}")
    return bytes(data)


def plain_pixels(
    data: bytes, header: Header, how: Decoding, url: str | None = None
) -> NDArray[Any]:
    """The pixels of a file that was `checked`."""
    if (own := _own.get(header.format.upper())) is not None:
        return _by_own(own, header.format, data, how, url)
    if header.format == "JPEG":
        image = _jpeg(data, header, how, url)
        turn = orientation(data, header) if how.exif else 1
        return turned(image, turn) if turn != 1 else image
    turn = _left_to_turn(data, header, how.exif)
    see_through = how.alpha != "drop" or (header.format == "TIFF" and _has_alpha(data))
    if see_through or how.mode == "unchanged":
        image = _with_transparency(data, header, how, url)
        image = image if how.mode == "unchanged" else _arranged(image, how)
    else:
        grey = how.mode == "grey"
        flag = cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR
        image = _by_opencv(data, flag | cv2.IMREAD_IGNORE_ORIENTATION, url)
        if how.mode == "rgb":
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    if header.format == "TIFF":
        return image if how.exif else without(image, orientation(data, header))
    return turned(image, turn) if turn != 1 else image


def _jpeg(data: bytes, header: Header, how: Decoding, url: str | None) -> NDArray[Any]:
    """As it is stored."""
    grey = how.mode == "grey" or (how.mode == "unchanged" and header.channels == 1)
    mode = "grey" if grey else "rgb" if how.mode == "rgb" else "bgr"
    assert header.size is not None, "it was checked"
    found = native_part(data, header.size, mode, how.lenient, url)
    if found is None:
        found = opencv_part(data, mode, url)
    return _with_alpha(found) if how.alpha == "keep" else found


def native_part(
    data: bytes,
    size: tuple[int, int],
    mode: str,
    lenient: bool,
    url: str | None,
    part: jpeg.Part | None = None,
    denominator: int = 1,
) -> NDArray[np.uint8] | None:
    """`jpeg.decode_part`, with our errors."""
    try:
        found = jpeg.decode_part(data, size, mode, part, denominator)
    except jpeg.Broken as error:
        raise _error("corrupt", f"a JPEG that cannot be decoded: {error}", url) from None
    if found is None:
        return None
    image, complaint = found
    if complaint and not lenient:
        raise _error("corrupt", f"a damaged JPEG: {complaint}", url)
    return image


_REDUCED = {
    1: (cv2.IMREAD_COLOR, cv2.IMREAD_GRAYSCALE),
    2: (cv2.IMREAD_REDUCED_COLOR_2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
    4: (cv2.IMREAD_REDUCED_COLOR_4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    8: (cv2.IMREAD_REDUCED_COLOR_8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
}


def opencv_part(
    data: bytes, mode: str, url: str | None, part: jpeg.Part | None = None, denominator: int = 1
) -> NDArray[np.uint8]:
    """The same as `native_part`, of a JPEG that is decoded as a whole."""
    flag = _REDUCED[denominator][mode == "grey"]
    image = _by_opencv(data, flag | cv2.IMREAD_IGNORE_ORIENTATION, url)
    if part is not None:
        top, left, rows, columns = part
        image = np.ascontiguousarray(image[top : top + rows, left : left + columns])
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if mode == "rgb" else image  # type: ignore[return-value]


def _by_opencv(data: bytes, flag: int, url: str | None) -> NDArray[Any]:
    try:
        image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except (cv2.error, MemoryError) as error:
        raise _error("corrupt", f"the decoder failed: {error}", url) from error
    if image is None:
        raise _error("corrupt", f"the decoder gave up on {len(data)} bytes", url)
    pixels: NDArray[Any] = image
    return pixels


def _by_own(
    decoder: Decoder, name: str, data: bytes, how: Decoding, url: str | None
) -> NDArray[Any]:
    try:
        image = np.asarray(decoder(data))
    except Exception as error:  # of any kind: it is the user's
        what = f"the decoder for {name} failed: {type(error).__name__}: {error}"
        raise _error("corrupt", what, url) from error
    fits = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))
    if not fits or image.dtype not in (np.uint8, np.uint16):
        raise TypeError(
            f"the decoder for {name} returned an array of shape {image.shape} and dtype "
            f"{image.dtype}: it must be H×W, H×W×3 or H×W×4, uint8 or uint16"
        )
    if image.shape[0] * image.shape[1] > how.max_pixels:
        what = f"a {name} of {image.shape[0]}×{image.shape[1]} pixels, more than "
        raise _error("too_large", f"{what}max_pixels={how.max_pixels}", url)
    return image if how.mode == "unchanged" else _arranged(np.ascontiguousarray(image), how)


def _with_transparency(data: bytes, header: Header, how: Decoding, url: str | None) -> NDArray[Any]:
    """H×W, BGR or BGRA, as the file has it."""
    kind = header.format
    if kind == "TIFF" and tags(data, (_PHOTOMETRIC,)).get(_PHOTOMETRIC) == _CMYK:
        return _by_opencv(data, cv2.IMREAD_COLOR, url)
    image = _by_opencv(data, cv2.IMREAD_UNCHANGED, url)
    if image.dtype not in (np.uint8, np.uint16) and how.mode != "unchanged":
        what = f"a {kind} of {image.dtype}, which only mode='unchanged' takes"
        raise _error("unsupported", what, url)
    if kind == "TIFF":
        if image.ndim == 2 and _has_alpha(data) and how.alpha != "drop":
            what = "a TIFF of grey with transparency, which OpenCV leaves out: give alpha='drop'"
            raise _error("unsupported", what, url)
        return _unmultiplied(image)
    if kind == "PNG" and image.ndim == 2 and (clear := transparent_grey(data)) is not None:
        most = np.iinfo(image.dtype).max
        alpha = np.where(image == clear, 0, most).astype(image.dtype)
        return np.dstack([image, image, image, alpha])
    return image


def _left_to_turn(data: bytes, header: Header, exif: bool) -> int:
    # Of a TIFF, OpenCV has done it.
    return orientation(data, header) if exif and header.format in ("PNG", "WebP", "AVIF") else 1


def _has_alpha(data: bytes) -> bool:
    """Whether a TIFF has more than colours, in which OpenCV multiplies these by the alpha."""
    return bool(tags(data, (338,)))


def _unmultiplied(image: NDArray[Any]) -> NDArray[Any]:
    """BGRA of 8 bits, whose colours OpenCV has multiplied by the alpha, as they were."""
    if image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        return image
    alpha = image[:, :, 3:].astype(np.float32)
    colours = np.rint(image[:, :, :3] * (255 / np.maximum(alpha, 1)))
    return np.dstack([np.minimum(colours, 255).astype(np.uint8), image[:, :, 3]])


def _arranged(image: NDArray[Any], how: Decoding) -> NDArray[Any]:
    """H×W, BGR or BGRA of 8 or 16 bits, as `how` wants them."""
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    elif image.dtype != np.uint8:
        image = cv2.convertScaleAbs(image)
    if image.ndim == 2:
        if how.mode == "grey":
            return image
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if image.shape[2] == 4:
        if how.background is not None:
            image = _on(image, how.background)
        elif how.alpha == "drop":
            image = np.ascontiguousarray(image[:, :, :3])
    if how.mode == "grey":
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if how.alpha == "keep":
        image = _with_alpha(image)
    if how.mode == "rgb":
        code = cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB
        image = cv2.cvtColor(image, code)
    return image


def _on(image: NDArray[Any], colour: tuple[int, int, int]) -> NDArray[Any]:
    """BGRA over a colour."""
    alpha = image[:, :, 3:].astype(np.uint16)
    mixed = image[:, :, :3] * alpha + np.array(colour, np.uint16) * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def _with_alpha(image: NDArray[Any]) -> NDArray[Any]:
    if image.shape[2] == 4:
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)  # 255, whatever the order of the others


def _kind(data: bytes) -> str:
    """What the bytes seem to be, for a person."""
    start = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = start[:64].lower()
    if lower.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script")):
        return "an HTML page"
    if b"<svg" in start.lower():
        return "an SVG drawing"
    if lower.startswith((b"<?xml", b"<")):
        return "an XML document"
    if lower.startswith((b"{", b"[")):
        return "JSON"
    return f"bytes of no known image format, beginning with {data[:16]!r}"


def _unsupported(name: str) -> str:
    return (
        f"a {name}, which OpenCV cannot read: give a function that can, by "
        f'dataflow.image.register("{name.lower().removeprefix("jpeg ")}", decoder), '
        f"for example with {_HINTS[name].removeprefix('pip install ')} ({_HINTS[name]})"
    )


def _error(reason: str, what: str, url: str | None) -> DecodeError:
    place = f"{url}: " if url else ""
    return DecodeError(f"{place}not a usable image: {what}", reason=reason, url=url)
