"""How many there are, what is missing, and what is drawn anew: as PyTorch's own loaders ask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optional import library

import dataflow as df

torch = library("torch")

from torch.utils.data import (  # noqa: E402
    DataLoader,
    RandomSampler,
    Subset,
    WeightedRandomSampler,
)

from dataflow.adapters.torch import IterableDataset, MapDataset  # noqa: E402


def numbers(size: int = 10) -> df.DataFlow:
    return df.DataFromList([[i] for i in range(size)], shuffle=False)


def odd(datapoint: list[int]) -> list[int]:
    if datapoint[0] % 2:
        raise ValueError(f"{datapoint[0]} is odd")
    return datapoint


def drawn(size: int = 6) -> df.DataFlow:
    """Its datapoints: [which, a part of a picture in which no two pixels are alike]."""
    image = np.arange(64 * 64 * 3, dtype=np.float32).reshape(64, 64, 3)
    crops = df.AugmentImageComponent(
        df.DataFromList([[i, image] for i in range(size)], shuffle=False),
        [df.imgaug.RandomCrop(8)],
        1,
    )
    return crops.seed(1)


def crop(item: Any) -> tuple[int, float]:
    return int(item[0]), float(item[1].flatten()[0])


# -- lengths ---------------------------------------------------------------------------------------


def test_a_length_is_told_where_it_is_exact() -> None:
    skipping = df.PrefetchDataZMQ(numbers().map(odd), 1, on_error="skip")
    exact = {
        "a list": numbers(),
        "functions are believed": numbers().map(odd),
        "replacements": df.PrefetchDataZMQ(numbers(), 1, on_error=lambda error, dp: [0]),
        "a fixed size": df.FixedSizeData(skipping, 10),
        "filled up": df.FillUpData(skipping),
        "batches of that": df.FillUpData(skipping).batch(5),
    }
    unknown = {
        "a runner that skips": skipping,
        "batches of that": skipping.batch(5),
        "a filter": numbers().filter(lambda dp: True),
        "links that may be dead": Links(),
        "joined": df.ConcatData([numbers(), skipping]),
        "without an end": numbers().repeat(-1),
    }
    for ds in exact.values():
        assert len(IterableDataset(ds)) == len(ds)
    for ds in unknown.values():
        with pytest.raises(TypeError, match="not known"):
            len(IterableDataset(ds))
        with pytest.raises(TypeError):
            len(DataLoader(IterableDataset(ds), batch_size=None))
        assert len(IterableDataset(ds, length=7)) == 7
    with pytest.raises(TypeError):
        len(IterableDataset(numbers(), length=None))


class Links(df.dataset.NetworkImages):
    def __init__(self) -> None:
        super().__init__(shuffle=False)
        self.datapoints = [["http://127.0.0.1:9/a.jpg", 0]]


def test_a_pass_that_is_shorter_than_was_said_is_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    flow = numbers().map(lambda dp: None if dp[0] == 3 else dp)
    dataset = IterableDataset(flow)
    assert len(list(dataset)) == 9
    assert "10, and there were 9 datapoints" in caplog.text
    caplog.clear()
    iterator = iter(dataset)
    next(iterator)
    state = dataset.state_dict()
    iterator.close()
    dataset.load_state_dict(state)
    assert len(list(dataset)) == 8, "a rest"
    assert len(list(IterableDataset(flow, length=None))) == 9
    assert len(list(IterableDataset(df.FillUpData(flow)))) == 10
    assert not caplog.records


# -- items -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_items_are_drawn_anew_each_time(workers: int) -> None:
    """In each pass, also of workers that stay, and for each repeat of a sampler."""

    def run(seed: int) -> list[tuple[int, float]]:
        torch.manual_seed(seed)
        dataset = MapDataset(drawn())
        loader = DataLoader(
            dataset,
            batch_size=None,
            sampler=RandomSampler(dataset, generator=torch.Generator().manual_seed(3)),
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        return [crop(item) for _ in range(3) for item in loader]

    found = run(5)
    assert len(set(found)) == 18, "each of six came three times"
    assert run(5) == found != run(6)
    weights = torch.tensor([1.0, 0, 0, 0, 0, 0])
    repeats = DataLoader(
        MapDataset(drawn()), batch_size=None, sampler=WeightedRandomSampler(weights, 8)
    )
    assert len({crop(item) for item in repeats}) == 8
    dataset = MapDataset(drawn(), anew=False)
    assert [crop(dataset[0]) for _ in range(2)] == [crop(drawn()[0])] * 2


def test_which_item_it_is_does_not_change() -> None:
    flow = df.DataFromList([[i] for i in range(9)], shuffle=True).seed(1)
    dataset = MapDataset(flow)
    assert [int(dataset[i][0]) for i in range(9)] == [flow[i][0] for i in range(9)]
    batches = MapDataset(drawn().batch(2))
    assert batches[1][0].tolist() == [2, 3]
    assert len({float(batches[1][1].flatten()[0]) for _ in range(4)}) > 1


@pytest.mark.parametrize("workers", [0, 2])
def test_items_that_are_dropped(workers: int, caplog: pytest.LogCaptureFixture) -> None:
    flow = df.PrefetchDataZMQ(numbers().map(odd), 1, on_error="skip")

    def batches(dataset: Any, size: int = 4) -> list[list[int]]:
        loader = DataLoader(dataset, batch_size=size, num_workers=workers)
        return [labels.tolist() for (labels,) in loader]

    skipping = MapDataset(flow)
    assert batches(skipping) == [[0, 2], [4, 6], [8]]
    assert batches(Subset(skipping, [1, 2, 4, 5])) == [[2, 4]]
    substituting = MapDataset(flow, dropped="substitute")
    assert batches(substituting) == [[0, 2, 2, 4], [4, 6, 6, 8], [8, 0]]
    if not workers:
        assert caplog.text.count("this one first") == 2 and "1 is odd" in caplog.text
    if workers:  # new processes each time, which take long
        return
    with pytest.raises(df.Dropped, match="substitute"):
        batches(skipping, 1)
    with pytest.raises(df.Dropped, match="1 is odd"):
        batches(MapDataset(flow, dropped="raise"))
    with pytest.raises(df.Dropped, match="1 is odd"):
        skipping[1]
    nothing = MapDataset(numbers().filter(lambda dp: False), dropped="substitute")
    with pytest.raises(df.Dropped, match="that follow"):
        batches(nothing)
    with pytest.raises(df.ConfigError, match="dropped='leave'"):
        MapDataset(flow, dropped="leave")  # type: ignore[arg-type]
