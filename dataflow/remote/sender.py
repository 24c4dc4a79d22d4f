"""The sending end: iterates a dataflow and hands its datapoints to receivers on other hosts."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

from dataflow.codec.wire import printable
from dataflow.errors import ConfigError, DataFlowTerminated, PeerError
from dataflow.node import is_flow, reset
from dataflow.ownership import own
from dataflow.remote.places import GoBack, load, place_of
from dataflow.remote.setup import MESSAGE_BYTES, Notice, options_of

__all__ = ["Sender", "closable", "send"]

_PATIENCE = 2.0  # seconds for a receiver that is to be told of a failure


def send(
    ds: Iterable[Any],
    address: str | Sequence[str],
    *,
    epochs: int | None = 1,
    **options: Any,
) -> dict[str, Any]:
    """Send a dataflow's datapoints to `receive` on other hosts; returns when they were taken.

    The dataflow is iterated in this thread. Datapoints are arrays (no objects), numbers, text,
    bytes, None, and lists and dicts of these.

    Args:
        ds: the dataflow.
        address: one or several of ``tcp://HOST:PORT`` and ``ipc://PATH``.
        epochs: how often `ds` is iterated; None: for ever.
        options: see `Sender`.

    Returns:
        `Sender.stats` of the end.

    Raises:
        ConfigError: an argument makes no sense, or would let everybody in.
        CodecError: a datapoint cannot be sent; the message says which part of it.
        PeerError: the other side refuses this one.
    """
    with Sender(address, **options) as sender:
        sender.send(ds, epochs=epochs)
        return sender.stats()


class Sender:
    """The sockets of a sending side.

    A receiver grants how many bytes the sender may be ahead of it, and acknowledges what its loop
    has taken; until then the sender keeps it, and sends it again when a connection breaks. When a
    receiver is replaced by another one, that one gets what was not acknowledged.

    Large arrays are sent from where they are, possibly later. What the dataflow may write into
    again, since it holds it as well, is copied before.

    Args:
        address: one or several of ``tcp://HOST:PORT`` and ``ipc://PATH``.
        bind: the addresses are this side's own, and receivers connect. A port may be ``*``.
        copies: ``"one"``: each datapoint goes to one of the receivers, to whom is fastest;
            ``"all"``: to each of them.
        receivers: nothing is sent before so many are there; by default one, or with
            ``copies="all"`` one an address where this side connects.
        copy: copy all arrays as they come.
        keys: folder of keys (see `dataflow.transport.keys`): connections are encrypted, and only
            allowed keys get in.
        server_key: public key, or its file, of the receivers that bind; by default one's own.
        insecure: bind without keys where other hosts can connect.
        timeout: seconds without a sign of life after which a receiver is taken for gone, where
            there are others.
        max_message_bytes: of a message; a datapoint may have three quarters of it.
        max_peers: how many receivers at once.
        name: one that no other sender of the receivers bears. A sender that is started again with
            its name goes on where its receiver is, if the flow can be resumed (`state_dict`) and
            comes in a fixed order (without runners, with a seed, or with ``ordered=True``).

    Raises:
        ConfigError: an argument makes no sense, or would let everybody in.
    """

    def __init__(
        self,
        address: str | Sequence[str],
        *,
        bind: bool = False,
        copies: str = "one",
        receivers: int | None = None,
        copy: bool = False,
        keys: str | Path | None = None,
        server_key: str | Path | None = None,
        insecure: bool = False,
        timeout: float = 60.0,
        max_message_bytes: int = MESSAGE_BYTES,
        max_peers: int = 256,
        name: str | None = None,
    ) -> None:
        options = options_of(
            address,
            bind=bind,
            keys=keys,
            server_key=server_key,
            insecure=insecure,
            timeout=timeout,
            max_message_bytes=max_message_bytes,
            max_peers=max_peers,
            name=name,
        )
        if copies not in ("one", "all"):
            raise ConfigError(f'copies={copies!r} must be "one" or "all"')
        all_of_them = copies == "all" and not bind
        receivers = receivers or (len(options.addresses) if all_of_them else 1)
        if receivers < 1:
            raise ConfigError(f"receivers={receivers!r} must be at least 1")

        from dataflow.remote.outbox import Outbox
        from dataflow.transport.exchange import Exchange

        self._outbox = Outbox(
            limit=options.limit,
            copy=copy,
            to_all=copies == "all",
            receivers=receivers,
            timeout=options.timeout,
            connects=not bind,
        )
        self._exchange = Exchange(options, self._outbox)
        self._outbox.wake = self._exchange.wake
        where, puzzle = self._exchange.addresses, self._exchange.puzzle
        self._outbox.on_wait = Notice("receiver", where, connects=not bind, more=puzzle)
        self._begun = monotonic()
        self._copy = copy
        self._exchange.start()
        self._finalizer = weakref.finalize(self, self._exchange.stop)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens or connects to, ports filled in."""
        return self._exchange.addresses

    def send(self, ds: Iterable[Any], epochs: int | None = 1) -> None:
        """Iterate a dataflow and send its datapoints; returns when they were taken.

        Args:
            ds: the dataflow, or another iterable of datapoints.
            epochs: how often; None: for ever.
        """
        if epochs is not None and epochs < 1:
            raise ConfigError(f"epochs={epochs!r} must be at least 1")
        if is_flow(ds):
            reset(ds)
        outbox = self._outbox
        outbox.begin()
        first = 0
        try:
            while True:
                try:
                    return self._send(ds, epochs, first)
                except GoBack:
                    place = outbox.go_back()
                    load(ds, place.flow)
                    first = place.epoch
        except KeyboardInterrupt:
            outbox.leave("interrupted")
            raise
        except BaseException as error:
            ours = isinstance(error, (PeerError, DataFlowTerminated))  # there is nobody to be told
            outbox.leave(printable(f"{type(error).__name__}: {error}"), 0 if ours else _PATIENCE)
            raise

    def _send(self, ds: Iterable[Any], epochs: int | None, first: int) -> None:
        """Send a flow from epoch `first` on."""
        outbox = self._outbox
        for number in count(first) if epochs is None else range(first, epochs):
            before = outbox.datapoints
            outbox.mark(place_of(ds))
            with closing(closable(ds)) as datapoints:
                for datapoint in datapoints:
                    if not self._copy:  # it is sent from where it lies, later
                        datapoint = own(datapoint)
                    if outbox.add(datapoint):
                        outbox.mark(place_of(ds))
            outbox.end_epoch()
            if epochs is None and outbox.datapoints == before and number > first:
                raise ConfigError("the dataflow is empty, and was to be sent for ever")
        outbox.finish()

    def stats(self) -> dict[str, Any]:
        """What was sent so far.

        ``datapoints`` taken from the dataflow; ``bytes`` of them that were sent; ``seconds``;
        ``rate``, datapoints a second; ``refused``, what was turned away, by reason; ``peers``, a
        row for each receiver: ``name``, ``connected``, ``datapoints``, ``bytes``, ``credit`` left
        in bytes, and items that are ``unacknowledged``.
        """
        seconds = monotonic() - self._begun
        return {
            "datapoints": self._outbox.datapoints,
            "bytes": self._outbox.bytes,
            "seconds": seconds,
            "rate": self._outbox.datapoints / seconds,
            "refused": dict(self._exchange.refusals),
            "peers": self._outbox.peers(),
        }

    def close(self) -> None:
        """Say goodbye and close the sockets. What was not taken is lost. Idempotent."""
        self._finalizer()

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def closable(ds: Iterable[Any]) -> Any:
    """An iterator that can be closed: at once where sending fails, not when it is collected."""
    iterator = iter(ds)
    return iterator if hasattr(iterator, "close") else _passed_on(iterator)


def _passed_on(iterator: Iterator[Any]) -> Iterator[Any]:
    yield from iterator
