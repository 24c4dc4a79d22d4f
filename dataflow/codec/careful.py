"""What others have written as msgpack, read without taking more than they have sent.

msgpack takes memory for a list by the length that it claims, at each of a thousand levels, before
it has seen whether anything is there. Keys of maps can be made to collide, numbers at least.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dataflow.codec.plain_msgpack import plain_msgpack

__all__ = ["brief", "unpack"]

_SHORT = 1 << 10  # lists up to here may claim what they like: 8 MB at all levels together
_CLAIMS = {"max_array_len": _SHORT, "max_map_len": _SHORT}
_PLAIN: dict[str, Any] = {"strict_map_key": True}
_REFUSED = ("exceeds max_", "map key")  # what msgpack says of a longer one, and of other keys


def unpack(
    data: Any,
    begin: Callable[[], dict[str, Any]] = dict,
    pairs: Callable[[list[tuple[Any, Any]]], Any] | None = None,
    *,
    always: bool = False,
    once: bool = False,
) -> Any:
    """The value of some bytes.

    Args:
        data: any buffer of them.
        begin: further options of `msgpack.unpackb`. It is called again where the beginning is read
            a second time.
        pairs: makes maps of pairs where there are keys that are neither text nor bytes; None: there
            must not be any.
        always: let `pairs` make all maps.
        once: never try again; for bytes within others, where trials would multiply.

    Raises:
        ValueError, TypeError, RecursionError, UnpackException: they are no msgpack.
    """
    unpackb = plain_msgpack().unpackb
    mapped: dict[str, Any] = {"strict_map_key": False, "object_pairs_hook": pairs}
    first = mapped if always or once else _PLAIN
    # A timestamp would be an object of msgpack's own, unseen by any hook: a float will do.
    if not once:
        try:
            return unpackb(data, timestamp=1, **_CLAIMS, **first, **begin())
        except ValueError as error:
            if not _too_much(error):
                raise
    _walk(data)
    try:
        return unpackb(data, timestamp=1, **first, **begin())
    except ValueError as error:
        if first is mapped or pairs is None or not _too_much(error):
            raise
    return unpackb(data, timestamp=1, **mapped, **begin())


def _too_much(error: ValueError) -> bool:
    """Whether it is only more than was allowed at first."""
    return type(error) is ValueError and any(said in str(error) for said in _REFUSED)


def _walk(data: Any) -> None:
    """Raise where less is there than was claimed."""
    walker = plain_msgpack().Unpacker(max_buffer_size=len(data))
    walker.feed(data)
    walker.skip()


def brief(value: Any) -> str:
    """A value for an error message; `repr` could take for ever, or fail."""
    if isinstance(value, (str, bytes)):
        return repr(value[:40])
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)[:40]
    length = f" of {len(value)}" if isinstance(value, (list, tuple, dict)) else ""
    return f"a {type(value).__name__}{length}"
