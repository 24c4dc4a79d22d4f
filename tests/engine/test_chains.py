"""Random chains on random runners against the same chain without any."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dataflow as df
from dataflow.engine.runners import ThreadRunner


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


class Draw(df.MapData, df.RNGDataFlow):
    def apply(self, datapoint):
        return [datapoint[0], np.asarray(datapoint[1]) ^ self.rng.randint(1 << 30)]


def drop_some(dp: list[Any]) -> list[Any] | None:
    return None if int(np.sum(dp[0])) % 5 == 1 else dp


def same(dp: list[Any]) -> list[Any]:
    return dp


sizes = st.one_of(st.integers(0, 12), st.integers(0, 300))
sources = st.one_of(
    st.tuples(st.just("list"), sizes, st.booleans()),
    st.tuples(st.just("keyed"), sizes, st.booleans()),
    st.tuples(st.just("generator"), sizes, st.just(False)),
)
# A stage is a name and a number; "run" marks where a runner may stand.
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["map", "draw", "drop", "run"]), st.just(0)),
        st.tuples(st.just("batch"), st.integers(1, 7)),
        st.tuples(st.just("rest"), st.integers(1, 7)),
        st.tuples(st.just("shuffle"), st.integers(1, 20)),
        st.tuples(st.just("repeat"), st.integers(1, 2)),
        st.tuples(st.just("copies"), st.integers(1, 3)),
        st.tuples(st.just("concat"), sizes),
        st.tuples(st.just("mix"), sizes),
        st.tuples(st.just("take"), st.integers(0, 30)),
    ),
    max_size=6,
)
runners = st.sampled_from(["one thread", "threads", "process", "processes", "threads in processes"])


def source(kind: str, size: int, shuffle: bool) -> df.DataFlow:
    if kind == "keyed":
        return Keyed(size, shuffle)
    points = [[i, i * 7] for i in range(size)]
    if kind == "list":
        return df.DataFromList(points, shuffle=shuffle)
    return df.DataFromGenerator(lambda: iter(points))


def run_by(ds: df.DataFlow, runner: str, buffer: int, ordered: bool | None) -> df.DataFlow:
    options: dict[str, Any] = {"buffer_size": buffer, "ordered": ordered}
    if runner == "one thread":
        return ThreadRunner(ds, 1, **options)
    if runner == "threads":
        return ThreadRunner(ds, 4, **options)
    if runner == "threads in processes":
        ds = ThreadRunner(ds, 2, buffer_size=buffer)
    return df.PrefetchDataZMQ(ds, 1 if runner == "process" else 2, **options)


def build(start, stages, runner: str | None, buffer: int, ordered: bool | None) -> df.DataFlow:
    ds = source(*start)
    batched = False
    marked = False
    for name, number in stages:
        if name == "map":
            ds = ds.map(same)
        elif name == "draw":
            ds = Draw(ds, same)
        elif name == "drop":
            ds = ds.map(drop_some)
        elif name in ("batch", "rest") and not batched:
            ds, batched = ds.batch(number, remainder=name == "rest"), True
        elif name == "shuffle":
            ds = ds.shuffled(number)
        elif name == "repeat":
            ds = ds.repeat(number)
        elif name == "copies":
            ds = df.RepeatedDataPoint(ds, number)
        elif name in ("concat", "mix") and not batched:
            other = source("list", number, True)
            if name == "concat":
                ds = df.ConcatData([ds, other])
            elif start[0] != "generator":
                ds = df.RandomMixData([ds, other])
        elif name == "take":
            ds = ds.take(number)
        elif name == "run" and runner is not None:
            ds, marked = run_by(ds, runner, buffer, ordered), True
    if runner is not None and not marked:
        ds = run_by(ds, runner, buffer, ordered)
    return ds


def plain(value: Any) -> Any:
    return np.asarray(value).tolist()


def epochs(ds: df.DataFlow) -> list[list[Any]]:
    with ds.seed(11):
        return [[[plain(part) for part in dp] for dp in ds] for _ in range(2)]


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(sources, steps, runners, st.sampled_from([1, 3, 50]))
def test_in_order_the_stream_is_that_of_the_plain_chain(start, stages, runner, buffer) -> None:
    expected = epochs(build(start, stages, None, buffer, None))
    assert epochs(build(start, stages, runner, buffer, None)) == expected


# Which ones a cut at the end leaves out depends on the order.
cutting = {"batch", "take"}


@settings(max_examples=18, deadline=None, suppress_health_check=list(HealthCheck))
@given(sources, steps, runners, st.sampled_from([1, 3, 50]))
def test_without_order_the_datapoints_are_the_same(start, stages, runner, buffer) -> None:
    stages = [step for step in stages if step[0] not in cutting]

    def rows(found: list[list[Any]]) -> list[list[Any]]:
        return [sorted(_rows(epoch)) for epoch in found]

    stages = [step for step in stages if step[0] != "rest"] if _draws_late(stages) else stages
    expected = rows(epochs(build(start, stages, None, buffer, None)))
    assert rows(epochs(build(start, stages, runner, buffer, False))) == expected


def _draws_late(stages) -> bool:
    """Whether something looks at batches, which without order have other members."""
    names = [name for name, _ in stages]
    return "rest" in names and names.index("rest") < len(names) - 1


def _rows(points: list[Any]) -> list[Any]:
    found: list[Any] = []
    for dp in points:
        found += zip(*dp, strict=True) if isinstance(dp[0], list) else [tuple(dp)]
    return found
