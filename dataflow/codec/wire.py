"""The messages between hosts: what kinds there are, and the head that each begins with.

A head is ``b"DF"``, a version, a kind and a msgpack map of fields; ``docs/wire.md`` describes them
all. Frames of data follow a head of kind `Kind.DATA` only.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

from dataflow.codec import careful
from dataflow.codec.plain_msgpack import plain_msgpack
from dataflow.codec.tensor import bad

__all__ = [
    "HEAD_BYTES",
    "STATE_CHARACTERS",
    "VERSION",
    "VERSIONS",
    "Kind",
    "Message",
    "pack",
    "printable",
    "unpack",
]

VERSION = 1
VERSIONS = (1,)
"""Those that this side speaks."""

HEAD_BYTES = 4 << 20
"""The largest head. (A byte of msgpack can become an object of 64.)"""

STATE_CHARACTERS = 1 << 16
"""Of a sender's state, at most."""

_MAGIC = b"DF"


class Kind(IntEnum):
    """What a message is; the fourth byte of its head."""

    HELLO = 1
    WELCOME = 2
    REFUSE = 3
    OPEN = 4
    GRANT = 5
    DATA = 6
    END = 7
    PING = 8
    CLOSE = 9
    RESET = 10
    MARK = 22
    RESUME = 23
    # Between a trainer and those that work for it.
    JOIN = 11
    START = 12
    STOP = 13
    LEASE = 14
    RECALL = 15
    KILL = 16
    UP = 17
    REPORT = 18
    HANDS = 19
    DOWN = 20
    LEAVE = 21


class Message(NamedTuple):
    """A head that was read and checked."""

    kind: Kind
    fields: dict[str, Any]


def _number(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _id(value: Any) -> bool:
    return type(value) is bytes and len(value) == 16


def _text(value: Any) -> bool:
    return type(value) is str and len(value) <= 1000 and value.isprintable()  # it may be logged


def _state(value: Any) -> bool:
    return type(value) is str and len(value) <= STATE_CHARACTERS


def _list(value: Any) -> bool:
    return type(value) is list


def _versions(value: Any) -> bool:
    return _list(value) and len(value) <= 100 and all(map(_number, value))


def _flag(value: Any) -> bool:
    return type(value) is bool


def _role(value: Any) -> bool:
    return value in ("sender", "receiver", "trainer", "worker")


def _lines(value: Any) -> bool:
    return _list(value) and len(value) <= 1000 and all(map(_text, value))


def _seconds(value: Any) -> bool:
    return type(value) is float and 0 <= value < 1e9


def _status(value: Any) -> bool:
    return type(value) is int and -256 < value < 1 << 32


_Check: TypeAlias = Callable[[Any], bool]

_GREETING: dict[str, _Check] = {
    "role": _role,
    "id": _id,
    "name": _text,
    "limit": _number,
    "heartbeat": _number,
}

_WORKER: dict[str, _Check] = {"part": _number, "worker": _number}

_FIELDS: dict[Kind, dict[str, _Check]] = {
    Kind.HELLO: {"versions": _versions, **_GREETING},
    Kind.WELCOME: _GREETING,
    Kind.REFUSE: {"reason": _text, "text": _text, "versions": _versions},
    Kind.OPEN: {"stream": _id, "first": _number},
    Kind.GRANT: {"stream": _id, "next": _number, "acked": _number, "limit": _number},
    Kind.DATA: {
        "stream": _id,
        "seq": _number,
        "count": _number,
        "skip": _number,
        "epoch": _number,
        "position": _number,
        "arrays": _list,
    },
    Kind.END: {"stream": _id, "seq": _number, "epoch": _number, "items": _number},
    Kind.PING: {},
    Kind.CLOSE: {"stream": _id, "acked": _number, "complete": _flag, "reason": _text},
    Kind.RESET: {},
    Kind.MARK: {"stream": _id, "seq": _number, "state": _state, "since": _number},
    Kind.RESUME: {"stream": _id, "new": _id, "state": _state, "since": _number},
    # And what older workers do not say: code, versions, lenient.
    Kind.JOIN: {"chain": _lines, "procs": _number, "threads": _number},
    Kind.START: {"part": _number, "hands": _number, "slots": _number},
    Kind.STOP: {"part": _number},
    Kind.LEASE: {**_WORKER, "lease": _number, "seed": _number, "count": _number, "arrays": _list},
    Kind.RECALL: _WORKER,
    Kind.KILL: _WORKER,
    Kind.UP: {**_WORKER, "hands": _number, "pid": _number},
    Kind.REPORT: {
        **_WORKER,
        "runs": _list,
        "work": _list,
        "gauges": _list,
        "returned": _list,
        "finished": _number,
        "cpu": _seconds,
        "sending": _seconds,
        "count": _number,
        "arrays": _list,
    },
    Kind.HANDS: {**_WORKER, "held": _list},
    Kind.DOWN: {**_WORKER, "status": _status, "held": _list},
    Kind.LEAVE: {"reason": _text},
}


def printable(text: str) -> str:
    """What another machine may log: a line of at most 900 characters."""
    line = " ".join(text.split())[:900]
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in line)


def pack(kind: Kind, **fields: Any) -> bytes:
    """The head of a message.

    Raises:
        CodecError: it is too large, because of very many arrays.
    """
    head: bytes = _MAGIC + bytes((VERSION, kind)) + plain_msgpack().Packer().pack(fields)
    if len(head) > HEAD_BYTES:
        bad("size", f"the head takes {len(head)} bytes, more than {HEAD_BYTES}: too many arrays")
    return head


def unpack(frame: Any) -> Message:
    """Read a head. Fields that this version does not know are left alone.

    Raises:
        CodecError: it is none; ``reason="version"`` where it is one of another version.
    """
    view = memoryview(frame)
    if len(view) > HEAD_BYTES:
        bad("size", f"a head of {len(view)} bytes")
    if len(view) < 4 or view[:2] != _MAGIC:
        bad("magic", "not a message of dataflow")
    version = view[2]
    if version not in VERSIONS:
        bad("version", f"version {version} of the protocol; this side speaks {told(VERSIONS)}")
    try:
        kind = Kind(view[3])
    except ValueError:
        bad("kind", f"message kind {view[3]}")
    msgpack = plain_msgpack()
    try:
        fields = careful.unpack(view[4:])
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        bad("header", f"{kind.name}: not msgpack: {type(error).__name__}: {error}")
    if type(fields) is not dict:
        bad("header", f"{kind.name}: fields that are no map")
    for name, right in _FIELDS[kind].items():
        if name not in fields or not right(fields[name]):
            bad("header", f"{kind.name}: {name} is {careful.brief(fields.get(name))}")
    return Message(kind, fields)


def told(versions: Any) -> str:
    """Version numbers for a person."""
    return ", ".join(map(str, versions))
