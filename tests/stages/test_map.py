"""Functions on datapoints and on components."""

from __future__ import annotations

from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import tensorpack.dataflow as tp
from hypothesis import given
from hypothesis import strategies as st

import dataflow as df

POINTS = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)).map(list), max_size=20)


def ours(points) -> df.DataFlow:
    return df.DataFromList(points, shuffle=False)


def theirs(points):
    ds = tp.DataFromList(points, shuffle=False)
    ds.reset_state()
    return ds


def odd_to_none(point):
    return None if point[0] % 2 else [point[0] * 10, *point[1:]]


@given(POINTS)
def test_map_as_tensorpack(points) -> None:
    assert list(df.MapData(ours(points), odd_to_none)) == list(
        tp.MapData(theirs(points), odd_to_none)
    )


@given(POINTS, st.sampled_from([0, 1, -1, -2]))
def test_map_component_as_tensorpack(points, index) -> None:
    def func(value):
        return None if value == 0 else value + 1

    assert list(df.MapDataComponent(ours(points), func, index)) == list(
        tp.MapDataComponent(theirs(points), func, index)
    )


@given(POINTS)
def test_filter_is_a_list_comprehension(points) -> None:
    ds = df.FilterData(ours(points), lambda point: point[0] > point[1])
    assert list(ds) == [point for point in points if point[0] > point[1]]


def test_falsy_results_are_kept_and_none_is_dropped() -> None:
    results = [[], {}, 0, "", False, None]
    ds = df.MapData(ours(range(6)), lambda i: results[i])
    assert list(ds) == [[], {}, 0, "", False]


def test_the_length_is_an_upper_bound() -> None:
    for ds in (
        df.MapData(ours([[1], [2]]), odd_to_none),
        df.MapDataComponent(ours([[1], [2]]), lambda x: None),
        df.FilterData(ours([[1], [2]]), lambda dp: False),
    ):
        assert len(ds) == ds.size() == 2


Pair = namedtuple("Pair", "image label")


@pytest.mark.parametrize(
    ("point", "key"),
    [
        ([1, 2], 0),
        ({"a": 1, "b": 2}, "a"),
        (OrderedDict(a=1, b=2), "a"),
    ],
)
def test_the_function_gets_a_copy(point, key) -> None:
    """A source's own datapoints survive a function that writes into what it gets."""
    points = [point]

    def replace(dp):
        assert type(dp) is type(point)
        dp[key] = 99
        return dp

    ds = df.MapData(ours(points), replace)
    for _ in range(2):
        assert [dp[key] for dp in ds] == [99]
    assert points[0][key] == 1

    inner = [[1, np.zeros(2)]]

    def write(dp):
        dp[0].append(7)
        dp[0][1] += 1
        return dp

    for _ in range(2):
        ((written,),) = df.MapData(ours([inner]), write)
        assert written[1].tolist() == [1, 1] and written[2:] == [7]
    assert inner[0][1].tolist() == [0, 0] and len(inner[0]) == 2


@pytest.mark.parametrize("point", ["text", b"bytes", 7, (1, 2), None, Pair(1, 2)])
def test_other_datapoints_pass_as_they_are(point) -> None:
    seen = []
    list(df.MapData(ours([point]), seen.append))
    assert seen == [point]


def test_components_of_lists_tuples_and_dicts() -> None:
    def double(value):
        return value * 2

    for point, index, expected in (
        ([1, 2], 0, [2, 2]),
        ([1, 2], -1, [1, 4]),
        ((1, 2), 1, [1, 4]),
        (Pair(1, 2), 0, [2, 2]),
        ({"a": 1, "b": 2}, "b", {"a": 1, "b": 4}),
    ):
        points = [point]
        assert list(df.MapDataComponent(ours(points), double, index)) == [expected]
        assert points == [point], "the source's datapoint stays as it is"


def test_the_component_is_the_first_by_default() -> None:
    assert list(df.MapDataComponent(ours([[1, 2]]), lambda x: x + 5)) == [[6, 2]]


@pytest.mark.parametrize(
    ("point", "index", "error", "message"),
    [
        ([1, 2], 2, IndexError, "no component 2: the datapoint has 2 components"),
        ((1,), -2, IndexError, "no component -2: the datapoint has 1 components"),
        ({"image": 1}, "img", KeyError, "no component 'img': the datapoint has ['image']"),
        ({"image": 1}, 0, KeyError, "no component 0: the datapoint has ['image']"),
    ],
)
def test_a_missing_component_says_what_there_is(point, index, error, message) -> None:
    with pytest.raises(error) as caught:
        list(df.MapDataComponent(ours([point]), lambda x: x, index))
    assert caught.value.args == (message,)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: df.MapData(ours([]), 3), "func=3"),
        (lambda: df.MapDataComponent(ours([]), None), "func=None"),
        (lambda: df.FilterData(ours([]), "x"), "predicate='x'"),
    ],
)
def test_what_cannot_be_called_is_refused(build, match) -> None:
    with pytest.raises(ValueError, match=match):
        build()


def test_the_functions_exception_is_the_users() -> None:
    with pytest.raises(ZeroDivisionError):
        list(df.MapData(ours([[0]]), lambda dp: 1 / dp[0]))


def test_functions_may_draw_numbers_that_belong_to_the_datapoint() -> None:
    class Noise(df.RNGDataFlow):
        def __call__(self, dp):
            return [dp[0], self.rng.rand()]

    first, again = (
        list(df.DataFromList([[i] for i in range(9)]).map(Noise()).seed(2)) for _ in range(2)
    )
    assert first == again
    assert len({value for _, value in first}) == 9


def test_busy_time_and_items_are_counted() -> None:
    ds = df.MapData(ours([[i] for i in range(5)]), lambda dp: np.zeros(1000).sum())
    list(ds)
    row = ds.stats()["stages"][1]
    assert row["name"] == "MapData" and row["items"] == 5 and row["busy"] > 0
