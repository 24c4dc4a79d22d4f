"""One object behind a URL, read by obstore, or by fsspec and what that knows.

Credentials, endpoints and all else are the affair of the library that knows the scheme: s3fs reads
the environment and ``~/.aws``, gcsfs and adlfs theirs, huggingface_hub its token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dataflow.errors import ConfigError, FetchError, MissingData, MissingExtra
from dataflow.stores.quick import bucket_of
from dataflow.utils.draft import draft
from dataflow.utils.extras import need

__all__ = ["SCHEMES", "is_object", "matching", "read_object", "save_object", "shown_object"]

SCHEMES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "adlfs"),
    "hf": "huggingface_hub",
    "oss": "ossfs",
    **dict.fromkeys(("hdfs", "webhdfs"), "pyarrow"),
    **dict.fromkeys(("file", "data", "memory"), "fsspec"),
}
"""What is read, and the package that knows it. No others: lists of URLs come from anywhere."""

Options = Mapping[str, Any]
_NONE: Options = MappingProxyType({})
_PIECE = 1 << 20
_FORBIDDEN = ("Credential", "Unauth", "PermissionDenied")
_WORDS = {
    "not_found": "there is no such object",
    "forbidden": "access is refused: are the credentials those of the store?",
}
_NO_ANSWER = "error sending request"  # obstore's words


def is_object(url: str) -> bool:
    """Whether a text is the URL of an object in a store, or of the like, and not of http."""
    scheme, _, rest = url[:16].partition(":")
    return scheme.lower() in SCHEMES and (rest.startswith("//") or scheme.lower() == "data")


def read_object(url: str, max_bytes: int, options: Options = _NONE) -> bytes:
    """The bytes of an object.

    Args:
        url: its address.
        max_bytes: larger ones are refused; not more is asked for.
        options: for the library, such as ``{"anon": True}``.

    Raises:
        FetchError: it cannot be had; with the reason ``not_found``, ``forbidden``, ``timeout``,
            ``connect``, ``too_large``, ``bad_url`` or ``store``.
        MissingExtra: there is no library for it.
    """
    try:
        if (found := _quick(url, options)) is not None:
            bucket, path = found
            body = bucket.read(path, max_bytes)
        else:
            system, path = _opened(url, options)
            part = {} if url[:5].lower() == "data:" else {"start": 0, "end": max_bytes + 1}
            body = system.cat_file(path, **part)
    except (FetchError, MissingExtra):
        raise
    except Exception as error:  # each library has its own
        raise _failed(url, error) from error
    if body is None or len(body) > max_bytes:
        what = f"{shown_object(url)}: the object has more than max_bytes={max_bytes}"
        raise FetchError(what, reason="too_large", url=url)
    return bytes(body)


def save_object(
    url: str,
    place: Path,
    max_bytes: int,
    stop: Callable[[], bool] | None = None,
    options: Options = _NONE,
) -> None:
    """Write an object into a file, which is there whole or not at all.

    Args:
        url: its address.
        place: the file.
        max_bytes: larger ones are refused.
        stop: asked now and then: whether it is of no use any more.
        options: for the library.

    Raises:
        MissingData: it cannot be had; says why.
        MissingExtra: there is no library for it.
        OSError: it cannot be written.
    """
    from tqdm import tqdm

    try:
        size, pieces = _pieces(url, options)
    except MissingExtra:
        raise
    except Exception as error:
        raise MissingData(str(_failed(url, error))) from error
    name = place.name
    bar: Any = tqdm(desc=name, total=size, unit="B", unit_scale=True, leave=False, disable=None)
    with bar, draft(place) as new, open(new, "wb") as file:
        have = 0
        while True:
            if stop is not None and stop():
                raise MissingData(f"{shown_object(url)}: it is not needed any more")
            try:
                piece = next(pieces, None)
            except Exception as error:
                raise MissingData(str(_failed(url, error))) from error
            if piece is None:
                break
            have += len(piece)
            if have > max_bytes:
                raise MissingData(f"{shown_object(url)}: more than max_bytes={max_bytes}")
            file.write(piece)
            bar.update(len(piece))
        if size is not None and have != size:
            raise MissingData(f"{shown_object(url)}: {have} of {size} bytes")


def matching(pattern: str, options: Options = _NONE) -> list[str]:
    """The URLs of the objects that a pattern with ``*`` stands for, in the order of their names.

    Raises:
        MissingData: there are none, or the store cannot be asked.
        MissingExtra: there is no library for it.
    """
    try:
        system, path = _opened(pattern, options)
        found = sorted(system.glob(path))
    except MissingExtra:
        raise
    except Exception as error:
        raise MissingData(str(_failed(pattern, error))) from error
    if not found:
        raise MissingData(f"{pattern} is not there")
    return [system.unstrip_protocol(one) for one in found]


def _quick(url: str, options: Options) -> Any:
    scheme, is_url, rest = url.partition("://")
    if is_url and scheme.lower() not in ("file", "memory") and not rest.partition("/")[2]:
        what = f"{shown_object(url)}: it names a bucket, and no object in it"
        raise FetchError(what, reason="bad_url", url=url)
    return None if "::" in url else bucket_of(url, options)


def _pieces(url: str, options: Options) -> tuple[int | None, Iterator[Any]]:
    """The size of an object, where it is known, and the pieces of it."""
    if (found := _quick(url, options)) is not None:
        bucket, path = found
        return bucket.open(path)  # type: ignore[no-any-return]
    system, path = _opened(url, options)
    size = system.info(path).get("size")
    return size, _read(system.open(path, "rb", block_size=8 * _PIECE, cache_type="readahead"))


def _read(file: Any) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece


def _opened(url: str, options: Options) -> tuple[Any, str]:
    """The file system, and the path in it."""
    scheme = url.partition(":")[0].lower()
    if "::" in url:
        raise FetchError(
            f"{shown_object(url)}: '::' has no meaning here", reason="bad_url", url=url
        )
    fsspec = need("fsspec")
    try:
        system = fsspec.filesystem(scheme, **options)
    except ImportError as error:
        package = SCHEMES[scheme]
        what = f"{scheme}:// needs {package} ({error}): pip install {package}"
        raise MissingExtra(what) from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{scheme}://: {error}") from error
    return system, url if scheme == "data" else system._strip_protocol(url)


def _failed(url: str, error: BaseException) -> FetchError:
    """Our exception for one of a library's."""
    if isinstance(error, FetchError):
        return error
    name = type(error).__name__
    reason = "store"
    if isinstance(error, (FileNotFoundError, IsADirectoryError, NotADirectoryError)):
        reason = "not_found"
    elif isinstance(error, PermissionError) or any(word in name for word in _FORBIDDEN):
        reason = "forbidden"
    elif isinstance(error, TimeoutError) or "Timeout" in name:
        reason = "timeout"
    elif isinstance(error, ConnectionError) or "Connect" in name or _NO_ANSWER in str(error):
        reason = "connect"
    elif isinstance(error, ValueError) and url.lower().startswith("data:"):
        reason = "bad_url"
    text = _WORDS.get(reason) or str(error).strip().partition("\n")[0] or name
    return FetchError(f"{shown_object(url)}: {text}", reason=reason, url=url)


def shown_object(url: str) -> str:
    """A URL for messages."""
    return url if len(url) <= 200 else f"{url[:200]}…"
