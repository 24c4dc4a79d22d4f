"""Connections that send a message which does not end, or say nothing at all.

libzmq shows a message of several frames when all of it is there, and limits the size of a frame
only: it keeps 64 bytes for each frame of none, as many as come. Nothing of that can be seen from
outside, but the kernel counts what a connection has sent. Where that is more since its last whole
message than a message may have, the connection is cut, and libzmq drops what it has kept.

Messages that wait to be read are in memory, too, and are no offence: who looks says how many they
may be. What the kernel itself still keeps does not count.

Nor does libzmq tell of a connection on which both sides are through with its own greeting, and ours
does not come: those are cut after a while.

It is Linux that counts, and for TCP; connections over ``ipc`` are let be.
"""

from __future__ import annotations

import fcntl
import os
import socket as network
import struct
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

import zmq

__all__ = ["PAUSE", "Guard", "why_no_greeting"]

PAUSE = 0.1  # seconds between looks
_GREETING = 64 << 10  # bytes that a connection may send at once before both sides know each other
_PATIENCE = 3  # looks; whole messages may wait to be read
_SILENCE = 20.0  # seconds from the beginning of a connection to its greeting
_ANSWERS = 1000  # to a connection on which nothing was agreed; it may not read them
_HEARTBEATS = 100  # bytes a second, of libzmq's own

_ESTABLISHED = 1  # of the states of TCP
_RECEIVED = struct.Struct("=B127xQ")  # tcpi_state, tcpi_bytes_received; <linux/tcp.h>


@dataclass(eq=False, slots=True)
class _Connection:
    """One that is open.

    Attributes:
        peer: its other end; file descriptors are used again.
        since: when it began.
        known: it has greeted.
        followed: its whole messages are noticed.
        seen: bytes that had come with its last whole message, or soon after.
        at: when those were counted.
        whole: such a message was read since the last look.
        over: looks since then at which it had sent too much.
        answers: that it got, on which nothing was agreed.
        own: duplicate of the descriptor, of one that has greeted: tells afterwards who ended it.
        come: bytes that had come at the last look.
        moved: when it was that any had come since the look before.
    """

    peer: Any
    since: float
    known: bool
    followed: bool
    at: float
    seen: int = 0
    whole: bool = False
    over: int = 0
    answers: int = 0
    own: int | None = None
    come: int = 0
    moved: float = 0.0


class Guard:
    """The connections of a socket.

    Args:
        limit: bytes of a message of one which has greeted.
        greets: our own greeting has to come. Without, the first message may be any.

    Attributes:
        curious: `heard` is to be called. Where there is a greeting it always is.
    """

    def __init__(self, limit: int = 0, *, greets: bool = True) -> None:
        self._limit = limit + limit // 8  # what CURVE and frames add, too
        self._greets = greets
        self.curious = greets
        self._connections: dict[int, _Connection] = {}
        self._speaker = -1  # whose message was read last

    def __len__(self) -> int:
        return len(self._connections)

    def began(self, fd: int) -> None:
        """There is a connection; libzmq has its descriptor."""
        with suppress(OSError), _borrowed(fd) as socket:
            peer = socket.getpeername()
            if fd not in self._connections or self._connections[fd].peer != peer:
                self.ended(fd)
                now, greets = monotonic(), self._greets
                self._connections[fd] = _Connection(peer, now, not greets, greets, now)

    def ended(self, fd: int) -> bool:
        """It is gone; whether libzmq ended it, after it had greeted, for what it sent."""
        connection = self._connections.pop(fd, None)
        if connection is None or connection.own is None:
            return False
        state, _ = _told(connection.own)
        os.close(connection.own)
        return state == _ESTABLISHED

    def is_stranger(self, fd: int) -> bool:
        """Whether a connection has not greeted; one that was gone at once has not."""
        connection = self._connections.get(fd)
        return connection is None or not connection.known

    def heard(self, frame: Any) -> None:
        """A whole message was read, of which this is a frame."""
        self._speaker = _source(frame)
        if (connection := self._connections.get(self._speaker)) is not None:
            connection.whole = True

    def greeted(self) -> int:
        """Who sent that message is known now; returns the connection's descriptor."""
        self.began(self._speaker)  # where that was not told yet
        connection = self._connections.get(self._speaker)
        if connection is not None and connection.own is None:
            connection.known = True
            with suppress(OSError):
                connection.own = os.dup(self._speaker)
        return self._speaker

    def moved(self, fd: int) -> float:
        """When anything came over a connection the last time, as far as `look` has seen.

        A message may be long under way, and what its sender says meanwhile waits behind it.
        """
        connection = self._connections.get(fd)
        return 0.0 if connection is None else connection.moved

    def answered(self) -> None:
        """Who sent that message gets an answer outside of what was agreed."""
        if (connection := self._connections.get(self._speaker)) is not None:
            connection.answers += 1
            if connection.answers > _ANSWERS:
                self._cut(self._speaker, connection)

    def look(self, tell: Callable[[str], object], unread: float = 0) -> None:
        """Cut connections that have sent too much, or nothing.

        Args:
            tell: called with what one is cut for, before it is: whoever sees it end finds it told.
            unread: whole messages of each connection that may wait to be read.
        """
        now = monotonic()
        for fd, connection in list(self._connections.items()):
            _, received = _told(fd if connection.own is None else connection.own)
            if received != connection.come:
                connection.come, connection.moved = received, now
            limit, patience = _GREETING + _HEARTBEATS * (now - connection.at), 1
            if connection.known:
                limit, patience = limit + self._limit * (1 + unread), _PATIENCE
            if connection.whole:
                connection.whole, connection.over, connection.followed = False, 0, self._greets
                connection.seen, connection.at = received, now
            elif received - connection.seen > limit:
                if connection.followed:
                    connection.over += 1
                else:  # it may have said any number of messages
                    connection.seen, connection.at, connection.followed = received, now, True
                if connection.over == patience:
                    self._cut(fd, connection, lambda: tell("endless"))
            if not connection.known and now - connection.since > _SILENCE:
                connection.since = now
                self._cut(fd, connection, lambda: tell("silent"))
        self.curious = self._greets or any(one.followed for one in self._connections.values())

    def close(self) -> None:
        """Let go of all."""
        for fd in list(self._connections):
            self.ended(fd)

    def _cut(
        self, fd: int, connection: _Connection, before: Callable[[], object] = lambda: None
    ) -> None:
        with suppress(OSError), _borrowed(fd if connection.own is None else connection.own) as end:
            if end.getpeername() == connection.peer:
                before()
                # libzmq sees the end and closes; what still comes is refused by a reset.
                end.setsockopt(network.SOL_SOCKET, network.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(network.SHUT_RDWR)


@contextmanager
def _borrowed(fd: int) -> Iterator[network.socket]:
    """A descriptor of somebody else's as a socket."""
    socket = network.socket(fileno=fd)
    try:
        yield socket
    finally:
        socket.detach()


def _source(frame: Any) -> int:
    """Descriptor of the connection that a frame came over."""
    try:
        return int(frame.get(zmq.SRCFD))
    except zmq.ZMQError:
        return -1


def _told(fd: int) -> tuple[int, int]:
    """State of a connection, and bytes that libzmq has read of it; (0, 0): nobody knows."""
    try:
        with _borrowed(fd) as socket:
            info = socket.getsockopt(network.IPPROTO_TCP, network.TCP_INFO, _RECEIVED.size)
            state, received = _RECEIVED.unpack(info)
            waiting = fcntl.ioctl(fd, termios.FIONREAD, bytes(4))
    except (OSError, struct.error):
        return 0, 0
    return state, received - int.from_bytes(waiting, sys.byteorder)


def why_no_greeting(mismatch: int, *, bind: bool) -> str:
    """What a failed handshake may mean; the numbers are libzmq's."""
    if mismatch == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
        return "one side has keys and the other one none"
    if mismatch == zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC:
        return "the server_key of the side that connects is not that of the side that binds"
    if bind:
        return (
            "what connects is no sender, receiver, trainer or worker of dataflow; for tensorpack's "
            "send_dataflow_zmq, this side needs format="
        )
    return (
        "does the other side, too, and is server_key the one that it has? Or is it something else, "
        "such as tensorpack's RemoteDataZMQ, for which this side needs format=?"
    )
