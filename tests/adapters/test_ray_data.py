"""Flows as Ray Datasets, and Ray Datasets as flows."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from optional import library

import dataflow as df
from dataflow.randomness import datapoint_rng

ray = library("ray.data") and library("ray")

from dataflow.adapters.ray import dataset  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", "/tmp")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init("local", num_cpus=2, include_dashboard=False, logging_level=logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield
        ray.shutdown()


def image(dp: list[Any]) -> dict[str, Any]:
    """Of a size that differs, with random numbers of the chain's."""
    side = 4 + dp[0] % 3
    return {"image": datapoint_rng().randint(0, 256, (side, 5, 3), np.uint8), "label": dp[0]}


def same(row: dict[str, Any], datapoint: dict[str, Any]) -> bool:
    return row["label"] == datapoint["label"] and np.array_equal(row["image"], datapoint["image"])


def shuffled(size: int = 60) -> df.DataFlow:
    return df.DataFromList([[i] for i in range(size)], shuffle=True)


@pytest.mark.parametrize("blocks", [1, 7])
def test_an_epoch_is_what_a_loop_gets(blocks: int) -> None:
    ds = shuffled().map(image).seed(4)
    epochs = [list(ds) for _ in range(2)]
    for epoch, expected in enumerate(epochs):
        made = dataset(ds, epoch=epoch, override_num_blocks=blocks)
        rows = made.take_all()
        assert made.count() == 60
        assert sorted(row["label"] for row in rows) == list(range(60))
        found = {row["label"]: row for row in rows}
        assert all(same(found[datapoint["label"]], datapoint) for datapoint in expected)
        back = list(df.from_ray(made))
        assert all(map(same, back, expected)), "and in the same order"


def test_lists_have_the_names_that_they_are_given() -> None:
    ds = df.DataFromList([[np.full(3, i), i, f"name {i}"] for i in range(5)], shuffle=False)
    assert set(dataset(ds).take(1)[0]) == {"0", "1", "2"}
    made = dataset(ds, ("values", "label", "text"))
    found = list(df.from_ray(made, ("text", "values")))
    assert [(text, values.tolist()) for text, values in found] == [
        (f"name {i}", [i] * 3) for i in range(5)
    ]
    with pytest.raises(df.ConfigError, match="no 'txt'"):
        list(df.from_ray(made, ["txt"]))
    with pytest.raises(Exception, match="a datapoint has 3 components"):
        dataset(ds, ("values", "label")).take_all()


def test_what_is_dropped_and_what_can_only_be_iterated() -> None:
    class Own(df.DataFlow):
        def __iter__(self) -> Iterator[Any]:
            yield from ([i] for i in range(9))

    odd = shuffled(20).filter(lambda dp: dp[0] % 2).seed(1)
    for made in (dataset(odd), dataset(odd.batch(1), override_num_blocks=3)):
        assert sorted(int(np.ravel(row["0"])[0]) for row in made.take_all()) == [*range(1, 20, 2)]
    assert sorted(row["0"] for row in dataset(Own()).take_all()) == [*range(9)]


def test_a_flow_of_a_dataset_goes_on_and_is_read_in_place() -> None:
    """Large arrays are views of Ray's store."""
    made = ray.data.range_tensor(40, shape=(100, 100), override_num_blocks=4)
    ds = df.from_ray(made.map_batches(lambda batch: batch), ["data"])
    assert len(ds) == 40
    (first,) = next(iter(ds))
    assert not first.flags.owndata and not first.flags.writeable
    flow = df.PrefetchDataZMQ(df.from_ray(made, ["data"]).map(lambda dp: [dp[0][0, 0] * 2]), 2)
    with flow.seed(0) as ds:
        iterator = iter(ds)
        before = [next(iterator) for _ in range(13)]
        state = ds.state_dict()
        iterator.close()
        ds.load_state_dict(state)
        assert [int(dp[0]) for dp in [*before, *ds]] == [2 * i for i in range(40)]


def test_what_is_no_dataset() -> None:
    with pytest.raises(df.ConfigError, match="dataset=list"):
        df.from_ray([1])
