"""Any graph gives the same samples, whoever makes them and however it is compiled."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

import dataflow as df
from dataflow import stream as st

PHOTO = np.arange(12 * 10 * 3, dtype=np.uint8).reshape(12, 10, 3)

# Each builds a node of numbers (x, y), images (a, b), and a seed (s).
NUMBERS = [
    lambda x, y, a, b, s: x + y,
    lambda x, y, a, b, s: x * 3 - y,
    lambda x, y, a, b, s: st.minimum(x, y),
    lambda x, y, a, b, s: st.uniform(0, 1),
    lambda x, y, a, b, s: st.uniform(x, x + 2, seed=s),
    lambda x, y, a, b, s: st.uniform(-1, 1, seed=s),
    lambda x, y, a, b, s: st.normal(x, 0.5),
    lambda x, y, a, b, s: st.binomial(9, 0.3),
    lambda x, y, a, b, s: st.to_float(st.integer(0, 4)),
    lambda x, y, a, b, s: st.conditional(x < y, st.normal(x), y - x),
    lambda x, y, a, b, s: st.switch([x, y, x * y, st.uniform()], weights=[1, 2, 1, 1]),
    lambda x, y, a, b, s: st.toggle(x, y, p=0.3, seed=s),
    lambda x, y, a, b, s: st.constant([0.5, 1.5, 2.5]).random(seed=s),
    lambda x, y, a, b, s: st.sin(x) + st.input("shift", 0.25),
    lambda x, y, a, b, s: st.mean(a) / 255,
]
IMAGES = [
    lambda x, y, a, b, s: a + x * 10,
    lambda x, y, a, b, s: st.flip(a, st.boolean(), st.boolean()),
    lambda x, y, a, b, s: st.noise(a, 0.1),
    lambda x, y, a, b, s: st.noise(a, 0.05, seed=s),
    lambda x, y, a, b, s: st.dropout(a, 0.2, seed=s),
    lambda x, y, a, b, s: st.toggle(a, st.invert(a)),
    lambda x, y, a, b, s: st.conditional(x < 1, a, st.blur(b, 3)),
    lambda x, y, a, b, s: st.switch([a, b, st.brightness(a, x), st.invert(b)]),
    lambda x, y, a, b, s: st.select(st.floor(x), a, b, st.maximum(a, b)),
    lambda x, y, a, b, s: st.maximum(a, b),
    lambda x, y, a, b, s: st.view(a, st.affine_view(x, y, x), 10, 12),
]
steps = some.tuples(some.booleans(), *[some.integers(0, 10_000)] * 6)
programs = some.lists(steps, min_size=1, max_size=14)


def graph(program: list[Any]) -> list[Any]:
    """All nodes that a program builds."""
    numbers: list[Any] = [st.uniform(0, 2), st.constant(1.25)]
    images: list[Any] = [st.constant(PHOTO), st.noise(PHOTO, 0.02)]
    seeds = [st.seed(), st.seed(5)]
    for is_image, what, *picks in program:
        x, y = (numbers[pick % len(numbers)] for pick in picks[:2])
        a, b = (images[pick % len(images)] for pick in picks[2:4])
        build = (IMAGES if is_image else NUMBERS)[what % len(IMAGES if is_image else NUMBERS)]
        made = build(x, y, a, b, seeds[picks[4] % 2])
        (images if is_image else numbers).append(made)
    return [*images, *numbers]


def same(one: Any, other: Any) -> bool:
    return all(np.array_equal(x, y) and type(x) is type(y) for x, y in zip(one, other, strict=True))


@settings(max_examples=60)
@given(programs, some.integers(0, 1 << 40), some.integers(1, 4))
def test_compiled_in_any_way_and_saved_and_loaded(
    program: list[Any], index: int, step: int
) -> None:
    quick = st.Stream(graph(program)[::-step]).seed(3)
    plain = st.Stream(graph(program)[::-step], optimize=False).seed(3)
    path = Path(f"{_folder}/any.flow")
    st.save(quick, path)
    others = [plain, st.load(path), pickle.loads(pickle.dumps(quick))]
    for place in (0, 1, index):
        sample = quick[place]
        assert all(same(sample, other[place]) for other in others)
        assert same(sample, quick[place])


@settings(max_examples=12)
@given(programs)
def test_in_threads(program: list[Any]) -> None:
    s = st.Stream(graph(program)).seed(4)
    alone = [s[index] for index in range(12)]
    with s.parallel(num_threads=2).take(12) as flow:
        for one, other in zip(alone, flow, strict=True):
            assert same(one, other)


def test_in_processes() -> None:
    """One stream of all kinds of nodes, for each process costs a second."""
    every = [(kind, what, 1, 2, 3, 4, what) for what in range(15) for kind in (True, False)]
    s = st.Stream(graph(every)).seed(4)
    alone = [s[index] for index in range(12)]
    with df.PrefetchDataZMQ(s, 2).take(12) as flow:
        for one, other in zip(alone, flow, strict=True):
            assert same(one, other)


@settings(max_examples=30)
@given(programs)
def test_what_is_not_taken_is_not_computed(program: list[Any]) -> None:
    """Of a choice's branches one is called, whatever they have in common."""
    calls: list[int] = []
    _calls.append(calls)
    last = graph(program)[-1]
    branches = [_counted(number, last + number) for number in range(3)]
    s = st.Stream(st.switch([branches[0], branches[1] + branches[2], branches[2]], seed=1))
    for index in range(6):
        calls.clear()
        s[index]
        assert sorted(calls) in ([0], [1, 2], [2])


_calls: list[list[int]] = [[]]
_folder = ""


@st.op("counted", number=st.INT, value=st.FLOAT, gives=st.FLOAT, foldable=False)
def _counted(number: int, value: float) -> float:
    _calls[-1].append(number)
    return value


@pytest.fixture(autouse=True, scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    global _folder
    _folder = str(tmp_path_factory.mktemp("streams"))
