"""What cannot be sent or read costs its datapoint, with a reason; nothing hangs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import dataflow as df
from dataflow.engine.runners import ThreadRunner


class NoPickle:
    def __reduce__(self) -> Any:
        raise RuntimeError("no pickling")


class NoUnpickle:
    def __getstate__(self) -> dict[str, int]:
        return {"a": 1}

    def __setstate__(self, state: Any) -> None:
        raise RuntimeError("no unpickling")


class NoModule:
    """Its class is not to be found where it arrives."""

    def __reduce__(self) -> Any:
        return _of_nowhere, ()


def _of_nowhere() -> Any:
    raise ImportError("no module of that name")


class NoAppend(list[int]):
    """A list that cannot be filled again."""

    def __init__(self) -> None:
        super().__init__()
        list.extend(self, [1, 2])

    def __reduce__(self) -> Any:
        return _empty_one, (), None, iter(self)

    def append(self, value: int) -> None:
        raise RuntimeError("no appending")

    def extend(self, values: Any) -> None:
        raise RuntimeError("no extending")


def _empty_one() -> NoAppend:
    return NoAppend.__new__(NoAppend)


class Leaves:
    """Who unpickles it is asked to end."""

    def __reduce__(self) -> Any:
        return sys.exit, (5,)


MAKERS: list[Callable[[], Any]] = [
    NoPickle,
    NoUnpickle,
    NoModule,
    NoAppend,
    Leaves,
    threading.Lock,
]


class Own(df.DataFlow):
    def __init__(self, points: list[Any]) -> None:
        self.points = points

    def __iter__(self) -> Iterator[Any]:
        yield from self.points


def points(make: Callable[[], Any]) -> list[Any]:
    return [[0], [make(), 1], [2], [{"deep": [make()]}, 3], [4]]


def same(dp: Any) -> Any:
    return dp


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("source", [Own, lambda p: df.DataFromList(p, shuffle=False)])
def test_a_key_or_datapoint_on_its_way_to_a_worker(source: Any, make: Any) -> None:
    ds = source(points(make)).map(same)  # by two, an own source is read here
    with df.PrefetchDataZMQ(ds, 2, on_error="skip", ordered=True) as runner:
        for epoch in (1, 2):
            assert list(runner) == [[0], [2], [4]]
            assert sum(runner.stats()["errors"].values()) == 2 * epoch
    with (
        df.PrefetchDataZMQ(ds, 2, ordered=True) as runner,
        pytest.raises(df.WorkerError, match="position 1 of epoch 0") as caught,
    ):
        list(runner)
    assert "datapoint" in str(caught.value) and "pickl" in str(caught.value)


@pytest.mark.parametrize("make", MAKERS)
def test_members_of_a_batch(make: Any) -> None:
    ds = df.DataFromList([*points(make), [5]], shuffle=False).map(same).batch(2)
    with df.PrefetchDataZMQ(ds, 1, on_error="skip", ordered=True) as runner:
        assert [dp[0].tolist() for dp in runner] == [[0, 2], [4, 5]]


@pytest.mark.parametrize("make", MAKERS)
def test_a_result(make: Any) -> None:
    def work(dp: list[int]) -> Any:
        return {1: [make(), 1], 3: [{"deep": [make()]}, 3]}.get(dp[0], dp)

    ds = df.DataFromList([[i] for i in range(5)], shuffle=False).map(work)
    with df.PrefetchDataZMQ(ds, 1, on_error="skip", ordered=True) as runner:
        assert list(runner) == [[0], [2], [4]]
        assert runner.stats()["errors"] == {"TypeError": 2}
    with (
        df.PrefetchDataZMQ(ds, 1, ordered=True) as runner,
        pytest.raises(df.WorkerError, match="the resulting datapoint") as caught,
    ):
        list(runner)
    assert "position 1 of epoch 0, key [1]" in str(caught.value)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_what_is_no_exception_ends_the_loop(error: BaseException, on_error: Any) -> None:
    def work(dp: list[int]) -> Any:
        if dp[0] == 1:
            raise error
        return dp

    ds = df.DataFromList([[i] for i in range(3)], shuffle=False).map(work)
    for runner in (
        ds,
        ThreadRunner(ds, 2, on_error=on_error, ordered=True),
        df.PrefetchDataZMQ(ds, 1, on_error=on_error, ordered=True),
        df.PrefetchDataZMQ(ds.batch(1), 1, on_error=on_error, ordered=True),
    ):
        with runner, pytest.raises(type(error)) as caught:
            list(runner)
        assert caught.value.args == error.args


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("runner", [df.PrefetchDataZMQ, ThreadRunner])
def test_an_error_without_a_text(runner: Any) -> None:
    def work(dp: list[int]) -> list[int]:
        if dp[0] == 1:
            raise Mute
        return dp

    ds = df.DataFromList([[i] for i in range(3)], shuffle=False).map(work)
    with runner(ds, 1, on_error="skip", ordered=True) as skipping:
        assert list(skipping) == [[0], [2]]
        (failed,) = skipping.errors()
        assert "its __str__ raised RuntimeError" in failed.message


class OddSize:
    def nbytes(self) -> int:
        return 3


class AttrDict(dict):  # type: ignore[type-arg]
    __getattr__ = dict.__getitem__


@pytest.mark.parametrize("runner", [df.PrefetchDataZMQ, ThreadRunner])
@pytest.mark.parametrize("make", [OddSize, lambda: AttrDict(x=3)])
def test_what_objects_call_nbytes_is_their_own(runner: Any, make: Any) -> None:
    if sys.version_info < (3, 11) and runner is df.PrefetchDataZMQ and make is not OddSize:
        pytest.skip("before Python 3.11 pickle looks for __getstate__ among the keys")
    ds = df.DataFromList([[i] for i in range(3)], shuffle=False).map(lambda dp: [make(), dp[0]])
    with runner(ds, 1, ordered=True) as whole:
        assert [dp[1] for dp in whole] == [0, 1, 2]


def test_it_ended_is_an_exception() -> None:
    ds = df.DataFromList([[1]])
    left = iter(ds)
    iter(ds)
    with pytest.raises(Exception, match="newer iterator"):
        next(left)


@pytest.mark.parametrize("where", ["thread", "process"])
def test_a_thread_of_the_engine_that_fails_is_heard_of(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage's `gauges` is called by the engine, beside the datapoints."""

    class Broken(df.MapData):
        def gauges(self) -> Any:
            raise LookupError("a fault of the engine's")

    ds = Broken(df.DataFromList([[1]], shuffle=False), same)
    if where == "thread":
        with ThreadRunner(ds, 1) as threads, pytest.raises(LookupError, match="engine's"):
            list(threads)
    else:
        with df.PrefetchDataZMQ(ds, 1, max_restarts=1) as processes, pytest.raises(df.WorkerDied):
            list(processes)


class Opened:
    """What cannot be sent."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


def a_function() -> Callable[[Any], Any]:
    opened = Opened()
    return lambda dp: (opened, dp)[1]


class Work:
    def __init__(self) -> None:
        self.opened = Opened()

    def __call__(self, dp: Any) -> Any:
        return dp


class Stage(df.MapData):
    def __init__(self, ds: Any) -> None:
        super().__init__(ds, self.work)
        self.opened = Opened()

    def work(self, dp: Any) -> Any:
        return dp


class Opening(Stage):
    """Opens it anew where it is made ready."""

    def reset_state(self) -> None:
        super().reset_state()
        self.opened = Opened()


class OwnHolding(Own):
    def __init__(self, points: list[Any]) -> None:
        super().__init__(points)
        self.lock = threading.Lock()


class OwnOpening(Own):
    def __init__(self, points: list[Any]) -> None:
        super().__init__(points)
        self.opened = Opened()

    def reset_state(self) -> None:
        self.opened = Opened()


def listed() -> df.DataFlow:
    return df.DataFromList([[0], [1]], shuffle=False)


@pytest.mark.parametrize(
    ("make", "stage", "name"),
    [
        (lambda: df.MapData(listed(), Work()), "MapData", "Opened.lock"),
        (lambda: df.MapData(listed(), a_function()), "MapData", "Opened.lock"),
        (lambda: Stage(listed()), "Stage", "Opened.lock"),
        (lambda: OwnHolding([[0]]), "OwnHolding", "OwnHolding.lock"),
    ],
)
def test_what_cannot_be_sent_is_named(make: Any, stage: str, name: str) -> None:
    with df.PrefetchDataZMQ(make(), 1) as ds, pytest.raises(TypeError) as caught:
        list(ds)
    assert str(caught.value).startswith(f"{stage} cannot be sent to a worker process, because of")
    assert f"of {name}:" in str(caught.value)
    assert "FlowLoader" not in str(caught.value) and "reset_state" in str(caught.value)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_reset_state_makes_need_not_be_sent(workers: int) -> None:
    for ds in (Opening(listed()), OwnOpening([[0], [1]]), OwnOpening([[0], [1]]).map(same)):
        with df.PrefetchDataZMQ(ds, workers) as runner:
            for _ in range(2):
                assert sorted(runner) == [[0], [1]]


def test_two_threads_that_iterate_the_same_runner() -> None:
    """One wins; the other is told so."""
    for _ in range(3):
        with df.PrefetchDataZMQ(df.DataFromList([[i] for i in range(300)]).map(same), 2) as ds:
            told: list[Any] = []

            def go(ds: Any = ds, told: list[Any] = told) -> None:
                try:
                    told.append(len(list(ds)))
                except Exception as error:
                    told.append(error)

            threads = [threading.Thread(target=go) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert 300 in told
        assert all(one == 300 or isinstance(one, df.DataFlowTerminated) for one in told), told
