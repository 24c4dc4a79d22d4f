"""Steps as methods build the classes of the same meaning."""

from __future__ import annotations

import numpy as np
import pytest

import dataflow as df
from dataflow.dataset import NetworkImages
from dataflow.node import inputs


def numbers(size: int = 6) -> df.DataFlow:
    return df.DataFromList([[i, i * 10] for i in range(size)], shuffle=False)


def same(value):
    return value


METHODS = {
    "map": (lambda ds: ds.map(same), df.MapData, {"func": same}),
    "map_component": (
        lambda ds: ds.map_component(same, 1),
        df.MapDataComponent,
        {"func": same, "index": 1},
    ),
    "filter": (lambda ds: ds.filter(same), df.FilterData, {"predicate": same}),
    "shuffled": (lambda ds: ds.shuffled(3), df.LocallyShuffleData, {"buffer_size": 3}),
    "batch": (
        lambda ds: ds.batch(4, True, use_list=True),
        df.BatchData,
        {"batch_size": 4, "remainder": True, "use_list": True},
    ),
    "repeat": (lambda ds: ds.repeat(3), df.RepeatedData, {"num": 3}),
    "repeat without end": (lambda ds: ds.repeat(), df.RepeatedData, {"num": -1}),
    "take": (lambda ds: ds.take(3), df.FixedSizeData, {}),
    "select": (lambda ds: ds.select(1, 0), df.SelectComponent, {"idxs": [1, 0]}),
    "concat": (lambda ds: ds.concat(numbers()), df.ConcatData, {}),
    "mix": (lambda ds: ds.mix(numbers()), df.RandomMixData, {}),
    "zip": (lambda ds: ds.zip(numbers(), numbers()), df.JoinData, {}),
    "augment": (
        lambda ds: ds.augment([df.imgaug.Flip(horiz=True)], "image"),
        df.AugmentImageComponent,
        {"index": "image"},
    ),
    "prefetch": (
        lambda ds: ds.prefetch(3, ordered=True, buffer_size=7),
        df.PrefetchDataZMQ,
        {"num_proc": 3},
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_each_builds_its_class(name: str) -> None:
    build, cls, attributes = METHODS[name]
    below = numbers()
    flow = build(below)
    assert type(flow) is cls and inputs(flow)[0] is below
    for attribute, value in attributes.items():
        assert getattr(flow, attribute) == value
    method = getattr(df.DataFlow, name.split()[0])
    assert method.__name__ == name.split()[0]
    assert method.__qualname__ == f"DataFlow.{method.__name__}"
    assert cls.__name__ in method.__doc__, "says which class it stands for"


def test_a_chain() -> None:
    chain = numbers().map(lambda dp: [dp[0] + 1, dp[1]]).filter(lambda dp: dp[0] != 3)
    with chain.map_component(float, 1).repeat(2).take(8).batch(4) as ds:
        assert [[a.tolist(), b.tolist()] for a, b in ds] == [
            [[1, 2, 4, 5], [0.0, 10.0, 30.0, 40.0]],
            [[6, 1, 2, 4], [50.0, 0.0, 10.0, 30.0]],
        ]
    assert sorted(numbers().shuffled(3)) == list(numbers())


def test_a_chain_with_images_and_processes() -> None:
    images = df.DataFromList([[np.full((8, 8, 3), i, np.uint8), i] for i in range(8)])
    with images.augment([df.imgaug.CenterCrop(4)]).prefetch(2).batch(4) as ds:
        for batch, labels in ds:
            assert batch.shape == (4, 4, 4, 3)
            assert batch[:, 0, 0, 0].tolist() == labels.tolist()


def test_take_starts_each_epoch_at_the_next_one_of_the_input() -> None:
    with numbers(3).take(5) as ds:
        assert [dp[0] for dp in ds] == [0, 1, 2, 0, 1]
        assert [dp[0] for dp in ds] == [0, 1, 2, 0, 1]


def test_users_classes_have_them_too() -> None:
    class Own(df.DataFlow):
        def get_data(self):
            yield from ([i] for i in range(4))

    assert [dp[0] for dp in Own().map(lambda dp: [dp[0] * 2])] == [0, 2, 4, 6]
    assert all(hasattr(NetworkImages, name.split()[0]) for name in METHODS)


def test_a_users_own_method_of_that_name_wins() -> None:
    class Own(df.DataFromList):
        def map(self):
            return "mine"

    assert Own([]).map() == "mine"
