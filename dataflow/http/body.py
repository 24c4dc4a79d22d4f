"""The last step of a download: is what arrived what was wanted?"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from dataflow.errors import DatapointError
from dataflow.http.jobs import Job
from dataflow.http.policy import AGENT, FetchPolicy

__all__ = ["Answer", "Check", "accept", "opted_out"]

Check: TypeAlias = Callable[[bytes, str | None], object]
"""Takes a body and its Content-Type, and raises `FetchError` or `DecodeError` to refuse it."""

Header: TypeAlias = Callable[[str], list[str]]

_GZIP = b"\x1f\x8b"
_PIECE = 1 << 16
_OPT_OUTS = frozenset({"noai", "noimageai", "noindex", "noimageindex"})


class Answer(NamedTuple):
    """What a 2xx answer says of its body.

    Attributes:
        status: of the answer.
        content_type: the header.
        encodings: how the body is packed, in the order in which that was done; lower case.
        robots: the ``X-Robots-Tag`` headers.
        etag: the ``ETag``; empty where there is none.
        modified: the ``Last-Modified``.
    """

    status: int
    content_type: str | None
    encodings: list[str]
    robots: list[str]
    etag: str = ""
    modified: str = ""

    @classmethod
    def of(
        cls, status: int, content_type: str | None, header: Header, *, unpacked: bool = False
    ) -> Answer:
        """From what gives all values of a header by its name in lower case.

        Args:
            status: of the answer.
            content_type: the header.
            header: that function.
            unpacked: the body is so already.
        """
        packed = "" if unpacked else ",".join(header("content-encoding")).lower()
        encodings = [word for word in map(str.strip, packed.split(",")) if word]
        marks = [next(iter(header(name)), "") for name in ("etag", "last-modified")]
        return cls(status, content_type, encodings, header("x-robots-tag"), *marks)


def accept(
    job: Job, body: bytes, answer: Answer, *, policy: FetchPolicy, check: Check | None
) -> bytes:
    """Unpack and check the body of a 2xx answer.

    No encoding is offered to servers, so bodies come as they are. A few are packed all the same:
    by gzip or deflate, or by brotli, where libcurl or, for sessions, that package knows it. They
    are unpacked under the same cap, and so is what has the magic bytes of gzip where an image type
    is announced.

    Returns:
        The body to hand out.

    Raises:
        DatapointError: it is empty, too large, cannot be unpacked, must not be used, or was refused
            by `check`.
    """
    status = answer.status
    if policy.respect_opt_outs and (mark := opted_out(answer.robots)):
        raise job.error("opted_out", f"the server's X-Robots-Tag says {mark}", status)
    if not body:
        raise job.error("empty", f"status {status} with an empty body", status)
    for encoding in reversed(answer.encodings):
        body = _unpack(job, body, encoding, status, policy.max_bytes)
    content_type = answer.content_type
    image = content_type is not None and content_type[:6].lower() == "image/"
    if image and not answer.encodings and body[:2] == _GZIP:
        body = _unpack(job, body, "gzip", status, policy.max_bytes)
    if check is not None:
        try:
            check(body, content_type)
        except DatapointError as error:
            if error.url is None:
                error.url = job.url
            if error.status is None:
                error.status = status
            raise
    return body


def opted_out(robots: list[str]) -> str | None:
    """What a server says against the use of its answer; rules for others' names do not count."""
    for rule in robots:
        name, colon, rest = rule.lower().partition(":")
        if colon and name.strip() != AGENT:
            continue
        words = (rest if colon else name).split(",")
        for word in map(str.strip, words):
            if word in _OPT_OUTS:
                return word
    return None


def _unpack(job: Job, body: bytes, encoding: str, status: int, cap: int) -> bytes:
    if encoding == "identity":
        return body
    try:
        unpacker = _unpacker(encoding, body)
    except ImportError:
        raise job.error("encoding", "packed with brotli: pip install brotli", status) from None
    if unpacker is None:
        raise job.error("encoding", f"packed as {encoding[:20]!r}, which is not known", status)
    out = io.BytesIO()
    size = 0
    try:
        for unpacked in unpacker:
            size += len(unpacked)
            if size > cap:
                raise job.error("too_large", f"unpacks to more than max_bytes={cap}", status)
            out.write(unpacked)
    except (zlib.error, EOFError, ValueError) as error:
        what = f"its {encoding} data is damaged or ends early: {error}"
        raise job.error("encoding", what, status) from error
    return out.getvalue()


def _unpacker(encoding: str, body: bytes) -> Iterator[bytes] | None:
    """What unpacks a body, in pieces: so no more of it exists than the cap and a piece."""
    if encoding in ("gzip", "x-gzip"):
        return _inflated(body, 31)
    if encoding == "deflate":
        # Meant is zlib's format (RFC 9110), and many servers send the bare one.
        zlibs = body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0
        return _inflated(body, 15 if zlibs else -15)
    return _unbrotlied(body) if encoding == "br" else None


def _inflated(body: bytes, wbits: int) -> Iterator[bytes]:
    inflate = zlib.decompressobj(wbits=wbits)
    for start in range(0, len(body), _PIECE):
        piece = body[start : start + _PIECE]
        while piece and not inflate.eof:
            yield inflate.decompress(piece, _PIECE)
            piece = inflate.unconsumed_tail
    if not inflate.eof:
        raise EOFError("the end is missing")


def _unbrotlied(body: bytes) -> Iterator[bytes]:
    import brotli

    unpacker = brotli.Decompressor()

    def pieces() -> Iterator[bytes]:
        rest = body
        while not unpacker.is_finished():
            try:
                piece = unpacker.process(rest, output_buffer_limit=_PIECE)
            except brotli.error as error:
                raise ValueError(str(error)) from error
            if not piece and unpacker.can_accept_more_data():
                raise EOFError("the end is missing")
            rest = b""
            yield piece

    return pieces()
