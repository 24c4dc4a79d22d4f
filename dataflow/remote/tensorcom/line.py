"""One socket of ZeroMQ: any thread may use it, any thread may close it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, TypeAlias

import zmq
from zmq.utils.monitor import recv_monitor_message

from dataflow.codec.tensor import INLINE
from dataflow.errors import ConfigError, DataFlowTerminated, PeerTimeout
from dataflow.remote.tensorcom.urls import Place
from dataflow.transport.bell import Bell

__all__ = ["Line"]

logger = logging.getLogger(__name__)

_RETRY, _LAST_RETRY = 100, 2000  # ms, while nobody listens
_HEARTBEAT, _SILENCE = 5000, 30_000  # ms; without them a cut cable is never noticed
_GIVEN_UP = 0.2  # seconds after which libzmq would have begun to connect again
_GLANCE = 1.0  # seconds between looks at who waits how long

_BEGAN = zmq.EVENT_CONNECTED | zmq.EVENT_ACCEPTED
_EVENTS = _BEGAN | zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED

_OnWait: TypeAlias = Callable[[float], None]  # is told the seconds so far


class Line:
    """A socket that is connected or bound to any number of addresses.

    Args:
        kind: of socket.
        limit: bytes of a frame; libzmq breaks a connection over which one of more than twice as
            many comes, before it takes memory for it.
        hwm: messages that wait on this side for each peer, at most.

    Attributes:
        addresses: of all of them, ports filled in.
        connects: connections that began.
        disconnects: connections that ended.
    """

    def __init__(self, kind: int, *, limit: int, hwm: int) -> None:
        self.kind = kind
        self.addresses: list[str] = []
        self.connects = self.disconnects = 0
        self._connected: list[str] = []
        self._lost: dict[str, float] = {}
        self._closing = False
        self._process = os.getpid()
        # Again by the thread that has it: a handler of signals may close.
        self._lock = threading.RLock()
        self._bell = Bell()
        self._context = zmq.Context()
        self._socket: Any = self._context.socket(kind)
        self._socket.linger = 0
        self._socket.sndhwm = self._socket.rcvhwm = hwm
        self._socket.maxmsgsize = 2 * limit
        self._socket.copy_threshold = INLINE
        self._socket.reconnect_ivl, self._socket.reconnect_ivl_max = _RETRY, _LAST_RETRY
        self._socket.heartbeat_ivl, self._socket.heartbeat_timeout = _HEARTBEAT, _SILENCE
        self._monitor: Any = self._socket.get_monitor_socket(_EVENTS)
        self._monitor.linger = 0

    def open(self, place: Place) -> None:
        """Bind or connect to one more address.

        Raises:
            ConfigError: that is not possible.
        """
        with self._lock:
            self._check()
            self._socket.ipv6 = "[" in place.address
            try:
                if place.kind == zmq.SUB:
                    self._socket.subscribe(place.topic)
                if place.bind:
                    self._socket.bind(place.address)
                    self.addresses.append(self._socket.last_endpoint.rstrip(b"\0").decode())
                else:
                    self._socket.connect(place.address)
                    self.addresses.append(place.address)
                    self._connected.append(place.address)
            except zmq.ZMQError as error:
                raise ConfigError(f"{place.address}: {error}") from error

    def send(
        self, frames: Sequence[Any], *, copy: bool, timeout: float | None, on_wait: _OnWait
    ) -> None:
        """Send a message, as soon as there is room for it.

        Raises:
            PeerTimeout: there was none for so many seconds.
            DataFlowTerminated: the line was closed.
        """

        def attempt() -> None:
            self._socket.send_multipart(frames, zmq.NOBLOCK, copy=copy)

        self._when_ready(attempt, zmq.POLLOUT, timeout, on_wait, "nobody took a message")

    def receive(self, *, timeout: float | None, on_wait: _OnWait) -> list[Any]:
        """The frames of the next message.

        Raises:
            PeerTimeout: none came for so many seconds.
            DataFlowTerminated: the line was closed.
        """

        def attempt() -> list[Any]:
            found: list[Any] = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            return found

        found: list[Any] = self._when_ready(
            attempt, zmq.POLLIN, timeout, on_wait, "no message came"
        )
        return found

    def close(self, linger: float) -> None:
        """End who waits, give what was sent so many seconds to get out, and close. Idempotent."""
        if os.getpid() != self._process:
            return  # the socket is the parent's
        self._closing = True
        self._bell.ring()
        with self._lock:
            if self._socket.closed:
                return
            self._socket.disable_monitor()
            self._monitor.close()
            self._socket.close(int(linger * 1000))
        self._context.term()
        self._bell.close()

    def _when_ready(
        self,
        attempt: Callable[[], Any],
        event: int,
        timeout: float | None,
        on_wait: _OnWait,
        what: str,
    ) -> Any:
        begun = monotonic()
        with self._lock:
            while True:
                self._check()
                self._mind()
                try:
                    return attempt()
                except zmq.Again:
                    waited = monotonic() - begun
                if timeout is not None and waited >= timeout:
                    raise PeerTimeout(f"{what} within {timeout} s at {', '.join(self.addresses)}")
                on_wait(waited)
                left = _GLANCE if timeout is None else min(_GLANCE, timeout - waited)
                self._wait(event, left)

    def _wait(self, event: int, seconds: float) -> None:
        if self._lost:
            seconds = min(seconds, _GIVEN_UP)
        waited_for = [(self._socket, event), (self._monitor, zmq.POLLIN)]
        try:
            zmq.zmq_poll([*waited_for, (self._bell.ear, zmq.POLLIN)], int(seconds * 1000 + 0.999))
        except zmq.ZMQError:
            self._check()  # a handler of signals closed it
            raise

    def _check(self) -> None:
        if self._closing:
            raise DataFlowTerminated("the connection was closed")

    def _mind(self) -> None:
        """Look what became of connections, and begin those again that libzmq has given up.

        It connects again where a peer has gone, but not where one broke its rules, such as with a
        frame that is too large.
        """
        now = monotonic()
        while True:
            try:
                found = recv_monitor_message(self._monitor, zmq.NOBLOCK)
            except zmq.Again:
                break
            if found["event"] & _BEGAN:
                self.connects += 1
                continue
            address = self._address(found["endpoint"].decode("utf-8", "replace"))
            if found["event"] == zmq.EVENT_CONNECT_RETRIED:
                self._lost.pop(address or "", None)
                continue
            self.disconnects += 1
            if address is not None:
                self._lost[address] = now
        for address, since in list(self._lost.items()):
            if now - since >= _GIVEN_UP:
                del self._lost[address]
                logger.warning("the connection to %s was broken off, and begins again", address)
                with suppress(zmq.ZMQError):  # otherwise it takes it for connected still
                    self._socket.disconnect(address)
                self._socket.connect(address)

    def _address(self, endpoint: str) -> str | None:
        """The one of ours that an event is about, which may tell a name's number."""
        port = endpoint.rpartition(":")[2]
        for address in self._connected:
            if endpoint == address or (
                address.startswith("tcp:") and address.rpartition(":")[2] == port
            ):
                return address
        return None
