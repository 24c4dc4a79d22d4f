"""Where a redirect may lead.

A URL that the user gives may point anywhere, into the own network too. What a server answers may
not: from a public host no redirect leads to a private address, and from no host at all to the
metadata service of a cloud. Names are not looked up here. Whoever connects asks `refusal` about
the address that it is about to connect to, so a name that resolves differently the second time
(DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress

from dataflow.http.addresses import is_forbidden
from dataflow.http.jobs import Job
from dataflow.http.policy import FetchPolicy
from dataflow.http.urls import BadURLError, login_of, parse, shown, with_login

__all__ = ["follow", "portable_headers", "refusal"]

_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})


def follow(job: Job, location: str, peer: str, policy: FetchPolicy, status: int) -> None:
    """Point a job at the target of a redirect.

    Args:
        job: the job that was redirected.
        location: the absolute URL of the target.
        peer: the address of the server that redirects; empty where it is unknown, which counts as
            public.
        policy: the limits.
        status: the answer's status.

    Raises:
        FetchError: it leads nowhere, or to where it must not lead.
    """
    if job.hops >= policy.max_redirects:
        what = f"redirected more than max_redirects={policy.max_redirects} times"
        raise job.error("redirects", what, status)
    if not location[:8].lower().startswith(("http://", "https://")):
        what = f"redirected to {shown(location)!r}, which is not http or https"
        raise job.error("blocked", what, status)
    try:
        url, host = parse(location)
    except BadURLError as error:
        what = f"redirected to {shown(location)!r}: {error}"
        raise job.error("bad_url", what, status) from error
    # The login of the submitted URL holds for its host, but not where others could read it.
    safe = url.startswith("https:") or job.first.startswith("http:")
    login = login_of(job.first)
    if login and host == job.home and safe and not (job.foreign or login_of(url)):
        url = with_login(url, login)
    job.hops += 1
    job.fenced = not peer or not policy.is_private(peer)
    job.foreign = job.foreign or host != job.home
    job.target, job.host = url, host
    literal = _literal(host)
    reason = refusal(job, literal, policy) if literal else None
    if reason:
        raise job.error("blocked", reason, status)


def refusal(job: Job, address: str, policy: FetchPolicy) -> str | None:
    """Why a job must not connect to an address; None where it may."""
    if not job.hops:
        return None
    if is_forbidden(address):
        return f"a redirect must not lead to {address}, a link-local or metadata address"
    if job.fenced and policy.is_private(address):
        return f"a redirect from a public host must not lead to {address}, a private address"
    return None


def portable_headers(policy: FetchPolicy) -> dict[str, str]:
    """The policy's headers without those that are meant for one host only."""
    return {k: v for k, v in policy.headers.items() if k.lower() not in _SECRET_HEADERS}


def _literal(host: str) -> str | None:
    """The IP address that a host is written as, if it is."""
    name = host[1:].partition("]")[0] if host[0] == "[" else host.partition(":")[0]
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return None
