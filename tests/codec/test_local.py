"""Structure in the pickle, arrays beside it."""

from __future__ import annotations

import numpy as np
import pytest

from dataflow.codec import local


@pytest.mark.parametrize("make", [np.ascontiguousarray, np.asfortranarray, lambda a: a[:, ::2]])
def test_arrays_of_any_layout(make) -> None:
    array = make(np.random.default_rng(0).random((60, 80)))
    structure, buffers = local.encode([array, {"label": 3, "name": "x"}])
    assert len(structure) < 1000 and len(buffers) == 1, "no array in the pickle"
    found, rest = local.decode(structure, [bytearray(b) for b in buffers])
    np.testing.assert_array_equal(found, array)
    assert rest == {"label": 3, "name": "x"} and found.flags.writeable


def test_small_arrays_travel_inside() -> None:
    structure, buffers = local.encode([np.arange(5), np.float32(2)])
    assert not buffers
    found = local.decode(structure, ())
    assert found[0].tolist() == [0, 1, 2, 3, 4] and found[1] == 2


def test_lambdas_and_local_classes() -> None:
    class Local:
        def __init__(self, big: np.ndarray) -> None:
            self.big = big

    structure, buffers = local.encode([lambda x: x + 1, Local(np.zeros(10_000))])
    function, thing = local.decode(structure, [bytearray(b) for b in buffers])
    assert function(1) == 2 and thing.big.shape == (10_000,)


def test_object_arrays_travel_inside() -> None:
    structure, buffers = local.encode(np.array([{"a": 1}] * 1000, dtype=object))
    assert not buffers and local.decode(structure, ())[999] == {"a": 1}
