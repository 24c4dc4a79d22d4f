"""How one side talks to others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dataflow.codec.tensor import INLINE
from dataflow.transport.keys import Keys

__all__ = ["Options", "prepare"]

_WAITING = 64  # messages that are received, but not read
_HANDSHAKE = 10_000  # ms in which a connection has to get through to the greeting
_RETRY, _LAST_RETRY = 100, 2000  # ms; while nobody listens


@dataclass(frozen=True)
class Options:
    """How one side talks.

    Attributes:
        addresses: where.
        bind: whether they are ours.
        keys: encrypt with these; None: in plain.
        server_key: public key of the sides that bind, for one that connects.
        limit: bytes of a message that others may send us, at most.
        timeout: seconds without a sign of life after which a peer is gone.
        max_peers: how many may be connected at once.
        id: identifies this side where it was there before; None: it is a new one.
        name: tells it to a person; None: host and process.
    """

    addresses: tuple[str, ...]
    bind: bool
    keys: Keys | None
    server_key: bytes | None
    limit: int
    timeout: float
    max_peers: int
    id: bytes | None = None
    name: str | None = None

    @property
    def heartbeat(self) -> float:
        """Seconds between signs of life."""
        return min(1.0, self.timeout / 8)

    @property
    def silence(self) -> float:
        """Seconds without one after which a connection is given up."""
        return self.timeout / 2


def prepare(socket: Any, options: Options, address: str) -> None:
    """Set a socket's options, before it is bound or connected to an address."""
    socket.copy_threshold = INLINE
    socket.sndhwm = 0  # credits bound what is under way
    socket.rcvhwm = _WAITING
    socket.maxmsgsize = options.limit + 1024  # of a frame; what CURVE adds, too
    socket.handshake_ivl = _HANDSHAKE
    socket.reconnect_ivl, socket.reconnect_ivl_max = _RETRY, _LAST_RETRY
    socket.ipv6 = "[" in address
    if options.keys is not None:
        socket.curve_publickey = options.keys.public
        socket.curve_secretkey = options.keys.secret
        if options.bind:
            socket.curve_server = True
            socket.zap_domain = b"dataflow"
        else:
            socket.curve_serverkey = options.server_key or options.keys.public
