"""Downloads over a `requests.Session` that the user supplies, in threads."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urljoin

import requests
import urllib3.exceptions
from requests.utils import select_proxy

from dataflow.errors import FetchError
from dataflow.http.body import Answer, Check
from dataflow.http.cache import DiskCache
from dataflow.http.driver import NOT_MODIFIED, REDIRECTS
from dataflow.http.fetcher import Fetcher
from dataflow.http.jobs import Job
from dataflow.http.policy import FetchPolicy
from dataflow.http.redirects import portable_headers, refusal
from dataflow.http.retry import parse_retry_after
from dataflow.http.sockets import cut, peer_of, resolve, set_timeout
from dataflow.http.threads import ThreadsDriver

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

__all__ = ["SessionFetcher"]

_PIECE = 1 << 16
# Bodies up to this size that nobody wants are read, which keeps the connection usable.
_SMALL = 1 << 16
_DEFAULT_AGENT = requests.utils.default_user_agent()


class SessionFetcher(Fetcher):
    """Fetches over a `requests.Session`, with as many daemon threads as transfers.

    The policy holds here, too, with these differences, which are those of requests: a server that
    sends its headers byte by byte is given up only after `FetchPolicy.stall_timeout` without a
    byte; the address that a redirect leads to is checked before the connection is made and again
    when the answer is there, which a name that changes between the two can pass with a request,
    never with its answer; `close` waits one second for transfers whose answer has not begun, and
    leaves those threads to end by themselves.

    Args:
        policy: the limits of each download. Its `user_agent` and `auth` are used unless the session
            has its own, its `cainfo` and `proxy` where they are set; otherwise these are the
            session's affair, and so are cookies and the netrc file.
        session: used from several threads, and not closed.
        concurrency: how many transfers may be under way at a time. The session's adapters should
            keep as many connections (``HTTPAdapter(pool_maxsize=…)``).
        check: see `make_fetcher`.
        cache: see `make_fetcher`.

    Raises:
        ConfigError: `concurrency` is not a positive integer.
    """

    def __init__(
        self,
        policy: FetchPolicy | None,
        session: Session,
        *,
        concurrency: int,
        check: Check | None = None,
        cache: DiskCache | None = None,
    ) -> None:
        super().__init__(
            _SessionDriver(policy or FetchPolicy(), session, concurrency, check, cache)
        )


class _SessionDriver(ThreadsDriver):
    def __init__(
        self,
        policy: FetchPolicy,
        session: Session,
        concurrency: int,
        check: Check | None,
        cache: DiskCache | None,
    ) -> None:
        super().__init__(policy, concurrency, check, cache, proxied=bool(policy.proxy))
        self._session = session
        proxy = policy.proxy
        # With "" there is none, whatever the environment says.
        self._proxies = None if proxy is None else {"http": proxy, "https": proxy}

    def _cut(self, under_way: Any) -> None:
        cut(under_way)

    def _transfer(self, job: Job, left: float) -> Callable[[], None]:
        """Make one request, in so many seconds; returns what to do about its outcome."""
        if left <= 0:
            self._ended(job, "closed")
            return partial(self.deliver_error, job, self.overdue(job))
        self.tally.begin(retry=job.trial > 1 and not job.hops)
        silent: str | None = "internal"  # the reason, until there is an answer
        reached = True
        try:
            proxied = self._is_proxied(job)
            if job.hops and not proxied:
                for address in resolve(job.target):
                    self._permit(job, address)
            response = self._request(job, left)
            silent = None
            try:
                with self.turn:
                    if job in self.active:
                        self.active[job] = response
                peer = "" if proxied else peer_of(response)
                if peer:
                    self._permit(job, peer)
                return self._judge(job, response, peer, proxied)
            finally:
                # Back to the pool if its body was read to the end, else closed.
                response.close()
        except FetchError as error:
            silent = silent and error.reason
            return partial(self.retry, job, error, None)
        except Exception as error:
            # Adapters and authentication plugins raise whatever they like. It does not become the
            # cause, and loses its frames: urllib3's exceptions form cycles that hold connections.
            diagnosis = _diagnosis(error)
            for cause in _causes(error):
                cause.__traceback__ = None
            silent = silent and diagnosis[0]
            reached = silent == "timeout" and not isinstance(error, requests.ConnectTimeout)
            return partial(self.retry, job, job.error(*diagnosis), None)
        finally:
            self.tally.end(0.0 if silent is None else time.monotonic() - job.begun)
            self._ended(job, silent, reached)

    def _request(self, job: Job, left: float) -> Response:
        policy = self.policy
        headers: dict[str, str | None] = {"Accept-Encoding": "identity"}
        if self._session.headers.get("User-Agent") in (None, _DEFAULT_AGENT):
            headers["User-Agent"] = policy.agent
        if job.foreign:
            headers.update(portable_headers(policy))
            headers.update({"Authorization": None, "Cookie": None})
        else:
            headers.update(policy.headers)
        if job.kept is not None:
            headers.update(job.kept.conditions)
        return self._session.get(
            job.target,
            headers=headers,
            auth=self._auth_for(job),
            proxies=self._proxies,
            timeout=(min(policy.connect_timeout, left), min(policy.stall_timeout, left)),
            allow_redirects=False,
            stream=True,
            verify=None if policy.cainfo is None else os.path.expanduser(policy.cainfo),
        )

    def _auth_for(self, job: Job) -> Any:
        if job.foreign:
            return _no_auth
        return self._session.auth or (None if job.has_login else self.policy.auth)

    def _judge(self, job: Job, response: Response, peer: str, proxied: bool) -> Callable[[], None]:
        status = response.status_code
        if 200 <= status < 300:
            body = self._read(job, response, self.policy.max_bytes)
            content_type = response.headers.get("Content-Type")
            answer = Answer.of(status, content_type, response.raw.headers.getlist)
            return partial(self.deliver_body, job, body, answer)
        with suppress(Exception):  # whatever becomes of its body, the answer was no
            self._read(job, response, _SMALL)
        if status == NOT_MODIFIED and job.kept is not None:
            return partial(self.deliver_unchanged, job)
        location = self._session.get_redirect_target(response)
        if status in REDIRECTS and location:
            if not peer and not proxied:
                peer = self._likely_peer(job)
            return partial(self.redirect, job, urljoin(job.target, location), peer, status)
        error = job.error(f"http_{status}", f"the server answered with status {status}", status)
        pause = parse_retry_after(response.headers.get("Retry-After"))
        return partial(self.retry, job, error, pause)

    def _read(self, job: Job, response: Response, cap: int) -> bytes:
        """The body as it was sent, within the cap and the deadline."""
        status = response.status_code
        too_large = f"the body has more than max_bytes={cap}"
        length = response.headers.get("Content-Length", "")
        announced = int(length) if length.isascii() and length.isdigit() else None
        if announced is not None and announced > cap:
            raise job.error("too_large", too_large, status)
        # read1 returns what is there; read would wait for all it was asked for, and a server
        # could keep it waiting with one byte a second.
        read = getattr(response.raw, "read1", response.raw.read)
        parts: list[bytes] = []
        size = 0
        while True:
            left = job.deadline - time.monotonic()
            if left <= 0:
                raise self.overdue(job)
            set_timeout(response, min(left, self.policy.stall_timeout))
            piece: bytes = read(_PIECE, decode_content=False)
            if not piece:
                break
            size += len(piece)
            if size > cap:
                raise job.error("too_large", too_large, status)
            parts.append(piece)
        if announced is not None and size < announced:
            what = f"the body has {size} bytes of the {announced} announced"
            raise job.error("truncated", what, status)
        return b"".join(parts)

    def _permit(self, job: Job, address: str) -> None:
        reason = refusal(job, address, self.policy)
        if reason is not None:
            raise job.error("blocked", reason)

    def _likely_peer(self, job: Job) -> str:
        """The address of a server whose connection went back to the pool before we saw it."""
        addresses = resolve(job.target)
        public = [address for address in addresses if not self.policy.is_private(address)]
        return (public or addresses or [""])[0]

    def _is_proxied(self, job: Job) -> bool:
        proxies = dict(self._proxies or {})
        settings = self._session.merge_environment_settings(job.target, proxies, True, None, None)
        return select_proxy(job.target, settings["proxies"]) is not None


def _no_auth(request: PreparedRequest) -> PreparedRequest:
    """Keeps requests from adding the session's or the netrc file's credentials."""
    return request


def _diagnosis(error: Exception) -> tuple[str, str]:
    """The reason word and a text for what a request raised.

    Both come from the first cause that says something. The exceptions' own texts are left out:
    they quote the URL, with whatever secrets its query has.
    """
    for cause in _causes(error):
        for kinds, reason in _REASONS:
            if isinstance(cause, kinds):
                text = getattr(cause, "strerror", None)
                return reason, text if isinstance(text, str) else type(cause).__name__
    return ("connect" if isinstance(error, OSError) else "internal"), type(error).__name__


def _causes(error: BaseException) -> list[BaseException]:
    """An exception and those inside it: innermost first, where the facts are."""
    found: list[BaseException] = []
    queue: list[Any] = [error]
    while queue and len(found) < 20:
        item = queue.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            queue += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]
    return found[::-1]


_Kinds: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]
_REASONS: tuple[tuple[_Kinds, str], ...] = (
    (ssl.SSLError, "tls"),
    (requests.exceptions.SSLError, "tls"),
    (socket.gaierror, "dns"),
    (ConnectionRefusedError, "refused"),
    ((TimeoutError, requests.exceptions.Timeout, urllib3.exceptions.TimeoutError), "timeout"),
    ((http.client.IncompleteRead, urllib3.exceptions.IncompleteRead), "truncated"),
    ((ConnectionResetError, BrokenPipeError, ConnectionAbortedError), "reset"),
    (http.client.HTTPException, "protocol"),
    (urllib3.exceptions.NewConnectionError, "connect"),
    (urllib3.exceptions.ProtocolError, "reset"),
    (urllib3.exceptions.LocationParseError, "bad_url"),
    ((requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema), "bad_url"),
    (requests.exceptions.ConnectionError, "connect"),
)
