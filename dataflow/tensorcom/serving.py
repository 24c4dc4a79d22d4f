"""A dataflow for programs that use Tensorcom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

from dataflow.errors import ConfigError
from dataflow.tensorcom.connection import Connection

__all__ = ["serve"]


def serve(
    ds: Iterable[Sequence[Any]],
    url: str | Iterable[str],
    *,
    epochs: int | None = 1,
    report: int = -1,
    copy: bool = False,
    insecure: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Send a dataflow to programs that use tensorcom, or `Connection`.

    Args:
        ds: the dataflow; its datapoints are lists of arrays and numbers.
        url: see `Connection`.
        epochs: how often it is iterated; None: for ever.
        report: see `Connection`.
        copy: copy arrays before they are sent: needed where `ds` writes into an array again after
            it gave it.
        insecure: bind where other hosts can connect.
        options: of `Connection`.

    Returns:
        ``messages`` and ``bytes`` that were sent, ``seconds``, and ``rate`` in messages a second.

    Raises:
        ConfigError: an argument makes no sense, or would let everybody in.
        CodecError: a datapoint cannot be sent; the message says which part of it.
    """
    if epochs is not None and epochs < 1:
        raise ConfigError(f"epochs={epochs!r} must be at least 1")
    with Connection(url, copy=copy, insecure=insecure, report=report, **options) as connection:
        stats = connection.stats
        for _ in count() if epochs is None else range(epochs):
            before = stats.count
            connection.serve(ds)
            if epochs is None and stats.count == before:
                raise ConfigError("the dataflow is empty, and was to be sent for ever")
    return {
        "messages": stats.count,
        "bytes": stats.total,
        "seconds": stats.last - stats.start,
        "rate": stats.rate(),
    }
