"""What must hold whatever bytes another host sends; each target takes some and raises if not.

A target may be called by hypothesis, by atheris (`python -m tests.fuzz`) or with the corpus.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import numpy as np

from dataflow.codec import msgpack_numpy, protobuf, tar, tenbin, tensor, wire
from dataflow.codec.plain_msgpack import plain_msgpack
from dataflow.codec.wire import Kind, Message
from dataflow.engine.ledger import Ledger
from dataflow.errors import CodecError
from dataflow.executor.events import Reported
from dataflow.plan.tasks import Feed, Members, Task
from dataflow.remote.forms import pack_lease, read_lease
from dataflow.remote.inbox import Inbox
from dataflow.remote.outbox import Outbox
from dataflow.remote.pool import Pool
from dataflow.remote.program import Program
from dataflow.transport.bell import Bell
from dataflow.transport.link import Link

__all__ = ["TARGETS"]

_DEEP = 400  # levels; a packer gives up somewhat later


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same: types, dtypes and NaNs included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (np.ndarray, np.generic)):
        return bool(
            one.dtype == other.dtype
            and one.shape == other.shape
            and one.tobytes() == other.tobytes()
        )
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same([list(pair) for pair in one.items()], [list(pair) for pair in other.items()])
    if isinstance(one, complex):
        return same([one.real, one.imag], [other.real, other.imag])
    return bool(one == other or (one != one and other != other))


def depth(value: Any) -> int:
    """Levels of lists and maps."""
    level, most = [value], 0
    while level:
        most += 1
        inner = [v for v in level if isinstance(v, (list, dict))]
        level = [item for v in inner for item in (v.values() if isinstance(v, dict) else v)]
    return most


# -- decoders ---------------------------------------------------------------------------------


def head(data: bytes) -> None:
    """`wire.unpack`"""
    try:
        kind, fields = wire.unpack(data)
    except CodecError as error:
        assert error.reason in {"size", "magic", "version", "kind", "header"}
        return
    if depth(fields) < _DEEP:
        known = {name: value for name, value in fields.items() if type(name) is str}
        with suppress(UnicodeEncodeError):
            assert same(wire.unpack(wire.pack(kind, **known)).fields, known)


REASONS = {"size", "length", "count", "body", "header", "dtype", "shape", "value"}


def frames(data: bytes) -> None:
    """`tensor.decode`: a byte with the count, then table and frames (see `pieces`)."""
    table, *rest = [*pieces(data[1:])] or [b"\x90"]
    with suppress(ValueError, TypeError, RecursionError, plain_msgpack().UnpackException):
        rows = plain_msgpack().unpackb(table, strict_map_key=False)
        if type(rows) is list:
            datapoints(data[0] if data else 0, rows, rest)


def datapoints(number: int, rows: list[Any], parts: list[Any]) -> None:
    try:
        found = tensor.decode(number, rows, parts)
    except CodecError as error:
        if error.reason not in REASONS:
            raise AssertionError(f"reason {error.reason}") from error
        return
    if depth(found) > _DEEP:
        return
    encoder = tensor.Encoder(1 << 30)
    for datapoint in found:
        encoder.add(datapoint)
    payload = encoder.take()
    again = [[name, list(shape)] for name, shape in payload.table]
    if not same(found, tensor.decode(payload.count, again, payload.frames)):
        raise AssertionError("it is another one after having been encoded again")


def pieces(data: bytes) -> Iterator[bytes]:
    """Parts of some bytes: a length of two bytes before each; its highest bit makes it longer."""
    while data:
        length = int.from_bytes(data[:2], "big")
        part, data = data[2 : 2 + (length & 0x7FFF)], data[2 + (length & 0x7FFF) :]
        yield bytes(part[:1] * tensor.INLINE + part[1:]) if length & 0x8000 else part


def values(data: bytes) -> None:
    """`msgpack_numpy.decode`"""
    try:
        value = msgpack_numpy.decode(data)
    except CodecError as error:
        assert error.reason in {"corrupt", "unsupported"} and str(error)
        return
    if depth(value) < _DEEP:
        with suppress(UnicodeEncodeError):
            assert same(value, msgpack_numpy.decode(msgpack_numpy.encode(value)))


def message(data: bytes) -> None:
    """`protobuf.fields` and `protobuf.numbers`"""
    for read in (protobuf.fields, protobuf.numbers):
        try:
            found = list(read(data))
        except CodecError as error:
            assert error.reason in {"corrupt", "truncated"}
        else:
            assert len(found) <= len(data)


def block(data: bytes) -> None:
    """`tenbin.decode` and `tenbin.decode_frames` (see `pieces`)"""
    for read, given, write in (
        (tenbin.decode, data, tenbin.encode),
        (tenbin.decode_frames, [*pieces(data)], tenbin.encode_frames),
    ):
        try:
            arrays, infos = read(given, True)  # type: ignore[operator]
        except CodecError as error:
            assert error.reason in {"truncated", "corrupt", "unsupported", "infos", "foreign"}, (
                error
            )
            continue
        again, told = read(write(arrays, infos), True)  # type: ignore[operator]
        assert told == infos and same([*map(np.asarray, again)], [*map(np.asarray, arrays)])


def archive(data: bytes) -> None:
    """`tar.members` and `tar.read_member`"""
    fd = os.memfd_create("archive")
    try:
        os.write(fd, data)
        with suppress(CodecError):
            end = 0
            for member in tar.members(fd):
                assert end <= member.head < member.start <= member.end, "it goes back"
                end = member.end
                assert len(tar.read_member(fd, member)) == member.size <= len(data)
    finally:
        os.close(fd)


# -- what is above them -----------------------------------------------------------------------


def script(data: bytes) -> Iterator[Callable[[int], int]]:
    """A source of choices: each call of what it yields takes a byte, until there are none."""
    rest = iter(data)
    over = False

    def choice(among: int) -> int:
        nonlocal over
        byte = next(rest, None)
        over = over or byte is None
        return (byte or 0) % among

    while not over:
        yield choice


def gone(number: int) -> Link:
    """A connection that breaks as soon as anything is sent."""
    return Link(bytes([number]) * 16, f"peer {number}", 0, 1 << 20, 0.0, dead=True)


def received(data: bytes) -> None:
    """`Inbox`: messages of three peers in any order. Each stream's items come once, in order."""
    limits: dict[str, Any] = {"limit": 1 << 16, "window": 1024, "timeout": 1}
    box = Inbox(**limits, senders=1, alone=False, endless=False, connects=False)
    links = [gone(number) for number in range(3)]
    now = 0.0
    for choice in script(data):
        link = links[choice(3)]
        stream, seq = bytes([choice(4)]) * 16, choice(8)
        known = box._streams.get(stream)
        if choice(2) and known is not None:
            seq += known.next
        match choice(10):
            case 0 | 1:
                fields = {"stream": stream, "first": seq}
                tell(box, link, Kind.OPEN, fields)
            case 2 | 3 | 4:
                number, skip = choice(4), choice(3)
                body = bytes([0x90 + number]) + b"".join(
                    b"\xcd" + max(0, seq - skip + i).to_bytes(2, "big") for i in range(number)
                )
                fields = {"seq": seq, "count": number, "skip": skip, "epoch": 0, "position": 0}
                parts = [[body], [], [body, b""], [bytes(choice(256))]][max(0, choice(16) - 12)]
                tell(box, link, Kind.DATA, {"stream": stream, "arrays": [], **fields}, parts)
            case 5:
                fields = {"stream": stream, "seq": seq, "epoch": 1, "items": seq}
                tell(box, link, Kind.END, fields, [b""] * (choice(9) == 8))
            case 6:
                fields = {"stream": stream, "acked": 0, "complete": bool(choice(2)), "reason": "x"}
                tell(box, link, Kind.CLOSE, fields)
            case 7:
                box.left(link) if choice(2) else box.joined(link)
                links = [gone(n) if one is link else one for n, one in enumerate(links)]
            case 8:
                now += choice(3)
                box.tick(now)
                box.peers()
                box._over(now)
                box.begin() if choice(2) else None
            case 9:
                while box._ready:
                    if (run := box._next()) is not None:
                        for number in run.datapoints:
                            assert number == run.stream.delivered, "not the next one"
                            run.stream.delivered += 1
                        box.took(run)
        for known in box._streams.values():
            waiting = sum(len(run.datapoints) or 1 for run in known.runs)
            assert known.delivered + waiting == known.next, "an item is lost, or there twice"
            assert known.received <= known.granted + (1 << 16) + 4 * 256, "beyond the credit"


def sent(data: bytes) -> None:
    """`Outbox`: grants and goodbyes of three peers in any order. Nothing is forgotten."""
    for to_all in (False, True):
        box = Outbox(
            limit=1 << 20, copy=False, to_all=to_all, receivers=1, timeout=1, connects=False
        )
        links = [gone(number) for number in range(3)]
        number, now = count(), 0.0
        for choice in script(data):
            link = links[choice(3)]
            stream = box._streams.get(link.peer)
            fields = {"stream": stream.id if stream and choice(8) else bytes(16)}
            match choice(8):
                case 0:
                    box.joined(link)
                case 1 | 2 | 3:
                    numbers = {"next": choice(16), "acked": choice(16), "limit": choice(256) * 64}
                    tell(box, link, Kind.GRANT, fields | numbers)
                case 4:
                    rest = {"acked": choice(16), "complete": bool(choice(2)), "reason": ""}
                    tell(box, link, Kind.CLOSE, fields | rest)
                case 5:
                    now += choice(3)
                    box.tick(now)
                    box.peers()
                case 6:
                    box.left(link)
                    links = [gone(n) if one is link else one for n, one in enumerate(links)]
                case 7:
                    for _ in range(choice(4)):
                        box.add([next(number)])
                    if choice(2):
                        box.end_epoch()
            for stream in box._streams.values():
                place = stream.acked
                for seq, parcel in stream.kept:
                    assert seq <= place, "an item is missing"
                    place = seq + parcel.items
                assert place == stream.next or not stream.kept


def reported(data: bytes) -> None:
    """`Pool`: a machine that was given a lease says what it likes.

    Pieces (see `pieces`): a kind, its fields as msgpack, then frames.
    """
    bell = Bell()
    events: deque[Any] = deque()
    pool = Pool(Program(["A(8 datapoints)"], [], {}), 1 << 20, count())
    pool.describe(0, 1, 4, [2, 0])
    pool.open(0, events, bell)
    link = gone(1)
    link.dead = False
    link.send = lambda *sent: None  # type: ignore[method-assign]
    tell(pool, link, Kind.JOIN, {"chain": ["A(8 datapoints)"], "procs": 1, "threads": 1})
    tell(pool, link, Kind.UP, {"part": 0, "worker": 0, "hands": 1, "pid": 1})
    feed = Feed(Task((0, i), i % 2, i) for i in range(8))
    ledger = Ledger(feed, seed=0, window=8, ordered=False)
    lease = ledger.lease(0, 8)
    assert lease is not None, "there are eight tasks"
    pool.send(0, 0, lease)
    usual = {
        "runs": [[lease.number, 0, b"dd"]],
        "work": [],
        "gauges": [],
        "returned": [],
        "finished": 2,
        "cpu": 0.0,
        "sending": 0.0,
        "part": 0,
        "worker": 0,
        "count": 2,
        "arrays": [],
        "status": 0,
        "held": [],
        "hands": 1,
        "pid": 1,
        "reason": "",
        "procs": 1,
        "threads": 1,
        "chain": [],
        "code": [],
        "versions": {},
        "lenient": False,
    }
    parts = [*pieces(data)]
    while parts:
        kind, said = parts.pop(0), parts.pop(0) if parts else b""
        frames, parts = parts[:1], parts[1:]
        fields = usual
        with suppress(ValueError, TypeError, RecursionError, plain_msgpack().UnpackException):
            told = plain_msgpack().unpackb(said, strict_map_key=False)
            if type(told) is dict:
                fields = usual | {key: value for key, value in told.items() if key in usual}
        with suppress(ValueError, TypeError, OverflowError):  # more than 64 bits, say
            number = kind[0] if kind else 0
            tell(pool, link, Kind(number % 11 + 11), fields, frames or [b"\xdd\0\0\0\2\1\2"])
        pool.peers()
    delivered = []
    for event, _ in events:
        if isinstance(event, Reported):
            for run in event.report.results:
                ledger.settle(*run)
            for pair in event.report.returned:
                ledger.take_back(*pair)
        while (done := ledger.take(100)) is not None:
            delivered += done.drained()
    places = [place for place, _, _ in delivered]
    assert len(places) == len(set(places)) and set(places) <= set(range(8))
    bell.close()


def leased(data: bytes) -> None:
    """`read_lease`: what a trainer gives to a machine of two programs.

    Pieces (see `pieces`): a table as msgpack, then frames.
    """
    table, *rest = [*pieces(data)] or [b"\x90"]
    arrays: Any = []
    with suppress(ValueError, TypeError, RecursionError, plain_msgpack().UnpackException):
        found = plain_msgpack().unpackb(table, strict_map_key=False)
        arrays = found if type(found) is list else []
    try:
        lease = read_lease({"lease": 1, "seed": 2, "count": 1, "arrays": arrays}, rest, 2)
    except CodecError as error:
        assert error.reason in REASONS | {"lease"}, error
        return
    for task in lease.tasks:
        members = task.key if type(task.key) is Members else [task]
        assert all(type(one) is Task and 0 <= one.chain < 2 for one in members)
    try:
        head, frames = pack_lease(0, 0, lease, 1 << 24)
    except CodecError:
        return  # it is deeper than what this side sends
    fields = wire.unpack(head).fields
    assert str([*read_lease(fields, frames, 2).tasks]) == str([*lease.tasks])


def tell(box: Inbox | Outbox | Pool, link: Link, kind: Kind, fields: Any, parts: Any = ()) -> None:
    """What the exchange does with a message: through its bytes, and refused where it is wrong."""
    with suppress(CodecError):
        found: Message = wire.unpack(wire.pack(kind, **fields))
        box.received(link, found, list(parts))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "wire": head,
    "tensor": frames,
    "msgpack_numpy": values,
    "protobuf": message,
    "tenbin": block,
    "tar": archive,
    "inbox": received,
    "outbox": sent,
    "pool": reported,
    "lease": leased,
}
