"""Datapoints into batches: dtypes, remainders, and errors that say where."""

from __future__ import annotations

import math
import re
from collections import namedtuple

import numpy as np
import pytest
import tensorpack.dataflow as tp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import dataflow as df

SCALARS = {
    "int": st.integers(-(1 << 31), (1 << 31) - 1),
    "float": st.floats(width=32, allow_nan=False),
    "text": st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=4),
    "int64": st.integers(-(1 << 63), (1 << 63) - 1).map(np.int64),
    "uint8": st.integers(0, 255).map(np.uint8),
    "float64": st.floats(allow_nan=False).map(np.float64),
    "float16": st.floats(width=16, allow_nan=False).map(np.float16),
    "numpy bool": st.booleans().map(np.bool_),
    "array": hnp.arrays(np.uint8, (2, 3)),
    "array of doubles": hnp.arrays(np.float64, (2,), elements=st.floats(-9, 9)),
    "array of no axes": hnp.arrays(np.int16, ()),
    "empty array": hnp.arrays(np.int64, (0, 2)),
}


def ours(points) -> df.DataFlow:
    return df.DataFromList(points, shuffle=False)


def theirs(points):
    ds = tp.DataFromList(points, shuffle=False)
    ds.reset_state()
    return ds


def same(a, b) -> bool:
    """Equal in type, dtype, shape and value; Python's ints become int64 here, int32 there."""
    if isinstance(b, dict):
        return isinstance(a, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in b)
    if isinstance(b, list):
        return isinstance(a, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(b, np.ndarray):
        wide = np.int64 if b.dtype == np.int32 else b.dtype
        return isinstance(a, np.ndarray) and a.dtype == wide and np.array_equal(a, b)
    return type(a) is type(b) and bool(a == b)


@st.composite
def datapoints(draw):
    """Up to 12 datapoints of one kind: lists, tuples or dicts of some components."""
    kinds = draw(st.lists(st.sampled_from(sorted(SCALARS)), min_size=1, max_size=3))
    points = draw(st.lists(st.tuples(*(SCALARS[kind] for kind in kinds)), min_size=1, max_size=12))
    build = draw(st.sampled_from([list, tuple, lambda dp: {f"c{i}": v for i, v in enumerate(dp)}]))
    return [build(point) for point in points]


@given(datapoints(), st.integers(1, 5), st.booleans(), st.booleans())
def test_batches_are_tensorpacks(points, size, remainder, use_list) -> None:
    mine = list(df.BatchData(ours(points), size, remainder, use_list))
    if size > len(points) and not remainder:
        assert mine == []  # tensorpack refuses this with an assertion
        return
    expected = list(tp.BatchData(theirs(points), size, remainder, use_list))
    assert same(mine, expected)


@given(st.integers(0, 30), st.integers(1, 8), st.booleans())
def test_the_length_is_the_number_of_batches(points, size, remainder) -> None:
    ds = df.BatchData(ours([[i] for i in range(points)]), size, remainder)
    batches = list(ds)
    assert len(ds) == ds.size() == len(batches)
    assert [x for (batch,) in batches for x in batch] == list(
        range(points if remainder else points - points % size)
    )


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, -2], np.int64),
        ([1, 1 << 40], np.int64),
        ([1, 2.5], np.float64),
        ([2.5, 1], np.float64),
        ([True, 7], np.int64),
        ([7, True], np.int64),
        ([1j, 2], np.complex128),
        ([1, np.int64(1 << 40)], np.int64),
        ([np.int32(1), np.int64(1 << 40)], np.int64),
        ([np.uint8(0), np.float32(300.5)], np.float32),
        ([np.float32(300.5), np.uint8(0)], np.float32),
        ([1.5, 2.5], np.float32),
        ([True, False], np.bool_),
        ([np.int64(1 << 40), np.int64(2)], np.int64),
        ([np.float64(1e300), np.float64(0.1)], np.float64),
        ([np.float32(1), np.float32(2)], np.float32),
        ([np.bool_(True), np.bool_(False)], np.bool_),
    ],
)
def test_dtypes_of_scalars(values, dtype) -> None:
    ((batch,),) = list(df.BatchData(ours([[value] for value in values]), 2))
    assert batch.dtype == dtype
    assert batch.tolist() == [v.item() if isinstance(v, np.generic) else v for v in values]


def test_text_keeps_its_length() -> None:
    for values in (["a", "much longer"], [np.str_("a"), np.str_("much longer")]):
        ((batch,),) = list(df.BatchData(ours([[value] for value in values]), 2))
        assert batch.tolist() == ["a", "much longer"]


def test_bytes_are_bytes() -> None:
    """Unlike in tensorpack, which makes text of them."""
    points = [[b"a"], [b"\0\xff"]]
    ((batch,),) = list(df.BatchData(ours(points), 2))
    assert batch.dtype == "S2" and batch.tolist() == [b"a", b"\0\xff"]


def test_arrays_get_a_new_first_axis_and_keep_their_dtype() -> None:
    points = [[np.full((4, 5, 3), i, np.uint8), i] for i in range(6)]
    for images, labels in df.BatchData(ours(points), 3):
        assert images.shape == (3, 4, 5, 3) and images.dtype == np.uint8
        assert images[:, 0, 0, 0].tolist() == labels.tolist()
        assert images.flags.c_contiguous and images.flags.owndata


@pytest.mark.parametrize("size", [2, 4096])
@pytest.mark.parametrize(
    ("dtypes", "dtype"),
    [
        (["u1", "f4"], "f4"),
        (["f4", "f8"], "f8"),
        (["i4", "i8"], "i8"),
        (["?", "i2"], "i2"),
        (["i8", "f4"], "f8"),
    ],
)
def test_dtypes_that_differ_are_promoted_in_any_order(dtypes, dtype, size) -> None:
    for order in (dtypes, dtypes[::-1]):
        points = [[np.full(size, n, kind)] for n, kind in enumerate(order)]
        ((batch,),) = list(df.BatchData(ours(points), 2))
        assert batch.dtype == dtype and (batch == [[0], [1]]).all()


@pytest.mark.parametrize("make", [lambda v: v, np.asarray, lambda v: np.full(4096, v)])
def test_what_no_common_dtype_holds_is_an_error(make) -> None:
    points = [[make(np.float32(0.5))], [make(np.int64((1 << 60) + 1))]]
    with pytest.raises(ValueError, match=rf"{(1 << 60) + 1} of datapoint 1 .* has no float64"):
        list(df.BatchData(ours(points), 2))


@pytest.mark.parametrize("make", [lambda v: v, lambda v: np.full(3, v)])
def test_dates_are_not_wound_round(make) -> None:
    exact = np.datetime64("2020-01-01T00:00:00.000000001")
    points = [[make(np.datetime64("2019-01-01"))], [make(exact)]]
    ((batch,),) = list(df.BatchData(ours(points), 2))
    assert batch.dtype == "M8[ns]" and (batch[1] == exact).all()
    points[0] = [make(np.datetime64("9999-01-01"))]
    with pytest.raises(ValueError, match=r"9999-01-01 of datapoint 0 .* no datetime64\[ns"):
        list(df.BatchData(ours(points), 2))


def test_rows_of_different_kinds_are_refused() -> None:
    points = [[np.array([(1,)], [("a", kind)])] for kind in ("i8", "f8")]
    with pytest.raises(ValueError, match="rows of"):
        list(df.BatchData(ours(points), 2))


def test_floats_beside_ints_are_pythons() -> None:
    ((batch,),) = list(df.BatchData(ours([[0.1], [1 << 40]]), 2))
    assert batch.tolist() == [0.1, float(1 << 40)]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("points", "pad", "words"),
    [
        ([[1e300], [1.0]], None, "1e.300, of datapoint 0"),
        ([[np.zeros(2, int)], [np.zeros(3, int)]], math.nan, "pad=nan is no value of dtype int64"),
        ([[np.zeros(2)], [np.zeros(3)]], 1j, "pad=1j is no value of dtype float64"),
    ],
)
def test_where_warnings_are_errors_the_error_is_ours(points, pad, words) -> None:
    with pytest.raises(ValueError, match=words):
        list(df.BatchData(ours(points), 2, pad=pad))


def test_leaf_by_leaf() -> None:
    Pair = namedtuple("Pair", "a b")
    points = [
        [{"box": np.full((2, 4), i), "size": (i, 2 * i)}, [np.full(3000, i), "x"], Pair(i, 0.5)]
        for i in range(3)
    ]
    ((boxes, parts, pair),) = list(df.BatchData(ours(points), 3))
    assert boxes["box"].shape == (3, 2, 4) and boxes["box"][:, 0, 0].tolist() == [0, 1, 2]
    assert [column.tolist() for column in boxes["size"]] == [[0, 1, 2], [0, 2, 4]]
    assert parts[0].shape == (3, 3000) and parts[1].tolist() == ["x"] * 3
    assert type(pair) is Pair and pair.a.tolist() == [0, 1, 2]
    assert pair.b.dtype == np.float32


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([[{"a": 1}], [{"b": 1}]], ["component 0", "'a'", "'b'", "datapoint 1"]),
        ([[{"a": [1, 2]}], [{"a": [1]}]], ["component 0['a']", "2 components", "1 components"]),
        ([[{"a": np.zeros(2)}], [{"a": np.zeros(3)}]], ["component 0['a']", "(2,)", "(3,)"]),
        ([[(1, None)], [(1, None)]], ["component 0[1]", "None", "datapoint 0"]),
        ([[[1]], [1]], ["component 0", "list", "int", "datapoint 1"]),
    ],
)
def test_leaves_that_do_not_fit_are_named(points, words) -> None:
    with pytest.raises(ValueError) as caught:
        list(df.BatchData(ours(points), 2))
    for word in words:
        assert word in str(caught.value)


def test_padding_to_the_largest_shape() -> None:
    points = [[np.full((1 + i, 3), i + 1, np.uint8), i] for i in range(3)]
    ((batch, labels),) = list(df.BatchData(ours(points), 3, pad=9))
    assert batch.shape == (3, 3, 3) and batch.dtype == np.uint8 and labels.tolist() == [0, 1, 2]
    assert batch[0].tolist() == [[1] * 3, [9] * 3, [9] * 3] and (batch[2] == 3).all()
    with pytest.raises(ValueError, match=r"pad=-1 is no value of dtype uint8"):
        list(df.BatchData(ours(points), 3, pad=-1))
    with pytest.raises(ValueError, match="numbers of axes"):
        list(df.BatchData(ours([[np.zeros(2)], [np.zeros((2, 2))]]), 2, pad=0))


@pytest.mark.parametrize("wrap", [lambda ds: ds, lambda ds: df.PrefetchDataZMQ(ds, 1)])
def test_a_function_of_the_users_makes_the_batch(wrap) -> None:
    def together(points):
        return {"sum": sum(value for (value,) in points)}

    ds = ours([[i] for i in range(6)]).batch(3, collate=together)
    assert list(wrap(ds)) == [{"sum": 3}, {"sum": 12}]
    with pytest.raises(df.ConfigError, match="collate=7"):
        ours([[1]]).batch(3, collate=7)


def test_tensors_become_a_tensor() -> None:
    torch = pytest.importorskip("torch", reason="pip install '.[test-frameworks]'")
    points = [[torch.full((2, 40), float(i)), i] for i in range(4)]
    for wrap in (lambda ds: ds, lambda ds: df.PrefetchDataZMQ(ds, 1)):
        ((batch, labels),) = list(wrap(ours(points).batch(4)))
        assert isinstance(batch, torch.Tensor) and batch.shape == (4, 2, 40)
        assert batch[:, 0, 0].tolist() == labels.tolist() == [0, 1, 2, 3]
    uneven = [[torch.ones(1 + i)] for i in range(2)]
    ((padded,),) = list(ours(uneven).batch(2, pad=0))
    assert padded.tolist() == [[1, 0], [1, 1]]
    for points in (
        uneven,
        [[torch.ones(2)], [torch.ones(2, dtype=torch.int64)]],
        [[torch.ones(2)], [1]],
    ):
        with pytest.raises(ValueError, match="component 0 cannot be batched"):
            list(ours(points).batch(2))


def test_lists_take_anything() -> None:
    objects = [object(), np.zeros(2), np.zeros(3), None]
    (batch,) = list(df.BatchData(ours([[x, i] for i, x in enumerate(objects)]), 4, use_list=True))
    assert batch[0][0] is objects[0] and batch[0][3] is None
    assert [part.shape for part in batch[0][1:3]] == [(2,), (3,)]
    assert not np.shares_memory(batch[0][1], objects[1]), "nobody writes into the list's own"
    assert batch[1] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([[0, np.zeros((2, 3))], [0, np.zeros((2, 4))]], ["component 1", "(2, 3)", "(2, 4)"]),
        ([{"img": np.zeros(2)}, {"img": np.zeros(3)}], ["component 'img'", "(2,)", "(3,)"]),
        ([[np.zeros(2)], [5.0]], ["component 0", "(2,)", "float"]),
        ([[1], ["x"]], ["component 0", "int", "str"]),
        ([[1], [1 << 63]], ["component 0", str(1 << 63), "datapoint 1", "int64"]),
        ([[0.5], [1e300]], ["component 0", "1e+300", "datapoint 1", "float32"]),
        ([[None], [None]], ["component 0", "datapoint 0", "None"]),
        ([[1], [None]], ["component 0", "datapoint 1", "None"]),
        ([[object()], [object()]], ["component 0", "object"]),
        ([[1], [[2, 3]]], ["component 0", "int", "list"]),
        ([[b"a"], [b"cut off\0"]], ["component 0", "NUL"]),
    ],
)
def test_what_cannot_be_stacked_names_component_and_shapes(points, words) -> None:
    with pytest.raises(ValueError) as caught:
        list(df.BatchData(ours(points), 2))
    for word in [*words, "use_list=True"]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([[1, 2], [1]], ["2 components", "1 components"]),
        ([[1], [1, 2]], ["1 components", "2 components"]),
        ([{"a": 1}, {"b": 1}], ["dict", "'a'", "'b'"]),
        ([{"a": 1, "b": 2}, {"a": 1}], ["dict", "a", "b"]),
        ([[1], {"a": 1}], ["dict"]),
    ],
)
def test_datapoints_of_different_structure_are_an_error(points, words) -> None:
    with pytest.raises(ValueError) as caught:
        list(df.BatchData(ours(points), 2))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("point", [7, "text", np.zeros(2)])
def test_what_is_no_datapoint_is_an_error(point) -> None:
    with pytest.raises(ValueError, match=f"not {type(point).__name__}"):
        list(df.BatchData(ours([point, point]), 2))


def test_drops_below_do_not_make_batches_smaller() -> None:
    even = df.FilterData(ours([[i] for i in range(11)]), lambda dp: dp[0] % 2 == 0)
    assert [b.tolist() for (b,) in df.BatchData(even, 4)] == [[0, 2, 4, 6]]
    assert [b.tolist() for (b,) in df.BatchData(even, 4, remainder=True)] == [[0, 2, 4, 6], [8, 10]]
    none = df.FilterData(ours([[1]] * 3), lambda dp: False)
    assert list(df.BatchData(none, 2, remainder=True)) == []


def test_stages_above_see_batches() -> None:
    ds = df.BatchData(ours([[i] for i in range(6)]), 2).map(lambda dp: [dp[0].sum()])
    assert [int(total) for (total,) in ds] == [1, 5, 9]
    twice = df.BatchData(df.BatchData(ours([[i] for i in range(4)]), 2), 2)
    assert [b.tolist() for (b,) in twice] == [[[0, 1], [2, 3]]]


@pytest.mark.parametrize("size", [0, -1])
def test_sizes_that_cannot_be_are_refused(size) -> None:
    with pytest.raises(ValueError, match=re.escape(f"batch_size={size}")):
        df.BatchData(ours([[1]]), size)


def test_aggregate_batch_by_itself() -> None:
    """Scripts call tensorpack's static method directly."""
    assert same(
        df.BatchData.aggregate_batch([[1, 2.0], [3, 4.0]]),
        tp.BatchData.aggregate_batch([[1, 2.0], [3, 4.0]]),
    )
    assert df.BatchData.aggregate_batch([{"a": 1}, {"a": 2}], use_list=True) == {"a": [1, 2]}


def test_python_booleans_stay_booleans() -> None:
    """Unlike in tensorpack, which takes them for ints."""
    points = [[True], [False]]
    (mine,), (other,) = df.BatchData(ours(points), 2), tp.BatchData(theirs(points), 2)
    assert mine[0].dtype == np.bool_ and other[0].dtype == np.int32
