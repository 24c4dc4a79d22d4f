"""The real tensorcom in another process: bytes, files and connections, in both directions."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorcom_peer import Peer, TheirError, message, peer, told

import dataflow as df
from dataflow.codec import tenbin

# All but uint32, which they cannot send, and rank 0, which they cannot read.
THEIRS = sorted(set(tenbin.DTYPES) - {"u4"})
arrays = hnp.arrays(
    st.sampled_from(THEIRS).map(np.dtype),
    hnp.array_shapes(min_dims=1, max_dims=9, min_side=1, max_side=3),
)
infos = st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=8)


@pytest.fixture(scope="module")
def theirs() -> Iterator[Peer]:
    with peer() as other:
        yield other


def address(transport: str, folder: Path) -> str:
    """A free one, without its scheme."""
    if transport == "ipc":
        return f"{folder}/s"
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


# -- bytes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", THEIRS)
def test_each_dtype_has_the_same_bytes(name: str, theirs: Peer) -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(0, 256, (3, 5, np.dtype(name).itemsize), np.uint8).view(name)
    code = """
    block = bytes(tenbin.encode_buffer(made(rows)))
    frames = [bytes(frame) for frame in tenbin.encode_list(made(rows))]
    result = [block.hex(), [frame.hex() for frame in frames]]
    """
    block, frames = theirs(dedented(code), rows=told([array]))
    assert tenbin.encode([array]).hex() == block
    assert [bytes(frame).hex() for frame in tenbin.encode_frames([array])] == frames
    assert told(tenbin.decode(bytes.fromhex(block))) == told([array])
    back = theirs("result = told(tenbin.decode_buffer(bytes.fromhex(block)))", block=block)
    assert back == told([array])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(arrays, infos), max_size=4))
def test_lists_have_the_same_bytes(theirs: Peer, pairs: list[tuple[np.ndarray, str]]) -> None:
    rows, texts = told([array for array, _ in pairs]), [text for _, text in pairs]
    code = "result = bytes(tenbin.encode_buffer(made(rows), infos=texts)).hex()"
    block = theirs(code, rows=rows, texts=texts)
    assert tenbin.encode([array for array, _ in pairs], texts).hex() == block
    code = "a, b = tenbin.decode_buffer(bytes.fromhex(block), infos=True); result = [told(a), b]"
    found, infos = tenbin.decode(bytes.fromhex(block), infos=True)
    assert theirs(code, block=block) == [told(found), infos]


def test_empty_arrays_have_the_same_bytes(theirs: Peer) -> None:
    rows = told([np.empty((0, 3), "f4"), np.empty(0, "u1")])
    block = theirs(
        "a = [np.empty((0, 3), 'f4'), np.empty(0, 'u1')]\n"
        "result = bytes(tenbin.encode_buffer(a)).hex()"
    )
    assert told(tenbin.decode(bytes.fromhex(block))) == rows
    assert tenbin.encode(tenbin.decode(bytes.fromhex(block))).hex() == block


@pytest.mark.parametrize("array", [np.zeros(2, "u4"), np.array(1, "i4")], ids=["u4", "rank 0"])
def test_what_they_cannot_read(array: np.ndarray, theirs: Peer) -> None:
    """The table in the documentation says so, as of the next one."""
    block = tenbin.encode([array])
    assert told(tenbin.decode(block)) == told([array])
    with pytest.raises(TheirError, match="TypeError"):
        theirs("tenbin.decode_buffer(bytes.fromhex(block))", block=block.hex())


def test_what_they_cannot_do(theirs: Peer) -> None:
    with pytest.raises(TheirError, match="AssertionError: uint32"):
        theirs("Connection().send([np.zeros(2, 'u4')])")
    with pytest.raises(TheirError, match="AssertionError"):
        theirs("Connection(allow64=True).send([np.zeros(2)])")
    with pytest.raises(TheirError, match="NameError"):
        theirs("c = Connection(); c.stats.add(1); time.sleep(0.01); c.stats.add(1); c.stats.rate()")
    rank0 = theirs("result = bytes(tenbin.encode_buffer([np.array(7, 'i4')])).hex()")
    assert rank0 == tenbin.encode([np.array(7, "i4")]).hex()


def test_files_both_ways(theirs: Peer, tmp_path: Path) -> None:
    given = [message(3)[0], message(3)[1], np.linspace(0, 1, 7)]
    texts = ["image", "label", ""]
    ours, other = tmp_path / "ours.ten", tmp_path / "theirs.ten"
    tenbin.save(ours, *given, infos=texts)
    theirs(
        "tenbin.save(path, *made(rows), infos=texts)",
        path=str(other),
        rows=told(given),
        texts=texts,
    )
    assert ours.read_bytes() == other.read_bytes()
    found, infos = tenbin.load(other, infos=True)
    assert (told(found), infos) == (told(given), texts)
    assert theirs("result = told(tenbin.load(path))", path=str(ours)) == told(given)
    tenbin.append(other, *message(4))
    assert theirs("result = told(tenbin.load(path))", path=str(other)) == told(
        [*given, *message(4)]
    )
    assert told(next(iter(df.TenData(other)))) == told([*given, *message(4)])


def dedented(code: str) -> str:
    return "\n".join(line.strip() for line in code.splitlines())


# -- connections -------------------------------------------------------------------------------

PAIRS = [("zpush", "zpull"), ("zrpush", "zrpull"), ("zpub", "zsub"), ("zrpub", "zrsub")]
kinds = pytest.mark.parametrize(("sender", "receiver"), PAIRS, ids=["-".join(p) for p in PAIRS])
transports = pytest.mark.parametrize("transport", ["tcp", "ipc"])
forms = pytest.mark.parametrize("multipart", [True, False], ids=["frames", "block"])

RECEIVE = """
result = [told(connection.recv()) for _ in range(3)]
connection.close()
"""


def check(found: list[Any], *, all_of_them: bool) -> None:
    """Messages of `message`, one after the other; a PUB's first ones may be missing."""
    numbers = [int.from_bytes(bytes.fromhex(rows[1][2])[:4], "little") for rows in found]
    assert numbers == [*range(numbers[0], numbers[0] + len(numbers))]
    assert numbers[0] == 0 or not all_of_them
    assert found == [told(message(number)) for number in numbers]


@kinds
@transports
@forms
def test_ours_sends(
    sender: str, receiver: str, transport: str, multipart: bool, theirs: Peer, tmp_path: Path
) -> None:
    place = address(transport, tmp_path)
    url = f"{sender}+{transport}://{place}"
    # One side binds first; the other waits until it does.
    theirs(
        "connection = Connection(url, multipart=multipart)",
        url=f"{receiver}+{transport}://{place}",
        multipart=multipart,
    )
    theirs.begin(RECEIVE)
    number = 0
    with df.Connection(url, multipart=multipart, linger=0, timeout=0.1) as connection:
        while not theirs.ready(0.002):
            with suppress(df.PeerTimeout):  # it is not there yet, or has gone with its three
                connection.send(message(number))
                number += 1
    check(theirs.end(), all_of_them="push" in sender)


@kinds
@transports
@forms
def test_theirs_sends(
    sender: str, receiver: str, transport: str, multipart: bool, theirs: Peer, tmp_path: Path
) -> None:
    place = address(transport, tmp_path)
    theirs(
        "sending = Sending(Connection(url, multipart=multipart))",
        url=f"{sender}+{transport}://{place}",
        multipart=multipart,
    )
    # We understand both forms, whatever our own is.
    with df.Connection(f"{receiver}+{transport}://{place}", timeout=30) as connection:
        found = [told(arrays) for arrays in connection.take(3)]
        theirs("sending.stop()")
    check(found, all_of_them="push" in sender)


def test_a_dataflow_served_to_theirs(theirs: Peer, tmp_path: Path) -> None:
    place = address("tcp", tmp_path)
    theirs("connection = Connection(url)", url=f"zpull://{place}")
    theirs.begin(RECEIVE)
    ds = df.DataFromList([message(i) for i in range(3)], shuffle=False)
    stats = df.serve(df.PrefetchDataZMQ(ds, 1), f"zpush://{place}")
    check(theirs.end(), all_of_them=True)
    assert (stats["messages"], stats["bytes"]) == (3, 3 * (48 + 24 + 8 + 32))


def test_many_of_theirs_to_one_of_ours(theirs: Peer) -> None:
    local = ("127.0.0.1", 0)
    with socket.create_server(local) as one, socket.create_server(local) as other:
        ports = [server.getsockname()[1] for server in (one, other)]
    theirs(
        "many = [Sending(Connection(f'zpub://127.0.0.1:{port}')) for port in ports]", ports=ports
    )
    url = f"zsub://127.0.0.1:{{{ports[0]},{ports[1]}}}"
    with df.Connection(url, timeout=30) as connection:
        assert len(connection.addresses) == 2
        seen: dict[int, int] = {}
        for _, (number, _) in connection:  # each number comes twice, once from each
            seen[int(number)] = seen.get(int(number), 0) + 1
            if list(seen.values()).count(2) > 5:
                break
        theirs("[one.stop() for one in many]")


TOPICS = """
class Both(threading.Thread):
    def run(self):
        self.over = False
        while not self.over:
            connection.send([np.zeros(2, "u1")])
            connection.send([np.zeros(2, "f4")])
            time.sleep(0.002)
        connection.close()

connection = Connection(url)
both = Both()
both.start()
"""


def test_a_topic_is_what_their_messages_begin_with(theirs: Peer, tmp_path: Path) -> None:
    place = address("tcp", tmp_path)
    theirs(TOPICS, url=f"zpub://{place}")
    with df.Connection(f"zsub://{place}#f4", timeout=30) as connection:
        names = {arrays[0].dtype.name for arrays in connection.take(20)}
    theirs("both.over = True; both.join()")
    assert names == {"float32"}


def test_infos_of_theirs(theirs: Peer, tmp_path: Path) -> None:
    place = address("tcp", tmp_path)
    with df.Connection(f"zpull://{place}", infos=True, timeout=30) as connection:
        theirs("c = Connection(url, infos=['image', 'label'])", url=f"zpush://{place}")
        theirs("c.send(message(0)); c.send(message(1))")
        for number in range(2):
            found, texts = connection.recv()
            assert (told(found), texts) == (told(message(number)), ["image", "label"])
        theirs("c.close()")
    theirs("connection = Connection(url, infos=['image', 'label'])", url=f"zpull://{place}")
    with df.Connection(f"zpush://{place}", infos=["image", "label"]) as connection:
        for number in range(3):
            connection.send(message(number))
        check(theirs(RECEIVE), all_of_them=True)


def test_raw_frames_are_those_of_theirs(theirs: Peer, tmp_path: Path) -> None:
    """A relay of two lines, between two of theirs."""
    one, other = address("ipc", tmp_path), address("tcp", tmp_path)
    theirs("connection = Connection(url)", url=f"zpull://{other}")
    with (
        df.Connection(f"zpull+ipc://{one}", raw=True, timeout=30) as source,
        df.Connection(f"zpush://{other}", raw=True) as sink,
    ):
        theirs(
            "c = Connection(url)\nfor i in range(3): c.send(message(i))", url=f"zpush+ipc://{one}"
        )
        sink.serve(source.take(3))
        check(theirs(RECEIVE), all_of_them=True)
        theirs("c.close()")
