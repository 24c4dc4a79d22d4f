"""URLs: made safe to send, and made safe to show."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote

__all__ = ["BadURLError", "Target", "login_of", "parse", "shown", "with_login"]

MAX_LENGTH = 1 << 16
"""Characters. The longest that servers take is 8 to 16 thousand."""

# Only what needs no change; everything else goes the slow way below. A percent sign or backslash
# in the authority is refused there: clients read such hosts differently.
_SAFE = "!#$%&'()*+,/:;=?@[]~"
_PLAIN = re.compile(
    r"(?P<scheme>https?)://(?:[\w.~!$&'()*+,;=:%-]*@)?"
    r"(?P<host>(?:[\w.~-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?)"
    r"(?:[/?#][\w.\-!#$&'()*+,/:;=?@\[\]~]*(?:%[0-9a-f]{2}[\w.\-!#$&'()*+,/:;=?@\[\]~]*)*)?",
    re.ASCII | re.IGNORECASE,
)
_SPLIT = re.compile(r"(https?://)([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_STRAY_PERCENT = re.compile(r"%(?![0-9a-f]{2})", re.IGNORECASE)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)


class BadURLError(ValueError):
    """A text is not a URL to fetch. The message says why, and does not repeat the text."""


class Target(NamedTuple):
    """Where a request goes."""

    url: str
    """Printable ASCII only."""
    host: str
    """Lower-case host, with the port where the URL has one."""


def parse(url: str) -> Target:
    """Check a URL, and percent-encode what is not ASCII in it.

    White space and line ends around it, and a byte order mark before it, are no part of it: lists
    that were read from files have them. Names of hosts go by IDNA 2008 (RFC 5891, with the mapping
    of UTS 46), as in browsers: ``faß.de`` is not ``fass.de``.

    Raises:
        BadURLError: it is not http or https, has no host, or has control characters.
    """
    match = _PLAIN.fullmatch(url) if isinstance(url, str) else None
    if match is None or len(url) > MAX_LENGTH:
        url = _repair(url)
        match = _PLAIN.fullmatch(url)
        if match is None:
            raise BadURLError("its host or port is not one")
    host = match["host"].lower()
    if host[-1] != "]":
        port = host.rpartition(":")[2]
        if port is not host and port.isdigit() and ":" in host and not 0 < int(port) < 65536:
            raise BadURLError(f"its port {port} is not between 1 and 65535")
    return Target(url, host)


def login_of(url: str) -> str:
    """The user and password of a URL, with the @ after them; empty where it has none."""
    authority = url.partition("//")[2].partition("/")[0].partition("?")[0]
    user, at, _ = authority.rpartition("@")
    return user + at


def with_login(url: str, login: str) -> str:
    """A URL that has none, with what `login_of` gave."""
    scheme, slashes, rest = url.partition("//")
    return scheme + slashes + login + rest


def _repair(url: object) -> str:
    if url is None:
        raise BadURLError("there is none")
    if not isinstance(url, str):
        raise BadURLError(f"it is of type {type(url).__name__}, not text")
    if not url:
        raise BadURLError("it is empty")
    url = url.strip().lstrip("\ufeff").lstrip()
    if not url:
        raise BadURLError("it is nothing but white space")
    if len(url) > MAX_LENGTH:
        raise BadURLError(f"it has {len(url)} characters, more than {MAX_LENGTH}")
    for character in url:
        if character < " " or "\x7f" <= character <= "\x9f":
            raise BadURLError(f"it has the control character {character!r}")
    split = _SPLIT.fullmatch(url)
    if split is None:
        scheme = _SCHEME.match(url)
        if scheme is None:
            raise BadURLError("it does not begin with http:// or https://")
        if scheme[1].lower() in ("http", "https"):
            raise BadURLError(f"it has no // after {scheme[0]}")
        raise BadURLError(f"its scheme is {scheme[1][:20]!r}, not http or https")
    prefix, authority, rest = split.groups()
    if not authority:
        raise BadURLError("it has no host")
    authority = authority.removesuffix(":")  # a port that is empty is the usual one
    try:
        if not authority.isascii():
            user, at, host = authority.rpartition("@")
            authority = quote(user, safe=_SAFE) + at + _in_ascii(host)
        rest = _STRAY_PERCENT.sub("%25", rest)
        return prefix + authority + quote(rest, safe=_SAFE)
    except UnicodeError as error:
        raise BadURLError("it has characters that cannot be encoded") from error


def _in_ascii(host: str) -> str:
    import idna

    name, colon, port = host.partition(":")
    try:
        encoded = idna.encode(name, uts46=True)
    except idna.IDNAError:  # what only the older standard allows, such as ☃
        encoded = name.encode("idna")
    return encoded.decode("ascii") + colon + port


def shown(url: object) -> str:
    """A URL for messages: short, and without user, password and query, where secrets are."""
    if not isinstance(url, str):
        return repr(url)[:200]
    # Greedy up to the last @ of the authority, so that an @ inside a password leaks nothing.
    text = re.sub(r"^([^/?#]*//)[^/?#]*@", r"\1***@", url)
    bare, question, _ = text.partition("?")
    bare = bare if bare.isprintable() else ascii(bare)[1:-1]
    if len(bare) > 200:
        bare = bare[:197] + "..."
    return bare + ("?..." if question else "")
