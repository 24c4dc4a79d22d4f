"""Random nodes: what decides them, and how they are distributed."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from dataflow import stream as st
from dataflow.stream.draws import MASK, generator, mix, root, unit

COUNT = 4000


def drawn(*nodes: Any, count: int = COUNT, seed: int = 1) -> list[list[Any]]:
    """The values of each node over many samples."""
    s = st.Stream(list(nodes)).seed(seed)
    return [list(column) for column in zip(*s.take(count), strict=True)]


def test_the_bits_are_those_of_splitmix64() -> None:
    """Its first outputs for the seed 1234567, from the author's own program."""
    golden = 0x9E3779B97F4A7C15
    found = [mix(1234567 + step * golden & MASK) for step in (1, 2, 3)]
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(some.integers(0, MASK), some.integers(0, 1 << 62))
def test_a_root_for_each_seed_and_index(seed: int, index: int) -> None:
    assert 0 <= root(seed, index) <= MASK
    assert root(seed, index) not in (root(seed, index + 1), root(seed ^ 1, index))
    assert 0 <= unit(mix(root(seed, index))) < 1
    again = [generator(index).random(3).tolist() for _ in range(2)]
    assert again[0] == again[1]


def test_distributions() -> None:
    uniform, normal, coin, successes, whole, place = drawn(
        st.uniform(2, 4),
        st.normal(5, 2),
        st.bernoulli(0.2),
        st.binomial(10, 0.3),
        st.integer(-1, 2),
        st.switch(list(range(3)), weights=[1, 0, 3]),
    )
    assert min(uniform) >= 2 and max(uniform) < 4
    assert statistics.mean(uniform) == pytest.approx(3, abs=0.03)
    # The quarters of the interval are equally full: chi-square, one in a thousand is above 16.
    full = np.histogram(uniform, bins=4, range=(2, 4))[0]
    assert ((full - COUNT / 4) ** 2).sum() / (COUNT / 4) < 16
    assert statistics.mean(normal) == pytest.approx(5, abs=0.1)
    assert statistics.stdev(normal) == pytest.approx(2, abs=0.1)
    assert statistics.mean(coin) == pytest.approx(0.2, abs=0.03)
    assert statistics.mean(successes) == pytest.approx(3, abs=0.1)
    assert statistics.variance(successes) == pytest.approx(2.1, abs=0.2)
    assert set(whole) == {-1, 0, 1} and set(place) == {0, 2}
    assert place.count(2) / COUNT == pytest.approx(0.75, abs=0.03)


def test_binomial_at_its_ends() -> None:
    assert drawn(st.binomial(0, 0.5), st.binomial(7, 0), st.binomial(7, 1), count=1) == [
        *([0], [0], [7])
    ]
    (many,) = drawn(st.binomial(100_000, 0.5), count=20)
    assert all(49_000 < one < 51_000 for one in many)


def test_equal_nodes_draw_differently_and_shared_seeds_alike() -> None:
    seed = st.seed()
    one, other, first, tenfold, own = drawn(
        st.uniform(),
        st.uniform(),
        st.uniform(seed=seed),
        st.uniform(0, 10, seed=seed),
        st.uniform(seed=st.seed()),
    )
    assert abs(float(np.corrcoef(one, other)[0, 1])) < 0.06
    assert tenfold == [pytest.approx(10 * value) for value in first]
    assert len({one[0], other[0], first[0], own[0]}) == 4
    assert drawn(st.uniform(seed=7), count=3) == drawn(st.uniform(seed=7) + 0, count=3)


def test_neighbouring_samples_and_seeds_have_nothing_in_common() -> None:
    (one,), (other,) = drawn(st.uniform()), drawn(st.uniform(), seed=2)
    assert abs(float(np.corrcoef(one, other)[0, 1])) < 0.06
    assert abs(float(np.corrcoef(one[1:], one[:-1])[0, 1])) < 0.06


def test_an_edit_elsewhere_changes_nothing() -> None:
    photo = np.zeros((4, 4), np.uint8)

    def samples(edited: bool) -> list[Any]:
        size = st.uniform(1, 2)
        if edited:  # before it, beside it and behind it; and it is used once more
            extra = st.noise(st.invert(photo), st.normal())
            size_too = size * 3 + st.binomial(3, 0.5)
            outputs = [extra, size, size_too, st.noise(photo, 0.1)]
            return [one[1:4:2] for one in st.Stream(outputs).take(5)]
        return list(st.Stream([size, st.noise(photo, 0.1)]).take(5))

    for one, other in zip(samples(False), samples(True), strict=True):
        assert one[0] == other[0] and np.array_equal(one[1], other[1])


def test_an_edit_of_what_feeds_it_changes_it() -> None:
    def size(high: float) -> Any:
        return st.Stream(st.uniform(0, high))[3][0] / high

    assert size(1.0) != size(2.0)
    assert size(1.0) == size(1.0)


def test_samples_of_this_version() -> None:
    """Streams that were saved go on as they were: these numbers may not change."""
    s = st.Stream([st.uniform(), st.normal(), st.integer(0, 100), st.permutation(4)]).seed(1)
    one, two, three, four = s[7]
    assert (round(one, 6), round(two, 6), three, four.tolist()) == EXPECTED


EXPECTED = (0.416091, -0.822572, 32, [2, 3, 0, 1])
