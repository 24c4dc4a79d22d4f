"""The arguments that both sides share, checked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from time import monotonic

from dataflow.errors import ConfigError
from dataflow.transport.addresses import check_addresses, is_local, trouble
from dataflow.transport.keys import load_keys, read_public
from dataflow.transport.options import Options

__all__ = ["MESSAGE_BYTES", "POOL_BYTES", "Notice", "options_of"]

logger = logging.getLogger(__name__)

MESSAGE_BYTES = 512 << 20
"""The default of `max_message_bytes`."""

POOL_BYTES = 2 << 30
"""That of a pool, whose results are one message each: a datapoint of a gigabyte passes."""


def options_of(
    address: str | Sequence[str],
    *,
    bind: bool,
    keys: str | Path | None,
    server_key: str | Path | None,
    insecure: bool,
    timeout: float,
    max_message_bytes: int,
    max_peers: int,
    name: str | None = None,
) -> Options:
    """Check the arguments of `send` and `receive`, before any socket is opened.

    Raises:
        ConfigError: one of them makes no sense, or a socket would be open to everybody.
    """
    addresses = check_addresses(address, bind=bind)
    for word, value in (("timeout", timeout), ("max_peers", max_peers)):
        if not value > 0:
            raise ConfigError(f"{word}={value!r} must be more than 0")
    if max_message_bytes < 1 << 16:
        raise ConfigError(f"max_message_bytes={max_message_bytes!r} must be at least 65536")
    if server_key is not None and (bind or keys is None):
        raise ConfigError("server_key is for a side that connects, and that has keys")
    if name is not None and not (name.isprintable() and 0 < len(name) <= 200):
        raise ConfigError(f"name={name!r} must have 1 to 200 printable characters")
    reachable = [place for place in addresses if bind and not is_local(place)]
    if reachable and keys is None and not insecure:
        raise ConfigError(
            f"{reachable[0]} would let every host that reaches it connect. Give keys= a folder "
            "(`dataflow keys FOLDER` makes one), bind to 127.0.0.1, or say insecure=True"
        )
    return Options(
        addresses,
        bind,
        load_keys(keys) if keys is not None else None,
        read_public(server_key) if server_key is not None else None,
        int(max_message_bytes),
        float(timeout),
        int(max_peers),
        # Who bears the same name later is the same one, for those that knew it.
        blake2b(name.encode(), digest_size=16).digest() if name is not None else None,
        name,
    )


class Notice:
    """Tells now and then that nobody is at the other end.

    Args:
        whom: who is waited for.
        addresses: where.
        connects: they are others'; what is wrong with them is looked at, and told as well.
        more: what else is known.
    """

    _patience = 5.0  # seconds before it is told
    _pause = 60.0  # before it is told again
    _gap = 3.0  # seconds between two calls after which it was this process that stood still

    def __init__(
        self,
        whom: str,
        addresses: Sequence[str],
        *,
        connects: bool = False,
        more: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._text = f"waiting for a {whom} at {', '.join(addresses)}"
        self._looked_at = tuple(addresses) if connects else ()
        self._more = more
        self._next = 0.0
        self._called = 0.0
        self._before = 0.0  # seconds that do not count

    def __call__(self, seconds: float) -> None:
        """Nobody has been there for so many seconds; to be called every second or so."""
        now = monotonic()
        if now - self._called > self._gap:
            self._before = max(0.0, seconds - 1.0)  # all but what one call stands for
        self._called, self._before = now, min(self._before, seconds)
        if seconds - self._before > self._patience and now > self._next:
            self._next = now + self._pause
            if self._looked_at:  # which takes a while
                threading.Thread(target=self._look, name="dataflow-notice", daemon=True).start()
            else:
                logger.warning("%s", "; ".join(filter(None, [self._text, self._more()])))

    def _look(self) -> None:
        found = [f"{address}: {why}" for address in self._looked_at if (why := trouble(address))]
        logger.warning("%s", "; ".join([self._text, *found]))
