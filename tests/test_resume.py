"""Stopping anywhere and going on there."""

from __future__ import annotations

import gc
import json
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
from patience import patient

import dataflow as df
from dataflow.engine.runners import ThreadRunner

Chain = Callable[..., df.DataFlow]


def numbers(size: int, shuffle: bool = True) -> df.DataFlow:
    return df.DataFromList([[i] for i in range(size)], shuffle=shuffle)


def noisy(dp: list[Any]) -> list[Any] | None:
    return None if dp[0] % 7 == 3 else [dp[0], dp[0] * 2]


class Draw(df.MapData, df.RNGDataFlow):
    """Adds a random number, to see that they are the same."""

    def apply(self, datapoint):
        datapoint = super().apply(datapoint)
        return None if datapoint is None else [*datapoint, int(self.rng.randint(1 << 30))]


def workers(ds: df.DataFlow, count: int, **options: Any) -> df.DataFlow:
    """0: no runner; below 10: processes; from 10 on: threads."""
    if not count:
        return ds
    if count < 10:
        return df.PrefetchDataZMQ(ds, count, **options)
    return ThreadRunner(ds, count - 10, **options)


# Every kind of stage, with the runner (w) in different places.
CHAINS: dict[str, Chain] = {
    "map": lambda w: w(Draw(numbers(50), noisy)),
    "batch": lambda w: w(Draw(numbers(50), noisy)).batch(4, remainder=True),
    "filled up": lambda w: w(Draw(numbers(50), noisy)).fill_up().batch(4),
    "batch below": lambda w: w(Draw(numbers(50), noisy).batch(4)),
    "shuffled keys": lambda w: w(Draw(numbers(40, False).shuffled(10), noisy)).batch(3),
    "shuffled after the runner": lambda w: w(Draw(numbers(40, False), noisy)).shuffled(10),
    "repeat": lambda w: w(Draw(numbers(9), noisy)).repeat(4),
    "repeated batches": lambda w: w(Draw(numbers(9), noisy)).batch(2, remainder=True).repeat(4),
    "repeat, shuffle, batch": lambda w: w(Draw(numbers(9), noisy).repeat(4).shuffled(20)).batch(4),
    "mix": lambda w: w(df.RandomMixData([Draw(numbers(20), noisy), numbers(9).map(tagged)])),
    "mixed batches": lambda w: df.RandomMixData(
        [w(Draw(numbers(20), noisy)).batch(3), numbers(9).map(tagged).batch(2)]
    ),
    "concat": lambda w: df.ConcatData([w(Draw(numbers(15), noisy)), numbers(9).map(tagged)]),
    "concatenated batches": lambda w: df.ConcatData(
        [w(Draw(numbers(15), noisy)).batch(2), numbers(9).map(tagged).batch(2)]
    ),
    "choose": lambda w: w(df.RandomChooseData([Draw(numbers(20), noisy), numbers(20)])),
    "join": lambda w: w(df.JoinData([Draw(numbers(20), noisy), numbers(30)])),
    "take": lambda w: w(Draw(numbers(10), noisy)).batch(2).take(13),
    "fixed size": lambda w: df.FixedSizeData(w(Draw(numbers(10), noisy)), 13),
    "copies": lambda w: w(Draw(df.RepeatedDataPoint(numbers(12), 3), noisy)),
    "generator": lambda w: w(Draw(df.DataFromGenerator(lambda: ([i] for i in range(30))), noisy)),
}


def tagged(dp: list[int]) -> list[int]:
    return [dp[0] + 1000, 0, 0]


def plain(value: Any) -> Any:
    """A datapoint in Python's own types."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [plain(part) for part in value] if isinstance(value, list) else value


def run(ds: df.DataFlow, epochs: int = 1) -> list[list[Any]]:
    return [[plain(dp) for dp in ds] for _ in range(epochs)]


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(state)
    assert len(text) < 4000
    return json.loads(text)


@pytest.mark.parametrize("name", CHAINS)
def test_state_at_every_step(name: str) -> None:
    """What remains is delivered, datapoint for datapoint, and so is the next epoch."""
    make = CHAINS[name]
    this, following = run(make(lambda ds: ds).seed(5), 2)
    going = make(lambda ds: ds).seed(5)
    iterator = iter(going)
    for step in range(len(this) + 1):
        state = through_json(going.state_dict())
        fresh = make(lambda ds: ds)
        fresh.load_state_dict(state)
        assert through_json(fresh.state_dict()) == state, "it was not iterated yet"
        assert run(fresh, 2) == [this[step:], following], f"after {step}"
        if step < len(this):
            assert plain(next(iterator)) == this[step]
    assert next(iterator, None) is None
    fresh = make(lambda ds: ds)
    fresh.load_state_dict(going.state_dict())
    assert run(fresh) == [following], "after its end comes the next epoch"


THOROUGHLY = ("map", "batch", "batch below", "repeat, shuffle, batch", "mix", "join")


@pytest.mark.parametrize("name", CHAINS)
def test_state_among_numbers_of_workers(name: str) -> None:
    """Told by some number of workers, restored into others."""
    make = CHAINS[name]
    this, following = run(make(lambda ds: ds).seed(5), 2)
    pairs = [(2, 13), (13, 1), (1, 0), (0, 4)] if name in THOROUGHLY else [(2, 13)]
    for count, (before, after) in enumerate(pairs):
        going = make(lambda ds: workers(ds, before)).seed(5)  # noqa: B023
        step = (count + 1) * len(this) // 5
        with going:
            iterator = iter(going)
            assert [plain(next(iterator)) for _ in range(step)] == this[:step]
            state = through_json(going.state_dict())
        with make(lambda ds: workers(ds, after)) as fresh:  # noqa: B023
            fresh.load_state_dict(state)
            assert run(fresh, 2) == [this[step:], following]


UNORDERED = [
    "map",
    "batch",
    "shuffled keys",
    "shuffled after the runner",
    "repeat",
    "mix",
    "copies",
]


@pytest.mark.parametrize("name", UNORDERED)
@pytest.mark.parametrize("kind", [12, 2])
def test_state_of_workers_without_order(name: str, kind: int) -> None:
    """Exactly what was not delivered comes, however far ahead the workers were."""

    def make(count: int) -> df.DataFlow:
        return CHAINS[name](lambda ds: workers(ds, count, ordered=False, buffer_size=20))

    def members(points: list[Any]) -> list[Any]:
        rows = [
            list(zip(*dp, strict=True)) if isinstance(dp[0], list) else [tuple(dp)] for dp in points
        ]
        return sorted(row for part in rows for row in part)

    whole = members(run(CHAINS[name](lambda ds: ds).seed(5))[0])
    with make(kind).seed(5) as going:
        iterator = iter(going)
        begun = [plain(next(iterator)) for _ in range(5)]
        state = through_json(going.state_dict())
    with make(13) as fresh:
        fresh.load_state_dict(state)
        (rest,) = run(fresh)
    found = members(begun + rest)
    if "batch" in name or name == "shuffled keys":  # the last, partial batch is left out
        assert len(found) == len(whole) and len(set(found)) == len(found)
        everything = run(Draw(numbers(50 if name == "batch" else 40), noisy))[0]
        assert {row[0] for row in found} <= {row[0] for row in everything}
    else:
        assert found == whole


def test_state_without_a_seed() -> None:
    """The drawn seed is part of the state; order is not asked for."""
    going = Draw(numbers(30), noisy)
    iterator = iter(going)
    begun = [next(iterator) for _ in range(10)]
    state = through_json(going.state_dict())
    assert not state["seeded"]
    rest = list(iterator)
    fresh = Draw(numbers(30), noisy)
    fresh.load_state_dict(state)
    assert list(fresh) == rest and begun
    assert fresh.stats()["seed"] == going.stats()["seed"] == state["seed"]


def test_state_after_the_loop_was_left() -> None:
    going = numbers(10).seed(1)
    seen = []
    for dp in going:
        seen.append(dp)
        if len(seen) == 4:
            break
    fresh = numbers(10)
    fresh.load_state_dict(going.state_dict())
    assert sorted([*seen, *fresh]) == [[i] for i in range(10)]


def test_state_from_another_thread() -> None:
    """It is of a moment between two datapoints, and comes although the loop never rests."""
    size = 20_000
    going = numbers(size).map(lambda dp: dp).seed(3)
    whole = list(numbers(size).map(lambda dp: dp).seed(3))
    states: list[dict[str, Any]] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set() or not states:
            states.append(going.state_dict())
            time.sleep(0.001)

    watcher = threading.Thread(target=look)
    watcher.start()
    delivered = [dp for _ in range(3) for dp in going]
    stop.set()
    watcher.join()
    assert len(delivered) == 3 * size and len(states) > 3
    for state in states[:: len(states) // 3]:
        if state["epoch"] == 0 and state["cursors"]:
            fresh = numbers(size).map(lambda dp: dp)
            fresh.load_state_dict(state)
            (cursor,) = state["cursors"].values()
            assert list(fresh) == whole[cursor["next"] :]


def test_the_datapoint_in_the_loops_body_counts_as_delivered() -> None:
    with df.PrefetchDataZMQ(numbers(100).map(noisy), 2).seed(1) as going:
        for count, _ in enumerate(going, start=1):
            if count == 20:
                state = going.state_dict()
                break
    fresh = numbers(100).map(noisy)
    fresh.load_state_dict(state)
    assert list(fresh) == list(numbers(100).map(noisy).seed(1))[20:]


def test_of_a_large_source_nothing_is_loaded_again() -> None:
    loaded = []

    def load(dp):
        loaded.append(dp)
        return dp

    size = 1_000_000
    source = df.DataFromList(range(size), shuffle=True)
    going = source.map(load).repeat(-1).seed(1)
    going.load_state_dict(
        {**going.state_dict(), "cursors": {"2": {"epoch": 0, "next": 7 * size + 5}}}
    )
    first = next(iter(going))
    assert len(loaded) == 1
    other = df.DataFromList(range(size), shuffle=True).seed(1)
    other.set_epoch(7)
    assert other[5] == first


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (lambda: numbers(31).map(noisy).batch(4), "31 datapoints"),
        (lambda: numbers(30).map(noisy).batch(5), "batch_size=5"),
        (lambda: numbers(30).map(tagged).batch(4), "tagged"),
        (lambda: numbers(30).batch(4), "-MapData"),
        (lambda: numbers(30, False).map(noisy).batch(4), "shuffle=False"),
        (lambda: numbers(30).map(noisy).batch(4).repeat(2), "+RepeatedData(num=2)"),
        (lambda: numbers(30).map(noisy).batch(4).seed(2), "seed 2, the state has 1"),
    ],
)
def test_another_chain_is_refused_with_what_differs(other: Chain, difference: str) -> None:
    going = numbers(30).map(noisy).batch(4).seed(1)
    next(iter(going))
    with pytest.raises(df.StateError) as error:
        other().load_state_dict(going.state_dict())
    assert difference in str(error.value)


@pytest.mark.parametrize("state", [{}, [], "state", {"dataflow": 99}])
def test_what_is_no_state(state: Any) -> None:
    with pytest.raises(df.StateError):
        numbers(3).load_state_dict(state)


def test_shuffled_batches_are_replayed_where_the_order_is_fixed() -> None:
    def make(count: int = 0) -> df.DataFlow:
        return workers(Draw(numbers(30), noisy), count).batch(2).shuffled(4)

    this, following = run(make().seed(5), 2)
    with make(2).seed(5) as going:
        iterator = iter(going)
        assert [plain(next(iterator)) for _ in range(6)] == this[:6]
        state = through_json(going.state_dict())
    fresh = make()
    fresh.load_state_dict(state)
    assert run(fresh, 2) == [this[6:], following]


def test_shuffled_batches_without_order_cannot_be_resumed() -> None:
    with df.PrefetchDataZMQ(numbers(30).map(noisy), 2, ordered=False).batch(2).shuffled(4) as ds:
        next(iter(ds))
        with pytest.raises(df.NotResumable, match="LocallyShuffleData"):
            ds.state_dict()


def test_a_flow_that_iterates_by_itself_is_replayed_below_others() -> None:
    class Mine(df.RNGDataFlow):
        def __iter__(self):
            yield from ([i, int(self.rng.randint(1 << 30))] for i in range(20))

    whole = list(Draw(Mine(), lambda dp: dp).seed(4))
    going = Draw(Mine(), lambda dp: dp).seed(4)
    iterator = iter(going)
    for _ in range(8):
        next(iterator)
    fresh = Draw(Mine(), lambda dp: dp)
    fresh.load_state_dict(through_json(going.state_dict()))
    assert list(fresh) == whole[8:]
    with pytest.raises(df.NotResumable, match="Mine"):
        Mine().state_dict()


def test_setting_the_epoch_forgets_the_state() -> None:
    going = numbers(10).seed(1)
    next(iter(going))
    fresh = numbers(10)
    fresh.load_state_dict(going.state_dict())
    fresh.set_epoch(0)
    assert list(fresh) == list(numbers(10).seed(1))


def test_an_epoch_of_fixed_size_goes_on_where_the_last_one_stopped() -> None:
    """The state between two passes, and of a pass that has not begun, is that of the stage."""

    def make() -> df.DataFlow:
        return df.FixedSizeData(numbers(20, False), 3)

    whole = run(make(), 4)
    going = make()
    run(going)
    between = going.state_dict()
    iterator = iter(going)
    begun = going.state_dict()
    assert plain(next(iterator)) == whole[1][0]
    for state in (between, begun):
        fresh = make()
        fresh.load_state_dict(through_json(state))
        assert run(fresh, 3) == whole[1:]


def test_a_stage_that_goes_on_is_remembered_where_the_pass_did_not_reach_it() -> None:
    def make() -> df.DataFlow:
        return df.ConcatData([df.FixedSizeData(numbers(20, False), 3), numbers(4, False)])

    whole = run(make(), 3)
    going = make()
    iterator = iter(going)
    begun = [plain(next(iterator)) for _ in range(5)]
    fresh = make()
    fresh.load_state_dict(through_json(going.state_dict()))
    assert [begun + run(fresh)[0], *run(fresh, 2)] == whole


def test_shuffled_batches_that_go_on_over_epochs_cannot_be_resumed() -> None:
    for ds in (
        df.FixedSizeData(numbers(20).batch(2).shuffled(4), 3),
        df.FixedSizeData(numbers(20), 6).batch(2).shuffled(2),
    ):
        ds.seed(5)
        iterator = iter(ds)
        next(iterator)
        with pytest.raises(df.NotResumable, match="keep_state=False"):
            ds.state_dict()


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_workers_of_a_stage_that_goes_on_end_with_it(
    no_collector: None,
) -> None:
    """Once nothing refers to it, and not when the collector of circles comes round to it."""
    ds = df.FixedSizeData(df.MultiThreadMapData(numbers(2000), 2, noisy, buffer_size=5), 3).seed(1)
    list(ds)
    ds.set_epoch(7)
    for _ in range(30):
        assert len(list(ds)) == 3
    before = threading.active_count()
    del ds
    deadline = time.monotonic() + patient(5)
    while threading.active_count() > before - 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before - 2


def test_after_an_exception_the_rest_is_not_forgotten() -> None:
    def failing(dp):
        if dp[0] == 3:
            raise KeyError(3)
        return dp

    going = numbers(6, False).map(failing)
    iterator = iter(going)
    assert [next(iterator) for _ in range(3)] == [[0], [1], [2]]
    with pytest.raises(KeyError):
        next(iterator)
    assert next(iterator, None) is None
    fresh = numbers(6, False).map(lambda dp: dp)
    state = going.state_dict()
    state["chain"] = fresh.state_dict()["chain"]  # the function was corrected
    fresh.load_state_dict(state)
    assert list(fresh) == [[3], [4], [5]]


def test_a_stage_that_asks_for_the_state_of_its_own_flow_is_told_so() -> None:
    """In a runner's thread it would wait for itself; in the consumer's own it may look."""

    def asking(dp):
        return [dp[0], flows[-1].state_dict()["epoch"]]

    flows = [ThreadRunner(numbers(3, False).map(asking), 1)]
    with pytest.raises(df.WorkerError, match=r"in a runner's thread.*call it in the loop"):
        list(flows[0])
    flows = [numbers(3, False).map(asking)]
    assert list(flows[0]) == [[0, 0], [1, 0], [2, 0]]


@pytest.mark.parametrize("keep_state", [True, False])
def test_one_size_within_another_over_shuffled_batches(keep_state: bool) -> None:
    """Where the state would lead elsewhere in the next epoch, there is none."""

    def make() -> Any:
        ds = df.DataFromList([[i] for i in range(10)], shuffle=True).batch(2)
        ds = df.FixedSizeData(df.LocallyShuffleData(ds, 3), 5, keep_state=keep_state)
        return df.FixedSizeData(ds, 3, keep_state=keep_state).seed(3)

    def plain(points: Any) -> list[Any]:
        return [dp[0].tolist() for dp in points]

    ds = make()
    expected = [plain(ds) for _ in range(3)]
    ds = make()
    iterator = iter(ds)
    found = plain(islice(iterator, 2))
    if keep_state:
        with pytest.raises(df.NotResumable, match="keep_state=False"):
            ds.state_dict()
        return
    state = ds.state_dict()
    ds = make()
    ds.load_state_dict(state)
    assert [found + plain(ds), plain(ds)] == expected[:2]


@pytest.mark.parametrize("uneven", ["pad", "drop", "keep"])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_a_state_at_the_end_of_what_ends_by_chance(ranks: int, uneven: Any) -> None:
    """The inputs of a random choice have more; whoever goes on from beyond the end gets nothing."""

    def make(rank: int) -> Any:
        inputs = [df.DataFromList([[i] for i in range(n)], shuffle=True) for n in (7, 6)]
        return df.ShardData(df.RandomChooseData(inputs), rank, ranks, uneven=uneven)

    for seed in range(8):
        for rank in range(ranks):
            ds = make(rank).seed(seed)
            epochs = [list(ds) for _ in range(2)]
            ds = make(rank).seed(seed)
            state = ds.state_dict()
            for place, _ in enumerate(ds, start=1):
                state = ds.state_dict()
                if place == len(epochs[0]):
                    break  # in the last loop body
            ds = make(rank)
            ds.load_state_dict(state)
            if epochs[0]:
                assert list(ds) == []
            assert list(ds) == epochs[1 if epochs[0] else 0]
