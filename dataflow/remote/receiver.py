"""The receiving end: a dataflow of what senders on other hosts send."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dataflow.epoch import Epoch, Stream
from dataflow.errors import ConfigError, UnknownLength
from dataflow.flow import DataFlow
from dataflow.remote.setup import MESSAGE_BYTES, Notice, options_of
from dataflow.transport.options import Options

__all__ = ["Receiver", "receive"]

_opening = threading.Lock()  # one may ask for the addresses while another one begins the loop


def receive(address: str | Sequence[str], **options: Any) -> Receiver:
    """A dataflow of what `send` on other hosts sends here; see `Receiver` for the options."""
    return Receiver(address, **options)


class Receiver(DataFlow):
    """The datapoints of senders, in the order in which they come; each sender's in its own order.

    One pass is one epoch of the senders. It is over when every sender that is connected has come to
    the end of its epoch, and at least `senders` have. A sender that is cut off is waited for;
    after `timeout` seconds only if there would be too few otherwise. What a sender sends beyond
    the epoch waits for the next pass. A pass over senders without end has none.

    Each datapoint comes once, whatever happens to connections. When a sender dies, what it had not
    sent is missing. When it is started again it begins again, or, with a name (see `Sender`), goes
    on.

    A chain's `state_dict` holds where each sender's flow is. A receiver that is started again and
    loads it takes its senders back to there, while they run or when they are started again (with a
    name), so nothing is lost and nothing comes twice. For that each sender has this receiver only,
    and a flow that can be resumed and has a fixed order; nothing downstream may read ahead (no
    runner, no shuffle). Without a state, a new receiver at the address goes on with what was not
    acknowledged.

    Large arrays are views of the memory into which they were received, writable and nobody
    else's. Tuples arrive as lists.

    Args:
        address: one or several of ``tcp://HOST:PORT`` and ``ipc://PATH``.
        bind: the addresses are this side's own, and senders connect. A port may be ``*``.
        senders: how many at least; by default one, or one an address where this side connects.
            Where one fails, another one may take its place, and is waited for; where it is said
            that there is 1, that is an error instead.
        window: bytes that each sender may be ahead of the loop, at least one message.
        keys: folder of keys (see `dataflow.transport.keys`): connections are encrypted, and only
            allowed keys get in.
        server_key: public key, or its file, of the senders that bind; by default one's own.
        insecure: bind without keys where other hosts can connect.
        timeout: seconds without a sign of life after which a sender is taken for gone.
        max_message_bytes: what a sender may send at once.
        max_peers: how many senders at once.

    Raises:
        ConfigError: an argument makes no sense, or would let everybody in.
    """

    _endless = False
    _goes_on = True
    _stays = True  # a worker would have to listen in its place

    def __init__(
        self,
        address: str | Sequence[str],
        *,
        bind: bool = True,
        senders: int | None = None,
        window: int = 64 << 20,
        keys: str | Path | None = None,
        server_key: str | Path | None = None,
        insecure: bool = False,
        timeout: float = 60.0,
        max_message_bytes: int = MESSAGE_BYTES,
        max_peers: int = 256,
    ) -> None:
        self._options = options_of(
            address,
            bind=bind,
            keys=keys,
            server_key=server_key,
            insecure=insecure,
            timeout=timeout,
            max_message_bytes=max_message_bytes,
            max_peers=max_peers,
        )
        self._alone = senders == 1
        self._senders = senders or (1 if bind else len(self._options.addresses))
        self._ahead = int(window)  # by another name than the argument's: no part of a state
        for name, value in (("senders", self._senders), ("window", self._ahead)):
            if value < 1:
                raise ConfigError(f"{name}={value!r} must be at least 1")
        self._end: _End | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens or connects to, ports filled in. Listening begins at the latest now."""
        return self._opened().exchange.addresses

    def peers(self) -> list[dict[str, Any]]:
        """A row for each sender: ``name``, ``connected``, number of its ``address``,
        ``datapoints`` and ``bytes`` that came, ``credit`` in bytes, datapoints ``waiting`` for the
        loop, and those that came ``repeated`` and were dropped.
        """
        return [] if self._end is None else self._end.inbox.peers()

    def close(self) -> None:
        super().close()
        self._shut(self._end)

    def _interrupt(self) -> None:
        self._shut(self._end)

    def _length(self) -> int:
        raise UnknownLength("how much senders will send is not known")

    def _stream(self, epoch: Epoch) -> Stream:
        begins, position = True, 0
        session, number, path = epoch.session, epoch.number, epoch.path
        why = "what came over the network does not come again"

        def place(saved: dict[str, Any]) -> _Cursor:
            nonlocal begins, position
            if saved:
                self._shut(self._end)
                self._end = self._made(saved)
                if saved["epoch"] == number:
                    begins, position = False, int(saved["position"])
            return _Cursor(self._opened(), position)

        if epoch.in_step:
            session.once(why)
            cursor = session.cursor(self, epoch, place, sticky=True, beside=".remote")
        else:  # who reads ahead has datapoints that are neither here nor delivered
            session.refuse(why, lost=True)
            cursor = place({})
        end = self._opened()
        inbox = end.inbox
        if begins:
            inbox.begin()
        over = False
        try:
            while (run := inbox.take()) is not None:
                stream = run.stream
                for datapoint in run.datapoints:
                    stream.delivered += 1
                    cursor.position = position = position + 1
                    yield (number, position - 1, *path), datapoint
                inbox.took(run)
            over = True
        finally:
            if not over:  # the loop was left: senders may give the rest to others
                self._shut(end)

    def _shut(self, end: _End | None) -> None:
        if end is not None and self._end is end:
            self._end = None
            self._options = end.options
            self._finalizer()

    def _row(self) -> dict[str, Any]:
        row = super()._row()
        if (end := self._end) is not None:
            row["bytes"] = end.inbox.bytes
            row["peers"] = end.inbox.peers()
            row["refused"] = dict(end.exchange.refusals)
        return row

    def _opened(self) -> _End:
        with _opening:
            if self._end is None:
                self._end = self._made()
            return self._end

    def _made(self, saved: Mapping[str, Any] | None = None) -> _End:
        end = _End(self._options, self._ahead, self._senders, self._alone, self._endless, saved)
        self._finalizer = weakref.finalize(self, end.exchange.stop)
        return end

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_end": None, "_finalizer": None}


class _End:
    """The running part of a receiver. It does not know the receiver, which can be collected so."""

    def __init__(
        self,
        options: Options,
        window: int,
        senders: int,
        alone: bool,
        endless: bool,
        saved: Mapping[str, Any] | None = None,
    ) -> None:
        from dataflow.executor.memory import keep_message_memory
        from dataflow.remote.inbox import Inbox
        from dataflow.transport.exchange import Exchange

        keep_message_memory()
        self.inbox = Inbox(
            limit=options.limit,
            window=window,
            senders=senders,
            alone=alone,
            timeout=options.timeout,
            endless=endless,
            connects=not options.bind,
        )
        if saved is not None:
            self.inbox.restore(saved)
            # Senders that wait for the one whose state it was know us by that.
            options = replace(options, id=bytes.fromhex(saved["id"]))
        self.exchange = Exchange(options, self.inbox)
        # Senders know the port: it stays the same.
        self.options = replace(options, addresses=self.exchange.addresses, id=None)
        self.inbox.wake = self.exchange.wake
        self.inbox.on_wait = Notice(
            "sender",
            self.exchange.addresses,
            connects=not options.bind,
            more=self.exchange.puzzle,
        )
        self.exchange.start()


class _Cursor:
    """Where a pass is.

    Attributes:
        position: datapoints delivered in it.
    """

    def __init__(self, end: _End, position: int) -> None:
        self._end = end
        self.position = position

    def state(self) -> dict[str, Any]:
        state = self._end.inbox.state()
        return {"id": self._end.exchange.id.hex(), "position": self.position, **state}
