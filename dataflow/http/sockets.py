"""The socket beneath a `requests.Response`, as far as it can be found.

requests has no way to it. These helpers know where urllib3 keeps it, and do nothing for the
responses of adapters that have none.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from requests import Response

__all__ = ["cut", "peer_of", "resolve", "set_timeout"]


def cut(response: Response) -> None:
    """End the connection of a response that another thread is reading, which wakes that thread."""
    sock = _socket_of(response)
    if sock is not None:
        with suppress(OSError):  # it may have ended
            sock.shutdown(socket.SHUT_RDWR)


def peer_of(response: Response) -> str:
    """The address at the other end; empty where it is unknown."""
    sock = _socket_of(response)
    if sock is not None:
        try:
            name = sock.getpeername()
        except OSError:
            return ""
        if isinstance(name, tuple):
            return str(name[0])
    return ""


def set_timeout(response: Response, seconds: float) -> None:
    """Limit each further wait for bytes of a response."""
    sock = _socket_of(response)
    if sock is not None:
        with suppress(OSError):  # it may have ended
            sock.settimeout(max(0.001, seconds))


def resolve(url: str) -> list[str]:
    """The addresses that a URL's host has; none where it is not found."""
    parts = urlsplit(url)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(entry[4][0]) for entry in found]


def _socket_of(response: Response) -> socket.socket | None:
    raw = response.raw
    # The connection's own socket is gone from it once the server said "Connection: close".
    for path in (("connection", "sock"), ("_fp", "fp", "raw", "_sock")):
        found = raw
        for name in path:
            found = getattr(found, name, None)
        if isinstance(found, socket.socket):
            return found
    return None
