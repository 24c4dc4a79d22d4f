"""Shared memory: views while there is room, copies otherwise, and slots that come back."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import patient

from dataflow.codec import local
from dataflow.transport import slots
from dataflow.transport.slots import SLOT_BYTES, SlotReader, SlotWriter

pytestmark = pytest.mark.skipif(not slots.slot_bytes(4), reason="needs memfd")


@contextlib.contextmanager
def pair() -> Iterator[tuple[SlotReader, SlotWriter]]:
    reader = SlotReader(4)
    try:
        yield reader, SlotWriter(os.dup(reader.fd), 4)
    finally:
        reader.close()


def send(writer: SlotWriter, reader: SlotReader, *arrays: np.ndarray) -> list[np.ndarray]:
    written = writer.write([memoryview(array).cast("B") for array in arrays])
    assert written is not None
    with reader.open(*written) as views:
        return [
            np.frombuffer(view, a.dtype).reshape(a.shape)
            for view, a in zip(views, arrays, strict=True)
        ]


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=5))
def test_what_is_written_is_read(sizes: list[int]) -> None:
    reader = SlotReader(2)
    writer = SlotWriter(os.dup(reader.fd), 2)
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 255, size, dtype=np.uint8) for size in sizes]
    for found, array in zip(send(writer, reader, *arrays), arrays, strict=True):
        np.testing.assert_array_equal(found, array)
        assert found.ctypes.data % 64 == 0
    reader.close()


def test_a_slot_comes_back_when_its_last_array_is_gone() -> None:
    with pair() as (reader, writer):
        (view,) = send(writer, reader, np.arange(1000))
        part = view[10:20]
        assert view.flags.writeable, "the consumer's own"
        del view
        gc.collect()
        assert reader.take_freed() == []
        np.testing.assert_array_equal(part, np.arange(10, 20))
        del part
        gc.collect()
        assert len(reader.take_freed()) == 1


def test_who_keeps_everything_gets_copies() -> None:
    with pair() as (reader, writer):
        kept = []
        for number in range(20):
            kept += send(writer, reader, np.full(1000, number))
            writer.give_back(reader.take_freed())
        assert [array[0] for array in kept] == list(range(20))
        assert all((array == array[0]).all() for array in kept)


def test_the_writer_waits_for_a_slot() -> None:
    with pair() as (_, writer):
        held = [writer.write([memoryview(b"x" * 100)]) for _ in range(4)]
        done = threading.Event()

        def write() -> None:
            writer.write([memoryview(b"y" * 100)])
            done.set()

        thread = threading.Thread(target=write)
        thread.start()
        assert not done.wait(0.05)
        writer.give_back([held[0][0]])
        assert done.wait(patient(5))
        thread.join()


def test_too_large_for_a_slot_goes_another_way() -> None:
    with pair() as (_, writer):
        assert writer.write([memoryview(np.empty(SLOT_BYTES + 1, np.uint8))]) is None


def test_arrays_outlive_the_reader() -> None:
    reader = SlotReader(2)
    writer = SlotWriter(os.dup(reader.fd), 2)
    (view,) = send(writer, reader, np.arange(100))
    reader.close()
    del reader, writer
    gc.collect()
    np.testing.assert_array_equal(view, np.arange(100))


def test_arrays_built_in_a_slot_are_written_once() -> None:
    with pair() as (reader, writer):
        block = writer.block()
        images = block.empty((4, 100, 3), np.uint8)
        labels = block.empty((4,), np.int64)
        images[:] = np.arange(1200).reshape(4, 100, 3) % 251
        labels[:] = range(4)
        other = np.full(700, 3.5)
        expected = [array.copy() for array in (images, labels, other)]
        arrays = [labels, other, images]
        written = writer.write([memoryview(a).cast("B") for a in arrays], block)
        assert written is not None and written[0] == block.slot
        assert [offset for offset, _ in written[1]] == [1216, 1280, 0]
        images[:] = 7  # the consumer reads where they were built
        with reader.open(*written) as views:
            labels_, other_, images_ = (
                np.frombuffer(view, a.dtype).reshape(a.shape)
                for view, a in zip(views, arrays, strict=True)
            )
        np.testing.assert_array_equal(labels_, expected[1])
        np.testing.assert_array_equal(other_, expected[2])
        assert (images_ == 7).all()


def test_arrays_that_are_laid_in_a_slot_are_one_buffer() -> None:
    """The reader's are views, where slots are short copies; in either case they can be written."""
    with pair() as (reader, writer):
        kept = []
        for number in range(6):
            block = writer.block()
            image, mask = block.empty((40, 100), np.uint8), block.empty((10, 60), np.float32)
            image[...], mask[...] = number, number / 8
            message = [[image, number], [image, mask], mask[2:5], np.arange(500)]
            structure, buffers = local.encode(message, block)
            assert len(buffers) == 2, "what is laid, and what is not"
            written = writer.write(buffers, block)
            assert written is not None and written[0] == block.slot
            assert block.laid_bytes
            with reader.open(*written, block.laid_bytes) as given:
                found = local.decode(structure, given)
            for one, other in zip(_arrays(found), _arrays(message), strict=True):
                np.testing.assert_array_equal(one, other)
                assert one.flags.writeable and one.dtype == other.dtype
                assert np.shares_memory(one, writer._memory) is False  # another mapping of it
            assert found[0][0] is found[1][0], "one array is one array"
            image[...] = 99
            is_view = bool((found[0][0] == 99).all())
            assert is_view == (number < 3), "the last free slot is not lent"
            kept.append(found)
            writer.give_back(reader.take_freed())
        before = kept[4][0][0].copy()
        kept[5][0][0][...] = 1
        np.testing.assert_array_equal(kept[4][0][0], before)


def test_arrays_beside_objects_of_a_script_are_buffers_of_their_own() -> None:
    """A slower pickler sends these; where slots are short, what is read is a copy all the same."""
    thing = type("Thing", (), {"__module__": "__main__"})
    with pair() as (reader, writer):
        kept = []
        for number in range(5):
            block = writer.block()
            array = block.empty((64, 100), np.uint8)  # all that is laid
            array[...] = number
            structure, buffers = local.encode([array, thing], block)
            written = writer.write(buffers, block)
            assert written is not None and not block.laid_bytes
            with reader.open(*written, block.laid_bytes) as given:
                kept.append(local.decode(structure, given)[0])
            array[...] = 99 if number > 2 else number  # the last free slot is not lent
            writer.give_back(reader.take_freed())
        assert [int(one[0, 0]) for one in kept] == [0, 1, 2, 3, 4]
        assert all(one.flags.writeable for one in kept)


def _arrays(message: list[Any]) -> list[np.ndarray]:
    return [message[0][0], *message[1], *message[2:]]


def test_what_has_no_room_in_a_slot_is_made_elsewhere() -> None:
    with pair() as (_, writer):
        block = writer.block()
        inside = block.empty((10,), np.uint8)
        assert np.may_share_memory(inside, writer._memory)
        for shape, dtype in (((SLOT_BYTES,), np.uint8), ((3,), object), ((0, 5), np.float32)):
            assert not np.may_share_memory(block.empty(shape, dtype), writer._memory)
        # Together they are too much for the block: all goes to a new slot, or none.
        large = np.zeros(SLOT_BYTES - 10, np.uint8)
        buffers = [memoryview(array).cast("B") for array in (inside, large)]
        assert writer.write(buffers, block) is None
        assert len({writer.block().slot for _ in range(3)} | {block.slot}) == 4, "it is kept"


@pytest.fixture
def looks_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """For unused memory, and not by itself, where the test takes longer than it waits."""
    monkeypatch.setattr(slots, "_IDLE_SECONDS", math.inf)


def test_memory_that_has_no_use_is_given_back(looks_when_asked: None) -> None:
    with pair() as (reader, writer):
        kept = [send(writer, reader, np.ones(8 << 20, np.uint8)) for _ in range(3)]
        assert reader.resident() >= 24 << 20
        kept.clear()
        gc.collect()
        writer.give_back(reader.take_freed())
        assert writer.trim(), "they had use since the last look"
        (view,) = send(writer, reader, np.ones(3, np.uint8))
        assert not writer.trim() and view.tolist() == [1, 1, 1]
        assert reader.resident() <= (8 << 20) + (1 << 20), "all but the slot that is lent"


def test_what_one_large_message_took_is_not_kept_for_small_ones(looks_when_asked: None) -> None:
    with pair() as (reader, writer):
        for size in (8 << 20, 4096, 4096):
            (view,) = send(writer, reader, np.full(size, 7, np.uint8))
            assert view.min() == 7
            del view
            gc.collect()
            writer.give_back(reader.take_freed())
            writer.trim()
        assert reader.resident() <= 64 << 10


def test_slots_are_smaller_in_a_limited_address_space() -> None:
    script = (
        "import resource, sys; from dataflow.transport.slots import slot_bytes;"
        "which, limit = getattr(resource, sys.argv[1]), int(sys.argv[2]);"
        "resource.setrlimit(which, (limit, limit)); print(slot_bytes(16))"
    )

    def size(*words: object) -> int:
        command = [sys.executable, "-c", script, *map(str, words)]
        return int(subprocess.run(command, capture_output=True, check=True).stdout)

    assert size("RLIMIT_AS", 64 << 30) == SLOT_BYTES
    assert size("RLIMIT_AS", 8 << 30) == 32 << 20
    assert size("RLIMIT_FSIZE", 64 << 20) == 4 << 20
    assert size("RLIMIT_FSIZE", 1 << 20) == 0
