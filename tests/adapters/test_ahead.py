"""Who runs ahead of a loop does not count as the loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optional import library

import dataflow as df
from dataflow.adapters.ahead import Ahead


def numbers(count: int = 10) -> df.DataFlow:
    return df.BatchData(df.DataFromList([[i] for i in range(2 * count)], shuffle=False), 2)


def reader(ds: Any, ahead: int) -> Ahead[Any]:
    return Ahead(ds, lambda batch: batch, lambda batch: batch[0].tolist(), ahead)


def rest(state: Any, workers: bool = False) -> list[Any]:
    with numbers() if not workers else df.PrefetchDataZMQ(numbers(), 2) as again:
        again.load_state_dict(state)
        return [batch[0].tolist() for batch in again]


@pytest.mark.parametrize("ahead", [0, 1, 3, 20])
@pytest.mark.parametrize("taken", [0, 1, 3, 9, 10])
def test_states_are_the_loop_s(ahead: int, taken: int) -> None:
    with numbers() as ds:
        stream = reader(ds, ahead)
        got = [next(stream) for _ in range(taken)]
        for state in (stream.state_dict(), ds.state_dict()):
            assert got + rest(state) == [[2 * i, 2 * i + 1] for i in range(10)]
        assert len(list(stream)) == 10 - taken


def test_at_the_end_comes_the_next_epoch() -> None:
    with numbers() as ds:
        stream = reader(ds, 2)
        assert len(list(stream)) == 10
        assert stream.state_dict()["epoch"] == 1
        assert len(rest(stream.state_dict())) == 10


def test_a_loop_that_is_left() -> None:
    with numbers() as ds:
        for batch in (stream := reader(ds, 3)):
            if batch[0] == 4:
                break
        stream.close()
        assert rest(ds.state_dict())[0] == [6, 7]


def test_who_goes_on_without_it() -> None:
    """The flow's own iterator is the loop again."""
    with numbers() as ds:
        stream = reader(ds, 2)
        next(stream)
        inner = stream._stream
        assert inner is not None
        next(inner)  # the fifth
        assert rest(ds.state_dict())[0] == [8, 9]


def test_with_workers() -> None:
    with df.PrefetchDataZMQ(numbers(), 2, ordered=True) as ds:
        stream = reader(ds, 3)
        got = [next(stream) for _ in range(4)]
        state = ds.state_dict()
        assert sorted(got + rest(state, workers=True)) == [[2 * i, 2 * i + 1] for i in range(10)]


def test_others_have_no_state() -> None:
    stream = Ahead([1, 2], lambda x: x, lambda x: x, 1)
    with pytest.raises(TypeError, match="a list has no state: give the dataflow itself"):
        stream.state_dict()
    assert list(stream) == [1, 2]
    with pytest.raises(df.ConfigError, match="ahead=-1"):
        Ahead([], lambda x: x, lambda x: x, -1)


def test_what_cannot_be_resumed() -> None:
    class Own(df.DataFlow):
        def __iter__(self) -> Any:
            yield from ([[1]], [[2]])

    stream = Ahead(Own(), lambda x: x, lambda x: x, 1)
    assert next(stream) == [[1]]
    with pytest.raises(df.DataFlowError):
        stream.state_dict()
    assert next(stream) == [[2]]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_is_done_on_the_device(device: str) -> None:
    torch = library("torch")
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    from dataflow.adapters.torch import to_device

    normalized = df.to_tensor(dtype="float16")
    image = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    flow = df.DataFromList([[image, 1]] * 3, shuffle=False)

    def prepared(batch: Any) -> Any:
        images, label = batch
        assert images.device.type == device
        return normalized(images).to(memory_format=torch.channels_last), label

    for images, label in to_device(flow, device, then=prepared):
        assert images.dtype == torch.float16 and images.shape == (2, 3, 4, 5) and label == 1
        assert images.is_contiguous(memory_format=torch.channels_last)
        wanted = df.to_tensor()(image).astype(np.float16)
        np.testing.assert_allclose(images.cpu().numpy(), wanted, rtol=2e-3, atol=2e-3)
