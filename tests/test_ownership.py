"""What is kept is ours alone: nothing that somebody else can write into, and no copy too many."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.ownership import ExclusiveMemory, copied, own

Pair = namedtuple("Pair", "first second")


@dataclass
class Sample:
    image: Any
    label: int = 3


class Slotted:
    __slots__ = ("image",)

    def __init__(self, image: Any) -> None:
        self.image = image


def arrays_in(value: Any) -> Iterator[np.ndarray]:
    match value:
        case np.ndarray():
            yield value
        case dict():
            for part in value.values():
                yield from arrays_in(part)
        case list() | tuple():
            for part in value:
                yield from arrays_in(part)
        case Sample() | Slotted():
            yield from arrays_in(value.image)


leaves: list[Callable[[np.ndarray], Any]] = [
    lambda a: a,
    lambda a: a[1:],
    lambda a: a.reshape(2, 3).T,
    lambda a: 7,
    lambda a: "text",
    lambda a: np.float32(2),
    lambda a: None,
]
wraps: list[Callable[[Any], Any]] = [
    lambda x: [x],
    lambda x: [1, x],
    lambda x: (x, "a"),
    lambda x: {"key": x},
    lambda x: Pair(x, 1),
    lambda x: OrderedDict(key=x),
    Sample,
    Slotted,
]
shapes = st.tuples(st.sampled_from(leaves), st.lists(st.sampled_from(wraps), max_size=4))


def built(shape: Any, array: np.ndarray) -> Any:
    leaf, around = shape
    value = leaf(array)
    for wrap in around:
        value = wrap(value)
    return value


@given(shapes)
def test_what_nobody_else_holds_is_kept_as_it_is(shape: Any) -> None:
    # A local variable and nothing else, as `own` asks for.
    fresh = built(shape, np.arange(6.0))
    before = id(fresh)
    kept = own(fresh)
    assert id(kept) == before


@given(shapes, st.integers(0, 4))
def test_what_somebody_holds_is_copied(shape: Any, depth: int) -> None:
    """The array, or what it lies in at any depth, is held by somebody."""
    buffer = np.arange(6.0)
    leaf, around = shape
    held = [leaf(buffer)]
    for wrap in around[:depth]:
        held.append(wrap(held[-1]))
    fresh = held[-1]
    for wrap in around[depth:]:
        fresh = wrap(fresh)
    expected = copy.deepcopy(fresh)
    kept = own(fresh)
    buffer[:] = -1
    assert all(not np.shares_memory(array, buffer) for array in arrays_in(kept))
    assert equal(kept, expected) and type(kept) is type(expected)


@given(shapes)
def test_a_copy_shares_nothing(shape: Any) -> None:
    buffer = np.arange(6.0)
    value = built(shape, buffer)
    expected = copy.deepcopy(value)
    made = copied(value)
    buffer[:] = -1
    assert equal(made, expected) and type(made) is type(expected)


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (Sample, Slotted)):
        return equal(one.image, other.image)
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray) else bool(one == other)


def test_the_list_itself_may_be_refilled() -> None:
    out = [0, "a"]
    theirs = [out]
    kept = own(out)
    assert theirs
    out[0] = 1
    assert kept == [0, "a"]


@pytest.mark.parametrize(
    "view",
    [
        lambda raw: np.frombuffer(raw, np.uint8),
        lambda raw: np.frombuffer(memoryview(raw)[2:], np.uint8),
        lambda raw: np.ndarray((2, 2), np.uint8, raw),
    ],
)
def test_memory_that_is_no_arrays(view: Callable[[bytearray], np.ndarray]) -> None:
    raw = bytearray(b"0123456789")
    kept = own([view(raw)])
    expected = kept[0].tolist()
    raw[:] = b"x" * 10
    assert kept[0].tolist() == expected
    fresh = view(bytearray(b"0123456789"))
    kept = own(fresh)
    assert kept is fresh, "nobody else has it"


def test_parts_of_a_message_are_each_ours() -> None:
    class Message(ExclusiveMemory, bytearray):
        pass

    memory = Message(64)
    parts = [np.frombuffer(memoryview(memory)[i : i + 32], np.uint8) for i in (0, 32)]
    one = parts.pop()
    kept = own(one)
    assert kept is one


class AttrDict(dict):  # type: ignore[type-arg]
    """As many programs have it: `copy` gets a KeyError for `__deepcopy__`."""

    __getattr__ = dict.__getitem__


@pytest.mark.parametrize("record", [False, True])
def test_rows_of_structured_arrays_are_views(record: bool) -> None:
    rows = np.zeros(2, [("n", "i4")]).view(np.recarray if record else np.ndarray)
    datapoint = [rows[0], 1]
    kept, copy = own(datapoint), copied([rows[1]])
    rows["n"] = 7
    assert kept[0]["n"] == copy[0]["n"] == 0 and type(kept[0]) is type(rows[0])
    copy[0]["n"] = 5
    assert rows[1]["n"] == 7


@pytest.mark.parametrize("shape", [(6,), (2, 3), (0, 3)])
@pytest.mark.parametrize("dtype", ["u1", "i4", ">i4", "f8", "?"])
def test_views_of_memory(shape: tuple[int, ...], dtype: str) -> None:
    array = np.ones(shape, dtype)
    for view in (memoryview(array), memoryview(array).toreadonly()):
        datapoint = [view]
        for made in (own(datapoint)[0], copied([view])[0]):
            assert made.shape == shape and made.readonly == view.readonly
            assert np.asarray(made).dtype == dtype
            array[...] = 0
            assert np.asarray(made).all()
            array[...] = 1
    assert copied([memoryview(b"abc")])[0] == b"abc"


def test_dicts_whose_keys_are_attributes(caplog: pytest.LogCaptureFixture) -> None:
    held = AttrDict(x=np.zeros(3))
    copy = copied([held])[0]
    held.x[:] = 1
    assert type(copy) is AttrDict and not copy.x.any() and not caplog.text


def test_what_nothing_can_copy_is_told_once_a_class(caplog: pytest.LogCaptureFixture) -> None:
    class Locked:
        def __init__(self) -> None:
            self.lock = threading.Lock()

    shared = [Locked(), Locked()]
    assert copied(shared) == shared
    assert caplog.text.count("Locked in a datapoint cannot be copied (") == 1


def test_what_holds_itself() -> None:
    own_tail: list[Any] = [1]
    own_tail.append(own_tail)
    for made in (copied([own_tail])[0], own([own_tail])[0]):
        assert made[0] == 1 and made[1] is made and made is not own_tail


def test_what_cannot_be_copied_stays(tmp_path: Any) -> None:
    with open(tmp_path / "file", "w") as file:
        held = [file, 1]
        assert own(held) == [file, 1] and copied(held) == [file, 1]


def test_objects_of_numpy_are_looked_into() -> None:
    inner: list[int] = []
    array = np.empty(1, object)
    array[0] = inner
    kept = own([array])
    inner.append(1)
    assert kept[0][0] == []


def test_arrays_that_are_frozen_are_shared() -> None:
    array = np.arange(3)
    array.flags.writeable = False
    assert own([array])[0] is copied([array])[0] is array
    part = array[1:]
    assert copied([part])[0] is part
    buffer = np.arange(3)
    frozen = buffer.view()
    frozen.flags.writeable = False
    assert not np.shares_memory(copied([frozen])[0], buffer), "the other one can be written to"


def test_arrays_get_room_where_it_is_made() -> None:
    made = []

    def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        made.append(np.empty(shape, dtype))
        return made[-1]

    turned = np.asfortranarray(np.arange(6000.0).reshape(60, 100))
    image, small, text, flipped = copied([np.ones((60, 60)), np.ones(3), "a", turned], empty)
    assert image is made[0] and small.sum() == 3 and text == "a"
    assert flipped.base is made[1] and flipped.flags.f_contiguous
    assert np.array_equal(flipped, turned)


def test_tensors() -> None:
    torch = pytest.importorskip("torch", reason="pip install '.[test-frameworks]'")
    fresh = torch.zeros(3)
    kept = own(fresh)
    assert kept is fresh
    buffer, array = torch.zeros(4), np.zeros(4, np.float32)
    for view in (
        lambda: buffer,
        lambda: buffer[1:],
        lambda: buffer.detach(),
        lambda: buffer.numpy(),
        lambda: torch.from_numpy(array),
    ):
        kept = own([view()])
        buffer[:], array[:] = 7, 7
        assert not np.asarray(kept[0]).any()
        buffer[:], array[:] = 0, 0


def test_what_is_in_it_twice_stays_one() -> None:
    array, inner = np.zeros(3), [1]
    given = [array, Sample(array), {"again": array, "list": inner}, inner]
    for made in (copied(given), copied(given, np.empty), own([array, Sample(array), {}, inner])):
        made[0][:] = 5
        assert made[1].image.tolist() == [5, 5, 5]
    made = copied(given)
    assert made[2]["again"] is made[0] and made[2]["list"] is made[3] is not inner
    assert not array.any()
