"""An event loop for libcurl: sleeps until a socket, a timer or another thread wants something."""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress

import pycurl

__all__ = ["CurlLoop"]

# The values of epoll and poll are the same; only their unit of time differs.
_IN, _OUT = select.POLLIN, select.POLLOUT
_EVENTS = {
    pycurl.POLL_IN: _IN,
    pycurl.POLL_OUT: _OUT,
    pycurl.POLL_INOUT: _IN | _OUT,
}


class CurlLoop:
    """libcurl's multi interface on top of epoll (poll where there is none).

    libcurl's own waiting functions either cannot be woken from another thread or stop at file
    descriptor 1024, and look at all transfers at each turn; here the cost of a turn is that of the
    sockets that have something. Everything but `wake` belongs to one thread.

    Args:
        connections: how many connections are kept open, used or idle.
    """

    def __init__(self, *, connections: int) -> None:
        self.multi = pycurl.CurlMulti()
        self._poller = select.epoll() if hasattr(select, "epoll") else select.poll()
        self._unit = 1.0 if hasattr(select, "epoll") else 1000.0
        self._watched: set[int] = set()
        self._due: float | None = None
        self._asleep = False
        self._bell, self._button = socket.socketpair()
        self._bell.setblocking(False)
        self._button.setblocking(False)
        self._bell_fd = self._bell.fileno()
        self._poller.register(self._bell_fd, _IN)
        self.multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self.multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self.multi.setopt(pycurl.M_MAXCONNECTS, connections)

    def announce(self, wakeable: bool) -> None:
        """Say that `turn` follows, and whether `wake` shall end it.

        From now on nothing that it is rung for is lost: look for work that came before between
        this call and `turn`.
        """
        self._asleep = wakeable

    def wake(self, force: bool = False) -> None:
        """End the sleep of `turn`, from any thread. Does nothing when it does not sleep.

        Args:
            force: ring even if the loop is awake or not to be woken.
        """
        if self._asleep or force:
            self._asleep = False
            with suppress(BlockingIOError):  # then it has been rung often enough
                self._button.send(b"\0")

    def fire(self, running: int) -> int:
        """Let libcurl do what its timer asks for, if it is due.

        Args:
            running: what to return otherwise.

        Returns:
            How many transfers are not finished.
        """
        if self._due is not None and self._due <= time.monotonic():
            self._due = None
            running = self.multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)[1]
        return running

    def turn(self, sleep: float | None, running: int) -> int:
        """Sleep until something happens, and handle it.

        Args:
            sleep: the longest sleep in seconds, None for no limit.
            running: what to return when nothing happened.

        Returns:
            How many transfers are not finished.
        """
        if self._due is not None:
            left = max(0.0, self._due - time.monotonic())
            sleep = left if sleep is None else min(sleep, left)
        events = self._poller.poll(-1 if sleep is None else sleep * self._unit)
        self._asleep = False
        for fd, mask in events:
            if fd == self._bell_fd:
                self._silence()
            elif fd in self._watched:
                action = 0
                if mask & _IN:
                    action |= pycurl.CSELECT_IN
                if mask & _OUT:
                    action |= pycurl.CSELECT_OUT
                if mask & ~(_IN | _OUT):
                    action |= pycurl.CSELECT_ERR
                running = self.multi.socket_action(fd, action)[1]
        return self.fire(running)

    def close(self) -> None:
        """Release the sockets. All transfers must have been removed."""
        self.multi.close()
        if hasattr(self._poller, "close"):
            self._poller.close()
        self._bell.close()
        self._button.close()

    def _silence(self) -> None:
        try:
            while len(self._bell.recv(4096)) == 4096:
                pass
        except BlockingIOError:
            pass

    def _watch(self, what: int, fd: int, multi: object, data: object) -> None:
        """libcurl says what it waits for on a socket."""
        if what == pycurl.POLL_REMOVE:
            if fd in self._watched:
                self._watched.discard(fd)
                with suppress(OSError, KeyError):  # closed, and so forgotten by the kernel
                    self._poller.unregister(fd)
            return
        if fd in self._watched:
            try:
                self._poller.modify(fd, _EVENTS[what])
                return
            except OSError:
                pass  # closed and opened again under the same number
        self._watched.add(fd)
        self._poller.register(fd, _EVENTS[what])

    def _set_timer(self, milliseconds: int) -> None:
        self._due = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000
