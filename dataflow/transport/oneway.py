"""Sockets of ZeroMQ for messages one way, with nothing that comes back: PUSH, PULL, PUB, SUB.

Any thread may use them, and any thread may close them.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, TypeAlias

import zmq

from dataflow.codec.tensor import INLINE
from dataflow.errors import ConfigError, DataFlowTerminated, PeerTimeout
from dataflow.transport.bell import Bell
from dataflow.transport.guard import Guard
from dataflow.transport.watch import Watch

__all__ = ["OneWay"]

logger = logging.getLogger(__name__)

_RETRY, _LAST_RETRY = 100, 2000  # ms, while nobody listens
_HEARTBEAT, _SILENCE = 5000, 30_000  # ms; without them a cut cable is never noticed
_GLANCE = 1.0  # seconds between calls of who is told of waiting
_MOST, _LARGEST = (1 << 31) - 1, 1 << 62  # what the options of sockets can say
_SUBSCRIPTIONS = 1 << 16  # bytes; all that comes to who sends

# Plain numbers: those of the module calculate slowly.
_NOW = int(zmq.NOBLOCK)
_NOW_AND_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
_PUB = int(zmq.PUB)

_OnWait: TypeAlias = Callable[[float], None]  # is told the seconds so far


class OneWay:
    """A socket for each address, all of one kind.

    Args:
        kind: `zmq.PUSH`, `zmq.PULL`, `zmq.PUB` or `zmq.SUB`.
        addresses: to `open`, in ZeroMQ's spelling.
        bind: they are this side's own.
        hwm: messages that wait on this side for each peer, at most; 0: any number.
        limit: bytes of a message that comes. Of one that has up to twice as many the user hears;
            the connection over which more come is ended, before they take memory.

    Raises:
        ConfigError: an address cannot be bound or connected to.

    Attributes:
        kind: of the sockets.
        sends: what they are for; otherwise they receive.
        addresses: ports filled in.
    """

    def __init__(
        self,
        kind: int,
        addresses: Sequence[str] = (),
        *,
        bind: bool = False,
        hwm: int,
        limit: int,
    ) -> None:
        self.kind = kind
        self.sends = kind in (zmq.PUSH, zmq.PUB)
        self.addresses: list[str] = []
        self._hwm = min(hwm, _MOST)
        self._limit = _SUBSCRIPTIONS if self.sends else min(2 * limit, _LARGEST)
        self._topics: list[bytes] = []
        self._turn = -1
        self._closing = self._closed = self._forked = False
        # Again by the thread that has it: a handler of signals may close.
        self._lock = threading.RLock()
        self._bell = Bell()
        self._context = zmq.Context()
        self._sockets: list[Any] = []
        self._guards: list[Guard] = []
        self._waited_for: list[tuple[Any, int]] = [(self._bell.ear, zmq.POLLIN)]
        self._watch = Watch(self.addresses, self._limit, hwm, self._bell.ring)
        self._watch.idle = self.sends  # what comes then is not read by anybody
        _ways.add(self)
        for address in addresses:
            self.open(address, bind=bind)

    @property
    def connects(self) -> int:
        """Connections that began."""
        return self._watch.connects

    @property
    def disconnects(self) -> int:
        """Connections that ended."""
        return self._watch.disconnects

    @property
    def cut(self) -> int:
        """Those of them that were cut off, because a message did not come to an end."""
        return self._watch.cut

    def open(self, address: str, *, bind: bool, topic: bytes = b"") -> None:
        """Bind or connect to one more address.

        Args:
            address: of it.
            bind: it is this side's own.
            topic: of SUB: what begins with it comes, over whichever address.

        Raises:
            ConfigError: that is not possible; all of this is closed then.
            DataFlowTerminated: this was closed.
        """
        with self._lock:
            self._check()
            try:
                self._open(self._socket(address), address, bind, topic)
            except zmq.ZMQError as error:
                self.close()
                raise ConfigError(f"{address}: {error}") from error

    def send(
        self,
        frames: Sequence[Any],
        on_wait: _OnWait,
        *,
        copy: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Send a message, as soon as there is room for it; PUB: to all who have room.

        Args:
            frames: of it.
            on_wait: is told for how many seconds there was none.
            copy: they may be written to afterwards. Without, large ones are sent from where they
                are, possibly later.
            timeout: seconds; None: as long as it takes.

        Raises:
            PeerTimeout: there was no room for so long.
            DataFlowTerminated: this was closed.
        """
        if self._closing:  # in a forked process nobody would give the lock back
            self._check()
        with self._lock:
            sent, begun = self._sent(frames, copy), None
            while not sent:
                begun = begun or monotonic()
                self._wait(begun, on_wait, timeout, "nobody took a message")
                sent = self._sent(frames, copy)

    def receive(
        self, on_wait: _OnWait, *, timeout: float | None = None
    ) -> tuple[int, list[zmq.Frame]]:
        """The next message: number of the address that it came over, and its frames.

        Args:
            on_wait: is told for how many seconds none came.
            timeout: seconds; None: as long as it takes.

        Raises:
            PeerTimeout: none came for so long.
            DataFlowTerminated: this was closed.
        """
        if self._closing:  # in a forked process nobody would give the lock back
            self._check()
        with self._lock:
            found, begun = self._received(), None
            while found is None:
                begun = begun or monotonic()
                self._wait(begun, on_wait, timeout, "no message came")
                found = self._received()
            return found

    def close(self, linger: float | None = 0.0) -> None:
        """End who waits, and close. Idempotent.

        Args:
            linger: seconds that what was sent has to get out; None: it takes as long as it takes.
        """
        if self._forked:
            return  # the sockets are the parent's
        self._closing = True
        self._bell.ring()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for socket in self._sockets:
                socket.disable_monitor()
                socket.close(-1 if linger is None else int(linger * 1000))
        self._watch.close(self._end)

    def _disown(self) -> None:
        self._closing = self._forked = True

    def _end(self) -> None:
        self._context.term()
        self._bell.close()

    def _socket(self, address: str) -> Any:
        socket: Any = self._context.socket(self.kind)
        socket.linger = 0
        socket.sndhwm = socket.rcvhwm = self._hwm
        socket.maxmsgsize = self._limit
        socket.copy_threshold = INLINE
        socket.reconnect_ivl, socket.reconnect_ivl_max = _RETRY, _LAST_RETRY
        socket.heartbeat_ivl, socket.heartbeat_timeout = _HEARTBEAT, _SILENCE
        socket.ipv6 = "[" in address
        return socket

    def _open(self, socket: Any, address: str, bind: bool, topic: bytes) -> None:
        self._sockets.append(socket)
        self._guards.append(self._watch.add(socket, bind=bind))
        self._waited_for.append((socket, zmq.POLLOUT if self.sends else zmq.POLLIN))
        if self.kind == zmq.SUB:
            self._topics.append(topic)
            for one in self._sockets[:-1]:
                one.subscribe(topic)
            for known in self._topics:
                socket.subscribe(known)
        (socket.bind if bind else socket.connect)(address)
        self.addresses.append(socket.last_endpoint.rstrip(b"\0").decode() if bind else address)

    # -- one attempt: much of what a small message costs ---------------------------------------

    def _sent(self, frames: Sequence[Any], copy: bool) -> bool:
        if self._closing or self._watch.broken:
            self._mind()
        sockets = self._sockets
        sent = False
        for _ in sockets:
            self._turn = number = (self._turn + 1) % len(sockets)
            try:
                send = sockets[number].send
                for frame in frames[:-1]:
                    send(frame, _NOW_AND_MORE, copy)
                send(frames[-1], _NOW, copy)
            except zmq.Again:
                continue
            except zmq.ZMQError:
                self._check()  # a handler of signals closed it
                raise
            sent = True
            if self.kind != _PUB:
                break
        return sent

    def _received(self) -> tuple[int, list[zmq.Frame]] | None:
        if self._closing or self._watch.broken:
            self._mind()
        sockets = self._sockets
        for _ in sockets:
            self._turn = number = (self._turn + 1) % len(sockets)
            receive = sockets[number].recv
            try:
                frame = receive(_NOW, False)
                frames = [frame]
                while frame.more:
                    frame = receive(_NOW, False)
                    frames.append(frame)
            except zmq.Again:
                continue
            except zmq.ZMQError:
                self._check()
                raise
            except BaseException:  # a signal's, between two frames: the rest alone is no message
                with suppress(zmq.ZMQError):
                    while sockets[number].rcvmore:
                        receive(_NOW, False)
                raise
            guard = self._guards[number]
            if guard.curious:
                guard.heard(frame)
            return number, frames
        return None

    def _wait(self, begun: float, on_wait: _OnWait, timeout: float | None, what: str) -> None:
        waited = monotonic() - begun
        if timeout is not None and waited >= timeout:
            raise PeerTimeout(f"{what} within {timeout} s at {', '.join(self.addresses)}")
        on_wait(waited)
        left = _GLANCE if timeout is None else min(_GLANCE, timeout - waited)
        self._watch.drained = self._watch.idle = True
        try:
            zmq.zmq_poll(self._waited_for, math.ceil(left * 1000))
            if not self._closing:  # what it rang for is looked at next
                self._bell.quiet()
        except zmq.ZMQError:
            self._check()
            raise
        finally:
            self._watch.idle = self.sends

    def _check(self) -> None:
        if self._forked:
            raise ConfigError("a forked process cannot use a connection that its parent opened")
        if self._closing:
            raise DataFlowTerminated("the connection was closed")

    def _mind(self) -> None:
        """Begin connections again that libzmq has given up."""
        self._check()
        while self._watch.broken:
            number = self._watch.broken.popleft()
            socket, address = self._sockets[number], self.addresses[number]
            logger.warning("the connection to %s was broken off, and begins again", address)
            with suppress(zmq.ZMQError):  # otherwise it takes it for connected still
                socket.disconnect(address)
            socket.connect(address)


_ways: weakref.WeakSet[OneWay] = weakref.WeakSet()


def _disown_all() -> None:
    for way in list(_ways):
        way._disown()


os.register_at_fork(after_in_child=_disown_all)
