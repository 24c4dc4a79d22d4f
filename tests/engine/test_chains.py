"""Random chains on random runners against the same chain without any."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from machines import Machine

import dataflow as df
from dataflow.engine.runners import ThreadRunner
from dataflow.node import walk


class Keyed(df.sources.KeyedSource):
    """Loads its datapoints, with a random number."""

    def __init__(self, size: int, shuffle: bool) -> None:
        self.amount = size
        self.shuffle = shuffle

    def keys(self):
        return range(self.amount)

    def loader(self):
        return self.load

    def load(self, key: int):
        return [key, int(self.rng.randint(1 << 30))]


class Table(df.sources.KeyedSource):
    """Its keys are rows of arrays."""

    def __init__(self, size: int, shuffle: bool) -> None:
        self.rows = df.Columns(np.arange(size), np.arange(size) * 3)
        self.shuffle = shuffle

    def keys(self):
        return self.rows


class Draw(df.MapData, df.RNGDataFlow):
    def apply(self, datapoint):
        return [datapoint[0], np.asarray(datapoint[1]) ^ self.rng.randint(1 << 30)]


def drop_some(dp: list[Any]) -> list[Any] | None:
    return None if int(np.sum(dp[0])) % 5 == 1 else dp


def fail_some(dp: list[Any]) -> list[Any]:
    if int(np.sum(dp[0])) % 7 == 3:
        raise ValueError(f"{dp[0]} is one of those")
    return dp


def leave_out_some(dp: list[Any]) -> list[Any] | None:
    return None if int(np.sum(dp[0])) % 7 == 3 else dp


def same(dp: list[Any]) -> list[Any]:
    return dp


sizes = st.one_of(st.integers(0, 12), st.integers(0, 300))
sources = st.one_of(
    st.tuples(st.just("list"), sizes, st.booleans()),
    st.tuples(st.just("keyed"), sizes, st.booleans()),
    st.tuples(st.just("generator"), sizes, st.just(False)),
    st.tuples(st.just("columns"), sizes, st.booleans()),
)
# A stage is a name and a number; "run" marks where a runner may stand.
step = st.one_of(
    st.tuples(st.sampled_from(["map", "draw", "drop", "run"]), st.just(0)),
    st.tuples(st.just("batch"), st.integers(1, 7)),
    st.tuples(st.just("rest"), st.integers(1, 7)),
    st.tuples(st.just("shuffle"), st.integers(1, 20)),
    st.tuples(st.just("repeat"), st.integers(1, 2)),
    st.tuples(st.just("copies"), st.integers(1, 3)),
    st.tuples(st.just("concat"), sizes),
    st.tuples(st.just("mix"), sizes),
    st.tuples(st.just("take"), st.integers(0, 30)),
)
# These make several parts, each with workers of its own, which are dear where they are processes.
other_step = st.one_of(
    st.tuples(st.sampled_from(["choose", "join", "share"]), st.integers(0, 20)),
    st.tuples(st.sampled_from(["fail", "cache"]), st.just(0)),
)
steps = st.lists(step, max_size=6)
more_steps = st.lists(st.one_of(step, other_step), max_size=6)
buffers = st.sampled_from([1, 3, 50])
with_pools = st.sampled_from(["pool", "pool below threads"])
runners = st.sampled_from(["one thread", "threads", "process", "processes", "threads in processes"])


def source(kind: str, size: int, shuffle: bool) -> df.DataFlow:
    if kind == "keyed":
        return Keyed(size, shuffle)
    points = [[i, i * 7] for i in range(size)]
    if kind == "list":
        return df.DataFromList(points, shuffle=shuffle)
    if kind == "columns":
        return Table(size, shuffle)
    return df.DataFromGenerator(lambda: iter(points))


def run_by(ds: df.DataFlow, runner: str, buffer: int, ordered: bool | None) -> df.DataFlow:
    options: dict[str, Any] = {"buffer_size": buffer, "ordered": ordered}
    if runner == "pool":
        return df.PrefetchDataRemote(ds, "tcp://127.0.0.1:*", on_error="skip", **options)
    options["on_error"] = "skip"
    if runner == "one thread":
        return ThreadRunner(ds, 1, **options)
    if runner == "threads":
        return ThreadRunner(ds, 4, **options)
    if runner == "threads in processes":
        ds = ThreadRunner(ds, 2, buffer_size=buffer, on_error="skip")
    return df.PrefetchDataZMQ(ds, 1 if runner == "process" else 2, **options)


def build(start, stages, runner: str | None, buffer: int, ordered: bool | None) -> df.DataFlow:
    """The chain; without a runner, or with it at each mark, at least at the top."""
    ds = source(*start)
    batched = False
    if not any(name == "run" for name, _ in stages):
        stages = [*stages, ("run", 0)]
    for place, (name, number) in enumerate(stages):
        if name == "map":
            ds = ds.map(same)
        elif name == "draw":
            ds = Draw(ds, same)
        elif name == "drop":
            ds = ds.map(drop_some)
        elif name == "fail":
            skipped = runner and any(later == "run" for later, _ in stages[place:])
            ds = ds.map(fail_some if skipped else leave_out_some)
        elif name in ("batch", "rest") and not batched:
            ds, batched = ds.batch(number, remainder=name == "rest"), True
        elif name == "shuffle":
            ds = df.LocallyShuffleData(ds, number, num_reuse=1 + number % 2)
        elif name == "repeat":
            ds = ds.repeat(number)
        elif name == "copies":
            ds = df.RepeatedDataPoint(ds, number)
        elif name in ("concat", "mix", "choose", "join") and not batched:
            other = source("list", number, True).map(same)
            if runner == "pool" and number % 2:
                other = run_by(other, runner, buffer, ordered)
            ds = beside(name, ds, other, start[0])
        elif name == "share":
            ds = df.ShardData(ds, number % 2, 2, uneven="keep" if number % 3 else "pad")
        elif name == "cache":
            ds = df.CacheData(ds, shuffle=True)
        elif name == "take":
            ds = ds.take(number)
        elif name == "run" and runner is not None:
            ds = run_by(ds, runner if runner != "pool below threads" else "pool", buffer, ordered)
    return ThreadRunner(ds, 2, ordered=ordered) if runner == "pool below threads" else ds


def beside(name: str, ds: df.DataFlow, other: df.DataFlow, start: str) -> df.DataFlow:
    if name == "concat":
        return df.ConcatData([ds, other])
    if name == "choose":
        return df.RandomChooseData([ds, other])
    if name == "join":
        return df.JoinData([ds, other]).map(_first_two)
    try:
        len(ds)
    except df.UnknownLength:
        return ds
    return df.RandomMixData([ds, other])


def _first_two(dp: list[Any]) -> list[Any]:
    return dp[:2]


def plain(value: Any) -> Any:
    return np.asarray(value).tolist()


@contextmanager
def running(make: Callable[[], df.DataFlow]) -> Iterator[df.DataFlow]:
    """The chain, with a machine for each pool in it that has built the same chain."""
    with ExitStack() as stack:
        ds = stack.enter_context(make())
        for pool, theirs in zip(pools(ds), pools(make()), strict=True):
            stack.enter_context(Machine(theirs, pool.addresses[0]))
        yield ds


def pools(ds: df.DataFlow) -> list[df.PrefetchDataRemote]:
    return [flow for flow in walk(ds) if isinstance(flow, df.PrefetchDataRemote)]


def rest(ds: Any) -> list[Any]:
    return [[plain(part) for part in dp] for dp in ds]


def epochs(make: Callable[[], df.DataFlow], count: int = 2) -> list[list[Any]]:
    with running(make) as ds:
        ds.seed(11)
        return [rest(ds) for _ in range(count)]


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(sources, steps, runners, buffers)
def test_in_order_the_stream_is_that_of_the_plain_chain(start, stages, runner, buffer) -> None:
    expected = epochs(lambda: build(start, stages, None, buffer, None))
    assert epochs(lambda: build(start, stages, runner, buffer, None)) == expected


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(sources, more_steps, with_pools, buffers)
def test_in_order_with_pools_anywhere(start, stages, runner, buffer) -> None:
    expected = epochs(lambda: build(start, stages, None, buffer, None))
    assert epochs(lambda: build(start, stages, runner, buffer, None)) == expected


# What these leave out, or where they put it, depends on the order.
ordering = {"batch", "take", "choose", "join", "share", "cache"}


@settings(max_examples=18, suppress_health_check=list(HealthCheck))
@given(sources, steps, runners, buffers)
def test_without_order_the_datapoints_are_the_same(start, stages, runner, buffer) -> None:
    check_without_order(start, stages, runner, buffer)


@settings(max_examples=24, suppress_health_check=list(HealthCheck))
@given(sources, more_steps, with_pools, buffers)
def test_without_order_with_pools_anywhere(start, stages, runner, buffer) -> None:
    check_without_order(start, stages, runner, buffer)


def check_without_order(start, stages, runner, buffer) -> None:
    stages = [step for step in stages if step[0] not in ordering]

    def rows(found: list[list[Any]]) -> list[list[Any]]:
        return [sorted(_rows(epoch)) for epoch in found]

    stages = [step for step in stages if step[0] != "rest"] if _draws_late(stages) else stages
    expected = rows(epochs(lambda: build(start, stages, None, buffer, None)))
    assert rows(epochs(lambda: build(start, stages, runner, buffer, False))) == expected


@settings(max_examples=24, suppress_health_check=list(HealthCheck))
@given(sources, more_steps, with_pools, buffers, st.integers(0, 1), st.integers(0, 300))
@example(("generator", 2, False), [("run", 0), ("copies", 2)], "pool below threads", 1, 0, 2)
def test_a_state_at_any_step(start, stages, runner, buffer, epoch, step) -> None:
    expected = epochs(lambda: build(start, stages, None, buffer, None), 3)
    step = min(step, len(expected[epoch]))
    with running(lambda: build(start, stages, runner, buffer, None)) as ds:
        ds.seed(11)
        for _ in range(epoch):
            list(ds)
        iterator = iter(ds)
        found = rest(islice(iterator, step))
        state = json.loads(json.dumps(ds.state_dict()))
    with running(lambda: build(start, stages, runner, buffer, None)) as ds:
        ds.load_state_dict(state)
        assert found + rest(ds) == expected[epoch]
        assert rest(ds) == expected[epoch + 1]


def test_a_size_that_goes_on_below_a_pool_below_threads() -> None:
    def make() -> df.DataFlow:
        ds = df.FixedSizeData(df.DataFromList([[i] for i in range(5)], shuffle=True), 3)
        return ThreadRunner(df.PrefetchDataRemote(ds, "tcp://127.0.0.1:*").batch(3), 1)

    with running(make) as ds:
        list(ds.seed(1))
        iterator = iter(ds)
        state = ds.state_dict()
        expected = rest(iterator)
    with running(make) as ds:
        ds.load_state_dict(state)
        assert rest(ds) == expected


@settings(max_examples=24, suppress_health_check=list(HealthCheck))
@given(sources, more_steps, with_pools, st.integers(0, 300))
def test_random_access(start, stages, runner, index) -> None:
    def one(ds: df.DataFlow) -> Any:
        try:
            return rest([ds.seed(11)[index]])
        except (TypeError, LookupError) as error:
            return isinstance(error, TypeError) or type(error)

    with build(start, stages, runner, 50, None) as ds:
        assert one(ds) == one(build(start, stages, None, 50, None))


def _draws_late(stages) -> bool:
    """Whether something looks at batches, which without order have other members."""
    names = [name for name, _ in stages]
    return "rest" in names and names.index("rest") < len(names) - 1


def _rows(points: list[Any]) -> list[Any]:
    found: list[Any] = []
    for dp in points:
        found += zip(*dp, strict=True) if isinstance(dp[0], list) else [tuple(dp)]
    return found
