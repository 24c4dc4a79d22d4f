"""What a receiver has received: checked, without repetitions, until the user's loop takes it.

The exchange's thread fills it, the loop's thread empties it. Datapoints that a sender already
sends for its next epoch wait until the loop comes to its next pass.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from dataflow.codec import wire
from dataflow.codec.tensor import bad, decode
from dataflow.codec.wire import Kind, Message
from dataflow.errors import DataFlowTerminated, NotResumable, PeerError
from dataflow.remote.arrivals import Asked, Run, Stream
from dataflow.remote.parcels import DATAPOINT_COST
from dataflow.transport.link import Link

__all__ = ["Inbox"]

logger = logging.getLogger(__name__)

_SELDOM = 1.0  # seconds between grants that say nothing new
_SOON = 0.02  # seconds after which deliveries are acknowledged at the latest
_MISSED = 2.0  # seconds that a connection may be broken before anybody is told


class Inbox:
    """The receiver's `Party`.

    Args:
        limit: bytes of a message, at most.
        window: bytes that each sender may be ahead of the loop.
        senders: a pass needs the ends of so many.
        alone: there is one, and nobody takes its place where it fails.
        timeout: seconds without a sign of life after which a sender is gone.
        endless: ends of epochs do not matter.
        connects: senders have the addresses; otherwise this side has.

    Attributes:
        wake: makes the exchange's thread look here.
        on_wait: called now and then while no sender is connected, with the seconds so far.
        bytes: of frames that came.
        came: datapoints that came, by the number of their address.
    """

    role = "receiver"
    partner = "sender"

    def __init__(
        self,
        *,
        limit: int,
        window: int,
        senders: int,
        alone: bool,
        timeout: float,
        endless: bool,
        connects: bool,
    ) -> None:
        self._limit = limit
        self._window = window
        self._senders = senders
        self._alone = alone
        self._timeout = timeout
        self._endless = endless
        self._connects = connects
        # Taken by itself: a Ctrl-C within the condition's own `__enter__` would leave it locked.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._streams: dict[bytes, Stream] = {}
        self._ready: deque[Stream] = deque()  # once for each run
        self._later: deque[Stream] = deque()  # those of the next pass
        self._ended = 0  # senders that came to an end in this pass
        self._finished = 0  # those that left at their end before
        self._failure: BaseException | None = None
        self._deserted: PeerError | None = None  # the loop still gets what came before
        self._hand: Run | None = None  # the loop has it
        self._restored = False
        self.wake: Callable[[], None] = lambda: None
        self.on_wait: Callable[[float], None] = lambda seconds: None
        self.bytes = 0
        self.came: Counter[int] = Counter()

    # -- the loop's thread -------------------------------------------------------------------

    def begin(self) -> None:
        """The next pass."""
        with self._lock:
            self._ended = 0
            for stream in self._streams.values():
                stream.ended = False
            self._drop([s for s in self._streams.values() if s.closed and not s.runs])
            self._ready.extendleft(reversed(self._later))
            self._later.clear()

    def take(self) -> Run | None:
        """The next datapoints; None where the pass is over.

        Raises:
            PeerError: a sender refuses this side.
        """
        begun = monotonic()
        with self._lock:
            while True:
                if self._failure is not None:
                    raise self._failure
                if self._ready:
                    if (run := self._next()) is not None:
                        self._hand = run
                        return run
                elif self._over(monotonic()):
                    return None
                elif self._deserted is not None:
                    error, self._deserted = self._deserted, None
                    raise error
                else:
                    self._changed.wait(1.0)
                    linked = any(stream.link is not None for stream in self._streams.values())
                    begun = monotonic() if linked else begun
                    self.on_wait(monotonic() - begun)

    def took(self, run: Run) -> None:
        """All of a run was delivered."""
        stream = run.stream
        stream.taken += run.cost
        self._hand = None
        if stream.asked is not None:
            self.wake()
        if stream.granted - stream.taken < self._window * 3 // 4 and not stream.due:
            stream.due = True
            self.wake()

    def _next(self) -> Run | None:
        stream = self._ready.popleft()
        if not stream.runs:  # it was taken back
            return None
        if stream.ended:
            self._later.append(stream)
            return None
        run = stream.runs.popleft()
        if run.datapoints:
            return run
        stream.delivered += 1
        stream.due = True
        self.wake()
        if run.place is not None:
            stream.state, since = run.place
            stream.marked = stream.delivered - since
        elif not self._endless:
            stream.ended = True
            self._ended += 1
        return None

    def _over(self, now: float) -> bool:
        """Whether this pass has all that it gets."""
        if not self._ended:
            return False
        expected = [s for s in self._streams.values() if not s.closed or s.runs]
        if any(not s.ended and not self._gone(s, now) for s in expected):
            return False
        return self._ended + self._finished >= self._senders

    def _drop(self, streams: Sequence[Stream]) -> None:
        """Senders that have left and have nothing for this pass."""
        for stream in streams:
            del self._streams[stream.id]
            self._finished += stream.complete
        now = monotonic()
        if not self._ended and all(self._gone(s, now) for s in self._streams.values()):
            self._finished = 0  # none of them is left: who comes now begins anew

    def _gone(self, stream: Stream, now: float) -> bool:
        return stream.link is None and now - stream.heard > self._timeout

    def peers(self) -> list[dict[str, Any]]:
        """The senders, for `stats`."""
        with self._lock:
            return [
                {
                    "name": stream.name,
                    "connected": stream.link is not None,
                    "address": stream.place,
                    "datapoints": stream.datapoints,
                    "bytes": stream.bytes,
                    "credit": max(0, stream.granted - stream.received),
                    "waiting": sum(len(run.datapoints) for run in stream.runs),
                    "repeated": stream.repeated,
                }
                for stream in self._streams.values()
            ]

    def state(self) -> dict[str, Any]:
        """Where the pass is, for `restore`.

        Raises:
            NotResumable: a sender did not say where its flow is.
        """
        with self._lock:
            senders = {}
            for stream in self._streams.values():
                state, since = stream.state, stream.since
                if not stream.delivered and stream.runs and not stream.awaited:
                    state, since = stream.runs[0].place or ("", 0)
                if stream.delivered and not state:
                    raise NotResumable(
                        f"what came from sender {stream.name} does not come again: its flow has "
                        "no state or no fixed order (give it a seed), or it has other receivers"
                    )
                if state:
                    senders[stream.peer.hex()] = {
                        "name": stream.name,
                        "address": stream.place,
                        "place": state,
                        "since": since,
                        "ended": stream.ended,
                        "complete": stream.complete and not stream.runs,
                    }
            return {"senders": senders, "ended": self._ended, "finished": self._finished}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on where `state` was told; before anybody can connect."""
        self._restored = True
        self._ended, self._finished = int(saved["ended"]), int(saved["finished"])
        for peer, row in saved["senders"].items():
            known = bytes.fromhex(peer), row["name"], row["address"]
            stream = Stream(secrets.token_bytes(16), *known, next=0, delivered=0, acked=0)
            stream.state, stream.marked = row["place"], -row["since"]
            stream.ended, stream.heard = row["ended"], monotonic()
            stream.closed = stream.complete = stream.told = row["complete"]
            stream.awaited = not stream.complete
            self._streams[stream.id] = stream

    # -- the exchange's thread ---------------------------------------------------------------

    def joined(self, link: Link) -> None:
        with self._lock:
            self._changed.notify_all()

    def left(self, link: Link) -> None:
        with self._lock:
            for stream in self._streams.values():
                if stream.link is link:
                    stream.link, stream.heard = None, link.heard
            self._changed.notify_all()

    def received(self, link: Link, message: Message, frames: list[Any]) -> None:
        fields = message.fields
        if message.kind is Kind.OPEN:
            return self._open(link, fields)
        if message.kind not in (Kind.DATA, Kind.END, Kind.MARK, Kind.CLOSE):
            bad("kind", f"{message.kind.name} to a receiver")
        stream = self._streams.get(fields["stream"])
        if stream is None:
            return None  # of a stream that was given up
        if message.kind is Kind.CLOSE and stream.peer == link.peer:
            return self._close(stream, fields)  # also as the last words of who is gone
        if stream.link is not link:
            return None
        run = self._run(stream, message, frames)
        if run is not None:
            with self._lock:
                stream.runs.append(run)
                self._ready.append(stream)
                self._changed.notify_all()
        return None

    def tick(self, now: float) -> float:
        wait = _SELDOM
        for stream in list(self._streams.values()):
            if stream.asked is not None and not self._in_hand(stream):
                self._resume(stream, *stream.asked)
            if stream.link is None:
                self._tell(stream, now)
                continue
            # Small steps are told together, and soon enough for a sender that waits for the end.
            late = _SOON if stream.delivered != stream.acked else _SELDOM
            if stream.due or now - stream.spoken >= late:
                self._grant(stream, now)
            if stream.next != stream.acked:
                wait = min(wait, _SOON)
        return wait

    def refused(self, error: PeerError) -> None:
        self.failed(error)

    def failed(self, error: BaseException) -> None:
        with self._lock:
            self._failure = self._failure or error
            self._changed.notify_all()

    def closing(self) -> None:
        self.failed(DataFlowTerminated("the receiver was closed"))
        for stream in self._streams.values():
            if stream.link is not None and not stream.closed:
                fields = {"stream": stream.id, "acked": stream.delivered, "reason": "closed"}
                stream.link.send(wire.pack(Kind.CLOSE, complete=False, **fields))

    def _open(self, link: Link, fields: dict[str, Any]) -> None:
        with self._lock:
            stream = self._streams.get(fields["stream"])
            if stream is None and (other := self._instead(link, fields)) is not None:
                other.asked = Asked(link, fields["stream"])
                if not self._in_hand(other):
                    self._resume(other, *other.asked)
                return
            if stream is None:
                for old in [s for s in self._streams.values() if s.peer == link.peer]:
                    self._take_back(old)
                # Only one process has an address: who was there before does not come back.
                for old in self._streams.values():
                    if self._connects and old.place == link.place:
                        old.heard = -math.inf
                first = fields["first"]
                known = fields["stream"], link.peer, link.name, link.place
                stream = Stream(*known, next=first, delivered=first, acked=first)
                self._streams[stream.id] = stream
            elif stream.peer != link.peer:
                bad("header", "a stream of somebody else")
            elif stream.told:
                logger.warning("sender %s is back", stream.name)
            stream.link, stream.heard, stream.told = link, link.heard, False
            stream.awaited, stream.name, stream.place = False, link.name, link.place
            self._grant(stream, monotonic())
            self._changed.notify_all()

    def _instead(self, link: Link, fields: dict[str, Any]) -> Stream | None:
        """The stream with which a sender shall go on, instead of one of its own."""
        old = next((s for s in self._streams.values() if s.peer == link.peer), None)
        begun = fields.get("begun") is not False
        if old is not None:
            again = not begun and old.state and not old.complete  # it was started again
            return old if old.awaited or again else None
        if not (self._restored and begun):
            return None
        # It came after our state was taken, so that has none of it.
        known = secrets.token_bytes(16), link.peer, link.name, link.place
        stream = Stream(*known, next=0, delivered=0, acked=0, awaited=True)
        self._streams[stream.id] = stream
        return stream

    def _in_hand(self, stream: Stream) -> bool:
        """Whether the loop is just taking some of it, so that its place moves."""
        return self._hand is not None and self._hand.stream is stream

    def _resume(self, stream: Stream, link: Link, asked: bytes) -> None:
        """Tell a sender where to go on, in a stream of an id that only we can have given it."""
        with self._lock:
            stream.asked = None
            if not stream.awaited:
                logger.warning("sender %s was started again, and goes on", link.name)
                del self._streams[stream.id]
                stream.marked = -stream.since
                stream.runs.clear()
                stream.next = stream.delivered = stream.acked = 0
                stream.received = stream.taken = stream.granted = 0
                stream.id, stream.awaited, stream.closed = secrets.token_bytes(16), True, False
                stream.link, stream.told = None, True
                self._streams[stream.id] = stream
            stream.heard = link.heard
            fields = {"stream": asked, "new": stream.id, "state": stream.state}
            link.send(wire.pack(Kind.RESUME, **fields, since=stream.since if stream.state else 0))

    def _take_back(self, stream: Stream) -> None:
        """The sender took this receiver for gone and gave its datapoints to others."""
        left = sum(len(run.datapoints) for run in stream.runs)
        logger.warning("sender %s has given %d datapoints to others", stream.name, left)
        stream.runs.clear()
        del self._streams[stream.id]

    def _grant(self, stream: Stream, now: float) -> None:
        assert stream.link is not None, "only then it can be sent"
        stream.due, stream.spoken = False, now
        stream.granted = stream.taken + self._window
        stream.acked = stream.delivered
        numbers = {"next": stream.next, "acked": stream.acked, "limit": stream.granted}
        stream.link.send(wire.pack(Kind.GRANT, stream=stream.id, **numbers))

    def _run(self, stream: Stream, message: Message, frames: list[Any]) -> Run | None:
        """Check a message; None where it came before."""
        fields = message.fields
        count = fields["count"] if message.kind is Kind.DATA else 0
        skip = fields["skip"] if count else 0
        items = count - skip if message.kind is Kind.DATA else 1
        if items < 1:
            bad("header", f"{count} datapoints without the first {skip}")
        if fields["seq"] + items <= stream.next:
            stream.repeated += items
            return None
        if fields["seq"] != stream.next:
            bad("sequence", f"item {fields['seq']} where {stream.next} was expected")
        if message.kind is not Kind.DATA:
            if frames:
                bad("length", f"{message.kind.name} with frames")
            stream.next += 1
            is_mark = message.kind is Kind.MARK
            return Run(stream, [], place=(fields["state"], fields["since"]) if is_mark else None)
        size = sum(map(len, frames))
        if size > self._limit:
            bad("size", f"a message of {size} bytes, more than max_message_bytes={self._limit}")
        if stream.received >= stream.granted:
            bad("credit", "more than was granted")
        datapoints = decode(count, fields["arrays"], frames)[skip:]
        cost = size + DATAPOINT_COST * count
        stream.next += items
        stream.received += cost
        stream.epoch = fields["epoch"]
        stream.datapoints += items
        stream.bytes += size
        self.bytes += size
        self.came[stream.place] += items
        return Run(stream, datapoints, cost)

    def _close(self, stream: Stream, fields: dict[str, Any]) -> None:
        with self._lock:
            stream.closed, stream.complete = True, fields["complete"]
            stream.link, stream.told = None, True
            if not stream.complete and self._alone:
                self._deserted = PeerError(
                    f"sender {stream.name} has failed ({fields['reason']}) after "
                    f"{stream.datapoints} datapoints, in its epoch {stream.epoch}, and there is no "
                    "other (senders=1)"
                )
            elif not stream.complete:
                self._warn(stream, f"has left ({fields['reason']})")
            elif not (stream.ended or stream.runs):  # its last epoch was that of the pass before
                self._drop([stream])
            self._changed.notify_all()

    def _tell(self, stream: Stream, now: float) -> None:
        """Warn once of a sender that is missing."""
        if not stream.told and now - stream.heard > _MISSED:
            stream.told = True
            self._warn(stream, "is cut off, or dead")

    def _warn(self, stream: Stream, what: str) -> None:
        logger.warning(
            "sender %s %s after %d datapoints, in its epoch %d: waiting for it, or for another one "
            "that takes its place",
            *(stream.name, what, stream.datapoints, stream.epoch),
        )
