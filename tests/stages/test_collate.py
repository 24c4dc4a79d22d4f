"""Batches that are filled as their datapoints arrive are those that are stacked at the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflow as df
from dataflow.stages import collate
from dataflow.stages.collate import Collation, aggregated

DTYPES = ["u1", "i4", "f4", "f8", "c8", "?", "O", "U3"]
LARGE = (20, 40)


def arrays(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return (np.arange(np.prod(shape)) % 99).reshape(shape).astype(dtype)


components = st.one_of(
    st.tuples(st.sampled_from([LARGE, LARGE, LARGE, (3,), (40, 20)]), st.sampled_from(DTYPES)).map(
        lambda of: arrays(*of)
    ),
    st.integers(-5, 5),
    st.floats(0, 1),
    st.sampled_from(["a", b"b", None, np.float32(2)]),
)


@st.composite
def members(draw: st.DrawFn) -> list[Any]:
    """Datapoints that mostly fit together."""
    first = draw(st.lists(components, min_size=1, max_size=3))
    made: list[Any] = []
    for _ in range(draw(st.integers(1, 6))):
        one = list(first)
        if draw(st.integers(0, 4)) == 0:
            one[draw(st.integers(0, len(one) - 1))] = draw(components)
        if draw(st.integers(0, 9)) == 0:
            one.append(draw(components))
        made.append(
            [
                part + 1 if type(part) is np.ndarray and part.dtype.kind in "uif" else part
                for part in one
            ]
        )
    kind = draw(st.sampled_from([list, tuple, dict, "mixed"]))
    if kind is dict:
        return [dict(zip("abcdef", one, strict=False)) for one in made]
    return [
        (tuple if kind is tuple or (kind == "mixed" and n % 2) else list)(one)
        for n, one in enumerate(made)
    ]


def outcome(make: Any) -> Any:
    with np.errstate(all="ignore"):
        try:
            batch = make()
        except Exception as error:
            return type(error), str(error)
    parts = batch.items() if isinstance(batch, dict) else enumerate(batch)
    return type(batch), [(key, _plain(part)) for key, part in parts]


def _plain(part: Any) -> Any:
    return (part.dtype.str, part.shape, part.tolist()) if isinstance(part, np.ndarray) else part


@pytest.mark.filterwarnings("ignore:Casting complex values to real")
@settings(max_examples=300, deadline=None)
@given(members(), st.integers(0, 3))
def test_as_it_would_be_at_the_end(datapoints: list[Any], missing: int) -> None:
    expected = outcome(lambda: aggregated([*datapoints]))
    held = Collation(len(datapoints) + missing)
    for number, datapoint in enumerate(datapoints):
        held.add(datapoint)
        assert len(held) == number + 1
    assert outcome(held.result) == expected


def test_arrays_are_copied_as_they_come() -> None:
    buffer = np.zeros(LARGE, np.float32)
    held = Collation(3)
    for number in range(3):
        buffer[:] = number
        held.add([buffer, number])
    images, numbers = held.result()
    assert images[:, 0, 0].tolist() == numbers.tolist() == [0, 1, 2]


def test_what_is_given_is_not_changed() -> None:
    datapoint = {"image": np.zeros(LARGE), "label": 3}
    held = Collation(2)
    held.add(datapoint)
    held.add(datapoint)
    assert held.result()["image"].shape == (2, *LARGE)
    assert set(datapoint) == {"image", "label"} and datapoint["image"].shape == LARGE


def test_a_batch_of_everything_lays_out_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collate, "_MOST", 1 << 20)
    (images,) = next(iter(df.DataFromList([[np.ones(LARGE)]] * 5).batch(1 << 40, remainder=True)))
    assert images.shape == (5, *LARGE)


def test_slots_are_free_again_before_the_batch_is_full() -> None:
    """A batch of 256 images of 1 MB in some of them: it is copied from there as they come."""
    source = df.DataFromList([[i] for i in range(256)], shuffle=False)
    images = source.map(lambda dp: [np.full((1 << 20,), dp[0], np.uint8)])
    with (
        df.PrefetchDataZMQ(images, 2, hwm=16, ordered=True) as runner,
        df.BatchData(runner, 256) as ds,
    ):
        (batch,) = next(iter(ds))
        assert batch[:, -1].tolist() == list(range(256))
        (row,) = [row for row in ds.stats()["stages"] if row["kind"] == "runner"]
        assert 1 << 20 <= row["shared"] < 128 << 20
