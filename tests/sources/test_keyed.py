"""Sources of keys and a loader."""

from __future__ import annotations

import numpy as np
import pytest

import dataflow as df
from dataflow.sources import KeyedSource


class Squares(KeyedSource):
    """Loads key → [key, key²], and draws a number for each."""

    def __init__(self, size: int, shuffle: bool = False) -> None:
        self.size_ = size
        self.shuffle = shuffle
        self.loads: list[int] = []

    def keys(self):
        return range(self.size_)

    def loader(self):
        return self.load

    def load(self, key: int):
        self.loads.append(key)
        return [key, key * key, self.rng.random_sample()]


def test_keys_are_loaded_in_order_when_they_are_needed() -> None:
    ds = Squares(5)
    iterator = iter(ds)
    assert next(iterator)[:2] == [0, 0]
    assert ds.loads == [0]
    assert [dp[:2] for dp in iterator] == [[1, 1], [2, 4], [3, 9], [4, 16]]


def test_numbers_belong_to_the_position() -> None:
    first, again, other = (list(Squares(20).seed(seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert len({dp[2] for dp in first}) == 20
    ds = Squares(20).seed(1)
    assert list(ds) == first
    assert [dp[2] for dp in ds] != [dp[2] for dp in first], "the next epoch draws others"


def test_threads_and_processes_draw_the_same() -> None:
    alone = list(Squares(30, shuffle=True).seed(3))
    with df.PrefetchDataZMQ(Squares(30, shuffle=True), 2).seed(3) as ds:
        assert list(ds) == alone


def test_loading_that_fails_is_the_users_exception() -> None:
    class Broken(Squares):
        def load(self, key: int):
            raise OSError(f"no {key}")

    with pytest.raises(OSError, match="no 0"):
        list(Broken(3))


def test_a_source_without_keys_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"KeyedSource defines no keys\(\)"):
        len(KeyedSource())


def test_ten_million_keys_start_at_once() -> None:
    class Many(KeyedSource):
        shuffle = True

        def keys(self):
            return range(10_000_000)

    ds = Many().seed(0)
    assert len(ds) == 10_000_000
    first = next(iter(ds))
    assert np.isscalar(first) and 0 <= first < 10_000_000
