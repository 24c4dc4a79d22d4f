"""Items of other libraries' data sets."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from optional import library

import dataflow as df


class Noise:
    """Items that draw from generators that all share."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> Any:
        return np.array([index]), random.random(), np.random.rand()


def told(ds: Any) -> list[Any]:
    return [[int(number[0]), *drawn] for number, *drawn in ds]


def test_what_items_draw_belongs_to_the_item() -> None:
    """On any number of processes, in each epoch anew; and the training's own goes on."""

    def chain() -> Any:
        return df.from_dataset(Noise(), shuffle=True).seed(3)

    random.seed(1)
    np.random.seed(2)
    plain = chain()
    epochs = [told(plain), told(plain)]
    after = random.random(), np.random.rand()
    random.seed(1)
    np.random.seed(2)
    assert after == (random.random(), np.random.rand())
    drawn = [number for epoch in epochs for _, *numbers in epoch for number in numbers]
    assert len(set(drawn)) == len(drawn) == 80
    for epoch in epochs:
        assert sorted(number for number, *_ in epoch) == list(range(20))
    for processes in (1, 2):
        with df.PrefetchDataZMQ(chain(), processes) as ds:
            assert [told(ds), told(ds)] == epochs
    again = chain()
    iterator = iter(again)
    begun = told([next(iterator) for _ in range(7)])
    other = chain()
    other.load_state_dict(again.state_dict())
    assert begun + told(other) == epochs[0]
    assert told([plain_at(chain(), 4)]) == [epochs[0][4]]


def plain_at(ds: Any, place: int) -> Any:
    return ds[place]


@pytest.mark.parametrize(
    ("item", "datapoint"),
    [((1, 2), [1, 2]), ([1], [1]), (7, [7]), ({"a": 1}, {"a": 1}), ("text", ["text"])],
)
def test_forms_of_items(item: Any, datapoint: Any) -> None:
    assert list(df.from_dataset([item])) == [datapoint]


def test_tensors_become_arrays() -> None:
    torch = library("torch")
    items = [(torch.full((2,), i), i) for i in range(4)]
    with df.BatchData(df.PrefetchDataZMQ(df.from_dataset(items), 1), 2) as ds:
        assert [[array.tolist(), labels.tolist()] for array, labels in ds] == [
            [[[0, 0], [1, 1]], [0, 1]],
            [[[2, 2], [3, 3]], [2, 3]],
        ]


def test_those_of_hugging_face() -> None:
    table = library("datasets").Dataset.from_dict({"x": list(range(6)), "name": list("abcdef")})
    ds = df.from_dataset(table)
    assert list(ds) == [{"x": i, "name": "abcdef"[i]} for i in range(6)]
    with df.PrefetchDataZMQ(ds, 1) as workers:
        assert list(workers) == list(ds)


@pytest.mark.parametrize(
    ("given", "message"), [((i for i in "ab"), "DataFromIterable"), (7, "int")]
)
def test_what_is_no_data_set(given: Any, message: str) -> None:
    with pytest.raises(df.ConfigError, match=message):
        df.from_dataset(given)
