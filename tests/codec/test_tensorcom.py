"""Tensorcom's arrays: what goes in comes out, and hostile bytes raise `CodecError` only."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from optional import library

import dataflow as df
from dataflow.codec import tensorcom
from dataflow.codec.tenbin import DTYPES, decode, decode_frames, encode, encode_frames

dtypes = st.sampled_from(sorted(DTYPES)).map(np.dtype)
shapes = hnp.array_shapes(min_dims=0, max_dims=tensorcom.MAX_RANK, min_side=0, max_side=3)
arrays = hnp.arrays(dtypes, shapes)
infos = st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=8)


def same(one: Any, other: Any) -> bool:
    return len(one) == len(other) and all(
        type(b) is np.ndarray
        and a.dtype == b.dtype
        and a.shape == b.shape
        and a.tobytes() == b.tobytes()
        for a, b in zip(one, other, strict=True)
    )


@settings(max_examples=100)
@given(st.lists(st.tuples(arrays, infos), max_size=4))
def test_what_goes_in_comes_out(pairs: list[tuple[np.ndarray, str]]) -> None:
    given, texts = [array for array, _ in pairs], [text for _, text in pairs]
    block = encode(given, texts)
    assert len(block) % 16 == 0
    found, told = decode(block, infos=True)
    assert same(given, found) and told == texts
    assert all(array.flags.writeable and array.flags.aligned for array in found)
    found, told = decode_frames(encode_frames(given, texts), infos=True)
    assert same(given, found) and told == texts
    assert same(given, decode(encode(given)))


def test_blocks_are_views_where_they_can_be() -> None:
    given = [np.arange(6, dtype="f4").reshape(2, 3), np.arange(9, dtype="i8")]
    block = encode(given)
    found = decode(block)
    found[0][0, 0] = 7
    assert decode(block)[0][0, 0] == 7
    assert not decode(bytes(block))[0].flags.writeable
    shifted = memoryview(bytearray(b"x") + block)[1:]
    (one, other) = decode(shifted)
    assert one.flags.aligned and other.flags.aligned
    assert same([other], given[1:])


def test_arrays_of_other_layouts() -> None:
    base = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    odd = [base[:, ::2], base.T, np.asfortranarray(base), base.astype(">f4"), base[1, 1, 1]]
    for one, other in zip(odd, decode(encode(odd)), strict=True):
        np.testing.assert_array_equal(one, other)
        assert other.dtype == np.float32


def test_numbers() -> None:
    found = decode(encode([3, 2.5, np.float16(1), np.longlong(4)]))
    assert [(a.dtype.name, a.shape) for a in found] == [
        ("int32", ()),
        ("float32", ()),
        ("float16", ()),
        ("int64", ()),
    ]


def test_tensors() -> None:
    torch = library("torch")
    (found,) = decode(encode([torch.arange(6, dtype=torch.int32).reshape(2, 3).T]))
    assert found.tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([np.zeros(2), np.zeros(2, bool)], "component 1: dtype bool .*send it as uint8"),
        ([np.array([object()])], "dtype object is none of f2, f4, f8, i1"),
        ([np.zeros(2, "M8[s]")], "dtype datetime64"),
        ([np.zeros(2, "i4,f4")], "is none of"),
        ([np.zeros(2, np.longdouble)], "is none of"),
        ([np.zeros(2, "c8")], "complex64"),
        ([np.ma.masked_array([1, 2], [True, False])], "masked array"),
        ([np.zeros((1,) * 10)], "10 dimensions, more than 9"),
        ([True], "a bool cannot be sent"),
        (["text"], "component 0: a str cannot be sent"),
        ([[1, 2]], "a list cannot be sent"),
        ([None], "a NoneType"),
        ([1 << 31], "needs more than 32 bits"),
        ({"a": np.zeros(2)}, "a dict cannot be sent"),
        (np.zeros(2), "a ndarray cannot be sent, a list of arrays can"),
    ],
)
def test_what_has_no_form_is_refused(value: Any, text: str) -> None:
    with pytest.raises(df.CodecError, match=text) as caught:
        encode(value)
    assert caught.value.reason == "unsupported"
    assert isinstance(caught.value, ValueError)


def test_infos() -> None:
    two = [np.zeros(2), np.zeros(3)]
    block = encode(two, ["image", "12345678"])
    assert decode(block, infos=True)[1] == ["image", "12345678"]
    assert len(decode(block, infos=["image", "12345678"])) == 2
    assert len(decode(block, infos=["image"])) == 2, "as in tensorcom, the first ones"
    for wrong in (["label"], ["image", "12345678", ""]):
        with pytest.raises(df.CodecError, match="are wanted") as caught:
            decode(block, infos=wrong)
        assert caught.value.reason == "infos"
    for bad in (["one"], ["", "123456789"], ["", "é"], ["", "a\0"]):
        with pytest.raises(df.CodecError) as caught:
            encode(two, bad)
        assert caught.value.reason == "infos"


def head(*words: Any, name: bytes = b"f4", info: bytes = b"") -> bytes:
    return struct.pack(f"<8s8s{len(words)}q", name, info, *words)


def chunk(content: bytes, length: int | None = None, magic: bytes = b"~TenBin~") -> bytes:
    size = len(content) if length is None else length
    return struct.pack("<8sq", magic, size) + content + bytes(-len(content) % 64)


GOOD = chunk(head(1, 2)) + chunk(bytes(8))
HUGE = (1 << 63) - 1


@pytest.mark.parametrize(
    ("reason", "block"),
    [
        ("foreign", b"\x80\x05."),
        ("foreign", bytes(64)),
        ("foreign", chunk(head(1, 2), magic=b"~TenBin!")),
        ("corrupt", GOOD + bytes(16)),
        ("truncated", b"~Ten"),
        ("truncated", GOOD[:-1]),
        ("truncated", GOOD[:80]),
        ("truncated", GOOD[:90]),
        ("truncated", GOOD + GOOD[:80]),
        ("truncated", chunk(head(1, 2)) + chunk(bytes(8), HUGE)),
        ("truncated", chunk(head(1, 2), HUGE)),
        ("corrupt", chunk(head(1, 2), -1)),
        ("corrupt", chunk(head(1, 2)) + chunk(bytes(8), -1)),
        ("corrupt", chunk(head(1, 2)) + chunk(bytes(8), -HUGE - 1)),
        ("corrupt", chunk(b"") + GOOD),
        ("corrupt", chunk(head(0)[:-1]) + chunk(bytes(4))),
        ("corrupt", chunk(head(10, *[1] * 10)) + chunk(bytes(4))),
        ("corrupt", chunk(head(2, 2)) + chunk(bytes(8))),
        ("corrupt", chunk(head(0, 2)) + chunk(bytes(8))),
        ("corrupt", chunk(head(-1)) + chunk(bytes(8))),
        ("corrupt", chunk(head(HUGE)) + chunk(bytes(8))),
        ("corrupt", chunk(head(1, -2)) + chunk(bytes(8))),
        ("corrupt", chunk(head(1, 3)) + chunk(bytes(8))),
        ("corrupt", chunk(head(1, 1)) + chunk(bytes(8))),
        ("corrupt", chunk(head(2, HUGE, HUGE)) + chunk(b"")),
        ("corrupt", chunk(head(3, 0, HUGE, HUGE)) + chunk(b"")),
        ("corrupt", chunk(head(2, 1 << 32, 1 << 32)) + chunk(b"")),  # 0 in 64 bits
        ("corrupt", chunk(head(1, 2, info=b"\xff")) + chunk(bytes(8))),
        ("unsupported", chunk(head(1, 2, name=b"O")) + chunk(bytes(16))),
        ("unsupported", chunk(head(1, 2, name=b"unit32")) + chunk(bytes(8))),
        ("unsupported", chunk(head(1, 2, name=b"f4\0x")) + chunk(bytes(8))),
        ("unsupported", chunk(head(1, 2, name=b"")) + chunk(bytes(8))),
    ],
)
def test_malformed_blocks(reason: str, block: bytes) -> None:
    with pytest.raises(df.CodecError) as caught:
        decode(block)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("reason", "frames"),
    [
        ("truncated", [head(1, 2)]),
        ("truncated", [head(1, 2), bytes(8), head(1, 2)]),
        ("corrupt", [b"", b""]),
        ("corrupt", [b"x", b""]),
        ("corrupt", [head(1, 2), bytes(7)]),
        ("corrupt", [head(1, 2), bytes(9)]),
        ("corrupt", [head(1, 2, 0), bytes(8)]),
        ("corrupt", [head(1, HUGE), bytes(8)]),
        ("unsupported", [head(1, 2, name=b"~TenBin~"), bytes(8)]),
    ],
)
def test_malformed_frames(reason: str, frames: list[bytes]) -> None:
    with pytest.raises(df.CodecError) as caught:
        decode_frames(frames)
    assert caught.value.reason == reason


def swallowed(block: bytes) -> None:
    """Whatever the bytes are: arrays, or `CodecError`."""
    try:
        found = decode(block)
    except df.CodecError as error:
        assert error.reason and str(error)
        return
    repr(found)
    assert same(found, decode(encode(found)))


@settings(max_examples=150)
@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    swallowed(data)
    swallowed(chunk(data) + chunk(data))
    for frames in ([data, data], [head(1, 2), data], [data, bytes(8)]):
        try:
            repr(decode_frames(frames))
        except df.CodecError:
            continue


@settings(max_examples=150)
@given(st.lists(arrays, min_size=1, max_size=3), st.data())
def test_mutated_bytes(given: list[np.ndarray], draw: st.DataObject) -> None:
    block = encode(given)
    for _ in range(draw.draw(st.integers(1, 3))):
        place = draw.draw(st.integers(0, max(0, min(len(block) - 1, 200))))
        match draw.draw(st.integers(0, 3)):
            case 0:
                block[place : place + 1] = draw.draw(st.binary(min_size=1, max_size=1))
            case 1:
                del block[place:]
            case 2:
                block[place:place] = draw.draw(st.binary(max_size=8))
            case _:  # a word
                word = draw.draw(st.integers(-(1 << 63), HUGE))
                block[place // 8 * 8 : place // 8 * 8 + 8] = struct.pack("<q", word)
    swallowed(bytes(block))
