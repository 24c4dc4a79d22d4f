"""Loading goes on while the loop's body runs, and nothing of it is lost, doubled or left behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patience import patient

import dataflow as df
from dataflow.engine.behind import behind
from dataflow.engine.runners import ThreadRunner

BATCH = 32


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + patient(30)
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.005)


# -- the thread -------------------------------------------------------------------------------


def nothing() -> None:
    pass


def test_the_next_item_is_made_while_one_is_in_use() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(5):
            made.append((number, threading.current_thread()))
            yield number

    taken = []
    for number in behind(items(), nothing):
        taken.append(number)
        until(lambda: len(made) == min(5, len(taken) + 1))
        assert made[-1][1] is not threading.current_thread()
    assert taken == list(range(5))


def test_what_making_an_item_raises_is_raised_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("two")

    found = behind(items(), nothing)
    assert next(found) == 1
    with pytest.raises(KeyError, match="two"):
        next(found)
    with pytest.raises(StopIteration):
        next(found)


def test_leaving_wakes_the_thread_from_what_it_waits_for() -> None:
    waiting, woken, closed = threading.Event(), threading.Event(), []

    def items() -> Iterator[int]:
        try:
            yield 1
            waiting.set()
            woken.wait()
            yield 2
        finally:
            closed.append(threading.current_thread())

    found = behind(items(), woken.set)
    assert next(found) == 1
    assert waiting.wait(patient(10))
    found.close()  # type: ignore[attr-defined]
    assert closed and closed[0] is not threading.current_thread()
    assert not closed[0].is_alive()


def test_a_forgotten_one_ends_its_thread() -> None:
    def items() -> Iterator[int]:
        yield from range(100)

    found = behind(items(), nothing)
    next(found)
    del found
    gc.collect()
    assert not [one for one in threading.enumerate() if one.name == "dataflow-behind"]


# -- loops ------------------------------------------------------------------------------------


def numbered(path: Path) -> Callable[[list[int]], list[Any]]:
    """A function that tells how many datapoints were made, in any process."""

    def work(dp: list[int]) -> list[Any]:
        time.sleep(0.003)  # or so little work would be given out by the hundred
        with open(path, "ab") as file:
            file.write(b".")
        return [np.full((4, 4), dp[0]), dp[0]]

    return work


RUNNERS: dict[str, Callable[..., df.DataFlow]] = {
    "threads": lambda ds, **options: ThreadRunner(ds, 2, **options),
    "processes": lambda ds, **options: df.PrefetchDataZMQ(ds, 2, **options),
    "pool": lambda ds, **options: df.PrefetchDataRemote(
        ds, "tcp://127.0.0.1:*", num_proc=2, **options
    ),
}
KINDS = pytest.mark.parametrize("kind", RUNNERS)


def flow(kind: str, path: Path, order: str = "above", size: int = 600, **options) -> df.DataFlow:
    ds: Any = df.DataFromList([[i] for i in range(size)], shuffle=False).map(numbered(path))
    if order == "below":
        return RUNNERS[kind](ds.batch(BATCH), **options)
    return RUNNERS[kind](ds, **options).batch(BATCH)


@KINDS
@pytest.mark.parametrize("order", ["above", "below"])
@pytest.mark.parametrize("ordered", [True, False])
def test_two_more_batches_are_made_while_the_loop_is_away(
    kind: str, order: str, ordered: bool, tmp_path: Path
) -> None:
    path = tmp_path / "made"
    with flow(kind, path, order, ordered=ordered) as ds:
        iterator = iter(ds)
        for taken in (1, 2, 3):
            next(iterator)
            until(lambda: path.stat().st_size >= (taken + 2) * BATCH)  # noqa: B023
        assert sum(len(labels) for _, labels in iterator) == 600 // BATCH * BATCH - 3 * BATCH


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_bound_that_was_given_holds(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "made"
    options = {"buffer_size": 4}
    with flow(kind, path, **options) as ds:
        iterator = iter(ds)
        next(iterator)
        # A batch is being filled, four wait, and as many as that are with each worker.
        most = BATCH + BATCH + 4 + 2 * 2 * 4
        time.sleep(0.3)
        assert path.stat().st_size <= most


@KINDS
def test_what_lies_ready_is_not_delivered_for_the_state(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "made"
    with flow(kind, path).seed(7) as ds:
        expected = [labels.tolist() for _, labels in ds]
        path.unlink()
        iterator = iter(ds)
        found = [next(iterator)[1].tolist() for _ in range(3)]
        until(lambda: path.stat().st_size >= 5 * BATCH)
        state = ds.state_dict()
        found += [next(iterator)[1].tolist()]
        iterator.close()
    with flow(kind, tmp_path / "rest").seed(7) as ds:
        ds.load_state_dict(state)
        rest = [labels.tolist() for _, labels in ds]
    assert found[:3] + rest == expected and found[3] == rest[0]


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_errors_and_drops_behind_the_loop(kind: str) -> None:
    def odd(dp: list[int]) -> list[int] | None:
        if dp[0] == 70:
            raise ValueError("seventy")
        return None if dp[0] % 3 == 0 else dp

    def make(on_error: str) -> df.DataFlow:
        ds = df.DataFromList([[i] for i in range(200)], shuffle=False).map(odd)
        return RUNNERS[kind](ds, on_error=on_error).batch(10, remainder=True).seed(1)

    with make("skip") as ds:
        found = [number for (numbers,) in ds for number in numbers.tolist()]
        assert found == [i for i in range(200) if i % 3 and i != 70]
        assert ds.stats()["errors"] == {"ValueError": 1}
    with make("raise") as ds:
        iterator, before = iter(ds), []
        with pytest.raises(df.WorkerError, match="seventy"):
            before.extend(numbers.tolist() for (numbers,) in iterator)
        assert before == [[i for i in range(200) if i % 3][at : at + 10] for at in (0, 10, 20, 30)]


def test_another_thread_ends_a_loop_that_waits_for_a_batch() -> None:
    release = threading.Event()

    def work(dp: list[int]) -> list[int]:
        if dp[0] >= 8:
            release.wait(patient(30))
        return dp

    ds = ThreadRunner(df.DataFromList([[i] for i in range(40)], False).map(work), 2).batch(8)
    iterator = iter(ds)
    next(iterator)
    closer = threading.Timer(0.1, ds.close)
    closer.start()
    with pytest.raises(df.DataFlowTerminated):
        next(iterator)
    release.set()
    closer.join()


def test_functions_of_the_user_stay_in_the_loops_thread() -> None:
    """A batch of one's own making, and a source that iterates by itself."""
    threads = set()

    class Own(df.BatchData):
        @staticmethod
        def aggregate_batch(data_holder: Any, use_list: bool = False) -> Any:
            threads.add(threading.current_thread())
            return df.BatchData.aggregate_batch(data_holder, use_list)

    def generate() -> Iterator[list[int]]:
        threads.add(threading.current_thread())
        yield from ([i] for i in range(30))

    with ThreadRunner(df.DataFromList([[i] for i in range(30)]).map(lambda dp: dp), 2) as ds:
        assert len(list(Own(ds, 10))) == 3
    with ThreadRunner(df.DataFromGenerator(generate).map(lambda dp: dp), 2) as ds:
        assert len(list(ds.batch(10))) == 3
    assert threads == {threading.current_thread()}


ENDINGS = ["sys.last_value = iterator", "os.kill(os.getpid(), 2)", "1 / 0"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_that_ends_in_the_middle(ending: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, time\nimport dataflow as df\n"
        "def work(dp):\n    time.sleep(0.001)\n    return dp\n"
        "source = df.DataFromList([[i] for i in range(9999)]).map(work)\n"
        "ds = df.PrefetchDataZMQ(source, 2).batch(8)\n"
        f"iterator = iter(ds)\nnext(iterator)\nprint('ready', flush=True)\n{ending}\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=patient(30),
    )
    assert done.stdout == "ready\n"
    assert done.stderr.count("Traceback") == (0 if "last" in ending else 1), done.stderr
    assert not list(tmp_path.glob("dataflow-*"))


def test_explain_tells_what_a_small_bound_costs() -> None:
    def text(**options: int) -> str:
        ds = df.DataFromList([[i] for i in range(64)], shuffle=False).map(lambda dp: dp)
        with ThreadRunner(ds, 2, **options).batch(32) as ds:
            list(ds)
            return ds.explain()

    assert "Only 8 datapoints may wait at ThreadRunner, and the loop takes 32" in text(
        buffer_size=8
    )
    assert "may wait" not in text()
