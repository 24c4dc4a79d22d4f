"""Which network an IP address belongs to."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TypeAlias

__all__ = ["is_forbidden", "is_private"]

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA = frozenset(
    ipaddress.ip_address(text)
    # Cloud metadata services outside 169.254.0.0/16: AWS over IPv6, Alibaba, Oracle, Azure.
    for text in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@lru_cache(maxsize=4096)
def is_private(address: str) -> bool:
    """Whether an address is anything but a host on the public Internet.

    Private, shared, loopback, link-local, unspecified, multicast and reserved addresses count, and
    so do IPv6 addresses that only wrap such an IPv4 one. What is no address at all counts, too.

    Args:
        address: IPv4 or IPv6 in text, with or without a zone (``fe80::1%eth0``).
    """
    unwrapped = _parse(address)
    if unwrapped is None:
        return True
    return not all(ip.is_global and not ip.is_multicast for ip in unwrapped)


@lru_cache(maxsize=4096)
def is_forbidden(address: str) -> bool:
    """Whether no redirect may ever lead to this address.

    Link-local networks and the metadata services of clouds, which hand out a machine's
    credentials to whoever can make it send a request there.
    """
    unwrapped = _parse(address)
    if unwrapped is None:
        return True
    return any(ip.is_link_local or ip in _METADATA for ip in unwrapped)


def _parse(address: str) -> tuple[_Address, ...] | None:
    """The address and the IPv4 addresses that it wraps."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv4Address):
        return (ip,)
    if ip.ipv4_mapped is not None:
        return (ip.ipv4_mapped,)
    if ip in _NAT64 or (int(ip) >> 32 == 0 and int(ip) > 1):
        # NAT64, and the deprecated IPv4-compatible form (::127.0.0.1).
        return (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF),)
    if ip.sixtofour is not None:
        return (ip, ip.sixtofour)
    if ip.teredo is not None:
        return (ip, *ip.teredo)
    return (ip,)
