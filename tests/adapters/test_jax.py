"""JAX's arrays from dataflows."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optional import library
from ranks import TWICE, check, dead_ones, started

import dataflow as df

jax = library("jax")

from dataflow.adapters.jax import iterate  # noqa: E402


def source() -> df.DataFlow:
    return df.DataFromList([[i] for i in range(20)], shuffle=False).map(large)


def large(datapoint: list[Any]) -> list[Any]:
    return [np.full((64, 64, 3), datapoint[0], np.uint8), datapoint[0], "name"]


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_arrays_of_jax_in_the_same_order(ahead: int) -> None:
    batches = list(iterate(source().batch(4), ahead=ahead))
    assert all(isinstance(images, jax.Array) for images, *_ in batches)
    assert [labels.tolist() for _, labels, _ in batches] == np.arange(20).reshape(5, 4).tolist()
    assert batches[0][2].tolist() == ["name"] * 4
    assert batches[0][0].shape == (4, 64, 64, 3)


def test_no_more_are_read_ahead_than_asked_for() -> None:
    read: list[int] = []
    flow = df.DataFromList([[i] for i in range(20)], shuffle=False).map(
        lambda dp: read.append(dp[0]) or dp
    )
    list(itertools.islice(iterate(flow, ahead=2), 3))
    assert len(read) == 5
    with pytest.raises(df.ConfigError, match="ahead=-1"):
        iterate(flow, ahead=-1)


def test_arrays_that_are_kept_stay_as_they_are() -> None:
    with df.PrefetchDataZMQ(source(), num_proc=1, hwm=2).seed(1) as ds:
        kept = [images for images, *_ in iterate(ds)]
        assert [np.unique(one).tolist() for one in kept] == [[i] for i in range(20)]
        del kept


def test_a_sharding() -> None:
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), "batch")
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    arrays = df.DataFromList([[np.arange(4.0)], [np.arange(4.0)]])
    assert [one.sharding for (one,) in iterate(arrays, sharding)] == [sharding] * 2


def test_a_sharding_for_each() -> None:
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), "batch")
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    datapoint = {"x": np.zeros((4, 3)), "parts": [np.zeros(4), np.float32(2)], "name": "a"}
    flow = df.DataFromList([datapoint])
    (alike,) = iterate(flow, rows)
    assert alike["x"].sharding == alike["parts"][0].sharding == rows
    assert alike["parts"][1].sharding == whole and alike["name"] == "a"
    (apart,) = iterate(flow, {"x": whole, "parts": [rows, None]})
    assert apart["x"].sharding == whole and apart["parts"][0].sharding == rows
    with pytest.raises(df.ConfigError, match="1 parts"):
        list(iterate(flow, {"parts": [rows]}))


RANKS = """
import jax
from dataflow.adapters.jax import iterate

jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(os.environ["COORDINATOR"], ranks, rank)
mesh = jax.sharding.Mesh(np.array(jax.devices()), "batch")
rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
total = jax.jit(lambda numbers: numbers.sum(), out_shardings=whole)

def epoch(ds):
    for (numbers,) in iterate(ds, rows):
        assert numbers.shape == (ranks * batch,), "of all ranks"
        yield np.concatenate([part.data for part in numbers.addressable_shards]).tolist()
        float(total(numbers))  # waits for the other rank's step: one more would hang here
"""


@pytest.mark.timeout(400)
def test_two_ranks(tmp_path: Path) -> None:
    """Arrays over both, equally many steps whatever fails; resumed in the middle of an epoch."""
    dead = dead_ones()
    check(started(tmp_path, RANKS + TWICE, dead), dead)
