"""The names that scripts for tensorpack use."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NoReturn

from dataflow.errors import ConfigError
from dataflow.remote.receiver import Receiver
from dataflow.remote.sender import Sender
from dataflow.transport.addresses import check_addresses, is_local

__all__ = ["RemoteDataZMQ", "send_dataflow_zmq", "warn_if_open"]

logger = logging.getLogger(__name__)


def send_dataflow_zmq(
    df: Any, addr: str, hwm: int = 50, format: str | None = None, bind: bool = False
) -> NoReturn:
    """Send a dataflow's datapoints for ever, epoch after epoch; see `send`.

    Args:
        df: the dataflow.
        addr: where to.
        hwm: accepted; how far the sender may be ahead is up to the receiver.
        format: only None, this package's own.
        bind: the address is this side's own.

    Raises:
        ConfigError: another format was asked for.
    """
    if format is not None:
        raise ConfigError(
            f"format={format!r}: other formats than None, which `RemoteDataZMQ` and `receive` of "
            "this package read, are not spoken yet"
        )
    _check_hwm(hwm)
    warn_if_open([addr], bind)
    # What was sent by pickle could be written into again at once.
    with Sender(addr, bind=bind, insecure=True, copy=True) as sender:
        sender.send(df, epochs=None)
    raise AssertionError("it never ends")


class RemoteDataZMQ(Receiver):
    """What `send_dataflow_zmq` sends, without end; see `receive`.

    Args:
        addr1: where to listen.
        addr2: another address.
        hwm: accepted; see the `window` of `receive`.
        bind: the addresses are this side's own.

    Attributes:
        cnt1: datapoints that came over the first address.
        cnt2: over the second one.
    """

    _endless = True

    def __init__(
        self, addr1: str, addr2: str | None = None, hwm: int = 50, bind: bool = True
    ) -> None:
        addresses = [addr1] if addr2 is None else [addr1, addr2]
        _check_hwm(hwm)
        warn_if_open(addresses, bind)
        super().__init__(addresses, bind=bind, insecure=True)

    @property
    def cnt1(self) -> int:
        return self._count(0)

    @property
    def cnt2(self) -> int:
        return self._count(1)

    def _count(self, place: int) -> int:
        if self._end is None:
            return 0
        waiting = sum(row["waiting"] for row in self.peers() if row["address"] == place)
        return self._end.inbox.came[place] - int(waiting)


def _check_hwm(hwm: int) -> None:
    if int(hwm) < 0:
        raise ConfigError(f"hwm={hwm!r} must not be negative")


def warn_if_open(addresses: Sequence[str], bind: bool) -> None:
    """Warn of addresses that are bound where other hosts can connect."""
    for address in check_addresses(addresses, bind=bind):
        if bind and not is_local(address):
            logger.warning(
                "%s lets every host that reaches it connect, and is not encrypted. `send` and "
                "`receive` with keys= (`dataflow keys FOLDER`) are",
                address,
            )
