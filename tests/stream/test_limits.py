"""Where something ends: the range of an image, an owner's memory, a graph's size, a sample."""

from __future__ import annotations

import gc
import operator
import pickle
import sys
import weakref
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

import dataflow as df
from dataflow import stream as st

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}
DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "bool")


def value(node: Any) -> Any:
    return st.Stream(node)[0][0]


def exact(function: Callable[[Any, Any], Any], x: Any, y: Any, dtype: Any) -> list[int]:
    """Calculated with fractions, rounded (halves to even) and clipped."""
    ends, shape = np.iinfo(dtype), np.broadcast_shapes(np.shape(x), np.shape(y))
    numbers = (np.broadcast_to(one, shape).ravel().tolist() for one in (x, y))
    found = (round(function(Fraction(a), Fraction(b))) for a, b in zip(*numbers, strict=True))
    return [min(max(one, int(ends.min)), int(ends.max)) for one in found]


@some.composite
def images(draw: some.DrawFn) -> Any:
    dtype = np.dtype(draw(some.sampled_from(DTYPES)))
    if dtype.kind == "b":
        pixel: Any = some.booleans()
    else:
        ends = np.iinfo(dtype)
        pixel = some.integers(int(ends.min), int(ends.max))
    return np.array(draw(some.lists(pixel, min_size=4, max_size=4)), dtype).reshape(2, 2)


numbers = some.one_of(
    some.integers(-(10**12), 10**12),
    some.integers(-300, 300),
    some.integers(-1200, 1200).map(lambda quarters: quarters / 4),  # OpenCV's floats have them
)


@given(some.sampled_from(sorted(OPERATORS)), images(), some.one_of(numbers, images()), some.data())
def test_images_are_clipped(sign: str, image: Any, other: Any, data: some.DataObject) -> None:
    """On either side a number, or an image of any dtype: as if calculated without an end."""
    swapped = data.draw(some.booleans())
    x, y = (other, image) if swapped else (image, other)
    wanted = next(
        (one.dtype for one in (x, y) if isinstance(one, np.ndarray) and one.dtype != bool), "uint8"
    )
    nodes = [st.image(one) if isinstance(one, np.ndarray) else one for one in (x, y)]
    node = OPERATORS[sign](*nodes)
    found = value(node)
    assert found.dtype == wanted == node.type.depth
    assert found.ravel().tolist() == exact(OPERATORS[sign], x, y, wanted)


@given(images())
def test_signs_are_clipped(image: Any) -> None:
    dtype = image.dtype if image.dtype != bool else np.dtype("uint8")
    below = value(-st.image(image))
    assert below.dtype == dtype
    assert below.ravel().tolist() == exact(operator.sub, 0, image, dtype)
    above = value(abs(st.image(image)))
    assert above.astype(int).ravel().tolist() == [
        min(abs(int(one)), 1 if image.dtype == bool else np.iinfo(dtype).max)
        for one in image.ravel().tolist()
    ]


@given(
    some.sampled_from(sorted(OPERATORS)),
    *[some.lists(some.integers(-128, 127), min_size=3, max_size=3)] * 2,
)
def test_small_arrays_with_signs_are_clipped(sign: str, one: list[int], other: list[int]) -> None:
    x, y = np.array(one, np.int8), np.array(other, np.int8)
    found = value(OPERATORS[sign](st.constant(x), st.constant(y)))
    assert found.dtype == np.int8
    assert found.tolist() == exact(OPERATORS[sign], x, y, "int8")
    odd = value(st.constant(np.array([255], np.uint8)) + np.array([True]))
    assert odd.dtype == np.uint8 and odd.tolist() == [255]


# -- whose memory it is ----------------------------------------------------------------------------


def test_what_is_given_and_what_is_in_tuples_is_copied() -> None:
    array, image = np.arange(3), np.zeros((2, 2, 3), np.uint8)
    s = st.Stream([st.constant([(array, 1)]), st.input("image", image)])
    given_one = s.given(image=image)
    array[:] = image[:] = 9
    for _ in range(2):
        ((numbers, _),), black = given_one[0]
        assert numbers.tolist() == [0, 1, 2] and not black.any()
        numbers[:] = black[:] = 7  # the receiver's own


def test_what_nobody_can_write_into_is_not_copied(tmp_path: Any) -> None:
    frozen = np.arange(3)
    view = frozen[:2]
    view.flags.writeable = False
    assert not np.shares_memory(st.constant(view).value, frozen)
    frozen.flags.writeable = False
    assert np.shares_memory(st.constant(frozen).value, frozen)
    np.save(tmp_path / "a.npy", frozen)
    for mode, shared in (("r", True), ("r+", False)):
        pages = np.load(tmp_path / "a.npy", mmap_mode=mode)
        assert np.shares_memory(st.constant(pages).value, pages) is shared


# -- errors ----------------------------------------------------------------------------------------


class Own(Exception):
    """One that puts its text together."""

    def __init__(self, code: int, *, note: str = "") -> None:
        super().__init__(code)
        self.note = note

    def __str__(self) -> str:
        return f"code {self.args[0]}{self.note}"


class Odd(Exception):
    def __str__(self) -> str:
        raise ValueError


RAISED: list[Exception] = [
    *(ValueError("bad"), AssertionError(), KeyError("key"), OSError(2, "gone", "a.png")),
    *(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), Own(7, note="!"), Odd(), ImportError("x")),
    *(df.FetchError("lost", reason="timeout", url="u"), ZeroDivisionError(1, 2)),
]


@st.op(number=st.INT, gives=st.INT, foldable=False)
def failing(number: int) -> int:
    raise RAISED[number] from RuntimeError("cause")


@pytest.mark.parametrize("number", range(len(RAISED)))
def test_messages_have_the_line(number: int) -> None:
    """Whatever class it is; caught as before, with its parts, also on the other side."""
    raised = RAISED[number]
    parts, kind = raised.args, type(raised)
    line = sys._getframe().f_lineno + 1
    s = st.Stream(st.conditional(st.boolean(), failing(number), failing(number)))
    for _ in range(2):
        with pytest.raises(kind) as caught:
            s[0]
        error = caught.value
        place = f"in failing, test_limits.py:{line}"
        assert str(error).count(place) == 1 and type(error).__name__ == kind.__name__
        assert str(error.__cause__) == "cause"
        assert error.args[1:] == parts[1:] and vars(error).items() >= vars(raised).items()
    if isinstance(error, OSError):
        assert (error.errno, error.filename) == (2, "a.png")
    if kind is not Own:  # which cannot be pickled anyhow
        again = pickle.loads(pickle.dumps(error))
        assert type(again).__name__ == kind.__name__ and isinstance(again, kind)
        assert str(again) == str(error)


def test_lines_of_branches_have_their_own_name() -> None:
    number = st.input("number", 2)
    branches = [failing(number + 1), st.integer(0, 3)]
    s = st.Stream(st.select(st.index(), *branches))
    with pytest.raises(OSError, match=r"in failing, test_limits\.py"):
        s[0]


@pytest.mark.parametrize("number", [0, 1])
def test_errors_keep_nothing_alive(number: int) -> None:
    """What the frames have goes with the error, without waiting for the collector."""

    class Large:
        pass

    def failed(load: Callable[[Any], Any]) -> weakref.ref[Large]:
        large = Large()
        try:  # `pytest.raises` keeps the frame itself, and so does `s[0]` of any dataflow
            load((0, 0))
        except (KeyError, ValueError) as error:
            assert "in lookup, test_limits.py:" in str(error)
        return weakref.ref(large)

    s = st.Stream(_lookup(number + 0 * st.index()))
    gc.collect()
    gc.disable()
    try:
        assert failed(s.loader())() is None
    finally:
        gc.enable()


@st.op("lookup", number=st.INT, gives=st.INT)
def _lookup(number: int) -> int:
    raise (KeyError if number else ValueError)(number if number else "bad")


# -- size ------------------------------------------------------------------------------------------


def plain(steps: int) -> Any:
    x = st.uniform()
    for _ in range(steps):
        x = x + 1
    return x


def choosing(steps: int) -> Any:
    x = st.uniform()
    for number in range(steps):
        x = st.conditional(x > number, x, x + 1)
    return x


def on_images(steps: int) -> Any:
    x: Any = st.noise(np.zeros((4, 5, 3), np.uint8), 0.1)
    for _ in range(steps):
        x = st.toggle(x, st.invert(x))
    return x


def apart(steps: int) -> Any:
    x = st.uniform()
    for number in range(steps):
        x = x + st.toggle(number, st.uniform())
    return x


@pytest.mark.parametrize("build", [plain, choosing, on_images, apart])
def test_building_takes_calls_in_proportion(build: Callable[[int], Any]) -> None:
    """Eight times as many steps; quadratic, it would be 64 times as many calls."""

    def calls(steps: int) -> int:
        count = 0

        def called(*about: Any) -> None:
            nonlocal count
            count += 1

        node = build(steps)
        before = sys.getprofile()
        sys.setprofile(called)
        try:
            s = st.Stream(node)
        finally:
            sys.setprofile(before)
        s[0]
        return count

    assert calls(2000) < 10 * calls(250)


def test_long_chains_are_compiled_whole(caplog: pytest.LogCaptureFixture) -> None:
    s = st.Stream(plain(25_000))
    assert not caplog.records
    assert int(s[0][0]) == 25_000
    assert pickle.loads(pickle.dumps(s))[3] == s[3]


def test_choices_of_many_branches() -> None:
    """Python nests each `elif` in the one before, and takes a thousand of them."""
    branches = [st.uniform() + number for number in range(3000)]
    for optimize in (True, False):
        s = st.Stream(st.select(st.index() - 1, *branches), optimize=optimize)
        places = (0, 1, 2, 16, 17, 1500, 1501, 2999, 3000, 3001, 9999)
        assert [int(s[place][0]) for place in places] == [
            min(max(place - 1, 0), 2999) for place in places
        ]
