"""One libcurl handle, used for one transfer after the other."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Callable
from functools import cached_property
from urllib.request import getproxies_environment

import pycurl

from dataflow.errors import FetchError
from dataflow.http.body import Answer
from dataflow.http.jobs import Job
from dataflow.http.policy import FetchPolicy
from dataflow.http.redirects import portable_headers, refusal
from dataflow.http.retry import parse_retry_after

__all__ = ["EasyHandle", "HandleOptions"]

_REASONS = {
    # libcurl's error codes (https://curl.se/libcurl/c/libcurl-errors.html); pycurl names only some.
    0: "protocol",  # older versions take an answer without headers for HTTP/0.9
    1: "protocol",  # the same in newer ones
    3: "bad_url",
    5: "dns",  # the proxy's name
    6: "dns",
    7: "connect",
    8: "protocol",
    16: "reset",  # HTTP/2 framing
    18: "truncated",
    23: "too_large",  # our own write function refused
    28: "timeout",
    35: "tls",
    47: "redirects",
    51: "tls",  # 60 in newer versions
    52: "reset",  # closed without an answer
    53: "tls",
    54: "tls",
    55: "reset",
    56: "reset",
    58: "tls",
    59: "tls",
    60: "tls",
    61: "encoding",
    63: "too_large",
    64: "tls",
    66: "tls",
    77: "tls",
    80: "tls",
    82: "tls",
    83: "tls",
    90: "tls",
    91: "tls",
    92: "reset",  # an HTTP/2 stream
    95: "reset",  # HTTP/3
    96: "connect",  # QUIC
    97: "connect",  # the proxy's handshake
    98: "tls",
    100: "protocol",  # headers without end
}
_CONNECTION_LOST = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED})
_BUFFER = 128 << 10
_KNOWS_RETRY_AFTER = hasattr(pycurl, "RETRY_AFTER")
_RECEIVED = getattr(pycurl, "SIZE_DOWNLOAD_T", pycurl.SIZE_DOWNLOAD)


class HandleOptions:
    """What all handles of a fetcher have in common.

    Args:
        policy: the limits of each download.
        wants_head: whether the headers of answers are needed, other than those libcurl tells.
    """

    def __init__(self, policy: FetchPolicy, *, wants_head: bool = False) -> None:
        self.policy = policy
        own = dict(policy.headers)
        if policy.authorization is not None and "authorization" not in map(str.lower, own):
            own["Authorization"] = policy.authorization
        self.headers = _lines(own)
        # The login of a URL comes before that of the policy.
        self.without_login = _lines({k: v for k, v in own.items() if k.lower() != "authorization"})
        self.portable = _lines(portable_headers(policy))
        if policy.proxy is None:
            self.proxied = bool(set(getproxies_environment()) - {"no"})
        else:
            self.proxied = bool(policy.proxy)
        self.inner_hosts: set[str] = set()
        """Hosts that a connection was opened to at a private address: it may still be open."""
        # A call of Python for each header costs a twentieth of the rate.
        self.wants_head = wants_head or not _KNOWS_RETRY_AFTER

    @cached_property
    def cainfo(self) -> str | None:
        """A file or folder of trusted certificates: the policy's, the environment's, the system's,
        or that of certifi.

        The path that libcurl was built with is another machine's where it comes in a wheel.
        """
        if self.policy.cainfo is not None:
            return os.path.expanduser(self.policy.cainfo)
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            if path := os.environ.get(name):
                return path
        system = ssl.get_default_verify_paths().cafile
        if system is not None:
            return system
        try:
            import certifi
        except ImportError:
            return None
        return certifi.where()

    def lines_for(self, job: Job) -> list[str]:
        """The headers of a transfer."""
        if job.foreign:
            lines = self.portable
        else:
            lines = self.without_login if job.has_login else self.headers
        return lines if job.kept is None else [*lines, *_lines(job.kept.conditions)]


def _lines(headers: dict[str, str]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers.items()]


class EasyHandle:
    """A libcurl handle and the job it works on, if any.

    Options that never change are set once; a transfer sets its URL, its time and where to write.
    """

    def __init__(self, options: HandleOptions) -> None:
        self.curl = pycurl.Curl()
        self.job: Job | None = None
        self._options = options
        self._parts: list[bytes] = []
        self._refusal: str | None = None
        self._head: list[bytes] = []
        self._lines = options.headers
        self._fresh = False
        self._progress: tuple[float, int, bool] | None = None
        self._moved = 0.0
        policy = options.policy
        setopt = self.curl.setopt
        setopt(pycurl.NOSIGNAL, 1)
        setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        setopt(pycurl.REDIR_PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        setopt(pycurl.FOLLOWLOCATION, 0)
        setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        setopt(pycurl.SSL_VERIFYPEER, 1)
        setopt(pycurl.SSL_VERIFYHOST, 2)
        if options.cainfo is not None:
            if os.path.isdir(options.cainfo):
                setopt(pycurl.CAPATH, options.cainfo)
                self.curl.unsetopt(pycurl.CAINFO)  # of the machine that libcurl was built on
            else:
                setopt(pycurl.CAINFO, options.cainfo)
        setopt(pycurl.MAXFILESIZE_LARGE, policy.max_bytes)
        setopt(pycurl.CONNECTTIMEOUT_MS, max(1, round(policy.connect_timeout * 1000)))
        setopt(pycurl.BUFFERSIZE, _BUFFER)
        setopt(pycurl.USERAGENT, policy.agent)
        # Nothing is offered, and what is packed all the same is unpacked.
        setopt(pycurl.ENCODING, "identity")
        if options.wants_head:
            setopt(pycurl.HEADERFUNCTION, self._head.append)
        setopt(pycurl.COOKIEFILE, "")  # keep cookies, in memory; see `prepare`
        if policy.netrc:
            setopt(pycurl.NETRC, pycurl.NETRC_OPTIONAL)
            if not isinstance(policy.netrc, bool):
                setopt(pycurl.NETRC_FILE, os.path.expanduser(policy.netrc))
        setopt(pycurl.HTTPHEADER, options.headers)
        if policy.proxy:
            setopt(pycurl.PROXY, policy.proxy)
        if not options.proxied:
            setopt(pycurl.PROXY, "")
            setopt(pycurl.OPENSOCKETFUNCTION, self._open)

    def prepare(self, job: Job, seconds: float) -> None:
        """Set up the transfer of a job's target that may take so many seconds."""
        self.job = job
        self._refusal = None
        self._progress = None
        parts: list[bytes] = []
        self._parts = parts
        setopt = self.curl.setopt
        setopt(pycurl.URL, job.target)
        setopt(pycurl.TIMEOUT_MS, max(1, int(seconds * 1000)))
        setopt(pycurl.WRITEFUNCTION, _capped(parts, self._options.policy.max_bytes))
        self._head.clear()
        lines = self._options.lines_for(job)
        if lines is not self._lines:
            self._lines = lines
            if lines:
                setopt(pycurl.HTTPHEADER, lines)
            else:
                self.curl.unsetopt(pycurl.HTTPHEADER)  # an empty list would leave the old one
        for cookie in job.cookies:
            setopt(pycurl.COOKIELIST, cookie)
        # An open connection has no address left to check, so a redirect gets a new one.
        fresh = job.hops > 0 and job.host in self._options.inner_hosts
        if fresh is not self._fresh:
            self._fresh = fresh
            setopt(pycurl.FRESH_CONNECT, int(fresh))

    def release(self) -> None:
        """Forget the job. The handle keeps no part of its body alive."""
        self.job = None
        self._parts.clear()
        if self.cookies():
            self.curl.setopt(pycurl.COOKIELIST, "ALL")  # that is: forget them

    def silence(self, now: float) -> float:
        """For how many seconds nothing moved, as far as that was noticed by earlier calls."""
        getinfo = self.curl.getinfo
        received = getinfo(_RECEIVED), getinfo(pycurl.HEADER_SIZE)
        progress = (*received, getinfo(pycurl.CONNECT_TIME) > 0)
        if progress != self._progress:
            self._progress, self._moved = progress, now
        return now - self._moved

    def reached(self) -> bool:
        """Whether there was a connection to the host."""
        getinfo = self.curl.getinfo
        return not getinfo(pycurl.NUM_CONNECTS) or getinfo(pycurl.CONNECT_TIME) > 0

    def status(self) -> int:
        """The answer's status; 0 where none came."""
        status: int = self.curl.getinfo(pycurl.RESPONSE_CODE)
        return status

    def body(self) -> bytes:
        """The body that was received."""
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        return body

    def content_type(self) -> str | None:
        """The answer's Content-Type."""
        raw: bytes | None = self.curl.getinfo_raw(pycurl.CONTENT_TYPE)
        return raw.decode("latin-1") if raw else None

    def location(self) -> str:
        """The absolute URL that a redirect leads to; empty where it names none."""
        raw: bytes | None = self.curl.getinfo_raw(pycurl.REDIRECT_URL)
        return raw.decode("utf-8", "surrogateescape") if raw else ""

    def header(self, name: str) -> list[str]:
        """The values of a header, whose name is in lower case, where headers are wanted."""
        head, wanted = self._head, name.encode() + b":"
        if wanted not in b"".join(head).lower():
            return []
        # There are those of a proxy, or of an interim answer, before them.
        last = max(number for number, line in enumerate(head) if line.startswith(b"HTTP/"))
        lines = [line for line in head[last:] if line.lower().startswith(wanted)]
        return [line[len(wanted) :].strip().decode("latin-1") for line in lines]

    def answer(self, status: int) -> Answer:
        """What a 2xx answer says of its body, which libcurl has unpacked."""
        if not self._options.wants_head:
            return Answer(status, self.content_type(), [], [])
        return Answer.of(status, self.content_type(), self.header, unpacked=True)

    def cookies(self) -> list[str]:
        """The cookies that the answer set, and those that were sent."""
        found: list[str] = self.curl.getinfo(pycurl.INFO_COOKIELIST)
        return found

    def peer(self) -> str:
        """The server's address; empty behind a proxy, whose address says nothing."""
        if self._options.proxied:
            return ""
        address: str | None = self.curl.getinfo(pycurl.PRIMARY_IP)
        return address or ""

    def retry_after(self, status: int) -> float | None:
        """The pause in seconds that the server asks for."""
        if status < 400:
            return None
        if not _KNOWS_RETRY_AFTER:
            return parse_retry_after(next(iter(self.header("retry-after")), None))
        seconds: int = self.curl.getinfo(pycurl.RETRY_AFTER)
        return float(seconds) if seconds > 0 else None

    def failure(self, code: int, text: str, status: int) -> FetchError:
        """What went wrong with a transfer that brought no 2xx answer, or not all of it."""
        job = self.job
        assert job is not None
        if self._refusal is not None and code == pycurl.E_COULDNT_CONNECT:
            return job.error("blocked", self._refusal)
        if status >= 300:
            # Whatever became of its body, the answer was no.
            return job.error(f"http_{status}", f"the server answered with status {status}", status)
        reason = _REASONS.get(code, "internal")
        if reason == "connect" or reason == "tls":
            number: int = self.curl.getinfo(pycurl.OS_ERRNO)
            if number == errno.ECONNREFUSED:
                reason = "refused"
            elif code == pycurl.E_SSL_CONNECT_ERROR and number in _CONNECTION_LOST:
                reason = "reset"
        if reason == "too_large":
            text = f"the body has more than max_bytes={self._options.policy.max_bytes}"
        if reason == "encoding":
            text = f"it is packed in a way that cannot be undone: {text}"
        return job.error(
            reason, text or "the answer is not HTTP that can be understood", status or None
        )

    def _open(self, purpose: int, address: pycurl.CurlSockAddr) -> _Lent | int:
        """libcurl is about to connect: the last word on where to."""
        job = self.job
        host = address.addr[0] if isinstance(address.addr, tuple) else ""
        if job is not None:
            refusal_ = refusal(job, host, self._options.policy)
            if refusal_ is not None:
                self._refusal = refusal_
                return int(pycurl.SOCKET_BAD)
            if self._options.policy.is_private(host):
                self._options.inner_hosts.add(job.host)
        try:
            return _Lent(address.family, address.socktype, address.protocol)
        except OSError:
            return int(pycurl.SOCKET_BAD)  # no descriptors left, or no IPv6


class _Lent:
    """A socket made for libcurl, which takes a duplicate of it.

    This one is closed when pycurl drops it; an object of `socket.socket` would warn then.
    """

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        self._fd = -1
        self._fd = socket.socket(family, kind, protocol).detach()

    def fileno(self) -> int:
        return self._fd

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def _capped(parts: list[bytes], cap: int) -> Callable[[bytes], int | None]:
    """A write function that refuses what goes beyond the cap, which is of unpacked bytes.

    libcurl's own limit is one of what is announced, or transferred, in all but the newest versions.
    """
    size = 0

    def write(piece: bytes) -> int | None:
        nonlocal size
        size += len(piece)
        if size > cap:
            return -1  # not what was offered: libcurl ends the transfer
        parts.append(piece)
        return None

    return write
