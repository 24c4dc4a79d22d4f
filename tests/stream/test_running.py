"""A stream is a dataflow."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patience import patient

import dataflow as df
from dataflow import stream as st


@st.op("doubled", x=st.FLOAT, gives=st.FLOAT)
def doubled(x: float) -> float:
    """Twice of it."""
    return 2 * x


@st.stream
def numbers(count: int = 10) -> Any:
    """Of some kinds."""
    return doubled(st.uniform()), st.integer(0, count), st.index()


def test_it_is_endless_and_has_random_access() -> None:
    s = numbers().seed(5)
    with pytest.raises(df.UnknownLength, match="the stream numbers has no end"):
        len(s)
    first = [sample for sample, _ in zip(s, range(6), strict=False)]
    assert first == [s[index] for index in range(6)] == list(s.take(6))
    assert s[1 << 40][2] == 1 << 40 and s.take(3)[2] == first[2]
    with pytest.raises(IndexError):
        s[-1]
    batch = df.BatchData(s, 4)
    assert batch[1][2].tolist() == [4, 5, 6, 7] == list(itertools.islice(batch, 2))[1][2].tolist()


def test_seeds_and_epochs() -> None:
    s = numbers()
    assert s[3] == numbers().seed(0)[3] != numbers().seed(1)[3]
    assert numbers().seed(-1)[0] == numbers().seed((1 << 64) - 1)[0]
    epochs = [list(s.take(3)), list(s.take(3))]
    s.set_epoch(7)
    assert epochs[0] == epochs[1] == list(s.take(3)) and s[2] == epochs[0][2]
    chain = df.BatchData(numbers().take(4), 2).seed(5)
    assert chain[0][0][0] == pytest.approx(numbers().seed(5)[0][0])
    # Beside others each has its own seed, also where the chain goes on from a state.
    both = df.JoinData([numbers().seed(1).take(6), numbers().seed(2).take(6)])
    whole = list(both)
    again = df.JoinData([numbers().seed(1).take(6), numbers().seed(2).take(6)])
    loop = iter(both)
    assert [next(loop), next(loop)] == whole[:2]
    again.load_state_dict(json.loads(json.dumps(both.state_dict())))
    assert list(again) == whole[2:]


def test_it_goes_on_where_it_was_on_other_workers() -> None:
    alone = [numbers().seed(3)[index] for index in range(12)]
    flow = numbers().seed(3).parallel(num_threads=2)
    loop = iter(flow)
    begun = [next(loop) for _ in range(5)]
    state = json.loads(json.dumps(flow.state_dict()))
    flow.close()
    with df.PrefetchDataZMQ(numbers().seed(3), 1) as other:
        other.load_state_dict(state)
        assert begun + list(itertools.islice(other, 7)) == alone
    with df.PrefetchDataZMQ(df.BatchData(numbers().seed(3), 4), 1) as batches:
        indices = [batch[2].tolist() for batch in itertools.islice(batches, 3)]
    assert indices == [[sample[2] for sample in alone[at : at + 4]] for at in (0, 4, 8)]


def test_steps_above_it() -> None:
    s = numbers().seed(1)
    mapped = df.MultiThreadMapData(s, 2, lambda dp: [dp[2] * 10])
    assert [one for (one,) in itertools.islice(mapped, 4)] == [0, 10, 20, 30]
    mapped.close()
    assert [dp[0] for dp in s.select(2).filter(lambda dp: dp[0] % 2).take(3)] == [1, 3, 5]


def test_samples_that_failed_are_skipped_and_tried_again() -> None:
    @st.op(number=st.INT, gives=st.FLOAT)
    def inverse(number: int) -> float:
        return 1 / (number - broken[0])

    broken = [3]
    s = st.Stream([inverse(st.index()), st.uniform()]).seed(2)
    flow = df.MultiThreadMapData(s, 2, lambda dp: dp, on_error="skip")
    with flow:
        assert len(list(itertools.islice(flow, 6))) == 6
        assert [failed.reason for failed in flow.errors()] == ["ZeroDivisionError"]
        broken[0] = 9
        with flow.retry_failed() as again:
            assert list(again) == [s[3]]


def test_threads_share_the_records() -> None:
    images = np.zeros((3, 40, 40), np.uint8)
    held: list[Any] = []

    @st.op(image=st.Image(), gives=st.INT, foldable=False)
    def watched(image: Any) -> int:
        held.append(np.shares_memory(image, images))
        return 0

    s = st.Stream(watched(st.records(image=images).random()["image"]))
    with s.parallel(num_threads=2).take(8) as flow:
        assert len(list(flow)) == 8
    assert len(held) >= 8 and all(held)


def test_operations_of_a_script_work_in_processes() -> None:
    """Where the script is `__main__`, which workers do not import."""
    script = """
import dataflow as df
from dataflow import stream as st

@st.op(x=st.INT, gives=st.INT)
def squared(x):
    return x * x

@st.stream
def squares():
    return squared(st.index())

with df.PrefetchDataZMQ(squares(), 1).take(4) as flow:
    print([value for (value,) in flow])
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=True,
    )
    assert done.stdout == "[0, 1, 4, 9]\n"


def test_the_tutorial_names_what_there_is() -> None:
    text = (Path(df.__file__).parents[1] / "docs/streams.md").read_text("utf-8")
    named = set(re.findall(r"`(\w+)`", text[text.index("## All of them") :]))
    assert all(hasattr(st, name) for name in named)
    operators = {"add", "subtract", "multiply", "divide", "floor_divide", "modulo", "power"}
    operators |= {"negative", "less", "less_equal", "equal", "not_equal"}
    functions = {"arccos", "arcsin", "arctan", "cos", "tan", "stream", "op", "save", "load", "draw"}
    made = {name for name in st.__all__ if name.islower() and not name.startswith("logical_")}
    assert made - named - operators - functions == {"generator"}


def test_it_is_there_where_the_package_is() -> None:
    assert df.stream is st and df.stream.Stream is st.Stream


def test_a_state_brings_its_seed() -> None:
    first = numbers().seed(3).batch(4)
    iterator = iter(first)
    next(iterator)
    state = first.state_dict()
    again = numbers().batch(4)
    again.load_state_dict(state)
    assert [part.tolist() for part in next(iter(again))] == [
        part.tolist() for part in next(iterator)
    ]
    with pytest.raises(df.StateError, match="seed 4"):
        numbers().seed(4).batch(4).load_state_dict(state)
    with pytest.raises(IndexError, match="without an end"):
        numbers()[-1]
