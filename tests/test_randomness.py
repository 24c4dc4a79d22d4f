"""Random numbers are decided by seed, epoch, position and stage, and by nothing else."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataflow as df
from dataflow.randomness import datapoint_rng, enter, fresh_seed, generator, leave, nested

SEEDS = st.integers(-(1 << 64), 1 << 65)


def draw(seed: int, tag: object, stage: int = 0, size: int = 4) -> list[int]:
    enter(seed, tag, stage)
    try:
        rng = datapoint_rng()
        assert rng is not None
        return rng.randint(1 << 31, size=size).tolist()
    finally:
        leave()


@given(SEEDS, st.integers(0, 1 << 40), st.integers(0, 1 << 40), st.integers(0, 50))
def test_the_same_place_draws_the_same(seed, epoch, position, stage) -> None:
    first = draw(seed, (epoch, position), stage)
    draw(seed + 1, (epoch + 1, position + 1), stage)
    assert draw(seed, (epoch, position), stage) == first


def test_every_part_of_the_place_counts() -> None:
    places = [
        (seed, (epoch, position, *branches), stage)
        for seed in (0, 1, 1 << 63, (1 << 63) + 1, (1 << 64) - 1)
        for epoch in (0, 1, 2)
        for position in (0, 1, 65_536)
        for branches in ((), ("copy 0", 1), ("copy 0", 2))
        for stage in (0, 1, 2)
    ]
    assert len({tuple(draw(*place)) for place in places}) == len(places)


def test_a_batch_draws_as_its_first_datapoint() -> None:
    assert draw(1, [(0, 5), (0, 6)]) == draw(1, [[(0, 5)], (0, 9)]) == draw(1, (0, 5))


def test_copies_are_alike_below_the_stage_that_makes_them() -> None:
    tag = (0, 5, 1, "copy 2", 1, "copy 4", 3)
    assert draw(1, tag, 1) == draw(1, (0, 5, 1), 1)
    assert draw(1, tag, 3) == draw(1, (0, 5, 1, "copy 2", 1), 3) != draw(1, (0, 5, 1), 3)
    assert len({tuple(draw(1, (*tag[:-1], copy), 5)) for copy in range(4)}) == 4


def test_draws_within_one_stage_go_on() -> None:
    enter(3, (0, 0), 1)
    both = [datapoint_rng().randint(1 << 31, size=2).tolist() for _ in range(2)]  # type: ignore[union-attr]
    leave()
    assert both[0] + both[1] == draw(3, (0, 0), 1)


def test_no_leftovers_of_the_datapoint_before() -> None:
    """A cached gaussian or half a word of output must not reach the next datapoint."""

    def both(first_normal: bool) -> list[float]:
        enter(1, (0, 0), 0)
        rng = datapoint_rng()
        assert rng is not None
        if first_normal:
            rng.standard_normal()
            rng.randint(0, 3, dtype=np.uint8)
        enter(1, (0, 1), 0)
        rng = datapoint_rng()
        assert rng is not None
        values = [rng.standard_normal(), *rng.randint(0, 1 << 31, size=3).tolist()]
        leave()
        return values

    assert both(True) == both(False)


def test_nested_parts_draw_by_themselves() -> None:
    def parts() -> list[list[int]]:
        enter(1, (0, 0), 0)
        drawn = []
        for index in (0, 1, 0):
            with nested(index):
                drawn.append(datapoint_rng().randint(1 << 31, size=2).tolist())  # type: ignore[union-attr]
        drawn.append(datapoint_rng().randint(1 << 31, size=2).tolist())  # type: ignore[union-attr]
        leave()
        return drawn

    drawn = parts()
    assert drawn == parts()
    assert len({tuple(values) for values in drawn}) == 4
    assert drawn[3] == draw(1, (0, 0), 0, 2), "the stage's own numbers are unmoved by its parts"


def test_outside_of_any_datapoint_there_is_none() -> None:
    assert datapoint_rng() is None
    enter(1, (0, 0), 0)
    leave()
    assert datapoint_rng() is None


def test_threads_do_not_see_each_other() -> None:
    expected = [draw(7, (0, i)) for i in range(200)]
    results: dict[int, list[list[int]]] = {}

    def work(number: int) -> None:
        results[number] = [draw(7, (0, i)) for i in range(200)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(results[n] == expected for n in range(4))


def test_another_process_draws_the_same() -> None:
    script = (
        "from dataflow.randomness import *\n"
        "enter(5, (1, 2, 'copy 2', 1), 3)\n"
        "print(datapoint_rng().randint(1 << 31, size=4).tolist(),"
        " generator(5, 'permutation', 1, 2).integers(1 << 31, size=4).tolist())"
    )
    out = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": str(n), "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for n in (0, 1)
    }
    here = draw(5, (1, 2, "copy 2", 1), 3)
    epoch = generator(5, "permutation", 1, 2).integers(1 << 31, size=4).tolist()
    assert out == {f"{here} {epoch}\n"}


@given(SEEDS, st.lists(st.integers(0, 100) | st.text(max_size=5), max_size=3))
def test_generators_for_epochs(seed: int, path: list[int | str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a seed that is rounded on its way is a seed that collides
        first = generator(seed, *path).integers(1 << 62, size=3).tolist()
        assert generator(seed, *path).integers(1 << 62, size=3).tolist() == first
        assert generator(seed, *path, "more").integers(1 << 62, size=3).tolist() != first


@given(st.integers(0, (1 << 64) - 2), st.integers(0, 20))
def test_neighbouring_seeds_differ_for_epochs_too(seed: int, epoch: int) -> None:
    one, two = (generator(s, "permutation", epoch, 0).integers(1 << 62) for s in (seed, seed + 1))
    assert one != two


def test_seeds_above_32_bits_do_not_collide() -> None:
    base = 1 << 60
    seeds = range(base, base + 20)
    assert len({tuple(generator(seed, "x", 0).integers(1 << 62, size=2)) for seed in seeds}) == 20
    assert len({tuple(draw(seed, (0, 0))) for seed in seeds}) == 20


def test_a_fresh_seed_can_be_typed() -> None:
    seeds = {fresh_seed() for _ in range(20)}
    assert len(seeds) > 15
    assert all(0 <= seed < 1 << 32 for seed in seeds)


def test_the_distribution_over_positions_is_uniform() -> None:
    values = []
    for position in range(4000):
        enter(11, (0, position), 2)
        values.append(datapoint_rng().random_sample())  # type: ignore[union-attr]
    leave()
    counts = np.histogram(values, bins=20, range=(0, 1))[0]
    assert ((counts - 200) ** 2 / 200).sum() < 60  # 19 degrees of freedom
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.06


# -- what users see of it ---------------------------------------------------------------------


class Jitter(df.RNGDataFlow):
    """A user's own source, in tensorpack's way."""

    def __iter__(self):
        for i in range(5):
            yield [i, self.rng.rand()]


def test_rng_of_a_users_source_belongs_to_the_epoch() -> None:
    ds = Jitter().seed(4)
    first, second = list(ds), list(ds)
    assert first != second
    again = Jitter().seed(4)
    assert [list(again), list(again)] == [first, second]
    again.set_epoch(1)
    assert list(again) == second


def test_rng_of_two_stages_differ() -> None:
    class Proxy(df.ProxyDataFlow, df.RNGDataFlow):
        def __iter__(self):
            for dp in self.ds:
                yield [*dp, self.rng.rand()]

    for _, below, above in Proxy(Jitter()).seed(1):
        assert below != above


def test_users_may_bring_their_own_rng() -> None:
    class Own(Jitter):
        def reset_state(self):
            self.rng = np.random.RandomState(0)

    expected = np.random.RandomState(0).rand(5).tolist()
    assert [dp[1] for dp in Own()] == expected


def test_the_global_generator_is_left_alone() -> None:
    np.random.seed(3)
    expected = np.random.rand()
    np.random.seed(3)
    list(df.LocallyShuffleData(df.FakeData([[2]], 5), 2))
    assert np.random.rand() == expected


@pytest.mark.parametrize("seed", [0, -1, 1 << 70])
def test_any_integer_is_a_seed(seed: int) -> None:
    assert list(Jitter().seed(seed)) == list(Jitter().seed(seed))
