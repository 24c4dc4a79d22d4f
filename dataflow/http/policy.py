"""What a download may cost and where it may go, and the words for how it can fail."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dataflow.errors import ConfigError
from dataflow.http.addresses import is_private
from dataflow.utils.arguments import whole_number
from dataflow.version import __version__

__all__ = ["AGENT", "REASONS", "FetchPolicy", "is_retried"]

REASONS: tuple[str, ...] = (
    "bad_url",
    "blocked",
    "closed",
    "connect",
    "dns",
    "empty",
    "encoding",
    "hash",
    "internal",
    "not_image",
    "opted_out",
    "protocol",
    "redirects",
    "refused",
    "reset",
    "retry_after",
    "timeout",
    "tls",
    "too_large",
    "truncated",
)
"""The reasons of a `FetchError`; beside them there is one open family, ``http_<status>``.

=============  ======================================================================  =======
reason         what happened                                                           retried
=============  ======================================================================  =======
bad_url        the text is no http or https URL, or has characters no URL can have     no
blocked        a redirect led to another scheme, or into a network it must not reach   no
closed         the fetcher was closed first                                            no
connect        no route, unreachable network, or another failure to connect            yes
dns            the host's name was not found                                           yes
empty          a 2xx answer without a body                                             no
encoding       a body compressed without being asked for, that cannot be unpacked      no
hash           the body is another one than its hash was made of                       no
http_<status>  the server answered with this status; retried: 408, 429 and all 5xx     some
internal       the client library failed: out of memory, out of file descriptors       no
not_image      the caller's check says it is something else, an HTML page mostly       no
opted_out      the server wants it not to be used (`FetchPolicy.respect_opt_outs`)     no
protocol       the answer is not HTTP that can be understood                           no
redirects      more than `FetchPolicy.max_redirects`                                   no
refused        nobody listens on the host's port                                       yes
reset          the connection was lost before or in the middle of the answer           yes
retry_after    the server asked for a pause that is longer than may be waited          no
timeout        not connected in time, no byte for too long, or the deadline passed     yes
tls            no trusted certificate, or no common version of TLS                     no
too_large      more than `FetchPolicy.max_bytes`                                       no
truncated      the body is shorter than its Content-Length (retried), or the caller's  some
               check found half an image (not retried)
=============  ======================================================================  =======
"""

_RETRIED = frozenset({"connect", "dns", "refused", "reset", "timeout", "truncated"})


def is_retried(reason: str, status: int | None) -> bool:
    """Whether a transfer that failed for this reason is worth another trial."""
    if reason in _RETRIED:
        return True
    return status is not None and reason == f"http_{status}" and _is_busy(status)


def _is_busy(status: int) -> bool:
    return status in (408, 429) or 500 <= status <= 599


@dataclass(frozen=True, kw_only=True)
class FetchPolicy:
    """The limits of every download of one fetcher.

    All times are in seconds, all sizes in bytes.

    Args:
        timeout: the total for one URL. It runs from the URL's first transfer and covers every
            redirect, retry and wait, but not the pauses that its host asked for.
        connect_timeout: the limit for name resolution, TCP and TLS handshake of one trial.
        stall_timeout: a trial in which no byte arrives for so long is given up, and tried again
            where `timeout` leaves room: a keep-alive connection that a router has forgotten looks
            like this.
        max_trials: how often a URL is tried in all.
        max_bytes: the largest body, as received and as unpacked.
        max_redirects: how many redirects are followed in one trial.
        retry_after_cap: the longest pause that a server can ask for (``Retry-After``). The host is
            left alone for that long, others go on. Where it asks for more, this URL fails, and so
            do the host's other URLs, without a request, until the rest of the pause is shorter
            than the cap.
        backoff: the first wait between trials. It doubles with each trial up to 10 s; the actual
            wait is uniformly random between 0 and that (full jitter).
        user_agent: the User-Agent header; None: the name and version of this project.
        contact: an address or URL for who runs the servers, which is added to it.
        headers: further headers. ``Authorization`` and ``Cookie`` are not passed on to another
            host by a redirect.
        auth: user and password, sent as HTTP's Basic authentication; not passed on to another host
            either. Those in a URL come before it, and stay over redirects within its host.
        netrc: take users and passwords from ``~/.netrc``, or from the file of this path.
        proxy: such as ``http://host:3128`` or ``socks5h://user:password@host``, for all URLs;
            ``""``: none. None: that of the environment (``http_proxy``, ``no_proxy`` …).
        cainfo: a PEM file with the certificate authorities to trust instead of the system's, or a
            folder of such (prepared with ``openssl rehash``); None: that of the environment
            (``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE``, ``SSL_CERT_FILE``) or the system's.
            Certificates are always verified.
        max_per_host: transfers at once to one host, of each process. None: no bound of its own.
        pause_per_host: seconds from the beginning of one transfer to the next of the same host, of
            each process.
        respect_opt_outs: refuse what servers mark with ``noai``, ``noimageai``, ``noindex`` or
            ``noimageindex`` in an ``X-Robots-Tag`` header, for all or for this project
            (``dataflow-feeder: noai``). The same marks as img2dataset's
            ``disallowed_header_directives``.
        is_private: tells whether an address (IPv4 or IPv6 in text) belongs to a private network,
            which no public host may redirect into. Link-local addresses and the metadata services
            of clouds are refused to redirects whatever this says.

    Raises:
        ConfigError: an argument cannot work.
    """

    timeout: float = 30.0
    connect_timeout: float = 5.0
    stall_timeout: float = 10.0
    max_trials: int = 5
    max_bytes: int = 64 << 20
    max_redirects: int = 5
    retry_after_cap: float = 60.0
    backoff: float = 0.1
    user_agent: str | None = None
    contact: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)
    auth: tuple[str, str] | None = field(default=None, repr=False)
    netrc: bool | str | os.PathLike[str] = False
    proxy: str | None = field(default=None, repr=False)
    cainfo: str | os.PathLike[str] | None = None
    max_per_host: int | None = None
    pause_per_host: float = 0.0
    respect_opt_outs: bool = False
    is_private: Callable[[str], bool] = is_private

    def __post_init__(self) -> None:
        for name in ("timeout", "connect_timeout", "stall_timeout"):
            _check_number(name, getattr(self, name), above=0)
        for name in ("retry_after_cap", "backoff", "pause_per_host"):
            _check_number(name, getattr(self, name), least=0)
        for name, least in (("max_trials", 1), ("max_bytes", 1), ("max_redirects", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"{name}={value!r} is not an integer of at least {least}")
        if self.max_per_host is not None:
            whole_number("max_per_host", self.max_per_host, 1)
        for name in ("user_agent", "contact"):
            if (text := getattr(self, name)) is not None:
                _check_header(name, text)
        if not isinstance(self.headers, Mapping):
            raise ConfigError(f"headers={self.headers!r} is not a mapping of names to values")
        for key, value in self.headers.items():
            if not isinstance(key, str) or not key or not set(key) <= _TOKEN:
                raise ConfigError(f"headers has {key!r}, which cannot be a header's name")
            _check_header(f"headers[{key!r}]", value)
        object.__setattr__(self, "headers", dict(self.headers))
        if self.auth is not None:
            _check_auth(self.auth)
        if self.proxy is not None:
            _check_proxy(self.proxy)
        if self.cainfo is not None and not os.path.isdir(os.path.expanduser(self.cainfo)):
            _check_file("cainfo", self.cainfo)
        if not isinstance(self.netrc, bool):
            _check_file("netrc", self.netrc)
        if not callable(self.is_private):
            raise ConfigError(f"is_private={self.is_private!r} is not callable")

    @property
    def agent(self) -> str:
        """The User-Agent that is sent."""
        name = f"{AGENT}/{__version__}" if self.user_agent is None else self.user_agent
        return name if self.contact is None else f"{name} (+{self.contact})"

    @property
    def authorization(self) -> str | None:
        """The header that `auth` becomes."""
        if self.auth is None:
            return None
        return "Basic " + base64.b64encode(":".join(self.auth).encode()).decode()


AGENT = "dataflow-feeder"
"""What the project calls itself to servers; their robots rules may name it."""

_PROXIES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def _check_number(
    name: str, value: Any, *, above: float | None = None, least: float | None = None
) -> None:
    # The upper bound keeps milliseconds inside the 32 bits that libcurl has for them.
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and value <= 1e6
    if above is not None and not (good and value > above):
        raise ConfigError(f"{name}={value!r} is not a number of seconds above {above:g}")
    if least is not None and not (good and value >= least):
        raise ConfigError(f"{name}={value!r} is not a number of seconds from {least:g}")


def _check_auth(auth: Any) -> None:
    pair = isinstance(auth, (tuple, list)) and len(auth) == 2
    if not pair or not all(isinstance(part, str) for part in auth) or ":" in auth[0]:
        # The value is not shown: it has a password.
        raise ConfigError("auth is not a pair of texts, user (without a colon) and password")


def _check_proxy(proxy: Any) -> None:
    scheme = proxy.partition("://")[0] if isinstance(proxy, str) else ""
    if proxy != "" and ("://" not in str(proxy) or scheme not in _PROXIES):
        raise ConfigError(
            f"proxy is no URL of a proxy: it must begin with one of {', '.join(_PROXIES)} and "
            '"://", such as "http://host:3128"; "" is for none'
        )


def _check_file(name: str, path: Any) -> None:
    try:
        with open(os.path.expanduser(path), "rb"):
            pass
    except (OSError, TypeError, ValueError) as error:
        raise ConfigError(f"{name}={path!r} cannot be read: {error}") from error


def _check_header(name: str, value: Any) -> None:
    good = isinstance(value, str) and value.isascii() and value.isprintable()
    if not good:
        # The value is not shown: it may be a password.
        raise ConfigError(f"{name} is not text of printable ASCII characters")
