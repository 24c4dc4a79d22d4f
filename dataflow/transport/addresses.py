"""Addresses of sockets, and which of them others can reach."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Sequence

from dataflow.errors import ConfigError

__all__ = ["check_addresses", "is_local", "trouble"]

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


def trouble(address: str, patience: float = 1.0) -> str | None:
    """Why nobody answers at an address of others, for a person; None: nothing is known against it.

    Args:
        address: that.
        patience: seconds for each step.
    """
    match = _TCP.fullmatch(address)
    if match is None:
        path = address.removeprefix("ipc://")
        return None if os.path.exists(path) or path.startswith("@") else "there is no such file"
    host, port = match[1].strip("[]"), int(match[2])
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return f"the name {host!r} cannot be resolved ({error.strerror or error})"
    try:
        with socket.create_connection((host, port), patience) as connection:
            return _no_zeromq(connection)
    except TimeoutError:
        return "no answer: a firewall is between, or the host is not there"
    except ConnectionRefusedError:
        return "nobody listens there (connection refused)"
    except OSError as error:
        return f"it cannot be reached ({error.strerror or error})"


def _no_zeromq(connection: socket.socket) -> str | None:
    """Whether what listens is something else, by how it begins to talk.

    https://rfc.zeromq.org/spec/23/#version-negotiation
    """
    try:
        begun = connection.recv(64)
    except TimeoutError:
        return "what listens there says nothing, and so is no ZeroMQ"
    if begun[:1] != b"\xff":
        said = f"it begins with {begun[:20]!r}" if begun else "it ends the connection at once"
        return f"what listens there is no ZeroMQ: {said}"
    return None
