"""What a sender has to send: packed into messages, given to receivers, kept until acknowledged.

The thread that iterates the dataflow fills it, the exchange's thread empties it. Each receiver has
a stream of its own, in which datapoints and ends of epochs are numbered; a message may be sent
where the receiver has granted credit, and is kept until the receiver's loop has taken it.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from dataflow.codec import wire
from dataflow.codec.tensor import Encoder, bad
from dataflow.codec.wire import Kind, Message
from dataflow.errors import CodecError, DataFlowTerminated, PeerError
from dataflow.remote.parcels import Mark, Parcel, Stream
from dataflow.remote.places import GoBack, Place, read_place
from dataflow.transport.link import Link

__all__ = ["Outbox"]

logger = logging.getLogger(__name__)

_ENOUGH_BYTES = 256 << 10  # for one message …
_ENOUGH_DATAPOINTS = 4096
_ENOUGH_SECONDS = 0.01
_WAITING_BYTES = 8 << 20  # that are packed before anybody has granted credit
_MARK_SECONDS = 1.0  # between places that are told
_PLACES = 64  # that are remembered


class Outbox:
    """The sender's `Party`.

    Args:
        limit: bytes of a message, at most.
        copy: copy arrays.
        to_all: every datapoint goes to every receiver, otherwise to one of them.
        receivers: wait for so many before the first datapoint goes.
        timeout: seconds without a sign of life after which a receiver is gone.
        connects: receivers have the addresses; otherwise this side has.

    Attributes:
        wake: makes the exchange's thread look here.
        on_wait: called now and then while no receiver is connected, with the seconds so far.
        datapoints: that were taken.
        bytes: of frames that were given to receivers, repetitions on another connection apart.
    """

    role = "sender"
    partner = "receiver"

    def __init__(
        self,
        *,
        limit: int,
        copy: bool,
        to_all: bool,
        receivers: int,
        timeout: float,
        connects: bool,
    ) -> None:
        self._enough = min(_ENOUGH_BYTES, limit // 4)
        self._encoder = Encoder(limit - self._enough, copy=copy)
        self._to_all = to_all
        self._receivers = receivers
        self._started = False
        self._timeout = timeout
        self._connects = connects
        # Taken by itself: a Ctrl-C within the condition's own `__enter__` would leave it locked.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._streams: dict[bytes, Stream] = {}
        self._waiting: deque[Parcel] = deque()
        self._failure: BaseException | None = None
        self._begun = 0.0  # when the message that is being packed was begun
        self._epoch = self._position = 0
        self._goodbye = ("stopped", False)
        self._run = secrets.token_hex(8)
        self._call = 0
        self._item = 0  # the next one's number
        self._front = 0  # the first one that nobody was sent yet
        self._skip = 0  # items to come that the receiver has had
        self._places: list[tuple[int, str]] = []  # by item
        self._first: str | None = None  # place of the very first
        self._marked = 0.0  # when the last place was noted
        self._asked = False  # another one should be
        self._wanted: tuple[Place, str, int] | None = None  # where to go on instead
        self.wake: Callable[[], None] = lambda: None
        self.on_wait: Callable[[float], None] = lambda seconds: None
        self.datapoints = 0
        self.bytes = 0

    # -- the dataflow's thread ---------------------------------------------------------------

    def begin(self) -> None:
        """Another flow's items begin."""
        with self._lock:
            self._call += 1
            self._epoch = 0
            self._places.clear()

    def mark(self, state: dict[str, Any] | None) -> None:
        """Note the place of the flow, which is before the next datapoint or end.

        Args:
            state: of the flow; None where it cannot be taken to a place.
        """
        with self._lock:
            self._marked, self._asked = monotonic(), False
            if state is None:
                return
            place = Place(
                self._run, self._call, self._item, self._epoch, self._position, state
            ).told()
            if place is None:
                return
            self._places.append((self._item, place))
            self._first = self._first or place
            oldest = self._oldest()
            while len(self._places) > 1 and self._places[1][0] <= oldest:
                del self._places[0]
            if len(self._places) > _PLACES:
                del self._places[1:-1:2]

    def go_back(self) -> Place:
        """The place from which the flow has to go on, after `GoBack` was raised."""
        with self._lock:
            assert self._wanted is not None, "somebody asked for it"
            place, text, self._skip = self._wanted
            self._wanted = None
            self._run, self._item = place.run, place.item
            self._epoch, self._position = place.epoch, place.position
            self._places = [(place.item, text)]
            return place

    def add(self, datapoint: Any) -> bool:
        """Take a datapoint; waits while too many wait.

        Returns:
            whether `mark` should be called before the next one.

        Raises:
            GoBack: the flow has to go on elsewhere.
            CodecError: it cannot be sent.
            PeerError: a receiver refuses this side.
        """
        with self._lock:
            self._check()
            if self._skip:
                self._skip -= 1
                self._item += 1
                self._position += 1
                return False
            encoder = self._encoder
            encoder.add(datapoint)
            self._item += 1
            self._position += 1
            self.datapoints += 1
            if encoder.size >= self._enough or encoder.count >= _ENOUGH_DATAPOINTS:
                self._seal()
                self._wait_until(self._has_room)
            elif encoder.count == 1:
                self._begun = monotonic()
                self.wake()
            return self._asked

    def end_epoch(self) -> None:
        """All datapoints of the epoch were taken."""
        with self._lock:
            self._check()
            self._seal()
            if self._skip:
                self._skip -= 1
            else:
                self._waiting.append(Parcel(self._position, self._epoch, item=self._item))
            self._item += 1
            self._epoch += 1
            self._position = 0
            self.wake()
            self._wait_until(self._has_room)

    def finish(self) -> None:
        """Wait until receivers have taken everything."""
        with self._lock:
            self._wait_until(lambda: not self._waiting and not self._kept())
            self._goodbye = ("finished", True)

    def leave(self, reason: str, patience: float = 0.0) -> None:
        """What receivers are told as the reason when the sender leaves before its end.

        Args:
            reason: that.
            patience: seconds for which a receiver is waited for that can be told.
        """
        with self._lock:
            self._goodbye = (reason, False)
            self._changed.wait_for(
                lambda: any(stream.link is not None for stream in self._streams.values()), patience
            )

    def peers(self) -> list[dict[str, Any]]:
        """The receivers, for `stats`."""
        with self._lock:
            return [
                {
                    "name": stream.name,
                    "connected": stream.link is not None,
                    "datapoints": stream.datapoints,
                    "bytes": stream.sent,
                    "credit": max(0, stream.granted - stream.spent),
                    "unacknowledged": stream.next - stream.acked,
                }
                for stream in self._streams.values()
            ]

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._wanted is not None:
            raise GoBack

    def _has_room(self) -> bool:
        return sum(parcel.cost for parcel in self._waiting) < _WAITING_BYTES

    def _oldest(self) -> int:
        """Number of the first item that is still here."""
        kept = [parcel for stream in self._streams.values() for _, parcel in stream.kept]
        items = [parcel.item for parcel in (*kept, *self._waiting) if isinstance(parcel, Parcel)]
        return min(items, default=self._item - self._encoder.count)

    def _kept(self) -> bool:
        return any(stream.kept for stream in self._streams.values())

    def _wait_until(self, done: Callable[[], bool]) -> None:
        begun = monotonic()
        while not done():
            self._check()
            self._changed.wait(1.0)
            linked = any(stream.link is not None for stream in self._streams.values())
            begun = monotonic() if linked else begun
            self.on_wait(monotonic() - begun)
        self._check()

    # -- packing (in either thread) ----------------------------------------------------------

    def _seal(self) -> None:
        """What was packed so far becomes a message."""
        if not self._encoder.count:
            return
        payload = self._encoder.take()
        position, item = self._position - payload.count, self._item - payload.count
        what = payload.table, payload.frames, payload.size
        self._waiting.append(Parcel(payload.count, self._epoch, position, item, *what))
        self.wake()

    # -- the exchange's thread ---------------------------------------------------------------

    def joined(self, link: Link) -> None:
        with self._lock:
            stream = self._streams.get(link.peer)
            if stream is None:
                # Only one process has an address: who was there before is no more.
                for old in self._predecessors(link):
                    self._retire(old, f"another one took its place at {link.name}")
                stream = Stream(link.peer, link.name, link.place, link.limit)
                self._streams[link.peer] = stream
                logger.info("receiver %s is connected", link.name)
            stream.link, stream.heard = link, link.heard
            self._open(stream)
            self._changed.notify_all()

    def _open(self, stream: Stream) -> None:
        assert stream.link is not None, "only then it can be sent"
        stream.agreed = False
        first = stream.kept[0][0] if stream.kept else stream.next
        begun = self._front > 0
        stream.link.send(wire.pack(Kind.OPEN, stream=stream.id, first=first, begun=begun))

    def left(self, link: Link) -> None:
        with self._lock:
            stream = self._streams.get(link.peer)
            if stream is not None and stream.link is link:
                stream.link, stream.agreed, stream.heard = None, False, link.heard

    def received(self, link: Link, message: Message, frames: list[Any]) -> None:
        with self._lock:
            stream = self._streams.get(link.peer)
            if message.kind not in (Kind.GRANT, Kind.CLOSE, Kind.RESUME):
                bad("kind", f"{message.kind.name} to a sender")
            if stream is None or message.fields["stream"] != stream.id:
                return  # of a stream that was given up
            if message.kind is Kind.RESUME:
                return self._resume(stream, message.fields)
            if message.fields["acked"] > stream.next:
                bad("header", "more was acknowledged than was sent")
            stream.acknowledge(message.fields["acked"])
            if message.kind is not Kind.CLOSE:
                self._grant(stream, message.fields)
            elif stream.link in (link, None):
                self._retire(stream, "it has closed", quietly=True)
            # Otherwise it is here again, and its last words were on their way for longer.
            self._changed.notify_all()
            return None

    def _resume(self, stream: Stream, fields: dict[str, Any]) -> None:
        """The receiver's state is older than we know, or comes from before our own beginning."""
        if len(self._streams) > 1:
            bad("resume", "a sender with several receivers cannot go back for one of them")
        self._seal()
        held = [*stream.unacknowledged(), *self._waiting]
        oldest = held[0].item + held[0].done if held else self._item
        text, since = fields["state"] or self._first or "", fields["since"]
        place = read_place(text) if text else None
        if place is None:
            if oldest or self._skip:
                bad("resume", "the flow cannot be taken back to its beginning")
            wanted, here = 0, True
        else:
            wanted = place.item + since
            here = place.run == self._run and oldest <= wanted <= self._item
            if place.call != max(self._call, 1):
                bad("resume", "that was in an earlier call of send()")
        self._waiting.clear()
        if here and self._wanted is None:
            for parcel in held:
                if parcel.after > wanted:
                    parcel.done = max(parcel.done, wanted - parcel.item)
                    self._waiting.append(parcel)
        elif place is not None:
            logger.info("receiver %s is at an earlier place: going back", stream.name)
            self._wanted = place, text, since
        known = stream.peer, stream.name, stream.place, stream.limit
        stream = Stream(*known, link=stream.link, heard=stream.heard, id=fields["new"])
        self._streams[stream.peer] = stream
        self._open(stream)
        self._changed.notify_all()

    def _grant(self, stream: Stream, fields: dict[str, Any]) -> None:
        stream.granted = max(stream.granted, fields["limit"])
        if not stream.agreed:
            stream.agreed = True
            for seq, parcel in stream.kept:
                if seq + parcel.items > fields["next"]:
                    stream.send(seq, parcel)

    def tick(self, now: float) -> float:
        with self._lock:
            wait = 1.0
            for stream in list(self._streams.values()):
                gone = stream.link is None and now - stream.heard > self._timeout
                if gone and any(other.link is not None for other in self._streams.values()):
                    self._retire(stream, f"it has been away for {self._timeout:g} s")
            if self._encoder.count and not self._waiting:
                wait = self._begun + _ENOUGH_SECONDS - now
                if wait <= 0:
                    self._seal()
                    wait = 1.0
            self._asked = self._asked or now - self._marked > _MARK_SECONDS
            self._pump()
            return wait

    def refused(self, error: PeerError) -> None:
        self.failed(error)

    def failed(self, error: BaseException) -> None:
        with self._lock:
            self._failure = self._failure or error
            self._changed.notify_all()

    def closing(self) -> None:
        self.failed(DataFlowTerminated("the sender was closed"))
        with self._lock:
            reason, complete = self._goodbye
            for stream in self._streams.values():
                if stream.link is not None:
                    fields = {"stream": stream.id, "acked": 0, "complete": complete}
                    stream.link.send(wire.pack(Kind.CLOSE, reason=reason, **fields))

    def _predecessors(self, link: Link) -> list[Stream]:
        """Receivers that were at an address that we connect to: there is a new one now."""
        streams = self._streams.values()
        return [s for s in streams if self._connects and s.place == link.place]

    def _pump(self) -> None:
        """Send what can be sent."""
        moved = False
        while self._waiting:
            parcel = self._waiting[0]
            targets = list(self._targets(parcel))
            if not targets:
                break
            self._waiting.popleft()
            moved = True
            for stream in targets:
                if parcel.size > stream.limit:
                    text = f"a message of {parcel.size} bytes; {stream.name} takes {stream.limit}"
                    self.failed(CodecError(f"{text} (its max_message_bytes)", reason="size"))
                    return
                self._tell_place(stream, parcel)
                stream.post(parcel)
                stream.reached = parcel.after
                self.bytes += parcel.size
            self._front = max(self._front, parcel.after)
        if moved:
            self._changed.notify_all()

    def _tell_place(self, stream: Stream, parcel: Parcel) -> None:
        """Tell a receiver where the flow was before what it gets next, if it is news."""
        item = parcel.item + parcel.done
        if len(self._streams) > 1:  # each has a part of the flow, which no place describes
            place = None
        else:
            counts = stream.marked is not None and stream.reached == item
            # What others had has come before the front, or begins with the stream.
            found = counts or not stream.next or item == self._front
            places = [one for one in self._places if one[0] <= item] if found else []
            place = places[-1] if places else None
            if counts and (place is None or place[0] == stream.marked):
                return  # it goes on counting
        if place is not None:
            stream.marked = place[0]
            stream.post(Mark(place[1], item - place[0]))
        elif stream.marked is not None:
            stream.marked = None
            stream.post(Mark("", 0))

    def _targets(self, parcel: Parcel) -> Iterator[Stream]:
        """Whom it can go to now; nobody: it has to wait."""
        streams = list(self._streams.values())
        self._started = self._started or len(streams) >= self._receivers
        if not self._started:
            return
        if self._to_all:
            if parcel.is_end or all(stream.open for stream in streams):
                yield from streams
        elif parcel.is_end:
            # With several, one's undelivered datapoints may have to go to another, so the epoch
            # ends for all when all is delivered.
            if len(streams) == 1 or not self._kept():
                yield from streams
        else:
            able = [s for s in streams if s.agreed and s.open]
            if able:
                yield min(able, key=lambda stream: stream.outstanding)

    def _retire(self, stream: Stream, why: str, *, quietly: bool = False) -> None:
        """A receiver does not come back: others get what it has not acknowledged."""
        del self._streams[stream.peer]
        level = logging.INFO if quietly else logging.WARNING
        left = stream.next - stream.acked
        if self._to_all and self._streams:
            logger.log(level, "receiver %s is gone, %s; it lacks %d items", stream.name, why, left)
            return
        text = (
            "receiver %s is gone, %s; the %d items that it has not acknowledged go to another one"
        )
        logger.log(level, text, stream.name, why, left)
        again = stream.unacknowledged()
        if self._streams:  # the others have the ends already
            again = [parcel for parcel in again if not parcel.is_end]
        self._waiting.extendleft(reversed(again))
