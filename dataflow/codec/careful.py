"""What others have written as msgpack, read without taking more than they have sent.

msgpack takes memory for a list by the length that it claims, at each of a thousand levels, before
it has seen whether anything is there. Keys of maps can be made to collide, numbers at least.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from dataflow.codec.plain_msgpack import plain_msgpack

__all__ = ["brief", "unpack"]

_ExtHook: TypeAlias = Callable[[int, bytes], Any]

_SHORT = 1 << 10  # lists up to here may claim what they like: 8 MB at all levels together
_PLAIN: dict[str, Any] = {"strict_map_key": True}
_REFUSED = ("exceeds max_", "map key")  # what msgpack says of a longer one, and of other keys


def unpack(
    data: Any,
    begin: Callable[[], _ExtHook] | None = None,
    pairs: Callable[[list[tuple[Any, Any]]], Any] | None = None,
    *,
    always: bool = False,
    once: bool = False,
) -> Any:
    """The value of some bytes.

    Args:
        data: any buffer of them.
        begin: gives the function that makes values of extension types. It is called again where
            the beginning is read a second time.
        pairs: makes maps of pairs where there are keys that are neither text nor bytes; None: there
            must not be any.
        always: let `pairs` make all maps.
        once: never try again; for bytes within others, where trials would multiply.

    Raises:
        ValueError, TypeError, RecursionError, UnpackException: they are no msgpack.
    """
    msgpack = plain_msgpack()
    if not once:
        try:
            # Spelt out, because it is much of what a small message costs. A timestamp would be an
            # object of msgpack's own, unseen by any hook: a float will do.
            return msgpack.unpackb(
                data,
                timestamp=1,
                max_array_len=_SHORT,
                max_map_len=_SHORT,
                strict_map_key=not always,
                object_pairs_hook=pairs if always else None,
                ext_hook=msgpack.ExtType if begin is None else begin(),
            )
        except ValueError as error:
            if not _too_much(error):
                raise
    _walk(data)
    mapped: dict[str, Any] = {"strict_map_key": False, "object_pairs_hook": pairs}
    attempts = [mapped] if always or once else [_PLAIN] if pairs is None else [_PLAIN, mapped]
    while True:
        options = attempts.pop(0)
        hook = msgpack.ExtType if begin is None else begin()
        try:
            return msgpack.unpackb(data, timestamp=1, ext_hook=hook, **options)
        except ValueError as error:
            if not attempts or not _too_much(error):
                raise


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
