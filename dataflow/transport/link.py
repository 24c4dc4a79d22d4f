"""What a connection to a peer on another host is to those who use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Protocol

import zmq

from dataflow.codec.wire import Message
from dataflow.errors import PeerError
from dataflow.transport.guard import Guard

__all__ = ["Link", "Party", "Place"]


@dataclass(eq=False)
class Link:
    """A connection on which both sides have greeted.

    Attributes:
        peer: identifies the process at the other end.
        name: tells it to a person.
        place: number of the address.
        limit: bytes of a message that it takes, at most.
        heard: when it last said anything, or a part of it came.
        dead: it broke; nothing more will pass.
    """

    peer: bytes
    name: str
    place: int
    limit: int
    heard: float
    dead: bool = False
    _socket: Any = field(default=None, repr=False)
    _route: bytes | None = field(default=None, repr=False)
    _heartbeat: float = field(default=1.0, repr=False)
    _spoke: float = field(default=0.0, repr=False)
    _connection: int = field(default=-1, repr=False)

    def send(self, head: bytes, frames: Sequence[Any] = ()) -> None:
        """Send a message; large frames are not copied. On a dead link nothing happens."""
        if self.dead:
            return
        parts = [head, *frames] if self._route is None else [self._route, head, *frames]
        self._spoke = monotonic()
        try:
            self._socket.send_multipart(parts, zmq.NOBLOCK, copy=False)
        except zmq.ZMQError:  # EHOSTUNREACH: the connection is gone
            self.dead = True


@dataclass(eq=False)
class Place:
    """An address of an exchange.

    Attributes:
        number: counts the addresses.
        address: with the port, once it is known.
        socket: a ROUTER where it is bound, otherwise a DEALER.
        monitor: tells what happens to the socket's connections.
        guard: cuts those off that send too much at once.
        links: one of a DEALER, by None; any number of a ROUTER, by their routing ids.
        since: when the DEALER's connection was begun.
        again: when to begin it anew; None: there is one.
        failures: connections in a row that ended before the greeting.
        mismatch: libzmq's number for why a handshake failed; 0: none did.
    """

    number: int
    address: str
    socket: Any = None
    monitor: Any = None
    guard: Guard = field(default_factory=Guard, repr=False)
    links: dict[bytes | None, Link] = field(default_factory=dict)
    since: float = 0.0
    again: float | None = None
    failures: int = 0
    mismatch: int = 0


class Party(Protocol):
    """Who uses the links. All of it is called in the exchange's thread."""

    role: str
    partner: str
    """The role of those that it talks to."""

    def joined(self, link: Link) -> None:
        """A peer is there, or there again."""

    def left(self, link: Link) -> None:
        """A link broke."""

    def received(self, link: Link, message: Message, frames: list[Any]) -> None:
        """A message came. It raises `CodecError` where it makes no sense."""

    def tick(self, now: float) -> float:
        """Do what is due; returns the seconds until something else is."""

    def refused(self, error: PeerError) -> None:
        """A peer does not want us."""

    def closing(self) -> None:
        """Say the last words."""

    def failed(self, error: BaseException) -> None:
        """The thread ends with this."""
