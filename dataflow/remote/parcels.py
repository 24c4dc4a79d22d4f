"""Messages on their way to a receiver, and the stream that they make."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from dataflow.codec import wire
from dataflow.codec.wire import Kind
from dataflow.transport.link import Link

__all__ = ["DATAPOINT_COST", "Mark", "Parcel", "Stream"]

DATAPOINT_COST = 256
"""Bytes of credit that a datapoint takes beside its frames: what it costs as an object. Fragment of
the protocol."""


@dataclass(eq=False, slots=True)
class Parcel:
    """A message to be; without frames it is the end of an epoch.

    Attributes:
        count: datapoints; those of the whole epoch where it is an end.
        epoch: theirs, from 0.
        position: of the first of them in the epoch.
        item: number of the first of them, ends of epochs counted, too.
        table: see `dataflow.codec.tensor`.
        frames: see there.
        size: bytes of the frames.
        done: how many of them some receiver has delivered already.
    """

    count: int
    epoch: int
    position: int = 0
    item: int = 0
    table: list[Any] = field(default_factory=list)
    frames: list[Any] = field(default_factory=list)
    size: int = 0
    done: int = 0

    @property
    def is_end(self) -> bool:
        return not self.frames

    @property
    def items(self) -> int:
        """Numbers that it takes in a stream."""
        return 1 if self.is_end else self.count - self.done

    @property
    def datapoints(self) -> int:
        return 0 if self.is_end else self.items

    @property
    def after(self) -> int:
        """Number of the item behind it."""
        return self.item + (1 if self.is_end else self.count)

    @property
    def cost(self) -> int:
        """Bytes of credit."""
        return 0 if self.is_end else self.size + DATAPOINT_COST * self.count

    def head(self, stream: bytes, seq: int) -> bytes:
        """The head of its message."""
        if self.is_end:
            return wire.pack(Kind.END, stream=stream, seq=seq, epoch=self.epoch, items=self.count)
        return wire.pack(
            Kind.DATA,
            stream=stream,
            seq=seq,
            count=self.count,
            skip=self.done,
            epoch=self.epoch,
            position=self.position,
            arrays=self.table,
        )


@dataclass(eq=False, slots=True)
class Mark:
    """Tells the place of the item behind it; see `dataflow.remote.places`.

    Attributes:
        state: a place, or nothing where it is not known.
        since: items between that and here.
    """

    state: str
    since: int

    items, datapoints, cost, size, frames = 1, 0, 0, 0, ()

    def head(self, stream: bytes, seq: int) -> bytes:
        """The head of its message."""
        return wire.pack(Kind.MARK, stream=stream, seq=seq, state=self.state, since=self.since)


@dataclass(eq=False)
class Stream:
    """What goes to one receiver.

    Attributes:
        peer: the receiver.
        name: tells it to a person.
        place: number of its address.
        limit: bytes of a message that it takes.
        link: the connection; None while there is none.
        agreed: both sides know on this connection what has arrived.
        heard: when the receiver last said anything.
        next: number of the next item.
        acked: items that the receiver's loop has taken.
        kept: messages with items that it has not, each with the number of its first.
        spent: credit that was used, in bytes.
        granted: credit that was given.
        id: of the stream.
        sent: bytes of frames, repetitions apart.
        datapoints: likewise.
        reached: number of the item behind the last one posted.
        marked: item of the last place that the receiver was told; None: it knows none.
    """

    peer: bytes
    name: str
    place: int
    limit: int
    link: Link | None = None
    agreed: bool = False
    heard: float = 0.0
    next: int = 0
    acked: int = 0
    kept: deque[tuple[int, Parcel | Mark]] = field(default_factory=deque)
    spent: int = 0
    granted: int = 0
    id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    sent: int = 0
    datapoints: int = 0
    reached: int = 0
    marked: int | None = None

    @property
    def outstanding(self) -> int:
        """Credit of messages that are not acknowledged."""
        return sum(parcel.cost for _, parcel in self.kept)

    @property
    def open(self) -> bool:
        """Whether one more message may be sent."""
        return self.spent < self.granted

    def post(self, parcel: Parcel | Mark) -> None:
        """Take a message, and send it if there is a connection."""
        seq = self.next
        self.kept.append((seq, parcel))
        self.next += parcel.items
        self.spent += parcel.cost
        self.sent += parcel.size
        self.datapoints += parcel.datapoints
        self.send(seq, parcel)

    def send(self, seq: int, parcel: Parcel | Mark) -> None:
        if self.link is not None and self.agreed:
            self.link.send(parcel.head(self.id, seq), parcel.frames)

    def unacknowledged(self) -> list[Parcel]:
        """What the receiver's loop has not taken."""
        left = []
        for seq, parcel in self.kept:
            if isinstance(parcel, Parcel):
                parcel.done += max(0, self.acked - seq)
                left.append(parcel)
        return left

    def acknowledge(self, upto: int) -> None:
        """The receiver's loop has taken all items below this number."""
        self.acked = max(self.acked, upto)
        while self.kept and self.kept[0][0] + self.kept[0][1].items <= self.acked:
            self.kept.popleft()
