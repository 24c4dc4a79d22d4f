"""Sees what becomes of connections while nobody uses their sockets.

Sockets for messages one way have no thread of ours behind them: the user's thread calls when it
likes. Meanwhile connections come and go, libzmq gives some up, and a peer can send a message
without an end. This thread looks at monitors, and at what the kernel counts; never at the sockets.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from dataflow.transport.bell import Bell
from dataflow.transport.guard import PAUSE, Guard

__all__ = ["Watch"]

logger = logging.getLogger(__name__)

_GIVEN_UP = 0.2  # seconds after which libzmq would have begun to connect again
_TOLD = 10  # connections cut off that are logged; all are counted

_BEGAN = zmq.EVENT_CONNECTED | zmq.EVENT_ACCEPTED
_EVENTS = _BEGAN | zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED


@dataclass(eq=False, slots=True)
class _Watched:
    """A socket at an address.

    Attributes:
        lost: when the connection that it made ended; None while libzmq sees to it.
    """

    bind: bool
    monitor: Any
    guard: Guard
    lost: float | None = None


class Watch:
    """The thread, from the first `add` to `close`.

    Args:
        addresses: of the sockets, ports filled in.
        limit: bytes of a message that a connection may send.
        hwm: whole messages of each that may wait to be read; 0: any number.
        call: wakes whoever is to see `broken`.

    Attributes:
        drained: there was nothing more to read; whoever saw that says so.
        idle: and it waits for more.
        connects: connections that began.
        disconnects: connections that ended.
        cut: those of them that were cut off, because a message did not end.
        broken: numbers of sockets that have to connect again, because libzmq does not.
    """

    def __init__(
        self, addresses: Sequence[str], limit: int, hwm: int, call: Callable[[], None]
    ) -> None:
        self.drained = self.idle = False
        self.connects = self.disconnects = self.cut = 0
        self.broken: deque[int] = deque()
        self._addresses = addresses
        self._limit = limit
        self._unread = hwm + 1 if hwm else math.inf
        self._call = call
        self._watched: list[_Watched] = []
        self._looked = monotonic()
        self._ending = False
        self._then: Callable[[], None] | None = None
        self._bell = Bell()
        self._thread = threading.Thread(target=self._run, name="dataflow-watch", daemon=True)

    def add(self, socket: Any, *, bind: bool) -> Guard:
        """Watch one more socket, before it is bound or connected."""
        monitor = socket.get_monitor_socket(_EVENTS)
        monitor.linger = 0
        guard = Guard(self._limit, greets=False)
        self._watched.append(_Watched(bind, monitor, guard))
        if self._thread.ident is None:
            self._thread.start()
        self._bell.ring()
        return guard

    def close(self, then: Callable[[], None]) -> None:
        """End the thread; the sockets are closed already. Once.

        Args:
            then: is called when nothing is left of it.
        """
        self._then = then
        self._ending = True
        self._bell.ring()
        if self._thread.ident is None:
            self._release()
        # A collector of garbage may run anywhere, in that thread, too.
        elif self._thread is not threading.current_thread():
            self._thread.join()

    # -- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._ending:
                self._wait()
                for number, one in enumerate(list(self._watched)):
                    self._read(one)
                    self._revive(number, one)
                self._look()
        finally:
            self._release()

    def _wait(self) -> None:
        """Until something happens or is due."""
        waited_for = [(one.monitor, zmq.POLLIN) for one in self._watched]
        due = any(one.guard or one.lost is not None for one in self._watched)
        zmq.zmq_poll([*waited_for, (self._bell.ear, zmq.POLLIN)], int(PAUSE * 1000) if due else -1)
        self._bell.quiet()

    def _read(self, one: _Watched) -> None:
        """What a monitor has to tell."""
        with suppress(zmq.Again):
            while True:
                told = recv_monitor_message(one.monitor, zmq.NOBLOCK)
                event, fd = told["event"], told["value"]
                one.lost = None
                if event & _BEGAN:
                    self.connects += 1
                    one.guard.began(fd)
                elif event == zmq.EVENT_DISCONNECTED:
                    self.disconnects += 1
                    one.guard.ended(fd)
                    one.lost = None if one.bind else monotonic()

    def _revive(self, number: int, one: _Watched) -> None:
        """Have a connection begun again that libzmq has given up.

        It connects again where a peer has gone, but not where one broke its rules, such as with a
        frame that is too large.
        """
        if one.lost is not None and monotonic() - one.lost >= _GIVEN_UP:
            one.lost = None
            self.broken.append(number)
            self._call()

    def _look(self) -> None:
        """Cut connections off that send without an end."""
        now = monotonic()
        if now - self._looked < PAUSE:
            return
        self._looked = now
        # Where nothing more was there since the last look, all that was whole then has been read.
        unread = 0 if self.drained or self.idle else self._unread
        self.drained = False
        for number, one in enumerate(self._watched):
            one.guard.look(partial(self._tell_cut, self._addresses[number]), unread)

    def _tell_cut(self, address: str, why: str) -> None:
        self.cut += 1
        if self.cut <= _TOLD:
            logger.warning("a peer at %s was cut off: its message did not come to an end", address)

    def _release(self) -> None:
        for one in self._watched:
            self._read(one)
            one.monitor.close()
            one.guard.close()
        self._bell.close()
        if self._then is not None:
            self._then()
