"""Bytes that are clipped, constants that stay, errors that say where, long chains."""

from __future__ import annotations

import operator
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st_

import dataflow as df
from dataflow import stream as st

OPERATORS = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "pow": operator.pow,
}


def value(build: Any) -> Any:
    """What a stream of one node gives."""
    return st.stream(build)().seed(1)[0][0]


@given(
    st_.sampled_from(sorted(OPERATORS)),
    st_.sampled_from([np.uint8, np.uint16]),
    st_.lists(st_.integers(0, 255), min_size=1, max_size=5),
    st_.integers(0, 300),
    st_.sampled_from(["number", "array", "reversed"]),
)
def test_bytes_are_clipped(
    name: str, dtype: Any, numbers: list[int], other: int, kind: str
) -> None:
    """As if calculated exactly, and then clipped; images and other arrays alike."""
    function, most = OPERATORS[name], int(np.iinfo(dtype).max)
    if name == "pow":
        other %= 7
    array = np.array(numbers, dtype)
    if kind == "array":
        second: Any = np.full(len(numbers), min(other, most), dtype)
        exact = [function(n, min(other, most)) for n in numbers]
    else:
        second = other
        exact = [function(other, n) if kind == "reversed" else function(n, other) for n in numbers]
    wanted = [min(max(n, 0), most) for n in exact]
    for shape in ((len(numbers),), (1, len(numbers), 1)):
        one = array.reshape(shape)
        two = second.reshape(shape) if isinstance(second, np.ndarray) else second

        def build(one: Any = one, two: Any = two) -> Any:
            first = st.constant(one)
            return function(two, first) if kind == "reversed" else function(first, two)

        found = value(build)
        assert found.dtype == dtype
        assert found.ravel().tolist() == wanted


def test_other_types_are_numpy_s() -> None:
    whole = np.array([200, 100], np.int32)
    assert value(lambda: st.constant(whole) * 3).tolist() == [600, 300]
    halves = value(lambda: st.constant(np.array([200], np.uint8)) * 1.7)
    assert halves.dtype == np.float64 and halves[0] == pytest.approx(340)
    assert value(lambda: -st.constant(np.array([3], np.uint8))).tolist() == [0]


def test_a_constant_is_not_the_caller_s_array() -> None:
    array = np.arange(3)
    image = np.zeros((2, 2, 3), np.uint8)

    @st.stream
    def both() -> Any:
        return st.constant(array), st.constant(image), st.constant([array])[0]

    flow = both().seed(1)
    array[:] = 9
    image[:] = 9
    for _ in range(2):
        numbers, black, inner = flow[0]
        assert numbers.tolist() == [0, 1, 2] == inner.tolist() and black.max() == 0
        numbers[:] = black[:] = 7  # and what comes out is the receiver's own


def test_errors_say_which_line_made_the_node() -> None:
    @st.stream
    def beyond() -> Any:
        index = st.to_int(st.uniform(5, 6))
        return st.constant([1, 2, 3])[index]  # this one

    line = (
        beyond.__wrapped__.__code__.co_firstlineno + 3 if hasattr(beyond, "__wrapped__") else None
    )
    flow = beyond().seed(1)
    with pytest.raises(IndexError) as info:
        flow[0]
    said = str(info.value)
    assert "in element, test_second_looks.py:" in said
    assert line is None or f":{line}" in said
    with df.PrefetchDataZMQ(flow.take(3), 2) as runner, pytest.raises(df.WorkerError) as caught:
        list(runner)
    assert "in element, test_second_looks.py:" in str(caught.value)


@st.stream
def long_chain(steps: int, choices: bool) -> Any:
    x = st.uniform(0, 1)
    for number in range(steps):
        x = st.conditional(x > number, x, x + 1) if choices else x + 1
    return x


def test_long_chains() -> None:
    """At any depth; what each step needs is not kept for each: that would be quadratic."""
    for steps in (4_000, 16_000):
        flow = long_chain(steps, False).seed(1)
        assert int(flow[0][0]) == steps
        again = pickle.loads(pickle.dumps(flow))
        assert again[3] == flow[3] and repr(flow)
    assert len(long_chain(300, True).seed(1)[0]) == 1
    with df.PrefetchDataZMQ(long_chain(4_000, False).seed(1).take(4), 2) as runner:
        assert len(list(runner)) == 4
