"""How one side talks to others."""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.transport.keys import Keys

__all__ = ["Options"]


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
    """

    addresses: tuple[str, ...]
    bind: bool
    keys: Keys | None
    server_key: bytes | None
    limit: int
    timeout: float
    max_peers: int

    @property
    def heartbeat(self) -> float:
        """Seconds between signs of life."""
        return min(1.0, self.timeout / 8)

    @property
    def silence(self) -> float:
        """Seconds without one after which a connection is given up."""
        return self.timeout / 2
