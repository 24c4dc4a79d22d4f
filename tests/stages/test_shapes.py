"""`BatchDataByShape`: batches of equal shapes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflow as df


def points(sizes: list[int]) -> df.DataFromList:
    return df.DataFromList(
        [[np.full((size,), number), number] for number, size in enumerate(sizes)], shuffle=False
    )


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 4), max_size=30),
    st.integers(1, 5),
    st.booleans(),
)
def test_batches_of_one_shape_in_the_order_in_which_they_fill(
    sizes: list[int], batch_size: int, remainder: bool
) -> None:
    ds = df.BatchDataByShape(points(sizes), batch_size, 0, remainder=remainder)
    for _ in range(2):
        found = [(array.shape, labels.tolist()) for array, labels in ds]
        full = [labels for _, labels in found if len(labels) == batch_size]
        assert [labels[-1] for labels in full] == sorted(labels[-1] for labels in full)
        for shape, labels in found:
            assert {sizes[label] for label in labels} == {shape[1]}
        for size in set(sizes):
            wanted = [number for number, one in enumerate(sizes) if one == size]
            kept = wanted if remainder else wanted[: len(wanted) // batch_size * batch_size]
            assert [n for shape, labels in found if shape[1] == size for n in labels] == kept
        assert len(found) >= len(ds) if remainder else len(found) <= len(ds)


def test_dicts_and_dropped_datapoints() -> None:
    flow = df.DataFromList([{"a": np.zeros(i % 2), "i": i} for i in range(12)], shuffle=False)
    ds = df.BatchDataByShape(flow.filter(lambda dp: dp["i"] != 4), 3, "a")
    assert [batch["i"].tolist() for batch in ds] == [[1, 3, 5], [0, 2, 6], [7, 9, 11]]


def test_resumed_by_going_through_again() -> None:
    sizes = [1, 2, 3, 1, 2, 2, 1, 3, 1, 2, 3, 1]

    def chain(processes: int = 0) -> df.DataFlow:
        ds: df.DataFlow = points(sizes).map(list)
        if processes:
            ds = df.PrefetchDataZMQ(ds, processes, ordered=True)
        return df.BatchDataByShape(ds, 2, 0)

    ds = chain()
    iterator = iter(ds)
    head = [next(iterator)[1].tolist() for _ in range(2)]
    state = json.loads(json.dumps(ds.state_dict()))
    rest = [labels.tolist() for _, labels in iterator]
    for processes in (0, 2):
        with chain(processes) as other:
            other.load_state_dict(state)
            assert [labels.tolist() for _, labels in other] == rest
    assert len(head + rest) == 5
    with df.BatchDataByShape(df.PrefetchDataZMQ(points(sizes).map(list), 2), 2, 0) as loose:
        iterator = iter(loose)
        next(iterator)
        with pytest.raises(df.NotResumable, match="several shapes"):
            loose.state_dict()
        del iterator


def test_it_says_how_much_it_dropped(caplog: pytest.LogCaptureFixture) -> None:
    points = [[np.zeros((n % 5 + 1, 2))] for n in range(12)]
    ds = df.BatchDataByShape(df.DataFromList(points, shuffle=False), 3, 0)
    for _ in range(2):
        assert len([*ds]) == 2
    (said,) = caplog.messages
    assert said.startswith("BatchDataByShape dropped 6 of 12 datapoints: of 5 shapes")
    assert "remainder=True" in said


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(df.ConfigError, match="batch_size=0"):
        df.BatchDataByShape(points([1]), 0, 0)
    with pytest.raises(TypeError, match="component 1 has no shape: it is a int"):
        list(df.BatchDataByShape(points([1]), 1, 1))
    with pytest.raises(IndexError, match="no component 2"):
        list(df.BatchDataByShape(points([1]), 1, 2))
    with pytest.raises(TypeError, match="random access"):
        df.BatchDataByShape(points([1]), 1, 0)[0]
