"""What the package msgpack can do by itself.

tensorpack calls ``msgpack_numpy.patch()``, which puts other functions into `msgpack`, for the whole
process: they write arrays in their own way, and unpickle what a message calls an array of objects.
What is read and written here must not depend on that, so nobody else imports `msgpack`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["PlainMsgpack", "plain_msgpack"]


class PlainMsgpack(NamedTuple):
    """The classes and functions, named as in `msgpack`."""

    Packer: Any
    Unpacker: Any
    unpackb: Callable[..., Any]
    ExtType: Any
    UnpackException: type[Exception]


@functools.cache
def plain_msgpack() -> PlainMsgpack:
    """The compiled ones, or where there are none those in Python."""
    from msgpack.exceptions import UnpackException
    from msgpack.ext import ExtType

    try:
        from msgpack import _cmsgpack as module

        unpackb = module.unpackb
    except ImportError:
        from msgpack import fallback as module

        unpackb = functools.partial(_unpackb, module.Unpacker)
    return PlainMsgpack(module.Packer, module.Unpacker, unpackb, ExtType, UnpackException)


def _unpackb(unpacker: Any, data: Any, **options: Any) -> Any:
    reader = unpacker(None, max_buffer_size=len(data), **options)
    reader.feed(data)
    value = reader.unpack()
    if reader.tell() != len(data):
        raise ValueError("extra bytes at the end")
    return value
