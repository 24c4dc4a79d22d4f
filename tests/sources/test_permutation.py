"""The permutation that is computed: a bijection at every size, and small."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.randomness import generator
from dataflow.sources.permutation import Permutation

SEEDS = st.integers(0, 1 << 64)
LARGE = [65_535, 65_536, 65_537, 65_538, 100_003, 131_072, 131_073, 1_281_167]


def permutation(size: int, seed: int = 0) -> Permutation:
    return Permutation(size, generator(seed, "test"))


@given(st.integers(0, 300), SEEDS)
def test_small_ones_are_bijections(size: int, seed: int) -> None:
    drawn = permutation(size, seed)
    assert len(drawn) == size
    assert sorted(drawn) == list(range(size))


@pytest.mark.parametrize("size", LARGE)
def test_large_ones_are_bijections(size: int) -> None:
    drawn = permutation(size)
    seen = np.bincount(drawn.block(0, size), minlength=size)
    assert len(seen) == size and (seen == 1).all()


@settings(max_examples=15)
@given(st.integers(65_537, 200_000), SEEDS)
def test_large_ones_of_any_seed_are_bijections(size: int, seed: int) -> None:
    assert (np.bincount(permutation(size, seed).block(0, size), minlength=size) == 1).all()


@given(st.sampled_from([7, 300, 65_537, 10_000_000, 1 << 40]), st.data())
def test_blocks_agree_with_items(size: int, data: st.DataObject) -> None:
    drawn = permutation(size)
    start = data.draw(st.integers(0, size))
    block = drawn.block(start, min(start + 20, size))
    assert block.dtype == np.int64
    assert block.tolist() == [drawn[place] for place in range(start, min(start + 20, size))]
    assert all(0 <= value < size for value in block)


@pytest.mark.parametrize("size", [10, 65_537])
def test_iteration_agrees_with_items(size: int) -> None:
    drawn = permutation(size)
    values = list(drawn)
    assert len(values) == size
    assert [values[place] for place in (0, size // 2, size - 1)] == [
        drawn[place] for place in (0, size // 2, size - 1)
    ]
    assert type(values[0]) is int


@pytest.mark.parametrize("size", [0, 3, 100_000])
def test_places_outside_are_an_error(size: int) -> None:
    for place in (-1, size, size + 1):
        with pytest.raises(IndexError, match=f"place {place} of a permutation of {size}"):
            permutation(size)[place]


@pytest.mark.parametrize("size", [1000, 100_000])
def test_seeds_decide(size: int) -> None:
    first, again, other = (permutation(size, seed).block(0, size) for seed in (5, 5, 6))
    assert (first == again).all()
    assert (first == other).sum() < 30  # about one place is equal by chance


@pytest.mark.parametrize("size", [65_537, 131_072, 1_000_003])
def test_large_ones_look_random(size: int) -> None:
    """Elements are spread over all places, and neighbours do not stay near each other."""
    block = permutation(size, 3).block(0, size)
    cells = np.histogram2d(np.arange(size), block, bins=16)[0]
    expected = size / 256
    assert ((cells - expected) ** 2 / expected).sum() < 400  # 225 degrees of freedom
    assert abs(np.corrcoef(block[:-1], block[1:])[0, 1]) < 0.02
    rising = (np.diff(block) > 0).mean()
    assert abs(rising - 0.5) < 0.01


def test_ten_million_need_no_list_of_ten_million() -> None:
    tracemalloc.start()
    try:
        drawn = iter(permutation(10_000_000))
        for _ in range(20_000):
            next(drawn)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000
