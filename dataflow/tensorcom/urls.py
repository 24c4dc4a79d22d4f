"""Tensorcom's URLs: ``zsub+tcp://host:7880#topic``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import zmq

from dataflow.errors import ConfigError
from dataflow.transport.addresses import check_addresses
from dataflow.utils.braces import expand_braces

__all__ = ["SCHEMES", "Place", "expanded", "parse"]

SCHEMES = {
    "zpush": (zmq.PUSH, False),
    "zpull": (zmq.PULL, True),
    "zpub": (zmq.PUB, True),
    "zsub": (zmq.SUB, False),
    "zrpush": (zmq.PUSH, True),
    "zrpull": (zmq.PULL, False),
    "zrpub": (zmq.PUB, False),
    "zrsub": (zmq.SUB, True),
}
"""Kind of socket, and whether it binds; the reversed ones do what the others do not."""

_TRANSPORTS = ("tcp", "ipc")
_URL = re.compile(r"(\w+)(?:\+(\w+))?://([^#]*)(?:#(.*))?", re.DOTALL)


class Place(NamedTuple):
    """What a URL says.

    Attributes:
        kind: of socket, a constant of ZeroMQ's.
        bind: whether the address is this side's own.
        address: in ZeroMQ's spelling.
        topic: of a SUB, what its messages begin with; of a PUB, the frame before each message.
    """

    kind: int
    bind: bool
    address: str
    topic: bytes

    @property
    def sends(self) -> bool:
        """Whether it is for sending."""
        return self.kind in (zmq.PUSH, zmq.PUB)


def expanded(url: str | Iterable[str], *, braces: bool = True) -> list[str]:
    """The URLs that a URL with braces, or a list of such, means.

    Raises:
        ConfigError: it is neither.
    """
    urls = list(url) if isinstance(url, Iterable) and not isinstance(url, str) else [url]
    for one in urls:
        if not isinstance(one, str):
            raise ConfigError(f"url={one!r} is not text such as zsub://127.0.0.1:7880")
    return [full for one in urls for full in (expand_braces(one) if braces else [one])]


def parse(url: str) -> Place:
    """What one URL says. In its topic, ``%00`` and the like are bytes.

    Raises:
        ConfigError: it is not of the form ``SCHEME[+TRANSPORT]://ADDRESS[#TOPIC]``.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise ConfigError(f"url={url!r} is not SCHEME[+TRANSPORT]://ADDRESS[#TOPIC]")
    scheme, transport, rest, topic = match.groups()
    if scheme not in SCHEMES:
        raise ConfigError(f"url={url!r}: {scheme!r} is none of {', '.join(SCHEMES)}")
    transport = transport or "tcp"
    if transport not in _TRANSPORTS:
        raise ConfigError(f"url={url!r}: {transport!r} is none of {', '.join(_TRANSPORTS)}")
    kind, bind = SCHEMES[scheme]
    if topic and kind not in (zmq.PUB, zmq.SUB):
        raise ConfigError(f"url={url!r}: only zpub, zsub, zrpub and zrsub have topics")
    rest = rest.rstrip("/") if transport == "tcp" else rest
    (address,) = check_addresses(f"{transport}://{rest}", bind=bind)
    return Place(kind, bind, address, unquote_to_bytes(topic or ""))
