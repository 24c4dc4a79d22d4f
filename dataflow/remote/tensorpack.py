"""tensorpack's wire: a message of one frame for each datapoint, from PUSH to PULL.

What is in it is msgpack with arrays as the package msgpack-numpy writes them, where tensorpack runs
with ``TENSORPACK_SERIALIZE=msgpack``, or else a pickle. Nothing comes back: what waits in a socket
that is closed, or whose other end dies, is lost.
"""

from __future__ import annotations

import logging
import pickle
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from itertools import count
from time import monotonic
from typing import Any

import zmq

from dataflow.codec import msgpack_numpy
from dataflow.codec.tensor import bad
from dataflow.epoch import Datapoint, Epoch, Stream
from dataflow.errors import CodecError, ConfigError, UnknownLength
from dataflow.failures import ErrorPolicy
from dataflow.flow import DataFlow
from dataflow.formats.records import encoder, is_pickle
from dataflow.node import is_flow, reset
from dataflow.remote.sender import closable
from dataflow.remote.setup import MESSAGE_BYTES, Notice
from dataflow.transport.addresses import check_addresses
from dataflow.transport.oneway import OneWay

__all__ = ["FORMATS", "PullReceiver", "PushSender"]

logger = logging.getLogger(__name__)

FORMATS = ("msgpack", "pickle")
"""What can be in a message."""

_TOLD = 10  # messages refused for one reason that are logged; all are counted
_LAST_WORDS = 0.5  # seconds for what was sent before a failure
_TELL_SECONDS = 5.0  # before it is said that nobody takes what was sent


class PushSender:
    """The sending side: datapoints go to whoever has room, each to one receiver.

    Args:
        address: ``tcp://HOST:PORT`` or ``ipc://PATH``.
        format: of `FORMATS`.
        allow_pickle: needed for ``"pickle"``. It is the receiver who is in danger.
        hwm: datapoints that wait here for each receiver, at most; 0: any number.
        bind: the address is this side's own.
        max_message_bytes: of a datapoint.

    Raises:
        ConfigError: an argument makes no sense, or pickle was not allowed.
    """

    def __init__(
        self,
        address: str,
        *,
        format: str,
        allow_pickle: bool = False,
        hwm: int = 50,
        bind: bool = False,
        max_message_bytes: int = MESSAGE_BYTES,
    ) -> None:
        addresses = check_addresses(address, bind=bind)
        _check(format, allow_pickle, max_message_bytes)
        if format == "pickle":
            logger.warning(
                "what is sent to %s is pickled: its receivers unpickle, and so run the code of "
                'whoever reaches them; with format="msgpack" they do not',
                address,
            )
        self._encode = encoder(format)
        self._limit = max_message_bytes
        self._datapoints = self._bytes = 0
        self._begun = monotonic()
        self._way = OneWay(zmq.PUSH, addresses, bind=bind, hwm=hwm, limit=max_message_bytes)
        self._finalizer = weakref.finalize(self, self._way.close, _LAST_WORDS)
        self._notice = Notice("receiver", self._way.addresses)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens or connects to, ports filled in."""
        return tuple(self._way.addresses)

    def send(self, ds: Iterable[Any], epochs: int | None = 1) -> None:
        """Iterate a dataflow and send its datapoints, as soon as there is room for each.

        Args:
            ds: the dataflow, or another iterable of datapoints.
            epochs: how often; None: for ever.

        Raises:
            CodecError: a datapoint cannot be sent.
        """
        if is_flow(ds):
            reset(ds)
        for _ in count() if epochs is None else range(epochs):
            before = self._datapoints
            with closing(closable(ds)) as datapoints:
                for datapoint in datapoints:
                    self._send(datapoint)
            if epochs is None and self._datapoints == before:
                raise ConfigError("the dataflow is empty, and was to be sent for ever")

    def _send(self, datapoint: Datapoint) -> None:
        data = self._encode(datapoint)
        if len(data) > self._limit:
            bad("size", f"{len(data)} bytes, more than {self._limit} (see max_message_bytes)")
        self._way.send((data,), self._notice)
        self._datapoints += 1
        self._bytes += len(data)

    def stats(self) -> dict[str, Any]:
        """``datapoints`` and ``bytes`` that were sent, ``seconds``, and ``rate``, datapoints a
        second. Who receives them is not known.
        """
        seconds = monotonic() - self._begun
        return {
            "datapoints": self._datapoints,
            "bytes": self._bytes,
            "seconds": seconds,
            "rate": self._datapoints / seconds,
        }

    def close(self) -> None:
        """Wait until all has left, and close. Idempotent."""
        self._close(None)

    def __enter__(self) -> PushSender:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        self._close(None if kind is None else _LAST_WORDS)

    def _close(self, linger: float | None) -> None:
        self._finalizer.detach()
        # What was sent may all be here yet, while nobody is there who would take it.
        telling = threading.Timer(_TELL_SECONDS, self._tell)
        telling.daemon = True
        if linger is None:
            telling.start()
        try:
            self._way.close(linger)
        finally:
            telling.cancel()

    def _tell(self) -> None:
        where = ", ".join(self._way.addresses)
        logger.warning("still waiting for a receiver at %s to take the last datapoints", where)


class PullReceiver(DataFlow):
    """The receiving side: the datapoints that come, without end.

    What cannot be decoded is dropped and counted (``stats()["errors"]``, `errors`). Each pass has
    sockets of its own: what waits in them when the loop is left is lost.

    Args:
        addresses: of ``tcp://HOST:PORT`` and ``ipc://PATH``.
        format: of `FORMATS`.
        allow_pickle: needed for ``"pickle"``: run what whoever reaches the addresses sends.
        hwm: datapoints that wait here from each sender, at most; 0: any number.
        bind: the addresses are this side's own, and senders connect. A port may be ``*``.
        max_message_bytes: of a datapoint. A sender of twice as many is disconnected.

    Raises:
        ConfigError: an argument makes no sense, or pickle was not allowed.
    """

    _stays = True  # a worker would be another receiver

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        format: str,
        allow_pickle: bool = False,
        hwm: int = 50,
        bind: bool = True,
        max_message_bytes: int = MESSAGE_BYTES,
    ) -> None:
        self._addresses = check_addresses(addresses, bind=bind)
        _check(format, allow_pickle, max_message_bytes)
        if format == "pickle":
            logger.warning(
                'whoever reaches %s can run any code here, because format="pickle" unpickles what '
                'comes. format="msgpack" does not (senders: TENSORPACK_SERIALIZE=msgpack)',
                ", ".join(self._addresses),
            )
        self._decode = _DECODERS[format]
        self._hwm, self._bind, self._limit = hwm, bind, max_message_bytes
        self._policy = ErrorPolicy("skip")
        self._way: OneWay | None = None
        self._came: Counter[int] = Counter()  # by address
        self._bytes: Counter[int] = Counter()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens or connects to, ports filled in. Listening begins at the latest now."""
        return tuple(self._opened().addresses)

    def peers(self) -> list[dict[str, Any]]:
        """A row for each address: its number as ``address``, ``datapoints`` and ``bytes`` that came
        in this pass. (PULL does not tell senders apart.)
        """
        places = range(len(self._addresses)) if self._way is not None else ()
        return [
            {"address": i, "datapoints": self._came[i], "bytes": self._bytes[i]} for i in places
        ]

    def close(self) -> None:
        super().close()
        self._shut(self._way)

    def _count(self, place: int) -> int:
        return self._came[place] if self._way is not None else 0

    def _length(self) -> int:
        raise UnknownLength("how much senders will send is not known")

    def _interrupt(self) -> None:
        self._shut(self._way)

    def _stream(self, epoch: Epoch) -> Stream:
        epoch.session.refuse("what came over the network does not come again", lost=True)
        way = self._opened()
        notice = Notice("message", way.addresses)
        came, size = self._came, self._bytes
        number, path = epoch.number, epoch.path
        position = 0
        try:
            while True:
                place, frames = way.receive(notice)
                try:
                    datapoint = self._datapoint(frames)
                except CodecError as error:
                    self._refuse(error, position)
                    continue
                came[place] += 1
                size[place] += len(frames[0])
                yield (number, position, *path), datapoint
                position += 1
        finally:
            self._shut(way)

    def _datapoint(self, frames: list[Any]) -> Datapoint:
        if len(frames) > 1:
            bad("foreign", f"a message of {len(frames)} frames, not of one")
        (frame,) = frames
        if len(frame) > self._limit:
            size = len(frame)
            bad("size", f"a message of {size} bytes, more than max_message_bytes={self._limit}")
        return self._decode(frame)

    def _refuse(self, error: CodecError, position: int) -> None:
        if self._policy.counts[error.reason] < _TOLD:
            logger.warning("a message was dropped (%s): %s", error.reason, error)
        self._policy.failed_with(error, None, number=position)

    def _row(self) -> dict[str, Any]:
        row = super()._row()
        if (way := self._way) is not None:
            row["bytes"] = self._bytes.total()
            row["peers"] = self.peers()
            row["disconnects"] = way.disconnects
            row["cut"] = way.cut
        row["refused"] = dict(self._policy.counts)
        return row

    def _opened(self) -> OneWay:
        if (way := self._way) is not None:
            return way
        way = OneWay(zmq.PULL, self._addresses, bind=self._bind, hwm=self._hwm, limit=self._limit)
        self._addresses = tuple(way.addresses)  # senders know the port: it stays the same
        self._finalizer = weakref.finalize(self, way.close)
        self._came.clear()
        self._bytes.clear()
        self._way = way  # last of all: from now on another thread may close it
        return way

    def _shut(self, way: OneWay | None) -> None:
        if way is not None and self._way is way:
            self._way = None
            self._finalizer()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_way": None, "_finalizer": None}


def _check(format: str, allow_pickle: bool, max_message_bytes: int) -> None:
    if format == "pickle" and not allow_pickle:
        raise ConfigError(
            "format='pickle': whoever receives pickles runs the code of whoever reaches it. Where "
            "all who can are trusted, say allow_pickle=True; format='msgpack' is without risk "
            "(tensorpack speaks it where TENSORPACK_SERIALIZE=msgpack is set)"
        )
    if format not in FORMATS:
        raise ConfigError(f"format={format!r} must be None, {', '.join(map(repr, FORMATS))}")
    if max_message_bytes < 1 << 16:
        raise ConfigError(f"max_message_bytes={max_message_bytes!r} must be at least 65536")


def _from_msgpack(frame: zmq.Frame) -> Datapoint:
    try:
        return msgpack_numpy.decode(frame)
    except CodecError:
        if is_pickle(frame.buffer):
            bad("pickle", "it is pickled: start the sender with TENSORPACK_SERIALIZE=msgpack")
        raise


def _from_pickle(frame: zmq.Frame) -> Datapoint:
    if not is_pickle(frame.buffer):
        bad("foreign", 'it is no pickle; where senders speak msgpack, say format="msgpack"')
    try:
        return pickle.loads(frame.buffer)
    except Exception as error:  # a broken pickle raises anything
        what = f"it cannot be unpickled: {type(error).__name__}: {error}"
        raise CodecError(what, reason="corrupt") from error


_DECODERS: dict[str, Callable[[zmq.Frame], Datapoint]] = {
    "msgpack": _from_msgpack,
    "pickle": _from_pickle,
}
