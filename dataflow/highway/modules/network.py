"""Batches to and from other machines: PUSH and PULL, one message a batch.

A message is msgpack of the batch's dict, with arrays the way that the package msgpack-numpy writes
them, in a single frame. Nothing is acknowledged: what is on its way to a machine that dies is lost.
`dataflow.send` and `dataflow.receive` lose nothing.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import zmq

from dataflow.codec import msgpack_numpy
from dataflow.codec.careful import brief
from dataflow.epoch import Epoch, Stream
from dataflow.errors import CodecError, ConfigError, UnknownLength
from dataflow.failures import ErrorPolicy
from dataflow.flow import DataFlow
from dataflow.highway.node import Sink, Source
from dataflow.remote.older import warn_if_open
from dataflow.remote.setup import MESSAGE_BYTES, Notice
from dataflow.transport.addresses import check_addresses
from dataflow.transport.oneway import OneWay

__all__ = ["ZMQSink", "ZMQSource"]

logger = logging.getLogger(__name__)

_TOLD = 10  # malformed messages that are logged; all are counted


class ZMQSource(Source):
    """Batches that come over the network, from any number of `ZMQSink`, without end.

    Messages that are no batch, or too large, are dropped and counted
    (``p.flow.stats()["errors"]``). Nothing in them is unpickled. Who binds to an address that other
    hosts reach lets them all send; a warning says so.

    Args:
        source: the address, ``tcp://HOST:PORT`` or ``ipc://PATH``, or several; where it is bound,
            the port may be ``*``.
        bind: it is this side's own: for a trainer that collects from all its workers.
        timeout: seconds without a batch after which `Pipeline.dequeue` raises `PeerTimeout`; None:
            it waits.
        max_message_bytes: larger messages are refused.
        queue_size: batches that may wait on this side, for each peer.

    Attributes:
        address: where, with the port filled in; there as soon as a pipeline has the node.

    Raises:
        ConfigError: (from the pipeline, too) an address makes no sense, or is taken.
    """

    def __init__(
        self,
        source: str | Sequence[str],
        bind: bool = False,
        *,
        timeout: float | None = None,
        max_message_bytes: int = MESSAGE_BYTES,
        queue_size: int = 128,
    ) -> None:
        super().__init__(0, queue_size)
        if timeout is not None and timeout < 0:
            raise ConfigError(f"timeout={timeout!r} must not be negative")
        self.bind = bool(bind)
        self.timeout = timeout
        self.max_message_bytes = _limit(max_message_bytes)
        self.source = check_addresses(source, bind=bind)
        self._line: OneWay | None = None

    @property
    def address(self) -> str:
        return _address(self._line, self.source)

    def flow(self) -> DataFlow:
        self._line = _open(
            zmq.PULL, self.source, self.bind, limit=self.max_message_bytes, hwm=self.queue_size
        )
        return _Received(self._line, self.timeout, self.max_message_bytes)

    def stop(self) -> None:
        if self._line is not None:
            self._line.close(0)


class ZMQSink(Sink):
    """Sends each batch to one of the `ZMQSource` that are connected, in turn; waits for one.

    Args:
        target: the address, as of `ZMQSource`, or several.
        bind: it is this side's own.
        max_message_bytes: larger batches are an error.
        queue_size: batches that may wait on this side, for each peer.
        linger: seconds that the last batches of a source with an end get to leave; then they are
            lost. More where the other side takes longer for `queue_size` batches.

    Attributes:
        address: where, with the port filled in; there as soon as a pipeline has the node.
    """

    def __init__(
        self,
        target: str | Sequence[str],
        bind: bool = True,
        *,
        max_message_bytes: int = MESSAGE_BYTES,
        queue_size: int = 128,
        linger: float = 30.0,
    ) -> None:
        super().__init__()
        if queue_size < 1 or linger < 0:
            raise ConfigError(f"queue_size={queue_size!r}, linger={linger!r} must be 1, 0 or more")
        self.bind = bool(bind)
        self.max_message_bytes = _limit(max_message_bytes)
        self.queue_size = int(queue_size)
        self.linger = float(linger)
        self.target = check_addresses(target, bind=bind)
        self._line: OneWay | None = None

    @property
    def address(self) -> str:
        return _address(self._line, self.target)

    def open(self) -> None:
        self._line = _open(
            zmq.PUSH, self.target, self.bind, limit=self.max_message_bytes, hwm=self.queue_size
        )
        self._notice = Notice("ZMQSource", self._line.addresses)

    def write(self, batch: dict[str, Any]) -> None:
        assert self._line is not None, "opened by the pipeline"
        message = msgpack_numpy.encode(batch)
        if len(message) > self.max_message_bytes:
            what = f"a batch of {len(message)} bytes, more than {self.max_message_bytes}"
            raise CodecError(f"{what} (max_message_bytes)", reason="size")
        self._line.send((message,), self._notice)

    def close(self) -> None:
        if self._line is not None:
            self._line.close(self.linger)

    def stop(self) -> None:
        if self._line is not None:
            self._line.close(0)


class _Received(DataFlow):
    """What comes over a line.

    Args:
        line: of kind PULL.
        timeout: seconds to wait for each.
        limit: bytes of a message.
    """

    _stays = True  # a worker would be another receiver

    def __init__(self, line: OneWay, timeout: float | None, limit: int) -> None:
        self._line = line
        self._timeout = timeout
        self._limit = limit
        self._policy = ErrorPolicy("skip", give_up=True)
        self._bytes = 0
        weakref.finalize(self, line.close, 0)  # of a pipeline that nobody has any more

    def _length(self) -> int:
        raise UnknownLength("what comes over the network has no end")

    def _stream(self, epoch: Epoch) -> Stream:
        epoch.session.refuse("what came over the network does not come again", lost=True)
        notice = Notice("ZMQSink", self._line.addresses)
        position = refused = 0
        while True:
            _, frames = self._line.receive(notice, timeout=self._timeout)
            self._bytes += sum(map(len, frames))
            try:
                batch = _decoded(frames, self._limit)
            except CodecError as error:
                if refused < _TOLD:
                    logger.warning("a message was refused (%s): %s", error.reason, error)
                self._policy.failed_with(error, None, number=position + refused)
                refused += 1
                continue
            self._policy.passed()
            yield (epoch.number, position, *epoch.path), batch
            position += 1

    def _row(self) -> dict[str, Any]:
        row = super()._row()
        row["bytes"] = self._bytes
        row["errors"] = sum(self._policy.counts.values())
        row["cut"] = self._line.cut
        return row

    def close(self) -> None:
        self._line.close(0)  # before: somebody may wait there in the pass that is to end
        super().close()


def _decoded(frames: list[Any], limit: int) -> dict[str, Any]:
    """The batch in a message."""
    if len(frames) != 1:
        raise CodecError(f"a message of {len(frames)} frames, not of one", reason="count")
    if len(frames[0]) > limit:
        what = f"a message of {len(frames[0])} bytes, more than max_message_bytes={limit}"
        raise CodecError(what, reason="size")
    value = msgpack_numpy.decode(frames[0])
    if not isinstance(value, dict) or not value:
        raise CodecError(f"a batch is a dict by name, not {brief(value)}", reason="corrupt")
    return {_text(name): _part(name, part) for name, part in value.items()}


def _text(name: Any) -> str:
    """A name. Python 2 wrote bytes."""
    if isinstance(name, bytes):
        name = name.decode("utf-8", "replace")
    if not isinstance(name, str):
        raise CodecError(f"{brief(name)} is no name of a part of a batch", reason="corrupt")
    return name


def _part(name: Any, part: Any) -> Any:
    """An array, or a list of arrays, numbers or text."""
    items = part if isinstance(part, list) else [part]
    for item in items:
        plain = part is not item and isinstance(item, str | bytes | int | float | np.generic)
        if not plain and not (isinstance(item, np.ndarray) and item.dtype.names is None):
            what = f"the part {brief(name)} is neither array nor list: {brief(item)}"
            raise CodecError(what, reason="unsupported")
    return part


def _limit(max_message_bytes: int) -> int:
    if max_message_bytes < 1 << 16:
        raise ConfigError(f"max_message_bytes={max_message_bytes!r} must be at least 65536")
    return int(max_message_bytes)


def _address(line: OneWay | None, addresses: Sequence[str]) -> str:
    return (line.addresses if line is not None else addresses)[0]


def _open(kind: int, addresses: Sequence[str], bind: bool, *, limit: int, hwm: int) -> OneWay:
    warn_if_open(addresses, bind)
    return OneWay(kind, addresses, bind=bind, hwm=hwm, limit=limit)
