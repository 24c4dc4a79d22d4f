"""Addresses of sockets, and which of them others can reach."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from dataflow.errors import ConfigError

__all__ = ["check_addresses", "is_local"]

_TCP = re.compile(r"tcp://(\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[^\s:/\[\]]+):(\d{1,5}|\*)")


def check_addresses(addresses: str | Sequence[str], *, bind: bool) -> tuple[str, ...]:
    """The addresses as a tuple.

    Args:
        addresses: one or several of ``tcp://HOST:PORT`` and ``ipc://PATH``; where they are to be
            bound, the port may be ``*``.
        bind: whether they are.

    Raises:
        ConfigError: one of them is no such address.
    """
    found = (addresses,) if isinstance(addresses, str) else tuple(addresses)
    if not found:
        raise ConfigError("address=() must be at least one address, such as tcp://host:5555")
    for address in found:
        if not isinstance(address, str):
            raise ConfigError(f"address={address!r} is not text such as tcp://host:5555")
        if address.startswith("ipc://") and len(address) > len("ipc://"):
            continue
        match = _TCP.fullmatch(address)
        if match is None:
            raise ConfigError(f"address={address!r} is neither tcp://HOST:PORT nor ipc://PATH")
        host, port = match.groups()
        if not bind and (port in ("*", "0") or host in ("*", "0.0.0.0", "[::]")):
            raise ConfigError(f"address={address!r} can be bound, but not connected to")
        if port != "*" and int(port) > 65535:
            raise ConfigError(f"address={address!r}: there are ports up to 65535")
    return found


def is_local(address: str) -> bool:
    """Whether only this host can reach a socket that is bound there."""
    match = _TCP.fullmatch(address)
    if match is None:
        return True  # a file
    host = match[1].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
