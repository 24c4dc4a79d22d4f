"""Tensorcom's names for its format; with the package itself where it is installed."""

from __future__ import annotations

import inspect
import io
import pickle
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from optional import library

import dataflow as df
from dataflow.codec.tensorcom import DTYPES
from dataflow.tensorcom import tenbin, zcom

ARRAYS = st.lists(
    st.sampled_from([*DTYPES.values()]).flatmap(
        lambda dtype: arrays(dtype, array_shapes(max_dims=4, max_side=5))
    ),
    max_size=4,
)


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return len(one) == len(other) and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(one, other, strict=True)
    )


@given(ARRAYS)
def test_all_forms_come_back(given: list[np.ndarray]) -> None:
    assert same(tenbin.decode_list(tenbin.encode_list(given)), given)
    assert same(tenbin.decode_buffer(tenbin.encode_buffer(given)), given)
    stream = io.BytesIO()
    tenbin.write(stream, given)
    assert stream.getvalue() == tenbin.encode_buffer(given)
    stream.seek(0)
    assert same(tenbin.read(stream, 1), given[:1])
    assert same(tenbin.read(stream), given[1:])
    chunks = tenbin.decode_chunks(stream.getvalue())
    assert tenbin.encode_chunks(chunks) == stream.getvalue()
    for header, array in zip(chunks[::2], given, strict=True):
        assert tenbin.decode_header(header) == (array.shape, array.dtype, "")


@given(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=8))
def test_text_in_a_number(text: str) -> None:
    assert tenbin.unstr64(tenbin.str64(text)) == text


def test_headers_have_an_info() -> None:
    array = np.zeros((12, 19), "f4")
    assert tenbin.decode_header(tenbin.encode_header(array, "data")) == ((12, 19), "f4", "data")


def test_files(tmp_path: Path) -> None:
    array = np.arange(6, dtype="i2").reshape(2, 3)
    path = str(tmp_path / "a.ten")
    tenbin.save(path, array, array, infos=["a", "b"])
    assert same(tenbin.load(path, infos=["a", "b"]), [array, array])
    with pytest.raises(df.ConfigError, match=r"a\.bin.*nocheck=True"):
        tenbin.save(str(tmp_path / "a.bin"), array)
    tenbin.save(tmp_path / "a.bin", array, nocheck=True)
    assert same(tenbin.load(tmp_path / "a.bin", nocheck=True), [array])


def test_messages_over_a_socket() -> None:
    array = np.arange(6, dtype="f2")
    with zmq.Context() as context, context.socket(zmq.PULL) as sink:
        port = sink.bind_to_random_port("tcp://127.0.0.1")
        with zcom.zconnect(f"zpush://127.0.0.1:{port}", context) as source:
            assert source.type == zmq.PUSH
            tenbin.zsend_multipart(source, [array, array], infos=["za", "zb"])
            assert same(tenbin.zrecv_multipart(sink, infos=["za", "zb"]), [array, array])
            tenbin.zsend_single(source, [array])
            assert same(tenbin.zrecv_single(sink), [array])


@pytest.mark.parametrize(
    "data",
    [
        *(b"x" * 16, tenbin.magic_bytes, tenbin.magic_bytes + b"\xff" * 8),
        tenbin.magic_bytes + (1 << 40).to_bytes(8, "little"),
        *(bytes(tenbin.encode_buffer([np.zeros(9)]))[:-n] for n in (1, 100, 140)),
    ],
)
def test_what_is_broken_is_an_error(data: bytes) -> None:
    for read in (
        tenbin.decode_buffer,
        tenbin.decode_chunks,
        lambda data: tenbin.read(io.BytesIO(data)),
    ):
        if read is tenbin.decode_chunks and data.startswith(tenbin.magic_bytes) and len(data) == 80:
            continue  # a whole header, and no array behind it
        with pytest.raises(df.CodecError):
            read(data)


def test_what_can_be_sent() -> None:
    tenbin.check_acceptable_input_type([np.zeros(2, "f4"), np.uint8(3)], allow64=False)
    with pytest.raises(df.CodecError, match="allow64=True"):
        tenbin.check_acceptable_input_type([np.zeros(2)], allow64=False)
    tenbin.check_acceptable_input_type([np.zeros(2)], allow64=True)
    with pytest.raises(df.CodecError, match="complex"):
        tenbin.check_acceptable_input_type([np.zeros(2, complex)], allow64=True)
    with pytest.raises(df.CodecError, match="8 characters"):
        tenbin.str64("nine char")


def test_all_of_its_names() -> None:
    theirs = library("tensorcom")
    for ours, module in ((tenbin, theirs.tenbin), (zcom, theirs.zcom)):
        names = {
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", None) == module.__name__ or isinstance(value, bytes)
        }
        # SCTP needs a package that nobody has built for years; the others are of its own use.
        names -= {"sctp_send", "sctp_recv", "estimate_bytes"}
        assert {name for name in names if not hasattr(ours, name)} == set()
        for name in names:
            old, new = getattr(module, name), getattr(ours, name)
            if inspect.isfunction(old) and inspect.isfunction(new):
                wanted, given = (list(inspect.signature(one).parameters) for one in (old, new))
                if name not in ("totorch", "tonumpy") and not new.__module__.startswith(
                    "dataflow.codec"
                ):
                    assert given[: len(wanted)] == wanted, name


def test_the_bytes_are_its() -> None:
    theirs = library("tensorcom").tenbin
    rng = np.random.default_rng(0)
    given: list[Any] = [rng.random((2, 3)).astype("f4"), np.arange(5, dtype="i8")]
    assert bytes(theirs.encode_buffer(given, ["a", ""])) == tenbin.encode_buffer(given, ["a", ""])
    frames = [bytes(frame) for frame in theirs.encode_list(given)]
    assert frames == [bytes(frame) for frame in tenbin.encode_list(given)]
    assert theirs.str64("hello") == tenbin.str64("hello") and theirs.magic == tenbin.magic


def test_its_tables() -> None:
    assert tenbin.long_to_short["float32"] == "f4" and tenbin.short_to_long["u1"] == "uint8"
    assert tenbin.bytedata(b"abc") == b"abc" and isinstance(tenbin.bytedata(b"abc"), bytes)
    array = np.arange(6, dtype="u1").reshape(2, 3)
    assert tenbin.bytedata(array).tobytes() == array.tobytes() and tenbin.bytelen(array) == 6


def test_functions_on_what_comes() -> None:
    sample = [np.zeros(2), np.ones(2)]
    assert zcom.transform_with(sample, None) is sample
    first, second = zcom.transform_with(sample, [None, lambda a: a + 1])
    assert first is sample[0] and second.tolist() == [2, 2]
    assert set(zcom.converter_table) == {"torch", "torch_cuda", "numpy"}
    assert zcom.listify(None) is None and zcom.listify(3) == [3] and zcom.listify((1, 2)) == (1, 2)


def test_a_dataset_of_pytorch() -> None:
    torch = library("torch")
    port = zmq.Context.instance().socket(zmq.PULL)
    url = f"127.0.0.1:{port.bind_to_random_port('tcp://127.0.0.1')}"
    port.close()
    with df.Connection(f"zpush://{url}") as sender:
        dataset = df.tensorcom.TensorcomDataset(f"zpull://{url}", length=3)
        for number in range(3):
            sender.send([np.full(2, number, "f4")])
        assert len(dataset) == 3
        assert [float(one[0][0]) for one in torch.utils.data.DataLoader(dataset, None)] == [0, 1, 2]
        dataset.close()


def test_a_dataset_of_pytorch_in_workers(tmp_path: Path) -> None:
    """Each worker has a connection of its own, and no message comes twice."""
    torch = library("torch")
    url = f"ipc://{tmp_path}/messages"
    dataset = df.tensorcom.TensorcomDataset(f"zrpull+{url}", length=4)
    dataset = pickle.loads(pickle.dumps(dataset))
    loader = torch.utils.data.DataLoader(dataset, None, num_workers=2)
    over = threading.Event()

    def feed(sender: df.Connection) -> None:
        number = 0
        while not over.is_set():
            with suppress(df.PeerTimeout):
                sender.send([np.full(2, number, "f4")])
                number += 1

    with df.Connection(f"zrpush+{url}", timeout=0.1, linger=0) as sender:
        thread = threading.Thread(target=feed, args=(sender,))
        thread.start()
        try:
            found = [float(one[0][0]) for one in loader]
        finally:
            over.set()
            thread.join()
    assert len(found) == len(set(found)) == 8
