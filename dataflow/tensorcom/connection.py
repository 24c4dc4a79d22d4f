"""A connection of Tensorcom's: sends lists of arrays, or is a dataflow of those that come."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral, Real
from types import NoneType
from typing import Any

import numpy as np

from dataflow.codec.tensor import bad
from dataflow.codec.tensorcom import (
    decode,
    decode_frames,
    encode,
    encode_frames,
    plain_arrays,
)
from dataflow.epoch import Epoch, Stream
from dataflow.errors import CodecError, ConfigError
from dataflow.failures import ErrorPolicy, OnError
from dataflow.flow import DataFlow
from dataflow.node import is_flow, reset
from dataflow.ownership import own
from dataflow.remote.setup import MESSAGE_BYTES, Notice
from dataflow.tensorcom import convert
from dataflow.tensorcom.statistics import Report, Statistics
from dataflow.tensorcom.urls import Place, expanded, parse
from dataflow.transport.addresses import is_local
from dataflow.transport.oneway import OneWay

__all__ = ["Connection"]

logger = logging.getLogger(__name__)

_LONGEST = 10_000_000  # seconds, some months
_TOLD = 10  # malformed messages that are logged; all are counted


class Connection(DataFlow):
    """Lists of arrays, to or from programs that have this class or tensorcom's of the same name.

    Which of the two, and how, is said by the URL, ``SCHEME[+TRANSPORT]://ADDRESS[#TOPIC]``:

    ================= ===================================================================
    zpush, zpull      each message goes to one receiver; the sender connects
    zrpush, zrpull    … the receiver connects
    zpub, zsub        each message goes to all who are there; the receiver connects
    zrpub, zrsub      … the sender connects
    ================= ===================================================================

    The transport is ``tcp`` (the default) or ``ipc``. A topic lets through only messages that begin
    with these bytes: with the dtype of the first array (``#u1``), or what a ``zpub`` of this class,
    which tensorcom does not read then, has as its own. The topics of several URLs are one set.

    Iterated, it gives what comes, without end; the next pass goes on where one was left, but for
    what a runner downstream had taken ahead. The arrays are views of the memory into which they
    were received, writable and nobody else's. What is no message of this kind, or too large,
    is dropped and counted (``stats()["errors"]``).

    There are no keys in Tensorcom: whoever reaches an address can send, or read along.
    `dataflow.send` and `dataflow.receive` keep others out.

    Args:
        url: one or several; with braces, as in ``zsub://127.0.0.1:788{0..3}``. None: see `connect`.
        epoch: what `len` says. Nothing else follows from it.
        total: end each pass after so many samples; -1: never.
        multipart: send frames; False: one block. Both are understood.
        infos: in sending, text for each array, up to 8 characters of ASCII. In receiving, what the
            first ones must have; True: give pairs of the arrays and their infos.
        device: make tensors of PyTorch there, where there are no `converters`.
        allow64: send float64, int64 and uint64, too.
        raw: take and give the frames of messages, as bytes.
        batch_transforms: functions, one for each array that comes; None leaves one as it is.
        batch_count: a message counts as ``len(arrays[0])`` samples; False: as one.
        converters: functions after those, or ``"torch"``, ``"torch_cuda"``, ``"numpy"``.
        report: tell on standard error how fast it is after each so many samples; -1: never.
        stats_horizon: of how many messages `stats` tells the recent rate.
        noexpand: braces in URLs are part of them.
        timeout: seconds after which waiting for a message, or for room for one, is given up.
        on_error: about malformed messages; `TooManyErrors` where nothing else comes.
        max_message_bytes: larger messages are refused.
        hwm: messages that wait on this side, for each peer.
        copy: arrays may be written to again as soon as `send` returns. Without, large ones are sent
            from where they are, possibly later.
        linger: seconds that `close` waits for what was sent to get out.
        insecure: bind where other hosts can connect: True: without a warning; False: never.

    Attributes:
        stats: `Statistics`; called, what `DataFlow.stats` returns.

    Raises:
        ConfigError: an argument makes no sense, or an address is taken.
    """

    _stays = True  # a worker would be another receiver

    stats: Statistics

    def __init__(
        self,
        url: str | Iterable[str] | None = None,
        epoch: int = 100000,
        total: int = -1,
        multipart: bool = True,
        infos: bool | Sequence[str] | None = None,
        device: str | None = None,
        allow64: bool = False,
        raw: bool = False,
        batch_transforms: Any = None,
        batch_count: bool = True,
        converters: Any = None,
        report: int = -1,
        stats_horizon: int = 1000,
        noexpand: bool = False,
        *,
        timeout: float | None = None,
        on_error: OnError = "skip",
        max_message_bytes: int = MESSAGE_BYTES,
        hwm: int = 100,
        copy: bool = True,
        linger: float = 5.0,
        insecure: bool | None = None,
    ) -> None:
        for name, value, least in (
            *(("epoch", epoch, 1), ("stats_horizon", stats_horizon, 1), ("hwm", hwm, 1)),
            *(("total", total, -1), ("report", report, -1)),
            ("max_message_bytes", max_message_bytes, 1 << 16),
        ):
            if not isinstance(value, Integral) or value < least:
                raise ConfigError(f"{name}={value!r} must be an integer of at least {least}")
        for name, seconds in (("timeout", timeout), ("linger", linger)):
            number = isinstance(seconds, Real) or (seconds is None and name == "timeout")
            if not number or (seconds is not None and not 0 <= seconds <= _LONGEST):
                raise ConfigError(f"{name}={seconds!r} must be seconds, from 0 to {_LONGEST}")
        texts = isinstance(infos, (list, tuple)) and all(isinstance(info, str) for info in infos)
        if not texts and not isinstance(infos, (bool, NoneType)):
            raise ConfigError(f"infos={infos!r} must be a list of texts, or True")
        tensors = {
            "torch": convert.to_torch(),
            "torch_cuda": convert.to_torch("cuda"),
            "numpy": convert.to_numpy(),
        }
        if converters is None and device is not None:
            converters = convert.to_torch(device)
        self._converters = convert.functions("converters", converters, tensors)
        self._transforms = convert.functions("batch_transforms", batch_transforms, {})
        self.epoch, self.total, self.report = int(epoch), total, report
        self.multipart, self.infos, self.allow64, self.raw = multipart, infos, allow64, raw
        self.batch_count, self.timeout = batch_count, timeout
        self._limit, self._hwm = max_message_bytes, hwm
        self._copy, self._linger, self._insecure = copy, linger, insecure
        self._policy = ErrorPolicy(on_error, give_up=True)
        self._topic = b""
        self._line: OneWay | None = None
        # Only weakly: a connection that nobody has any more closes at once.
        me = weakref.ref(self)
        self.stats = Statistics(stats_horizon, lambda: DataFlow.stats(me()))  # type: ignore[arg-type]
        if url is not None:
            self._dial(expanded(url, braces=not noexpand))

    # -- what it is connected to -------------------------------------------------------------

    def connect(self, url: str | Iterable[str], topic: str = "") -> None:
        """Connect to, or bind, one more URL, or several.

        Args:
            url: without braces.
            topic: of those that have none of their own.

        Raises:
            ConfigError: it makes no sense, or is taken.
        """
        self._dial(expanded(url, braces=False), topic.encode())

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it is connected or bound, ports filled in (a port may be ``*``)."""
        return tuple(self._opened().addresses)

    def close(self) -> None:
        """Give what was sent `linger` seconds to get out, and close. Idempotent."""
        self._shut(self._linger)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: object = None, *exc: object) -> None:
        self._shut(self._linger if kind is None else 0.0)

    # -- sending -----------------------------------------------------------------------------

    def send(self, data: Sequence[Any], allow64: bool = False) -> None:
        """Send a list of arrays; waits where there is no room, but a PUB drops it then.

        Numbers go as arrays of rank 0, which tensorcom cannot read. `raw`: the frames as they are.

        Raises:
            CodecError: something in it cannot be sent.
            PeerTimeout: there was no room for `timeout` seconds.
        """
        line = self._opened(sends=True)
        frames = _whole_frames(data) if self.raw else self._frames(data, allow64 or self.allow64)
        size = sum(memoryview(frame).nbytes for frame in frames)
        if not frames or size > self._limit:
            bad("size", f"a message of {len(frames)} frames and {size} bytes (limit {self._limit})")
        frames = [self._topic, *frames] if self._topic else frames
        line.send(frames, self._notice, copy=self._copy, timeout=self.timeout)
        self.stats.add(size)

    def send_datapoint(self, data: Sequence[Any]) -> None:
        """Send a datapoint of a dataflow.

        Integers of 64 bits, which batches of Python's have, go as int32 where all of them can,
        unless `allow64` is set.

        Raises:
            CodecError, PeerTimeout: as `send`.
        """
        self.send(data if self.raw or self.allow64 else [_narrowed(part) for part in data])

    def write(self, data: Sequence[Any]) -> None:
        """`send`."""
        self.send(data)

    def serve(self, source: Iterable[Sequence[Any]], report: int = -1) -> None:
        """Send what a dataflow or another iterable gives, once.

        Raises:
            CodecError, PeerTimeout: as `send`.
        """
        if is_flow(source):
            reset(source)
        iterator = iter(source)
        told = Report(self.stats, report if report > 0 else self.report)
        try:
            for data in iterator:
                if not self._copy:  # it is sent from where it lies, later
                    data = own(data)
                self.send_datapoint(data)
                told.after(self._samples(data))
        finally:
            if callable(close := getattr(iterator, "close", None)):
                close()

    # -- receiving ---------------------------------------------------------------------------

    def recv(self) -> Any:
        """The next list of arrays.

        Raises:
            PeerTimeout: none came for `timeout` seconds.
        """
        line = self._opened(sends=False)
        while True:
            _, frames = line.receive(self._notice, timeout=self.timeout)
            size = sum(map(len, frames))
            try:
                found = self._decoded(frames, size)
            except CodecError as error:
                found = self._refuse(error)
                if found is None:
                    continue
                return found
            self._policy.passed()
            self.stats.add(size)
            return found if self.raw else self._converted(found)

    def items(self, report: int = -1) -> Iterator[Any]:
        """What comes, until `total`."""
        told = Report(self.stats, report if report > 0 else self.report)
        while self.total <= 0 or told.count < self.total:
            found = self.recv()
            told.after(self._samples(found[0] if self.infos is True and not self.raw else found))
            yield found

    def _stream(self, epoch: Epoch) -> Stream:
        epoch.session.refuse("what came over the network does not come again", lost=True)
        for position, found in enumerate(self.items()):
            yield (epoch.number, position, *epoch.path), found

    def _interrupt(self) -> None:
        self._shut(0.0)

    def _length(self) -> int:
        return self.epoch

    def _row(self) -> dict[str, Any]:
        row = super()._row()
        row["bytes"] = self.stats.total
        row["errors"] = sum(self._policy.counts.values())
        for name in ("connects", "disconnects", "cut"):
            row[name] = getattr(self._line, name, 0)
        return row

    # -- how ---------------------------------------------------------------------------------

    def _dial(self, urls: Sequence[str], topic: bytes = b"") -> None:
        places = [place._replace(topic=place.topic or topic) for place in map(parse, urls)]
        kinds = {place.kind for place in places} | ({self._line.kind} if self._line else set())
        if len(kinds) != 1:
            raise ConfigError(f"url={list(urls)!r} must be one kind of socket, not {len(kinds)}")
        self._check_topic(places)
        for place in places:
            self._check_reach(place)
        if self._line is None:
            self._line = OneWay(places[0].kind, limit=self._limit, hwm=self._hwm)
            linger = self._linger if places[0].sends else 0.0
            self._finalizer = weakref.finalize(self, self._line.close, linger)
        try:
            for place in places:
                self._line.open(place.address, bind=place.bind, topic=place.topic)
        except ConfigError:
            self._shut(0.0)
            raise
        whom = "receiver" if places[0].sends else "message"
        self._notice = Notice(whom, self._line.addresses)

    def _check_topic(self, places: Sequence[Place]) -> None:
        """A publisher has one topic, for all that it sends."""
        topics = {place.topic for place in places if place.sends}
        if self._line is not None:
            topics.add(self._topic)
        if len(topics) > 1:
            raise ConfigError(f"a sender has one topic, not {sorted(topics)!r}")
        self._topic = next(iter(topics), b"")
        if self._topic and not self.multipart:
            raise ConfigError(
                f"topic {self._topic!r} is a frame of its own: multipart=True is needed"
            )

    def _check_reach(self, place: Place) -> None:
        if not place.bind or is_local(place.address) or self._insecure:
            return
        what = f"{place.address} lets every host that reaches it connect, and is not encrypted"
        if self._insecure is False:
            raise ConfigError(
                f"{what}. `send` and `receive` with keys are; or bind to 127.0.0.1, or say "
                "insecure=True"
            )
        logger.warning("%s. `send` and `receive` with keys= (`dataflow keys FOLDER`) are", what)

    def _opened(self, *, sends: bool | None = None) -> OneWay:
        if self._line is None:
            raise ConfigError("the connection has no url; connect(url) gives it one")
        if sends is not None and sends is not self._line.sends:
            raise ConfigError(
                f"{', '.join(self._line.addresses)} is for {'receiving' if sends else 'sending'}"
            )
        return self._line

    def _shut(self, linger: float) -> None:
        # First of all, because another thread may wait for a message in a pass that is to end.
        if self._line is not None:
            self._finalizer.detach()
            self._line.close(linger if self._line.sends else 0.0)
        super().close()

    def _frames(self, data: Sequence[Any], allow64: bool) -> list[Any]:
        infos = None if isinstance(self.infos, bool) else self.infos
        arrays = plain_arrays(data)
        for number, array in enumerate(arrays):
            if array.itemsize == 8 and not allow64:
                bad("unsupported", f"component {number}: {array.dtype} needs allow64=True")
        return encode_frames(arrays, infos) if self.multipart else [encode(arrays, infos)]

    def _decoded(self, frames: list[Any], size: int) -> Any:
        if size > self._limit:
            bad("size", f"a message of {size} bytes, more than max_message_bytes={self._limit}")
        if self.raw:
            return [frame.bytes for frame in frames]
        if not size:
            bad("truncated", "an empty message")
        if len(frames) == 1:
            return decode(frames[0].buffer, self.infos)
        # Arrays have two frames each, so one more is a publisher's topic.
        return decode_frames(frames[len(frames) % 2 :], self.infos)

    def _converted(self, found: Any) -> Any:
        arrays = found[0] if self.infos is True else found
        arrays = convert.applied(self._transforms, arrays, "batch_transforms")
        arrays = convert.applied(self._converters, arrays, "converters")
        return (arrays, found[1]) if self.infos is True else arrays

    def _refuse(self, error: CodecError) -> Any:
        refused = sum(self._policy.counts.values())
        if refused < _TOLD:
            logger.warning("a message was refused (%s): %s", error.reason, error)
        return self._policy.failed_with(error, None, number=self.stats.count + refused)

    def _samples(self, data: Any) -> int:
        if not self.batch_count or self.raw or not len(data):
            return 1
        first = data[0]  # what a converter has made of it may be anything
        return len(first) if getattr(first, "ndim", isinstance(first, (list, tuple))) else 1

    def __getstate__(self) -> dict[str, Any]:
        raise ConfigError("a Connection stays in the process that made it; make another one there")


def _whole_frames(data: Iterable[Any]) -> list[Any]:
    """Frames that are sent as they are; one that cannot be would leave half a message."""
    frames = list(data)
    for frame in frames:
        try:
            contiguous = memoryview(frame).c_contiguous
        except TypeError as error:
            raise CodecError(f"frames are bytes: {error}", reason="unsupported") from error
        if not contiguous:
            bad("unsupported", "a frame is not contiguous in memory")
    return frames


def _narrowed(part: Any) -> Any:
    """An array of int64 as int32, if that holds its values."""
    if not isinstance(part, np.ndarray) or part.dtype != np.int64:
        return part
    narrow = part.astype(np.int32)
    return narrow if np.array_equal(narrow, part) else part
