"""The thread that talks to peers on other hosts: greeting, heartbeats, reconnection, keys.

A side that binds has one ROUTER socket an address, a side that connects one DEALER. (PUSH and PULL
could not carry acknowledgements back nor tell peers apart.) A connection that breaks is not mended:
its DEALER is closed, with all that still waits in it, and a new one begins with a greeting. So both
sides know when to agree anew on what has arrived.

All sockets belong to one thread. It calls a `Party`, which says what to send.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket as network
import threading
from collections import Counter, deque
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from dataflow.codec import wire
from dataflow.codec.wire import Kind, Message
from dataflow.errors import CodecError, ConfigError, PeerError
from dataflow.transport.bell import Bell
from dataflow.transport.guard import PAUSE, Guard, why_no_greeting
from dataflow.transport.keys import judged
from dataflow.transport.link import Link, Party, Place
from dataflow.transport.options import Options, prepare

__all__ = ["Exchange"]

logger = logging.getLogger(__name__)

_CUT = {"endless": "its message did not come to an end", "silent": "it did not greet"}
_BURST = 64  # messages of one socket before the others get their turn
_LINGER = 500  # ms for the last words
_DEPARTED = 64  # links that are gone, of which last words may come
_FIRST_DELAY, _LAST_DELAY = 0.05, 2.0  # seconds before connecting again
_BUSIEST = 0.05  # seconds between heartbeats, whatever a peer wants
_TOLD = 10  # refusals of a kind that are logged; all are counted
_PUZZLED = 5  # connections in a row that ended before the greeting

_LOST = zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_FAILED = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
_BEGAN = zmq.EVENT_ACCEPTED | zmq.EVENT_CONNECTED


class Exchange:
    """The thread that owns the sockets of one side.

    Args:
        options: how to talk.
        party: who does.

    Raises:
        ConfigError: an address cannot be bound or connected to.

    Attributes:
        addresses: where it is bound or connected, ports filled in.
        refusals: how often something from outside was turned away, by reason.
        turned_away: what was said of the last ones.
    """

    def __init__(self, options: Options, party: Party) -> None:
        self._options = options
        self._party = party
        self.id = options.id or secrets.token_bytes(16)
        self.name = options.name or f"{network.gethostname()}:{os.getpid()}"
        self.refusals: Counter[str] = Counter()
        self.turned_away: deque[str] = deque(maxlen=_TOLD)
        self._stopping = False
        self._departed: dict[bytes, Link] = {}
        self._bell = Bell()
        self._cared = self._looked = monotonic()
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._poller.register(self._bell.ear, zmq.POLLIN)
        self._judge: Any = None
        # Receivers send heads only.
        self._most = wire.HEAD_BYTES + (0 if party.role == "sender" else options.limit)
        self._places = [Place(i, address) for i, address in enumerate(options.addresses)]
        try:
            if options.bind and options.keys is not None:
                # Without somebody to ask, libzmq would let every key in.
                self._judge = self._socket(zmq.REP)
                self._judge.bind("inproc://zeromq.zap.01")
                self._poller.register(self._judge, zmq.POLLIN)
            for place in self._places:
                (self._bind if options.bind else self._connect)(place)
        except zmq.ZMQError as error:
            self._release(linger=0)
            raise ConfigError(f"{place.address}: {error}") from error
        self.addresses = tuple(place.address for place in self._places)
        self._thread = threading.Thread(
            target=self._run, name=f"dataflow-{party.role}", daemon=True
        )

    # -- what other threads call -------------------------------------------------------------

    def start(self) -> None:
        """Begin to talk."""
        self._thread.start()

    def wake(self) -> None:
        """Make the thread call `Party.tick` now."""
        self._bell.ring()

    def puzzle(self) -> str | None:
        """Of what came to this side and went before it greeted, for who waits."""
        for place in self._places if self._options.bind else ():
            if place.failures:
                why = why_no_greeting(place.mismatch, bind=True)
                return f"what connects to {place.address} is gone before it greets: {why}"
        return None

    def stop(self) -> None:
        """Say the last words, end the thread and close everything. Idempotent."""
        if self._stopping:
            return
        self._stopping = True
        self.wake()
        # A collector of garbage may run anywhere, in that thread, too.
        if self._thread is not threading.current_thread():
            self._thread.join()

    # -- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
            self._party.closing()
        except BaseException as error:  # the threads that wait for us have to know
            self._party.failed(error)
        finally:
            self._release(_LINGER)

    def _turn(self) -> None:
        now = monotonic()
        wait = min(self._party.tick(now), self._care(now))
        self._bury()
        for found, _ in self._poller.poll(max(0, int(wait * 1000 + 0.999))):
            if found == self._bell.ear:
                self._bell.heard()
            elif found is self._judge:
                self._answer()
            else:
                self._attend(found)
        self._look()
        self._bury()

    def _attend(self, socket: Any) -> None:
        for place in self._places:
            if socket is place.monitor and self._options.bind:
                self._watch(place)
            elif socket is place.monitor:
                self._drain(place)  # what came before the end counts
                self._notice(place)
            elif socket is place.socket:
                self._drain(place)

    def _drain(self, place: Place) -> None:
        socket = place.socket
        for _ in range(_BURST):
            if place.socket is not socket:
                return  # it was replaced meanwhile
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            place.guard.heard(frames[0])
            route = frames.pop(0).bytes if self._options.bind else None
            self._take(place, route, frames)

    def _take(self, place: Place, route: bytes | None, frames: list[Any]) -> None:
        link = place.links.get(route)
        if link is not None and link.dead:  # what it still says does not count
            self._bury()
            link = None
        try:
            if not frames:
                raise CodecError("an empty message", reason="header")
            head = wire.unpack(frames[0].buffer)
            if link is None and head.kind is Kind.CLOSE and route in self._departed:
                # Last words, that were on their way when we found out that it had gone.
                self._party.received(self._departed[route], head, frames[1:])
            elif link is not None and head.kind not in (Kind.HELLO, Kind.WELCOME):
                link.heard = monotonic()
                self._heed(place, link, head, frames[1:])
            else:
                self._greet(place, route, head)
        except CodecError as error:
            self._turn_away(place, route, error.reason, str(error))

    def _heed(self, place: Place, link: Link, head: Message, frames: list[Any]) -> None:
        match head.kind:
            case Kind.PING:
                pass
            case Kind.RESET:
                self._lose(place, "the other side knows nothing of the connection")
            case Kind.REFUSE:
                link.dead = True
                self._refused(place, link.name, head.fields)
            case _:
                self._party.received(link, head, frames)

    # -- greeting ----------------------------------------------------------------------------

    def _greet(self, place: Place, route: bytes | None, head: Message) -> None:
        """What comes before both sides know each other."""
        if self._options.bind:
            if head.kind is Kind.HELLO:
                self._welcome(place, route, head.fields)
            elif head.kind is not Kind.REFUSE:
                self._say(place, route, wire.pack(Kind.RESET))
        elif head.kind is Kind.WELCOME:
            self._check_role(head.fields)
            self._join(place, route, head.fields)
        elif head.kind is Kind.REFUSE:
            self._refused(place, place.address, head.fields)
        elif head.kind is Kind.RESET:
            self._lose(place, "the other side knows nothing of the connection")

    def _welcome(self, place: Place, route: bytes | None, fields: dict[str, Any]) -> None:
        if wire.VERSION not in fields["versions"]:
            theirs, ours = wire.told(fields["versions"]), wire.told(wire.VERSIONS)
            text = f"you speak versions {theirs} of the protocol, this side speaks {ours}"
            return self._turn_away(place, route, "version", text)
        self._check_role(fields)
        # The same process comes back sooner than its broken connection is noticed.
        for old in self._links():
            old.dead |= old.peer == fields["id"] or old is place.links.get(route)
        self._bury()
        if len(self._links()) >= self._options.max_peers:
            text = f"max_peers={self._options.max_peers} are connected already"
            return self._turn_away(place, route, "peers", text)
        # Before it hears of that: what it says next may end the connection.
        self._watch(place)
        place.guard.greeted()
        self._say(place, route, wire.pack(Kind.WELCOME, **self._greeting()))
        self._join(place, route, fields)
        return None

    def _check_role(self, fields: dict[str, Any]) -> None:
        if fields["role"] != self._party.partner:
            text = f"a {fields['role']} has nothing to say to a {self._party.role}"
            raise CodecError(text, reason="role")

    def _greeting(self) -> dict[str, Any]:
        return {
            "role": self._party.role,
            "id": self.id,
            "name": self.name,
            "limit": self._options.limit,
            "heartbeat": int(self._options.heartbeat * 1000),
        }

    def _join(self, place: Place, route: bytes | None, fields: dict[str, Any]) -> None:
        if self._options.bind:
            self._watch(place)  # the connection is among those that began
        now = monotonic()
        link = Link(fields["id"], fields["name"], place.number, fields["limit"], now)
        link._socket, link._route, link._spoke = place.socket, route, now
        link._connection = place.guard.greeted()
        wanted = max(_BUSIEST, fields["heartbeat"] / 1000)
        link._heartbeat = min(wanted, self._options.heartbeat)
        place.links[route] = link
        place.failures = 0
        self._party.joined(link)

    def _refused(self, place: Place, who: str, fields: dict[str, Any]) -> None:
        """A peer sent REFUSE."""
        text = f"{who} at {place.address} refuses this side: {fields['text']}"
        if fields["reason"] == "version":
            text += f" (there: {wire.told(fields['versions'])}; here: {wire.told(wire.VERSIONS)})"
        if self._options.bind or fields["reason"] == "peers":  # others may do better, or it later
            self._count("refused by a peer", text)
        else:
            self._party.refused(PeerError(text))
        if not self._options.bind:
            self._lose(place, text, delay=_LAST_DELAY)

    def _turn_away(self, place: Place, route: bytes | None, reason: str, text: str) -> None:
        """Refuse a peer, whatever it sent."""
        link = place.links.get(route)
        who = link.name if link is not None else "a peer"
        self._count(reason, f"{who} at {place.address} was refused ({reason}): {text}")
        fields = {
            "reason": reason,
            "text": wire.printable(text),
            "versions": list(wire.VERSIONS),
        }
        self._say(place, route, wire.pack(Kind.REFUSE, **fields))
        if link is not None:
            link.dead = True
        if not self._options.bind:
            self._bury()
            self._party.refused(PeerError(f"{place.address} does not speak to us properly: {text}"))
            self._lose(place, text, delay=_LAST_DELAY)

    def _count(self, reason: str, text: str) -> None:
        self.refusals[reason] += 1
        self.turned_away.append(text)
        if self.refusals[reason] <= _TOLD:
            logger.warning("%s", text)

    def _say(self, place: Place, route: bytes | None, head: bytes) -> None:
        place.guard.answered()
        with suppress(zmq.ZMQError):
            place.socket.send_multipart([head] if route is None else [route, head], zmq.NOBLOCK)

    def _answer(self) -> None:
        """Whether a key may connect."""
        assert self._options.keys is not None, "only then there are questions"
        request = self._judge.recv_multipart()
        right, answer = judged(request, self._options.keys)
        if not right:
            self._count(
                "key", f"a peer at {request[3].decode()} was refused: its key is not allowed"
            )
        self._judge.send_multipart(answer)

    # -- connections -------------------------------------------------------------------------

    def _socket(self, kind: int) -> Any:
        socket = self._context.socket(kind)
        socket.linger = 0
        return socket

    def _bind(self, place: Place) -> None:
        place.socket = self._socket(zmq.ROUTER)
        prepare(place.socket, self._options, place.address)
        place.socket.router_mandatory = True  # tell us who is gone
        place.monitor = place.socket.get_monitor_socket(_BEGAN | _FAILED | zmq.EVENT_DISCONNECTED)
        place.monitor.linger = 0
        place.guard = Guard(self._most)
        place.socket.bind(place.address)
        place.address = place.socket.last_endpoint.rstrip(b"\0").decode()
        self._poller.register(place.socket, zmq.POLLIN)
        self._poller.register(place.monitor, zmq.POLLIN)

    def _connect(self, place: Place) -> None:
        socket = place.socket = self._socket(zmq.DEALER)
        prepare(socket, self._options, place.address)
        place.monitor = socket.get_monitor_socket(_BEGAN | _LOST | _FAILED)
        place.monitor.linger = 0
        place.guard = Guard(self._most)
        place.since, place.again = monotonic(), None
        socket.connect(place.address)
        hello = wire.pack(Kind.HELLO, versions=list(wire.VERSIONS), **self._greeting())
        # Where libzmq has given the connection up by now, the monitor tells; waiting would not end.
        with suppress(zmq.Again):
            socket.send(hello, zmq.NOBLOCK)
        self._poller.register(socket, zmq.POLLIN)
        self._poller.register(place.monitor, zmq.POLLIN)

    def _notice(self, place: Place) -> None:
        """Something happened to a connection of ours."""
        try:
            event = self._event(place)
        except zmq.Again:
            return
        if event & _BEGAN:
            return
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            self._party.refused(PeerError(f"{place.address} does not allow our key"))
        if not place.links:
            self._puzzle(place)
        # What was under way when the connection ended shall still be read.
        self._drain(place)
        self._lose(place, "the connection broke")

    def _puzzle(self, place: Place) -> None:
        """A connection ended before the greeting."""
        place.failures += 1
        if place.failures != _PUZZLED or self._options.bind:  # `puzzle` tells of those
            return
        encrypted = "with keys" if self._options.keys is not None else "without keys"
        why = why_no_greeting(place.mismatch, bind=False)
        text = "connections to %s end before they begin. This side connects %s: %s"
        logger.warning(text, place.address, encrypted, why)

    def _watch(self, place: Place) -> None:
        """Connections of others begin and end."""
        with suppress(zmq.Again):
            while True:
                self._event(place)

    def _event(self, place: Place) -> int:
        """The next thing that happened to a connection."""
        told = recv_monitor_message(place.monitor, zmq.NOBLOCK)
        event = int(told["event"])
        if event & _BEGAN:
            place.guard.began(told["value"])
        elif event & _FAILED:
            place.mismatch = int(told["value"])
            if self._options.bind:
                self._puzzle(place)
        elif event == zmq.EVENT_DISCONNECTED:
            if self._options.bind and not place.mismatch and place.guard.is_stranger(told["value"]):
                self._puzzle(place)
            if place.guard.ended(told["value"]):
                text = f"more than max_message_bytes={self._options.limit}, or no ZMTP"
                self._count("size", f"a peer at {place.address} was cut off: it sent {text}")
        return event

    def _look(self) -> None:
        """Cut connections off that send without an end, or nothing."""
        now = monotonic()
        if now - self._looked < PAUSE:
            return
        self._looked = now
        for place in self._places:
            place.guard.look(partial(self._tell_cut, place.address))

    def _tell_cut(self, address: str, why: str) -> None:
        self._count(why, f"a peer at {address} was cut off: {_CUT[why]}")

    def _lose(self, place: Place, why: str, delay: float = 0.0) -> None:
        """End a connection of ours; there will be another one."""
        if self._options.bind or place.again is not None:
            return
        logger.debug("%s: %s", place.address, why)
        for link in place.links.values():
            link.dead = True
        self._bury()
        self._drop(place)
        delay = max(delay, min(_FIRST_DELAY * 2**place.failures, _LAST_DELAY))
        place.again = monotonic() + delay

    def _drop(self, place: Place, linger: int = 0) -> None:
        for socket in (place.socket, place.monitor):
            if socket is not None and socket in self._poller:
                self._poller.unregister(socket)
        if place.monitor is not None:
            self._watch(place)
            place.socket.disable_monitor()
            place.monitor.close()
        if place.socket is not None:
            place.socket.close(linger)
        place.guard.close()
        place.socket = place.monitor = None

    def _care(self, now: float) -> float:
        """Heartbeats and reconnection; returns the seconds until the next."""
        options = self._options
        due = now + min(options.heartbeat, PAUSE)  # `_look` has to come often enough
        # Where this process itself was stopped for long, what came meanwhile is not read yet.
        stopped = now - self._cared > options.silence / 2
        self._cared = now
        for place in self._places:
            if place.again is not None:
                if place.again <= now:
                    self._connect(place)
                else:
                    due = min(due, place.again)
                continue
            if not self._options.bind and not place.links and now - place.since > options.silence:
                self._lose(place, "no greeting came")
                continue
            for link in list(place.links.values()):
                moved = now if stopped else place.guard.moved(link._connection)
                link.heard = max(link.heard, moved)
                if now - link._spoke >= link._heartbeat:
                    link.send(wire.pack(Kind.PING))
                due = min(due, link._spoke + link._heartbeat)
                if now - link.heard > options.silence:
                    link.dead = True
                    self._lose(place, "nothing was heard for too long")
        return due - now

    def _links(self) -> list[Link]:
        return [link for place in self._places for link in place.links.values()]

    def _bury(self) -> None:
        """Tell the party of links that broke."""
        for place in self._places:
            for route, link in list(place.links.items()):
                if link.dead:
                    del place.links[route]
                    if route is not None:  # who connects has a new socket for a new link
                        self._departed[route] = link
                    self._party.left(link)
        while len(self._departed) > _DEPARTED:
            del self._departed[next(iter(self._departed))]

    def _release(self, linger: int) -> None:
        for place in self._places:
            self._drop(place, linger if place.links else 0)
        if self._judge is not None:
            self._judge.close()
        self._context.term()
        self._bell.close()
