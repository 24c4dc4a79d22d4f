"""Heads of messages."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.codec import wire
from dataflow.codec.wire import HEAD_BYTES, Kind
from dataflow.errors import CodecError

GREETING = {
    "role": "sender",
    "id": bytes(16),
    "name": "host:1",
    "limit": 1 << 20,
    "heartbeat": 1000,
}
FIELDS: dict[Kind, dict[str, Any]] = {
    Kind.HELLO: {"versions": [1], **GREETING},
    Kind.WELCOME: GREETING,
    Kind.REFUSE: {"reason": "version", "text": "no", "versions": [1]},
    Kind.OPEN: {"stream": bytes(16), "first": 0},
    Kind.GRANT: {"stream": bytes(16), "next": 1, "acked": 0, "limit": 1 << 40},
    Kind.DATA: {
        "stream": bytes(16),
        "seq": 0,
        "count": 1,
        "skip": 0,
        "epoch": 0,
        "position": 0,
        "arrays": [],
    },
    Kind.END: {"stream": bytes(16), "seq": 0, "epoch": 0, "items": 5},
    Kind.PING: {},
    Kind.CLOSE: {"stream": bytes(16), "acked": 0, "complete": True, "reason": ""},
    Kind.RESET: {},
    Kind.JOIN: {"chain": ["DataFromList(3 datapoints)"], "procs": 2, "threads": 0},
    Kind.START: {"part": 0, "hands": 1, "slots": 8},
    Kind.STOP: {"part": 0},
    Kind.LEASE: {"part": 0, "worker": 1, "lease": 7, "seed": 5, "count": 1, "arrays": []},
    Kind.RECALL: {"part": 0, "worker": 1},
    Kind.KILL: {"part": 0, "worker": 1},
    Kind.UP: {"part": 0, "worker": 1, "hands": 2, "pid": 99},
    Kind.REPORT: {
        "part": 0,
        "worker": 1,
        "runs": [[7, 0, b"d"]],
        "work": [[0, -1, 1, 0.5]],
        "gauges": [[0, 0, {"bytes": 3}]],
        "returned": [[7, 1]],
        "finished": 1,
        "cpu": 0.25,
        "sending": 0.0,
        "count": 1,
        "arrays": [],
    },
    Kind.HANDS: {"part": 0, "worker": 1, "held": [[7, 0, 12]]},
    Kind.DOWN: {"part": 0, "worker": 1, "status": -9, "held": []},
    Kind.LEAVE: {"reason": "done"},
    Kind.MARK: {"stream": bytes(16), "seq": 4, "state": "{}", "since": 2},
    Kind.RESUME: {"stream": bytes(16), "new": bytes(16), "state": "{}", "since": 2},
}

RIGHT = {"cpu": 0.5, "sending": 0.5, "status": -1, "state": "x" * 2000}  # elsewhere it is wrong


@pytest.mark.parametrize("kind", Kind)
def test_every_kind(kind: Kind) -> None:
    head = wire.pack(kind, **FIELDS[kind], unknown="of a later version")
    found = wire.unpack(head)
    assert found.kind is kind and found.fields == {**FIELDS[kind], "unknown": "of a later version"}
    for name in FIELDS[kind]:
        for wrong in (None, -1, 1 << 63, b"x", "x" * 2000, 0.5):
            if RIGHT.get(name) == wrong:
                continue
            with pytest.raises(CodecError, match=f"{kind.name}: {name}") as caught:
                wire.unpack(wire.pack(kind, **{**FIELDS[kind], name: wrong}))
            assert caught.value.reason == "header"
        with pytest.raises(CodecError, match=f"{kind.name}: {name}"):
            wire.unpack(wire.pack(kind, **{k: v for k, v in FIELDS[kind].items() if k != name}))


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"", "magic"),
        (b"DF\x01", "magic"),
        (b"XF\x01\x08\x80", "magic"),
        (b"\x80\x04\x95", "magic"),  # a pickle
        (b"DF\x02\x08\x80", "version"),
        (b"DF\x00\x08\x80", "version"),
        (b"DF\x01\x00\x80", "kind"),
        (b"DF\x01\xff\x80", "kind"),
        (b"DF\x01\x08", "header"),
        (b"DF\x01\x08\x90", "header"),
        (b"DF\x01\x08\x80\x80", "header"),
        (b"DF\x01\x08\x81\x01\x01", "header"),
        (b"DF\x01\x08\xdf\xff\xff\xff\xff", "header"),
        (b"DF\x01\x08" + b"\x91" * 5000, "header"),
        (bytes(HEAD_BYTES + 1), "size"),
    ],
)
def test_malformed_heads(head: bytes, reason: str) -> None:
    with pytest.raises(CodecError) as caught:
        wire.unpack(head)
    assert caught.value.reason == reason


def test_another_version_is_told() -> None:
    with pytest.raises(CodecError, match="version 9 of the protocol; this side speaks 1"):
        wire.unpack(b"DF\x09\x01" + msgpack.packb({}))


@settings(max_examples=200)
@given(st.sampled_from(Kind), st.binary(max_size=40), st.integers(0, 60), st.binary(max_size=2))
def test_random_and_mutated_bytes(kind: Kind, noise: bytes, at: int, put: bytes) -> None:
    whole = wire.pack(kind, **FIELDS[kind])
    for head in (noise, b"DF\x01" + noise, whole[:4] + noise, whole[:at] + put + whole[at + 1 :]):
        try:
            wire.unpack(head)
        except CodecError as error:
            assert error.reason in {"magic", "version", "kind", "header", "size"}


def test_a_head_of_too_many_arrays_is_refused() -> None:
    rows = [["<f8", [1, 1]]] * 600_000
    with pytest.raises(CodecError, match="too many arrays"):
        wire.pack(Kind.DATA, **{**FIELDS[Kind.DATA], "arrays": rows})


@pytest.mark.parametrize("deep", [500, 1000, 5000])
def test_a_deep_field_is_malformed_and_nothing_else(deep: int) -> None:
    """`repr` of it would fail, and with it the thread that talks to all peers."""
    head = wire.pack(Kind.OPEN, stream=bytes(16), first=0)
    with pytest.raises(CodecError) as caught:
        wire.unpack(head[:-1] + b"\x91" * deep + b"\xc0")
    assert caught.value.reason == "header"
