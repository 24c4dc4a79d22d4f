"""PUSH and PULL sockets of ZeroMQ: messages one way, with nothing that comes back.

Any thread may use them, and any thread may close them.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeAlias

import zmq
from zmq.utils.monitor import recv_monitor_message

from dataflow.codec.tensor import INLINE
from dataflow.errors import ConfigError, DataFlowTerminated
from dataflow.transport.bell import Bell

__all__ = ["OneWay"]

logger = logging.getLogger(__name__)

_RETRY, _LAST_RETRY = 100, 2000  # ms, while nobody listens
_HEARTBEAT, _SILENCE = 5000, 30_000  # ms; without them a cut cable is never noticed
_GIVEN_UP = 0.2  # seconds after which libzmq would have begun to connect again
_GLANCE = 1.0  # seconds between looks at the connections

_EVENTS = zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED

_OnWait: TypeAlias = Callable[[float], None]  # is told the seconds so far


@dataclass(eq=False, slots=True)
class _End:
    """A socket at an address.

    Attributes:
        lost: when its connection ended; None while libzmq sees to it.
    """

    address: str
    socket: Any
    monitor: Any
    lost: float | None = None


class OneWay:
    """A socket for each address, all of one kind.

    Args:
        kind: `zmq.PUSH` or `zmq.PULL`.
        addresses: in ZeroMQ's spelling.
        bind: they are this side's own.
        hwm: messages that wait on this side for each peer, at most; 0: any number.
        limit: bytes of a frame; libzmq ends a connection over which a larger one comes, before it
            takes memory for it. -1: any number.

    Raises:
        ConfigError: an address cannot be bound or connected to.

    Attributes:
        addresses: ports filled in.
        disconnects: connections that ended.
    """

    def __init__(
        self, kind: int, addresses: Sequence[str], *, bind: bool, hwm: int, limit: int = -1
    ) -> None:
        self._kind, self._bind, self._hwm, self._limit = kind, bind, hwm, limit
        self.disconnects = 0
        self._turn = 0
        self._looked = monotonic()
        self._closing = False
        self._process = os.getpid()
        # Again by the thread that has it: a handler of signals may close.
        self._lock = threading.RLock()
        self._bell = Bell()
        self._context = zmq.Context()
        self._ends: list[_End] = []
        for address in addresses:
            try:
                self._open(address)
            except zmq.ZMQError as error:
                self.close()
                raise ConfigError(f"{address}: {error}") from error
        self.addresses = tuple(end.address for end in self._ends)

    def send(self, data: bytes, on_wait: _OnWait) -> None:
        """Send a message, as soon as there is room for it.

        Raises:
            DataFlowTerminated: this was closed.
        """

        def attempt(socket: Any) -> None:
            socket.send(data, zmq.NOBLOCK, copy=False)

        self._when_ready(attempt, zmq.POLLOUT, on_wait)

    def receive(self, on_wait: _OnWait) -> tuple[int, list[Any]]:
        """The next message: number of the address that it came over, and its frames.

        Raises:
            DataFlowTerminated: this was closed.
        """
        return self._when_ready(_frames, zmq.POLLIN, on_wait)

    def close(self, linger: float | None = 0.0) -> None:
        """End who waits, and close. Idempotent.

        Args:
            linger: seconds that what was sent has to get out; None: it takes as long as it takes.
        """
        if os.getpid() != self._process:
            return  # the sockets are the parent's
        self._closing = True
        self._bell.ring()
        with self._lock:
            if self._context.closed:
                return
            for end in self._ends:
                end.socket.disable_monitor()
                end.monitor.close()
                end.socket.close(-1 if linger is None else int(linger * 1000))
            self._context.term()
            self._bell.close()

    def _open(self, address: str) -> None:
        socket: Any = self._context.socket(self._kind)
        socket.linger = 0
        socket.sndhwm = socket.rcvhwm = self._hwm
        socket.maxmsgsize = self._limit
        socket.copy_threshold = INLINE
        socket.reconnect_ivl, socket.reconnect_ivl_max = _RETRY, _LAST_RETRY
        socket.heartbeat_ivl, socket.heartbeat_timeout = _HEARTBEAT, _SILENCE
        socket.ipv6 = "[" in address
        monitor = socket.get_monitor_socket(_EVENTS)
        monitor.linger = 0
        end = _End(address, socket, monitor)
        self._ends.append(end)
        (socket.bind if self._bind else socket.connect)(address)
        if self._bind:
            end.address = socket.last_endpoint.rstrip(b"\0").decode()

    def _when_ready(
        self, attempt: Callable[[Any], Any], event: int, on_wait: _OnWait
    ) -> tuple[int, Any]:
        begun = None
        with self._lock:
            while True:
                self._check()
                now = monotonic()
                if now - self._looked > _GLANCE:
                    self._mind(now)
                for _ in self._ends:
                    number, self._turn = self._turn, (self._turn + 1) % len(self._ends)
                    try:
                        return number, attempt(self._ends[number].socket)
                    except zmq.Again:
                        pass
                    except zmq.ZMQError:
                        self._check()  # a handler of signals closed it
                        raise
                begun = begun or now
                on_wait(now - begun)
                self._wait(event)
                self._check()
                self._mind(monotonic())

    def _wait(self, event: int) -> None:
        waited_for = [(end.socket, event) for end in self._ends]
        waited_for += [(end.monitor, zmq.POLLIN) for end in self._ends]
        lost = any(end.lost is not None for end in self._ends)
        seconds = _GIVEN_UP if lost else _GLANCE
        try:
            zmq.zmq_poll([*waited_for, (self._bell.ear, zmq.POLLIN)], int(seconds * 1000))
        except zmq.ZMQError:
            self._check()
            raise

    def _check(self) -> None:
        if self._closing:
            raise DataFlowTerminated("the connection was closed")

    def _mind(self, now: float) -> None:
        """Look what became of connections, and begin those again that libzmq has given up.

        It connects again where a peer has gone, but not where one broke its rules, such as with a
        frame that is too large.
        """
        self._looked = now
        for end in self._ends:
            with suppress(zmq.Again):
                while True:
                    event = recv_monitor_message(end.monitor, zmq.NOBLOCK)["event"]
                    self.disconnects += event == zmq.EVENT_DISCONNECTED
                    end.lost = now if event == zmq.EVENT_DISCONNECTED and not self._bind else None
            if end.lost is not None and now - end.lost >= _GIVEN_UP:
                end.lost = None
                logger.warning("the connection to %s was broken off, and begins again", end.address)
                with suppress(zmq.ZMQError):  # otherwise it takes it for connected still
                    end.socket.disconnect(end.address)
                end.socket.connect(end.address)


def _frames(socket: Any) -> list[Any]:
    found: list[Any] = socket.recv_multipart(zmq.NOBLOCK, copy=False)
    return found
