"""The names that scripts for tensorpack use."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from dataflow.epoch import Epoch, Stream
from dataflow.errors import ConfigError
from dataflow.flow import DataFlow
from dataflow.remote.receiver import Receiver
from dataflow.remote.sender import Sender
from dataflow.remote.setup import MESSAGE_BYTES
from dataflow.transport.addresses import is_local

if TYPE_CHECKING:  # it imports ZeroMQ
    from dataflow.remote.tensorpack import PullReceiver, PushSender

__all__ = ["RemoteDataZMQ", "send_dataflow_zmq", "warn_if_open"]

logger = logging.getLogger(__name__)


def send_dataflow_zmq(
    df: Any,
    addr: str,
    hwm: int = 50,
    format: str | None = None,
    bind: bool = False,
    *,
    allow_pickle: bool = False,
    max_message_bytes: int = MESSAGE_BYTES,
) -> NoReturn:
    """Send a dataflow's datapoints for ever, epoch after epoch; see `send`.

    Args:
        df: the dataflow.
        addr: where to.
        hwm: datapoints that wait here for each receiver, at most. With ``format=None`` it is only
            accepted: how far the sender may be ahead is up to the receiver.
        format: None: this package's own wire, for `RemoteDataZMQ` and `receive`, on which nothing
            is lost. ``"msgpack"`` or ``"pickle"``: tensorpack's, for its `RemoteDataZMQ` with
            ``TENSORPACK_SERIALIZE`` set to that (not set: pickle); the variable does not matter
            here.
        bind: the address is this side's own.
        allow_pickle: needed for ``"pickle"``, which is a danger to the receiver: it runs the code
            of whoever reaches it.
        max_message_bytes: of a datapoint.

    Raises:
        ConfigError: an argument makes no sense, or pickle was not allowed.
        CodecError: a datapoint cannot be sent.
    """
    _check_hwm(hwm)
    sender: Sender | PushSender
    if format is None:
        # What was sent by pickle could be written into again at once.
        sender = Sender(
            addr, bind=bind, insecure=True, copy=True, max_message_bytes=max_message_bytes
        )
    else:
        from dataflow.remote.tensorpack import PushSender

        sender = PushSender(
            addr,
            format=format,
            allow_pickle=allow_pickle,
            hwm=int(hwm),
            bind=bind,
            max_message_bytes=max_message_bytes,
        )
    warn_if_open([addr], bind)
    with sender:
        sender.send(df, epochs=None)
    raise AssertionError("it never ends")


class RemoteDataZMQ(DataFlow):
    """What `send_dataflow_zmq` sends, without end; see `receive`.

    Args:
        addr1: where to listen.
        addr2: another address.
        hwm: datapoints that wait here from each sender, at most. With ``format=None`` it is only
            accepted; see the `window` of `receive`.
        bind: the addresses are this side's own.
        format: None: what `send_dataflow_zmq` and `send` of this package send; nothing is lost.
            ``"msgpack"`` or ``"pickle"``: what tensorpack's `send_dataflow_zmq` sends with
            ``TENSORPACK_SERIALIZE`` set to that (not set: pickle); the variable does not matter
            here. What waits here when the loop is left is lost, and there is no state to resume
            from. What cannot be decoded is dropped and counted (``stats()["errors"]``).
        allow_pickle: needed for ``"pickle"``: whoever reaches the addresses runs code here.
        max_message_bytes: what a sender may send at once.

    Attributes:
        cnt1: datapoints that came over the first address.
        cnt2: over the second one.

    Raises:
        ConfigError: an argument makes no sense, or pickle was not allowed.
    """

    _goes_on = True
    _stays = True  # a worker would have to listen in its place

    def __init__(
        self,
        addr1: str,
        addr2: str | None = None,
        hwm: int = 50,
        bind: bool = True,
        *,
        format: str | None = None,
        allow_pickle: bool = False,
        max_message_bytes: int = MESSAGE_BYTES,
    ) -> None:
        addresses = [addr1] if addr2 is None else [addr1, addr2]
        _check_hwm(hwm)
        self._receiver: _EndlessReceiver | PullReceiver
        if format is None:
            self._receiver = _EndlessReceiver(
                addresses, bind=bind, insecure=True, max_message_bytes=max_message_bytes
            )
        else:
            from dataflow.remote.tensorpack import PullReceiver

            self._receiver = PullReceiver(
                addresses,
                format=format,
                allow_pickle=allow_pickle,
                hwm=int(hwm),
                bind=bind,
                max_message_bytes=max_message_bytes,
            )
            self._policy = self._receiver._policy
        warn_if_open(addresses, bind)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens or connects to, ports filled in. Listening begins at the latest now."""
        return self._receiver.addresses

    def peers(self) -> list[dict[str, Any]]:
        """A row for each sender, see `Receiver.peers`; on tensorpack's wire, which does not tell
        them apart, for each address: ``address``, ``datapoints`` and ``bytes``.
        """
        return self._receiver.peers()

    @property
    def cnt1(self) -> int:
        return self._receiver._count(0)

    @property
    def cnt2(self) -> int:
        return self._receiver._count(1)

    def close(self) -> None:
        super().close()
        self._receiver.close()

    def _length(self) -> int:
        return self._receiver._length()

    def _interrupt(self) -> None:
        self._receiver._interrupt()

    def _stream(self, epoch: Epoch) -> Stream:
        return self._receiver._stream(epoch)

    def _row(self) -> dict[str, Any]:
        return {**self._receiver._row(), **super()._row()}


class _EndlessReceiver(Receiver):
    """Ends of epochs do not matter to it."""

    _endless = True

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
    for address in addresses:
        if bind and not is_local(address):
            logger.warning(
                "%s lets every host that reaches it connect, and is not encrypted. `send` and "
                "`receive` with keys= (`dataflow keys FOLDER`) are",
                address,
            )
