"""Every decoder that reads what other hosts send, with bytes of all kinds: the corpus, what
hypothesis makes of it, and bytes that claim to be more than they are."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fuzz.__main__ import NAMES, lines
from fuzz.targets import TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import patient

from dataflow.codec import msgpack_numpy, protobuf, tensor, wire
from dataflow.errors import CodecError

CORPUS = {name: [bytes.fromhex(line) for line in lines(name)] for name in NAMES}

# Bytes of memory for a byte of input; and beside that, what msgpack takes for lists of up to 1024
# elements at each of its 1024 levels.
FACTOR, BESIDE = 100, 24 << 20


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Streams that end are told; here there are thousands."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def test_every_target_has_a_corpus() -> None:
    assert tuple(TARGETS) == NAMES
    assert all(CORPUS.values())
    assert sum(len(data) for found in CORPUS.values() for data in found) < 64 << 10


@pytest.mark.parametrize("name", NAMES)
def test_corpus(name: str) -> None:
    for data in CORPUS[name]:
        TARGETS[name](data)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=100)
@given(st.data())
def test_bytes_of_the_corpus_changed(name: str, draw: st.DataObject) -> None:
    data = bytearray(draw.draw(st.sampled_from(CORPUS[name])))
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(data)))
        match draw.draw(st.integers(0, 3)):
            case 0:
                data[at : at + 1] = draw.draw(st.binary(min_size=1, max_size=3))
            case 1:
                del data[at : at + draw.draw(st.integers(1, 8))]
            case 2:
                data[at:at] = draw.draw(st.sampled_from(CORPUS[name]))
            case 3:
                data[at:at] = data[:at][-8:] * draw.draw(st.integers(1, 40))
    TARGETS[name](bytes(data))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=50)
@given(data=st.binary(max_size=300))
def test_any_bytes(name: str, data: bytes) -> None:
    TARGETS[name](data)


def test_protobuf_takes_no_more_than_is_there() -> None:
    for claim in (b"\x0a\xff\xff\xff\xff\x0f", b"\x0a" + b"\xff" * 9 + b"\x01", b"\xff" * 99):
        with pytest.raises(CodecError):
            list(protobuf.fields(claim + bytes(99)))


# -- bytes that claim to be more than they are ------------------------------------------------

HEAD = b"DF\x01\x04\x82\xa6stream\xc4\x10" + bytes(16) + b"\xa5first"
CLAIMS = {
    "lists in lists": b"\xdd\x00\x10\x00\x00" * 1000 + bytes(1 << 20),
    "short lists in lists": b"\xdc\x04\x00" * 1000 + bytes(1 << 16),
    "lists in lists of a few bytes": b"\xdc\xff\xff" * 1000,
    "maps in maps": b"\xdf\x00\x08\x00\x00\xa0" * 1000 + bytes(1 << 20),
    "maps in lists in maps": b"\xdf\x00\x08\x00\x00\xa0\xdd\x00\x08\x00\x00" * 500 + bytes(1 << 20),
    "bytes": b"\xc6\xff\xff\xff\xff" + bytes(1 << 16),
    "text": b"\xdb\xff\xff\xff\xff" + b"x" * (1 << 16),
    "ext": b"\xc9\xff\xff\xff\xff\x01" + bytes(1 << 16),
    "deep": b"\x91" * (1 << 20),
    "deep, and whole": b"\x91" * 990 + b"\xc0",
    "wide": b"\xdd\x00\x03\x00\x00" + b"\x93\x01\x01\x01" * 0x30000,
    "keys that collide": b"\xde\xff\xff"
    + b"".join(b"\xcf" + (i << 40).to_bytes(8, "big") + b"\xc0" for i in range(0xFFFF)),
    "a long key": b"\x81\xdd\x00\x01\x00\x00" + bytes(1 << 16) + b"\xc0",
    "long text as dtype": b"\x83\xa2nd\xc2\xa4type\xc6\x00\x10\x00\x00"
    + bytes(1 << 20)
    + b"\xa4data\xc4\x00",
}


def body(data: bytes) -> Any:
    return tensor.decode(1, [], [b"\x91" + data])


READERS: dict[str, Callable[[bytes], Any]] = {
    "wire": lambda data: wire.unpack(HEAD + data),
    "tensor": body,
    "msgpack_numpy": msgpack_numpy.decode,
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("what", CLAIMS)
def test_memory_and_time_are_those_of_what_was_sent(name: str, what: str) -> None:
    data = CLAIMS[what]

    def read() -> float:
        begun = time.thread_time()  # of the processor: others may have much to do, too
        with contextlib.suppress(CodecError):
            READERS[name](data)
        return time.thread_time() - begun

    # Within 10 ms where it is short; beside that there are slow machines.
    seconds = min(read() for _ in range(3))
    assert seconds < patient(0.03 + len(data) * 1e-6)
    tracemalloc.start()
    try:
        read()
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < len(data) * FACTOR + BESIDE


def test_the_program_says_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "atheris.py").write_text("raise ImportError\n")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(root)!r}]\n"
         "sys.argv = ['fuzz', 'wire']\nfrom tests.fuzz.__main__ import main\nmain()"],
        cwd=tmp_path, capture_output=True, text=True, timeout=patient(60),
    )  # fmt: skip
    assert done.returncode == 1 and "pip install atheris" in done.stderr
