"""What comes from one sender, and what waits for the receiver's loop."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dataflow.transport.link import Link

__all__ = ["Asked", "Run", "Stream"]


@dataclass(eq=False, slots=True)
class Stream:
    """What comes from one sender.

    Attributes:
        id: of the stream.
        peer: the sender.
        name: tells it to a person.
        place: number of the address.
        link: the connection; None while there is none.
        heard: when the sender last said anything.
        next: number of the item that comes next.
        delivered: items that the loop has taken; `acked`: those of which the sender was told.
        received: credit that was used, in bytes.
        taken: credit of what the loop has taken.
        granted: credit that was given.
        runs: what waits for the loop.
        ended: it has come to the end of its epoch in this pass.
        closed: the sender has said goodbye; `complete`: at its end.
        due: a grant should be sent.
        told: that it is missing was told.
        datapoints: that came, `repeated` ones apart.
        bytes: of frames that came.
        epoch: of the last message.
        state: where the sender's flow was (`dataflow.remote.places`); empty: it is not known.
        marked: items delivered there; negative where they were another stream's.
        awaited: nothing can come before the sender was told where to go on.
        asked: the sender wants to begin a stream of this id instead, over this link.
    """

    id: bytes
    peer: bytes
    name: str
    place: int
    next: int
    delivered: int
    acked: int
    link: Link | None = None
    heard: float = 0.0
    received: int = 0
    taken: int = 0
    granted: int = 0
    runs: deque[Run] = field(default_factory=deque)
    ended: bool = False
    closed: bool = False
    complete: bool = False
    due: bool = True
    spoken: float = 0.0
    told: bool = False
    datapoints: int = 0
    repeated: int = 0
    bytes: int = 0
    epoch: int = 0
    state: str = ""
    marked: int = 0
    awaited: bool = False
    asked: Asked | None = None

    @property
    def since(self) -> int:
        """Items delivered since the sender's flow was there."""
        return self.delivered - self.marked


class Asked(NamedTuple):
    """A sender wants to begin a stream."""

    link: Link
    stream: bytes


@dataclass(eq=False, slots=True)
class Run:
    """The datapoints of one message; without any it is the end of an epoch, or a place."""

    stream: Stream
    datapoints: list[Any]
    cost: int = 0
    place: tuple[str, int] | None = None
