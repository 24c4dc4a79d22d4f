"""What the other side says, byte by byte: peers made of bare sockets."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq
from network import Sending, numbers, until
from patience import patient
from peer import Peer

import dataflow as df
from dataflow.codec import wire
from dataflow.codec.wire import Kind
from dataflow.remote import Sender
from dataflow.transport.keys import make_keys

LOOPBACK = "tcp://127.0.0.1:*"


@pytest.fixture
def ds() -> Iterator[Any]:
    with df.receive(LOOPBACK, window=1 << 16, max_message_bytes=1 << 16) as flow:
        yield flow


def test_a_sender_by_the_book(ds: Any) -> None:
    with Peer(ds.addresses[0]) as peer:
        assert peer.open() == 1 << 16
        peer.data(0, [1], [2])
        peer.data(0, [1], [2])  # again: it is dropped
        peer.data(2, [3], [4], [5], skip=1)  # the first is somebody else's
        peer.end(4)
        assert list(ds) == [[1], [2], [4], [5]]
        while peer.hear(Kind.GRANT)["acked"] != 5:
            pass
        assert ds.peers()[0]["repeated"] == 2
        # On another connection it goes on where it was.
        with Peer(ds.addresses[0]) as again:
            again.greeting["id"], again.stream = peer.greeting["id"], peer.stream
            again.greet()
            again.say(Kind.OPEN, stream=again.stream, first=5)
            granted = again.hear(Kind.GRANT)
            assert granted["next"] == granted["acked"] == 5
            assert granted["limit"] == (1 << 16) + (2 * 256 + 5) + (3 * 256 + 7)
            again.data(5, [6])
            again.end(6)
            assert list(ds) == [[6]]
            again.say(Kind.CLOSE, stream=again.stream, acked=0, complete=True, reason="")


BAD: dict[str, Callable[[Peer], Any]] = {
    "sequence": lambda peer: peer.data(3, [1]),
    "count": lambda peer: peer.data(0, [1], count=2),
    "body": lambda peer: peer.data(0, [1], frames=[b"\xc1"]),
    "length": lambda peer: peer.data(0, [1], frames=[]),
    "header": lambda peer: peer.data(0, [1], skip=1),
    "size": lambda peer: peer.data(0, [1], frames=[bytes(40_000)] * 2),
    "dtype": lambda peer: peer.data(0, [1], arrays=[["|O", [1]]]),
    "kind": lambda peer: peer.say(Kind.GRANT, stream=peer.stream, next=0, acked=0, limit=0),
    "magic": lambda peer: peer.socket.send(b"\x80\x04\x95."),
    "version": lambda peer: peer.socket.send(b"DF\x07\x08\x80"),
}


def test_what_is_malformed_is_refused_and_the_next_good_message_arrives(ds: Any) -> None:
    address = ds.addresses[0]
    for reason, misbehave in BAD.items():
        with Peer(address) as peer:
            peer.open()
            misbehave(peer)
            refused = peer.hear(Kind.REFUSE)
            assert refused["reason"] == reason and refused["versions"] == [1]
            peer.data(0, [1])  # the connection means nothing any more
            peer.hear(Kind.RESET)
            peer.say(Kind.CLOSE, stream=peer.stream, acked=0, complete=False, reason="")
    with Peer(address) as peer:
        limit = peer.open()
        peer.data(0, [bytes(limit - 300)])
        peer.data(1, [1])  # just allowed: those before it have used less
        peer.data(2, [2])
        assert peer.hear(Kind.REFUSE)["reason"] == "credit"
    counted = ds.stats()["stages"][0]["refused"]
    assert {reason: counted[reason] for reason in BAD} == dict.fromkeys(BAD, 1)


def test_a_good_sender_beside_bad_ones() -> None:
    with df.receive(LOOPBACK, timeout=patient(0.5)) as ds, Peer(ds.addresses[0]) as peer:
        peer.say(Kind.PING)  # without a greeting
        peer.hear(Kind.RESET)
        for noise in (b"", b"DF", b"\x00" * 100, b"DF\x01\x01\xc1", secrets.token_bytes(1000)):
            peer.socket.send_multipart([noise, b"x"])
            assert peer.hear(Kind.REFUSE)["reason"] in ("magic", "header", "kind", "version")
        with Peer(ds.addresses[0]) as other:
            other.open()
            other.say(Kind.CLOSE, stream=other.stream, acked=0, complete=False, reason="bad")
            other.socket.send(bytes((512 << 20) + 5000), copy=False)  # libzmq ends the connection
            sender = Sending(numbers(100), ds.addresses[0])
            assert len(list(ds)) == 100
            sender.join()


def test_versions_and_roles_are_refused_with_a_message(ds: Any) -> None:
    with Peer(ds.addresses[0]) as peer:
        peer.say(Kind.HELLO, versions=[2, 3], **peer.greeting)
        refused = peer.hear(Kind.REFUSE)
        assert refused["reason"] == "version" and refused["versions"] == [1]
        assert "you speak versions 2, 3 of the protocol, this side speaks 1" in refused["text"]
        peer.say(Kind.HELLO, versions=[1], **{**peer.greeting, "role": "receiver"})
        refused = peer.hear(Kind.REFUSE)
        assert refused["reason"] == "role" and "nothing to say to a receiver" in refused["text"]
    # Ours says so where it is refused itself.
    text = "refuses this side: a receiver has nothing to say to a receiver"
    with df.receive(ds.addresses[0], bind=False) as other, pytest.raises(df.PeerError, match=text):
        next(iter(other))


@pytest.mark.parametrize("answer", ["refuse", "speak"])
def test_ours_meets_another_version(answer: str) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.linger = 0
        port = router.bind_to_random_port("tcp://127.0.0.1")
        sender = Sending(numbers(1), f"tcp://127.0.0.1:{port}")
        route, head = router.recv_multipart()
        assert wire.unpack(head).fields["versions"] == [1]
        fields = {"reason": "version", "text": "too old", "versions": [7, 8]}
        refusal = wire.pack(Kind.REFUSE, **fields)
        router.send_multipart([route, refusal if answer == "refuse" else b"DF\x08\x02\x80"])
        with pytest.raises(df.PeerError) as caught:
            sender.join()
        text = (
            "too old (there: 7, 8; here: 1)" if answer == "refuse" else "version 8 of the protocol"
        )
        assert text in str(caught.value)


def test_the_number_of_peers_is_limited() -> None:
    with df.receive(LOOPBACK, max_peers=2) as ds, ExitStack() as stack:
        peers = [stack.enter_context(Peer(ds.addresses[0])) for _ in range(3)]
        for peer in peers[:2]:
            peer.greet()
        peers[2].say(Kind.HELLO, versions=[1], **peers[2].greeting)
        assert peers[2].hear(Kind.REFUSE)["reason"] == "peers"
        peers[0].__exit__()

        # The place is free as soon as the first one is missed.
        def greeted() -> bool:
            peers[2].say(Kind.HELLO, versions=[1], **peers[2].greeting)
            return wire.unpack(peers[2].socket.recv()).kind is Kind.WELCOME

        until(greeted)


def test_a_receiver_by_the_book() -> None:
    """The sender keeps to the credit, sends again what was not received, and leaves politely."""
    with Sender(LOOPBACK, bind=True, max_message_bytes=1 << 16) as sender:
        # Some datapoints make a message of their own. (A list has no places to tell.)
        flow = [[i, bytes(20_000)] for i in range(6)]
        thread = threading.Thread(target=sender.send, args=(flow,), daemon=True)
        thread.start()
        with Peer(sender.addresses[0], "receiver") as peer:
            peer.greet()
            opened = peer.hear(Kind.OPEN)
            stream = opened["stream"]
            assert opened["first"] == 0
            peer.say(Kind.GRANT, stream=stream, next=0, acked=0, limit=1)
            first = peer.hear(Kind.DATA)
            assert first["seq"] == first["position"] == 0 and first["count"] == 1
            until(lambda: sender.stats()["peers"][0]["unacknowledged"] == 1)
            peer.say(Kind.GRANT, stream=stream, next=0, acked=0, limit=30_000)
            assert peer.hear(Kind.DATA)["seq"] == 1
        # The connection is lost, and with it the second message.
        with Peer(sender.addresses[0], "receiver") as again:
            again.greeting["id"] = peer.greeting["id"]
            again.greet()
            opened = again.hear(Kind.OPEN)
            assert opened == {"stream": stream, "first": 0, "begun": True}
            again.say(Kind.GRANT, stream=stream, next=1, acked=1, limit=1 << 20)
            assert [again.hear(Kind.DATA)["seq"] for _ in range(5)] == [1, 2, 3, 4, 5]
            assert again.hear(Kind.END) == {"stream": stream, "seq": 6, "epoch": 0, "items": 6}
            assert thread.is_alive(), "until all is acknowledged"
            again.say(Kind.GRANT, stream=stream, next=7, acked=7, limit=1 << 20)
            thread.join(patient(20))
            sender.close()
            closed = again.hear(Kind.CLOSE)
            assert closed["complete"] and closed["stream"] == stream


def test_going_on_by_the_book() -> None:
    """The sender says where its flow is, and goes back there; only to a place of its own."""
    with Sender(LOOPBACK, bind=True) as sender, Peer(sender.addresses[0], "receiver") as peer:
        thread = threading.Thread(target=sender.send, args=(numbers(5),), daemon=True)
        thread.start()
        peer.greet()
        opened = peer.hear(Kind.OPEN)
        assert opened["begun"] is False
        grant = {"next": 0, "acked": 0, "limit": 1 << 20}
        peer.say(Kind.GRANT, stream=opened["stream"], **grant)
        mark = peer.hear(Kind.MARK)
        assert (mark["seq"], mark["since"]) == (0, 0)
        assert peer.hear(Kind.DATA)["seq"] == 1 and peer.hear(Kind.END)["seq"] == 6
        back = {"new": secrets.token_bytes(16), "state": mark["state"], "since": 3}
        peer.say(Kind.GRANT, stream=opened["stream"], next=7, acked=6, limit=1 << 20)
        peer.say(Kind.RESUME, stream=opened["stream"], **back)
        assert peer.hear(Kind.OPEN) == {"stream": back["new"], "first": 0, "begun": True}
        peer.say(Kind.GRANT, stream=back["new"], **grant)
        again = peer.hear(Kind.MARK)
        assert (again["seq"], again["since"]) == (0, 3)
        data = peer.hear(Kind.DATA)
        assert (data["seq"], data["count"] - data["skip"], data["position"]) == (1, 2, 3)
        assert peer.hear(Kind.END)["seq"] == 3
        for state in ("{}", "[]", "[" * 5000, '["x", 1, 0, 0, -1, {}]'):
            peer.say(Kind.RESUME, stream=back["new"], **{**back, "state": state})
            assert peer.hear(Kind.REFUSE)["reason"] == "header"
            peer.greet()
            assert peer.hear(Kind.OPEN)["stream"] == back["new"]
            peer.say(Kind.GRANT, stream=back["new"], **grant)
        peer.say(Kind.GRANT, stream=back["new"], next=4, acked=4, limit=1 << 20)
        thread.join(patient(20))
        assert not thread.is_alive()


def test_the_last_words_of_an_earlier_connection_end_nothing() -> None:
    """A receiver that goes back to a state has the name of the one whose state it was."""
    flow = df.DataFromList([[i] for i in range(100)], shuffle=False).seed(3)
    with Sender(LOOPBACK, bind=True) as sender:
        thread = threading.Thread(target=sender.send, args=(flow,))
        thread.start()
        with Peer(sender.addresses[0], "receiver") as peer, Peer(sender.addresses[0]) as again:
            peer.greet()
            stream = peer.hear(Kind.OPEN)["stream"]
            peer.say(Kind.GRANT, stream=stream, next=0, acked=0, limit=1 << 16)
            mark = peer.hear(Kind.MARK)
            peer.hear(Kind.DATA)
            again.greeting = peer.greeting
            again.greet()
            assert again.hear(Kind.OPEN)["stream"] == stream
            peer.say(Kind.CLOSE, stream=stream, acked=0, complete=False, reason="closed")
            new = secrets.token_bytes(16)
            again.say(Kind.PING)
            until(lambda: sender.stats()["peers"])
            again.say(Kind.RESUME, stream=stream, new=new, state=mark["state"], since=10)
            assert again.hear(Kind.OPEN)["stream"] == new
            again.say(Kind.GRANT, stream=new, next=0, acked=0, limit=1 << 16)
            data = again.hear(Kind.DATA)
            assert data["position"] + data["skip"] == 10 and data["count"] - data["skip"] == 90
            again.hear(Kind.END)
            again.say(Kind.GRANT, stream=new, next=92, acked=92, limit=1 << 16)
            thread.join(patient(20))
            assert not thread.is_alive()


def test_a_receiver_that_acknowledges_too_much_is_refused() -> None:
    with Sender(LOOPBACK, bind=True) as sender, Peer(sender.addresses[0], "receiver") as peer:
        peer.greet()
        stream = peer.hear(Kind.OPEN)["stream"]
        peer.say(Kind.GRANT, stream=stream, next=9, acked=9, limit=1)
        assert peer.hear(Kind.REFUSE)["reason"] == "header"
        assert sender.stats()["refused"] == {"header": 1}


def test_a_receiver_that_was_away_for_too_long_gets_a_new_stream() -> None:
    with (
        Sender(LOOPBACK, bind=True, receivers=2, timeout=patient(0.8)) as sender,
        ExitStack() as stack,
    ):
        peers = [stack.enter_context(Peer(sender.addresses[0], "receiver")) for _ in "12"]
        streams = []
        for peer in peers:
            peer.greet()
            streams.append(peer.hear(Kind.OPEN)["stream"])
        thread = threading.Thread(target=sender.send, args=([[i] for i in range(5)],), daemon=True)
        thread.start()
        grant = {"next": 0, "acked": 0, "limit": 1 << 20}
        peers[0].say(Kind.GRANT, stream=streams[0], **grant)
        assert peers[0].hear(Kind.DATA)["count"] == 5
        peers[0].say(Kind.GRANT, stream=streams[0], next=5, acked=2, limit=1 << 20)
        until(lambda: [p["unacknowledged"] for p in sender.stats()["peers"]] == [3, 0])
        peers[0].__exit__()
        peers[1].say(Kind.GRANT, stream=streams[1], **grant)

        def passed_on() -> Any:
            peers[1].say(Kind.PING)  # who is silent is away, too
            if not peers[1].socket.poll(50):
                return None
            message = wire.unpack(peers[1].socket.recv_multipart()[0])
            return message.fields if message.kind is Kind.DATA else None

        found = until(passed_on)
        assert (found["count"], found["skip"], found["seq"]) == (5, 2, 0)
        with Peer(sender.addresses[0], "receiver") as again:
            again.greeting["id"] = peers[0].greeting["id"]
            again.greet()
            opened = again.hear(Kind.OPEN)
            assert opened["stream"] != streams[0] and opened["first"] == 0
            fields = {"acked": 0, "complete": False, "reason": ""}
            again.say(Kind.CLOSE, stream=opened["stream"], **fields)
            peers[1].say(Kind.GRANT, stream=streams[1], next=3, acked=3, limit=1 << 20)
            assert peers[1].hear(Kind.END)["items"] == 5
            peers[1].say(Kind.GRANT, stream=streams[1], next=4, acked=4, limit=1 << 20)
            thread.join(patient(20))
            assert not thread.is_alive()


def test_what_a_sender_takes_back_is_not_delivered(
    ds: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with Peer(ds.addresses[0]) as peer:
        peer.open()
        peer.data(0, [1], [2], [3])
        until(lambda: ds.peers()[0]["waiting"] == 3)
        peer.stream = secrets.token_bytes(16)
        peer.say(Kind.OPEN, stream=peer.stream, first=0)
        until(lambda: "sender peer has given 3 datapoints to others" in caplog.text)
        peer.data(0, [4])
        peer.end(1)
        assert list(ds) == [[4]]


# -- keys -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Keys of a receiver, of a sender that it knows, and of a stranger."""
    base = tmp_path_factory.mktemp("keys")
    found = {name: base / name for name in ("receiver", "sender", "stranger")}
    for folder in found.values():
        make_keys(folder)
    for one, other in (("receiver", "sender"), ("sender", "receiver")):
        public = (found[other] / "public.key").read_bytes()
        (found[one] / f"allowed/{other}.key").write_bytes(public)
    return found


def test_the_same_folder_on_both_sides(folders: dict[str, Path]) -> None:
    with df.receive("tcp://0.0.0.0:*", keys=folders["receiver"]) as ds:
        address = ds.addresses[0].replace("0.0.0.0", "127.0.0.1")
        sender = Sending(numbers(100), address, keys=str(folders["receiver"]))
        assert len(list(ds)) == 100
        sender.join()
    with Sender(LOOPBACK, bind=True, keys=folders["sender"]) as end:
        thread = threading.Thread(target=end.send, args=(numbers(100),), daemon=True)
        thread.start()
        with df.receive(end.addresses[0], bind=False, keys=folders["sender"]) as ds:
            assert len(list(ds)) == 100
            thread.join(patient(20))


def test_only_who_is_allowed_gets_in(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    server = folders["receiver"] / "public.key"
    with df.receive(LOOPBACK, keys=folders["receiver"]) as ds:
        address = ds.addresses[0]
        with pytest.raises(df.PeerError, match="does not allow our key"):
            Sending(numbers(1), address, keys=folders["stranger"], server_key=server).join()
        assert "its key is not allowed" in caplog.text
        # With the wrong key of the server, or without keys, nothing is even answered.
        strangers = [
            Sender(address, keys=folders["sender"], server_key=folders["stranger"] / "public.key"),
            Sender(address),
        ]
        threads = [threading.Thread(target=_send, args=(one,), daemon=True) for one in strangers]
        for thread in threads:
            thread.start()
        good = Sending(numbers(10), address, keys=folders["sender"], server_key=server)
        assert [n for (n,) in ds] == list(range(10))
        good.join()
        until(lambda: caplog.text.count(f"connections to {address} end before they begin") == 2)
        assert "This side connects without keys" in caplog.text
        assert "This side connects with keys" in caplog.text
        for stranger, thread in zip(strangers, threads, strict=True):
            stranger.close()
            thread.join(patient(20))
        assert len(ds.peers()) == 1
        assert ds.stats()["stages"][0]["refused"] == {"key": 1}


def _send(sender: Sender) -> None:
    with pytest.raises(df.DataFlowTerminated, match="the sender was closed"):
        sender.send(numbers(1))


def test_keys_against_a_receiver_without(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    with df.receive(LOOPBACK) as ds, Sender(ds.addresses[0], keys=folders["sender"]) as sender:
        until(lambda: "end before they begin" in caplog.text)
        assert ds.peers() == sender.stats()["peers"] == []
