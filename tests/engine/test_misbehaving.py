"""Functions and sources that misbehave give what a plain loop over them gives, whatever runs them.

The reference is the loop ``for datapoint in source: f(datapoint)``, in which each datapoint is used
before the next one is asked for: functions that refill a buffer, write into what they get, raise
odd things or make objects of the script's classes are right there.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from machines import Machine

import dataflow as df
from dataflow.engine.runners import ThreadRunner
from dataflow.ownership import own


def of_the_script(cls: Any) -> Any:
    """A class as a script has it: of `__main__`, which a worker process does not run."""
    cls.__module__ = "__main__"
    setattr(sys.modules["__main__"], cls.__name__, cls)
    return cls


Thing = of_the_script(dataclasses.make_dataclass("Thing", ["image", "number"]))
Colour = of_the_script(enum.Enum("Colour", ["RED", "BLUE"]))
Point = of_the_script(namedtuple("Point", ["x", "y"]))
Slotted = of_the_script(dataclasses.make_dataclass("Slotted", ["image", "number"], slots=True))


# -- functions, of [array, number] -------------------------------------------------------------


class Refill:
    """Fills the same buffer, and returns the same list, each time (in each thread)."""

    def __init__(self) -> None:
        self.buffers: dict[int, list[Any]] = {}

    def __call__(self, dp: list[Any]) -> list[Any]:
        out = self.buffers.setdefault(threading.get_ident(), [np.zeros(len(dp[0])), None])
        out[0][:] = dp[0] + 1
        out[1] = dp[1]
        return out


def view_of_a_buffer(buffers: dict[int, np.ndarray]) -> Callable[[list[Any]], list[Any]]:
    def fill(dp: list[Any]) -> list[Any]:
        whole = buffers.setdefault(threading.get_ident(), np.zeros((2, *dp[0].shape)))
        whole[1] = dp[0]
        return [whole[1], dp[1]]

    return fill


def write_into_it(dp: list[Any]) -> list[Any]:
    dp[0] += 10
    return dp


def odd_kinds(dp: list[Any]) -> list[Any]:
    return [dp[0].astype(np.uint8 if dp[1] % 2 else np.float32), dp[1]]


def drop_some(dp: list[Any]) -> list[Any] | None:
    return None if dp[1] % 5 == 2 else dp


def fail_some(dp: list[Any]) -> list[Any]:
    if dp[1] % 7 == 3:
        raise {0: KeyError, 1: Odd}[dp[1] % 2](dp[1])
    return dp


class Odd(Exception):
    """Pickles, and does not unpickle."""

    def __init__(self, number: int, *, needed: str = "") -> None:
        super().__init__(number, needed)
        if not needed and number < 0:
            raise TypeError("needed")

    def __reduce__(self) -> Any:
        return Odd, (-1,)


def objects(dp: list[Any]) -> list[Any]:
    return [dp[0], dp[1], Thing(dp[0][:1], dp[1]), Colour.RED, Point(dp[1], (dp[0],))]


def away_with_them(dp: list[Any]) -> list[Any]:
    return dp[:2]


FUNCTIONS: dict[str, Callable[[], Callable[[list[Any]], Any]]] = {
    "refill": Refill,
    "view": lambda: view_of_a_buffer({}),
    "write": lambda: write_into_it,
    "odd": lambda: odd_kinds,
    "drop": lambda: drop_some,
    "fail": lambda: fail_some,
    "objects": lambda: objects,
    "bare": lambda: away_with_them,
    "same": lambda: lambda dp: dp,
}


# -- sources ------------------------------------------------------------------------------------


class Generator(df.DataFlow):
    """Yields the same list, with the same array, each time."""

    def __init__(self, size: int, width: int) -> None:
        self.size, self.width = size, width

    def __iter__(self) -> Iterator[list[Any]]:
        buffer = np.zeros(self.width)
        out = [buffer, 0]
        for number in range(self.size):
            buffer[:] = number
            out[1] = number
            yield out


class Loading(df.sources.KeyedSource):
    """Loads parts of what it holds, as data sets in memory do."""

    def __init__(self, size: int, width: int) -> None:
        self.images = np.repeat(np.arange(float(size))[:, None], width, axis=1)

    def keys(self) -> range:
        return range(len(self.images))

    def loader(self) -> Callable[[int], list[Any]]:
        return lambda key: [self.images[key], key]


def listed(size: int, width: int) -> list[list[Any]]:
    return [[np.full(width, float(number)), number] for number in range(size)]


SOURCES: dict[str, Callable[[int, int], Any]] = {
    "list": lambda size, width: df.DataFromList(listed(size, width), shuffle=False),
    "cache": lambda size, width: df.CacheData(df.DataFromList(listed(size, width), shuffle=False)),
    "generator": Generator,
    "loading": Loading,
    "script's objects": lambda size, width: df.DataFromList(
        [
            [*dp, Thing(dp[0], dp[1]), Slotted(*dp), memoryview(dp[0]), Colour.BLUE]
            for dp in listed(size, width)
        ],
        shuffle=False,
    ),
}


def test_objects_of_a_script_that_no_worker_can_import() -> None:
    """Its functions go by value, and so do the classes that they make objects of."""
    names: dict[str, Any] = {"__name__": "__main__", "namedtuple": namedtuple}
    exec(
        "from dataclasses import dataclass\n"
        "from typing import NamedTuple\n"
        "class Plain:\n    __slots__ = ('x',)\n    def __init__(self, x): self.x = x\n"
        "class Tuple(NamedTuple):\n    x: int\n"
        "Older = namedtuple('Older', 'x')\n"
        "class Numbers(list):\n    __slots__ = ('x',)\n"
        "@dataclass(slots=True)\nclass Data:\n    x: int\n"
        "def work(dp):\n    numbers = Numbers(dp)\n    numbers.x = dp[0]\n"
        "    return [Plain(dp[0]), Tuple(dp[0]), Older(dp[0]), Data(dp[0]), numbers]\n",
        names,
    )
    main = sys.modules["__main__"]
    for name in ("Plain", "Tuple", "Older", "Numbers", "Data"):
        names[name].__module__ = "__main__"
        setattr(main, name, names[name])
    ds = df.DataFromList([[i] for i in range(3)], shuffle=False).map(names["work"])
    with df.PrefetchDataZMQ(ds, 1, ordered=True) as runner:
        found = list(runner)
    assert [[part.x for part in dp] for dp in found] == [[i] * 5 for i in range(3)]
    assert [type(part) for part in found[0]] == [names[type(part).__name__] for part in found[0]]


def plainly(source: Any, functions: list[str]) -> list[Any]:
    """What the plain loop gives; a failure is a datapoint less."""
    made = [FUNCTIONS[name]() for name in functions]
    found = []
    for dp in source:
        for function in made:
            try:
                dp = function(dp)
            except Exception:
                break
            if dp is None:
                break
        else:
            found.append(seen(dp))
    return found


def seen(value: Any) -> Any:
    """A datapoint as it is at this moment, to be compared with `==`."""
    if isinstance(value, (np.ndarray, memoryview)):
        return str(np.asarray(value).dtype), value.tolist()
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [seen(part) for part in value]
    if isinstance(value, dict):
        return [(key, seen(part)) for key, part in value.items()]
    if dataclasses.is_dataclass(value):
        # Not `dataclasses.fields`: a class that was packed has none of its own before Python 3.11.
        names = value.__dataclass_fields__
        return type(value).__name__, [seen(getattr(value, name)) for name in names]
    return type(value).__name__, str(value)


# -- chains ---------------------------------------------------------------------------------------

names = st.lists(st.sampled_from(sorted(FUNCTIONS)), max_size=3)
kinds = st.sampled_from(sorted(SOURCES))
sizes = st.sampled_from([0, 1, 7, 40])
widths = st.sampled_from([3, 3000, 20000])  # within the message, in shared memory, in a block


def run_by(ds: Any, runner: str) -> Any:
    if runner == "one thread":
        return ThreadRunner(ds, 1, on_error="skip")
    if runner == "threads":
        return ThreadRunner(ds, 3, on_error="skip")
    if runner == "pool":
        return df.PrefetchDataRemote(ds, "tcp://127.0.0.1:*", on_error="skip")
    if runner == "threads in processes":
        ds = ThreadRunner(ds, 2, on_error="skip")
    return df.PrefetchDataZMQ(ds, 2, on_error="skip")


def chain(kind: str, size: int, width: int, functions: list[str], runner: str) -> Any:
    ds = SOURCES[kind](size, width)
    for name in functions:
        ds = df.MapData(ds, FUNCTIONS[name]())
    return run_by(ds, runner).seed(5)  # in order


@contextmanager
def running(make: Callable[[], Any]) -> Iterator[Any]:
    with ExitStack() as stack:
        ds = stack.enter_context(make())
        if isinstance(ds, df.PrefetchDataRemote):
            stack.enter_context(Machine(make(), ds.addresses[0]))
        yield ds


def check(kind: str, size: int, width: int, functions: list[str], runner: str) -> None:
    expected = plainly(SOURCES[kind](size, width), functions)
    with running(lambda: chain(kind, size, width, functions, runner)) as ds:
        for _ in range(2):  # what a list or a cache holds is not changed by the first epoch
            found = [seen(dp) for dp in ds]
            same = found == expected  # the difference of long lists would take pytest minutes
            assert same, str(
                [pair for pair in zip(found, expected, strict=False) if pair[0] != pair[1]]
            )[:500]
        failed = sum(ds.stats()["errors"].values())
    if "drop" not in functions:
        assert failed == 2 * (size - len(expected))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(kinds, sizes, widths, names, st.sampled_from(["one thread", "threads"]))
@example("list", 7, 3, ["write"], "threads")
@example("cache", 7, 3, ["write"], "one thread")
@example("generator", 40, 3, ["refill"], "threads")
def test_threads(kind: str, size: int, width: int, functions: list[str], runner: str) -> None:
    check(kind, size, width, functions, runner)


@settings(max_examples=14, deadline=None, suppress_health_check=list(HealthCheck))
@given(kinds, sizes, widths, names, st.sampled_from(["processes", "threads in processes"]))
@example("list", 40, 3, ["refill"], "processes")
@example("list", 40, 20000, ["refill", "objects"], "processes")
@example("script's objects", 7, 3, [], "processes")
@example("generator", 40, 3000, ["view"], "threads in processes")
def test_processes(kind: str, size: int, width: int, functions: list[str], runner: str) -> None:
    check(kind, size, width, functions, runner)


of_a_pool = st.lists(st.sampled_from(sorted(set(FUNCTIONS) - {"objects"})), max_size=3)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["list", "generator", "loading"]), sizes, widths, of_a_pool)
@example("list", 40, 3, ["refill"])
def test_pools(kind: str, size: int, width: int, functions: list[str]) -> None:
    """Whose wire takes no objects of classes."""
    check(kind, size, width, functions, "pool")


# -- stages that hold datapoints ------------------------------------------------------------------

HOLDERS: dict[str, Callable[[Any], Any]] = {
    "batch": lambda ds: df.BatchData(ds, 4),
    "lists": lambda ds: df.BatchData(ds, 4, use_list=True),
    "shuffle": lambda ds: df.LocallyShuffleData(ds, 5),
    "reuse": lambda ds: df.LocallyShuffleData(ds, 5, num_reuse=2),
    "copies": lambda ds: df.RepeatedDataPoint(ds, 2),
    "cache": df.CacheData,
    "by shape": lambda ds: df.BatchDataByShape(ds, 4, 0, remainder=True),
    "batch, shuffle": lambda ds: df.LocallyShuffleData(df.BatchData(ds, 4), 2),
    "join": lambda ds: df.JoinData([ds, df.DataFromList([[0]] * 40, shuffle=False)]),
    "prefetch": lambda ds: df.MultiThreadPrefetchData(lambda: ds, 10, 1),
}


def rows_of(dp: Any) -> list[Any]:
    """The numbers that a datapoint, or a batch of them, says twice: in the array and beside."""
    numbers = np.atleast_1d(dp[1]).tolist()
    arrays = dp[0] if np.ndim(dp[1]) else [dp[0]]
    return [
        (int(np.ravel(array)[0]), number) for array, number in zip(arrays, numbers, strict=True)
    ]


@pytest.mark.parametrize("width", [3, 3000])
@pytest.mark.parametrize("runner", [None, "one thread", "processes"])
@pytest.mark.parametrize("function", ["same", "refill", "view"])
@pytest.mark.parametrize("holder", HOLDERS)
def test_what_holds_datapoints(holder: str, function: str, runner: str | None, width: int) -> None:
    if runner == "processes" and (width == 3) == (holder in ("batch", "reuse", "shuffle")):
        pytest.skip("one width will do for processes, which take long to start")
    ds = df.MapData(Generator(40, width), FUNCTIONS[function]())
    ds = HOLDERS[holder](ds)
    ds = (ds if runner is None else run_by(ds, runner)).seed(3)
    with ds:
        found = [row for dp in ds for row in rows_of(dp)]
    more = function == "refill"
    times = 2 if holder in ("reuse", "copies") else 1
    assert sorted(found) == sorted([(i + more, i) for i in range(40)] * times)


def fresh(dp: list[Any]) -> list[Any]:
    return [np.full(3000, float(dp[0])), dp[0]]


@pytest.mark.parametrize(
    "make",
    [
        lambda ds: ds,
        lambda ds: df.BatchData(ds, 4),
        lambda ds: df.BatchData(ThreadRunner(ds, 2), 4),
        lambda ds: df.BatchData(df.PrefetchDataZMQ(ds, 1), 4),
        lambda ds: df.PrefetchDataZMQ(df.BatchData(ds, 4), 1),
    ],
)
def test_nobody_else_holds_what_a_loop_gets(make: Any) -> None:
    """So whoever sends or keeps it need not copy."""
    source = df.DataFromList([[i] for i in range(12)], shuffle=False)
    with make(df.MapData(source, fresh)) as ds:
        for dp in ds:
            before = [id(part) for part in dp]
            kept = own(dp)
            assert kept is dp and [id(part) for part in kept] == before
