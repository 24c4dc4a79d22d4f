"""The last step of a download: is what arrived what was wanted?"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import TypeAlias

from dataflow.errors import DatapointError
from dataflow.http.policy import FetchPolicy
from dataflow.http.retry import Job

__all__ = ["Check", "accept"]

Check: TypeAlias = Callable[[bytes, str | None], object]
"""Takes a body and its Content-Type, and raises `FetchError` or `DecodeError` to refuse it."""

_GZIP = b"\x1f\x8b"
_PIECE = 1 << 16


def accept(
    job: Job,
    body: bytes,
    content_type: str | None,
    status: int,
    *,
    policy: FetchPolicy,
    check: Check | None,
) -> bytes:
    """Unpack and check the body of a 2xx answer.

    No encoding is offered to servers, so bodies come as they are. A few send gzip all the same;
    an image type with the magic bytes of gzip is such a case and is unpacked, under the same cap.

    Returns:
        The body to hand out.

    Raises:
        DatapointError: it is empty, too large, cannot be unpacked, or was refused by `check`.
    """
    if not body:
        raise job.error("empty", f"status {status} with an empty body", status)
    if body[:2] == _GZIP and content_type and content_type[:6].lower() == "image/":
        body = _unpack(job, body, status, policy.max_bytes)
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


def _unpack(job: Job, body: bytes, status: int, cap: int) -> bytes:
    inflate = zlib.decompressobj(wbits=31)
    out = io.BytesIO()
    size = 0
    try:
        # In pieces: so the unpacked bytes exist once, and no more of them than the cap.
        for start in range(0, len(body), _PIECE):
            piece = body[start : start + _PIECE]
            while piece and not inflate.eof:
                unpacked = inflate.decompress(piece, _PIECE)
                piece = inflate.unconsumed_tail
                size += len(unpacked)
                if size > cap:
                    what = f"unpacks to more than max_bytes={cap}"
                    raise job.error("too_large", what, status)
                out.write(unpacked)
            if inflate.eof:
                break
    except zlib.error as error:
        raise job.error("encoding", f"its gzip data is damaged: {error}", status) from error
    if not inflate.eof:
        raise job.error("encoding", "its gzip data ends early", status)
    return out.getvalue()
