"""Every flow of tensorpack's beside ours of the same name, on the same input.

Where they are meant to differ, the row says in which way, and what each of them does is checked.
The wrappers of theirs that start processes are in `test_processes`: they hang at exit.
"""

from __future__ import annotations

import gc
import inspect
import queue
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import tensorpack.dataflow as tp
from tensorpack.dataflow import imgaug as tp_imgaug

import dataflow as df

# -- names and arguments ------------------------------------------------------------------------

# tests/remote has both ends of these.
NUMPY_2 = np.lib.NumpyVersion(np.__version__) >= "2.0.0"
REMOTE = {"send_dataflow_zmq", "RemoteDataZMQ"}

# Whose signature is not the same, and why.
OTHER_ARGUMENTS: dict[str, str] = {}

NAMES = sorted(set(tp.__all__) - {"dataset", "imgaug"})


@pytest.mark.parametrize("name", NAMES)
def test_each_name_takes_its_arguments(name: str) -> None:
    ours, theirs = getattr(df, name), getattr(tp, name)
    assert name in df.__all__
    if name in OTHER_ARGUMENTS or not callable(theirs):
        return
    expected = [*_parameters(theirs)]
    given = [*_parameters(ours)]
    for parameter, own in zip(expected, given, strict=False):
        assert (own.name, own.kind) == (parameter.name, parameter.kind)
        # None: room for two of what the loop takes at a time, or for theirs if that is more.
        roomy = own.name in ("hwm", "buffer_size") and own.default is None
        assert own.default == parameter.default or roomy
    assert len(given) >= len(expected)
    for own in given[len(expected) :]:
        assert own.kind == own.KEYWORD_ONLY or own.default is not own.empty, "calls go on working"


def _parameters(value: Any) -> Iterator[inspect.Parameter]:
    function = value.__init__ if inspect.isclass(value) else value
    for parameter in inspect.signature(function).parameters.values():
        variable = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if parameter.name != "self" and not variable:
            yield parameter


def test_all_that_is_public_there_is_looked_at() -> None:
    helpers = {"STATICA_HACK", "iter_modules", "module_name", "os", "srcpath"}
    public = {name for name in dir(tp) if not name.startswith("_")}
    assert public - helpers - {"dataset", "imgaug"} == set(NAMES)
    assert isinstance(df.dataset, ModuleType) and isinstance(df.imgaug, ModuleType)


def test_aliases_are_aliases_in_both() -> None:
    for one in NAMES:
        for other in NAMES:
            if one != "SelectComponent":
                same = getattr(tp, one) is getattr(tp, other)
                assert same == (getattr(df, one) is getattr(df, other)), (one, other)


# -- behaviour ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One flow, built with either kit.

    Attributes:
        name: its name, and what of it is looked at.
        build: kit → flow.
        take: datapoints to take of an epoch; None: all.
        order: the order is the same, too.
        differs: what is meant to be different; then `ours` and `theirs` say what each does.
        ours: what ours gives: two epochs, or an exception.
        theirs: what theirs gives.
        wide: Python's ints become int64 in batches of ours, int32 in theirs.
    """

    name: str
    build: Callable[[Any], Any]
    take: int | None = None
    order: bool = True
    differs: str | None = None
    ours: Any = None
    theirs: Any = None
    wide: bool = False


def numbers(kit: Any, size: int = 12, shuffle: bool = False) -> Any:
    return kit.DataFromList([[i, i * 10] for i in range(size)], shuffle=shuffle)


def firsts(kit: Any, size: int = 6, start: int = 0) -> Any:
    return kit.DataFromList([[i] for i in range(start, start + size)], shuffle=False)


def dicts(kit: Any, name: str) -> Any:
    return kit.DataFromList([{name: i, f"{name}2": str(i)} for i in range(5)], shuffle=False)


def shapes(kit: Any) -> Any:
    return kit.DataFromList([[np.zeros(1 + i % 2), i] for i in range(6)], shuffle=False)


def images(kit: Any, components: int = 1) -> Any:
    rng = np.random.default_rng(0)
    points = [
        [*(rng.integers(0, 256, (20, 30, 3), np.uint8) for _ in range(components)), i]
        for i in range(4)
    ]
    return kit.DataFromList(points, shuffle=False)


def augmentors(kit: Any) -> list[Any]:
    module = tp_imgaug if kit is tp else df.imgaug
    return [module.ResizeShortestEdge(16), module.CenterCrop(12), module.Flip(horiz=True, prob=1)]


def half(value: Any) -> Any:
    return None if value % 2 else value // 2


def half_dp(dp: Any) -> Any:
    return None if dp[0] % 2 else [dp[0] // 2]


def filled(*values: int) -> queue.Queue[Any]:
    source: queue.Queue[Any] = queue.Queue()
    for value in values:
        source.put([value])
    return source


def left_early(flow: Any) -> Any:
    """Three datapoints of a first epoch."""
    flow.reset_state()
    for _, _ in zip(range(3), flow, strict=False):
        pass
    return flow


ROWS = [
    Row("DataFromList", lambda kit: numbers(kit)),
    Row("DataFromList, shuffled", lambda kit: numbers(kit, shuffle=True), order=False),
    Row("DataFromGenerator", lambda kit: kit.DataFromGenerator(lambda: ([i] for i in range(5)))),
    Row("DataFromGenerator of a list", lambda kit: kit.DataFromGenerator([[1], [2]])),
    Row("DataFromIterable", lambda kit: kit.DataFromIterable(tuple([i] for i in range(5)))),
    Row("DataFromIterable, used up", lambda kit: kit.DataFromIterable([i] for i in range(5))),
    Row("DataFromQueue", lambda kit: kit.DataFromQueue(filled(*range(9))), take=4),
    Row(
        "FakeData",
        lambda kit: kit.MapData(
            kit.FakeData([(2, 3), (4,)], 5, dtype=["uint8", "float64"], domain=[(0, 9), (-1, 1)]),
            lambda dp: [(array.shape, str(array.dtype)) for array in dp],
        ),
    ),
    Row("MapData", lambda kit: kit.MapData(numbers(kit), half_dp)),
    Row("MapDataComponent", lambda kit: kit.MapDataComponent(numbers(kit), half, 1)),
    Row(
        "MapDataComponent of dicts",
        lambda kit: kit.MapDataComponent(dicts(kit, "a"), lambda v: v + "!", "a2"),
    ),
    Row("SelectComponent", lambda kit: kit.SelectComponent(numbers(kit), [1, 0, 1])),
    Row("SelectComponent of dicts", lambda kit: kit.SelectComponent(dicts(kit, "a"), ["a2"])),
    Row("BatchData", lambda kit: kit.BatchData(numbers(kit), 5), wide=True),
    Row(
        "BatchData, remainder",
        lambda kit: kit.BatchData(numbers(kit), 5, remainder=True),
        wide=True,
    ),
    Row("BatchData, lists", lambda kit: kit.BatchData(shapes(kit), 2, use_list=True)),
    Row("BatchData of dicts", lambda kit: kit.BatchData(dicts(kit, "a"), 2), wide=True),
    Row(
        "BatchData of all kinds",
        lambda kit: kit.BatchData(
            kit.DataFromList([[1, 0.5, "a", np.float64(2), np.uint8(3)]] * 4), 2
        ),
        wide=True,
    ),
    Row(
        "BatchData of truth values",
        lambda kit: kit.MapData(
            kit.BatchData(kit.DataFromList([[True]] * 4), 2), lambda dp: [str(dp[0].dtype)]
        ),
        differs="bool stays bool",
        ours=[[["bool"]] * 2] * 2,
        theirs=[[["int32"]] * 2] * 2,
    ),
    Row(
        "BatchData, larger than the data",
        lambda kit: kit.BatchData(numbers(kit), 50),
        differs="no batch instead of an error",
        ours=[[], []],
        theirs=AssertionError,
    ),
    Row("BatchDataByShape", lambda kit: kit.BatchDataByShape(shapes(kit), 3, 0), wide=True),
    Row(
        "BatchDataByShape, what is left",
        lambda kit: kit.SelectComponent(kit.BatchDataByShape(shapes(kit), 2, 0), [1]),
        differs="dropped at the end of the epoch, not part of the next one's batches",
        ours=[[[0, 2], [1, 3]], [[0, 2], [1, 3]]],
        theirs=[[[0, 2], [1, 3]], [[4, 0], [5, 1], [2, 4], [3, 5]]],
    ),
    Row("FixedSizeData", lambda kit: kit.FixedSizeData(numbers(kit), 8)),
    Row("FixedSizeData, afresh", lambda kit: kit.FixedSizeData(numbers(kit), 8, keep_state=False)),
    Row("FixedSizeData, longer", lambda kit: kit.FixedSizeData(numbers(kit), 30)),
    Row("RepeatedData", lambda kit: kit.RepeatedData(numbers(kit), 3)),
    Row("RepeatedData without end", lambda kit: kit.RepeatedData(numbers(kit), -1), take=40),
    Row("RepeatedDataPoint", lambda kit: kit.RepeatedDataPoint(numbers(kit), 3)),
    Row("ConcatData", lambda kit: kit.ConcatData([firsts(kit), firsts(kit, 3, 20)])),
    Row("JoinData", lambda kit: kit.JoinData([firsts(kit), numbers(kit, 4)])),
    Row("JoinData of dicts", lambda kit: kit.JoinData([dicts(kit, "a"), dicts(kit, "b")])),
    Row(
        "RandomMixData",
        lambda kit: kit.RandomMixData([firsts(kit), firsts(kit, 9, 20)]),
        order=False,
    ),
    Row(
        "RandomChooseData of one",
        lambda kit: kit.RandomChooseData([(firsts(kit), 1.0), (firsts(kit, 3, 20), 0.0)]),
    ),
    Row("CacheData", lambda kit: kit.CacheData(numbers(kit))),
    Row("CacheData, shuffled", lambda kit: kit.CacheData(numbers(kit), shuffle=True), order=False),
    Row(
        "CacheData, left early",
        lambda kit: left_early(kit.CacheData(firsts(kit))),
        differs="the whole epoch, not the part that was seen",
        ours=[[[i] for i in range(6)]] * 2,
        theirs=[[[0], [1]]] * 2,
    ),
    Row(
        "LocallyShuffleData",
        lambda kit: kit.LocallyShuffleData(firsts(kit), 4, num_reuse=2),
        take=12,
        differs="an epoch has an end, and all of it comes",
        ours=lambda epochs: all(
            sorted(epoch) == sorted([[i] for i in range(6)] * 2) for epoch in epochs
        ),
        theirs=lambda epochs: all(len(epoch) == 12 for epoch in epochs),
    ),
    Row(
        "PrintData",
        lambda kit: kit.PrintData(numbers(kit)),
        differs="works with NumPy 2" if NUMPY_2 else "",
        ours=[[[i, i * 10] for i in range(12)]] * 2,
        theirs=AttributeError,
    ),
    Row("TestDataSpeed", lambda kit: kit.TestDataSpeed(numbers(kit), size=5, warmup=2)),
    Row("ImageFromFile", lambda kit: kit.ImageFromFile(FILES, 3, (7, 9))),
    Row("ImageFromFile, grey", lambda kit: kit.ImageFromFile(FILES, channel=1)),
    Row(
        "AugmentImageComponent", lambda kit: kit.AugmentImageComponent(images(kit), augmentors(kit))
    ),
    Row(
        "AugmentImageComponents",
        lambda kit: kit.AugmentImageComponents(images(kit, 2), augmentors(kit), (1, 0)),
    ),
    Row(
        "AugmentImageCoordinates",
        lambda kit: kit.SelectComponent(
            kit.AugmentImageCoordinates(
                kit.DataFromList([[np.zeros((10, 20, 3), np.uint8), np.ones((1, 2))]]),
                augmentors(kit)[-1:],
            ),
            [1],
        ),
        differs="works with current NumPy",
        ours=lambda epochs: [epoch[0][0].tolist() for epoch in epochs] == [[[19.0, 1.0]]] * 2,
        theirs=AttributeError,
    ),
    Row(
        "MultiThreadMapData, strict",
        lambda kit: kit.MultiThreadMapData(
            firsts(kit), 2, lambda dp: [dp[0] + 1], buffer_size=3, strict=True
        ),
        order=False,
    ),
    Row(
        "MultiThreadMapData",
        lambda kit: kit.MultiThreadMapData(firsts(kit), 2, half_dp, buffer_size=4),
        take=9,
        differs="an epoch has an end, as if strict",
        ours=lambda epochs: all(sorted(epoch) == [[0], [1], [2]] for epoch in epochs),
        theirs=lambda epochs: all(len(epoch) == 9 for epoch in epochs),
    ),
    Row(
        "MultiThreadMapData, strict on little data",
        lambda kit: kit.MultiThreadMapData(
            kit.DataFromGenerator(lambda: ([i] for i in range(3))), 2, list, strict=True
        ),
        differs="works",
        ours=lambda epochs: all(sorted(epoch) == [[0], [1], [2]] for epoch in epochs),
        theirs=RuntimeError,
    ),
    Row(
        "MultiThreadRunner",
        lambda kit: kit.MultiThreadRunner(lambda: firsts(kit, 20), 4, 2),
        differs="each datapoint once, not once for each thread",
        ours=lambda epochs: all(sorted(epoch) == [[i] for i in range(20)] for epoch in epochs),
        theirs=lambda epochs: all(len(epoch) == 20 for epoch in epochs),
    ),
    Row(
        "MultiThreadRunner of one thread",
        lambda kit: kit.MultiThreadRunner(lambda: firsts(kit, 20), 4, 1),
    ),
]

FILES: list[str] = []

PROCESSES = {
    *("MultiProcessRunner", "MultiProcessPrefetchData", "PrefetchData"),
    *("MultiProcessRunnerZMQ", "PrefetchDataZMQ"),
    *("MultiProcessMapData", "MultiProcessMapDataZMQ"),
    *("MultiProcessMapAndBatchData", "MultiProcessMapAndBatchDataZMQ"),
}
"""In `test_processes`."""

FORMATS = {
    *("HDF5Data", "LMDBData", "LMDBDataDecoder", "CaffeLMDB", "SVMLightData"),
    *("LMDBSerializer", "NumpySerializer", "TFRecordSerializer", "HDF5Serializer"),
}
"""In `tests/formats`."""

BASES = {"DataFlow", "DataFlowTerminated", "ProxyDataFlow", "RNGDataFlow"}
"""In `test_theirs_in_ours` and `test_base`."""


def test_every_flow_has_a_row() -> None:
    seen = {row.name.split(",")[0].split(" ")[0] for row in ROWS}
    elsewhere = PROCESSES | FORMATS | BASES | REMOTE
    assert seen | elsewhere | {"MultiThreadPrefetchData"} == set(NAMES)


@pytest.fixture(scope="module", autouse=True)
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(3):
        file: Path = folder / f"{i}.png"
        cv2.imwrite(str(file), rng.integers(0, 256, (10 + i, 20, 3), np.uint8))
        FILES.append(str(file))
    yield
    FILES.clear()


def epochs_of(flow: Any, take: int | None) -> list[list[Any]]:
    """Two epochs."""
    if not isinstance(flow, tp.CacheData) or not hasattr(flow, "buffer"):
        flow.reset_state()
    found = [list(islice(iter(flow), take)) for _ in range(2)]
    if isinstance(flow, tp.MultiThreadRunner):
        _end_threads(flow)
    if callable(close := getattr(flow, "close", None)):
        close()
    return found


def _end_threads(flow: Any) -> None:
    """Otherwise each waits 5 s for room in its queue before it looks whether it should end."""
    for thread in flow.threads:
        thread.stop()
    while any(thread.is_alive() for thread in flow.threads):
        with suppress(queue.Empty):
            flow.queue.get(timeout=0.01)


def length(flow: Any) -> int | None:
    try:
        return len(flow)
    except (NotImplementedError, TypeError):  # theirs raises what comes up
        return None


def plain(value: Any) -> Any:
    """What can be compared with `==`, dtype and all."""
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tolist()
    return value


def widened(value: Any) -> Any:
    """What `plain` gave, with int64 for int32."""
    if isinstance(value, list):
        return [widened(one) for one in value]
    if isinstance(value, dict):
        return {name: widened(one) for name, one in value.items()}
    if isinstance(value, tuple) and value[0] == "int32":
        return ("int64", *value[1:])
    return value


def same(found: list[list[Any]], expected: Any) -> bool:
    if callable(expected):
        return bool(expected(found))
    values = [
        [dp[0].tolist() if isinstance(dp[0], np.ndarray) else dp for dp in epoch] for epoch in found
    ]
    return bool(values == expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_same_as_theirs(row: Row) -> None:
    for kit, expected in ((df, row.ours), (tp, row.theirs)) if row.differs else ():
        if isinstance(expected, type) and issubclass(expected, Exception):
            with pytest.raises(expected):
                epochs_of(row.build(kit), row.take)
        else:
            assert same(epochs_of(row.build(kit), row.take), expected), kit.__name__
    if not row.differs:
        ours, theirs = row.build(df), row.build(tp)
        assert length(ours) == length(theirs)
        found, expected = (plain(epochs_of(flow, row.take)) for flow in (ours, theirs))
        if row.wide:
            expected = widened(expected)
        if not row.order:
            found, expected = (list(map(sorted, epochs)) for epochs in (found, expected))
        assert found == expected
        del theirs
    gc.collect()  # theirs stop their threads when they are collected


def test_random_choice_has_the_given_weights() -> None:
    def chain(kit: Any) -> Any:
        weights = [(firsts(kit, 4000), 0.25), (firsts(kit, 4000, 10_000), 0.75)]
        flow = kit.RandomChooseData(weights)
        flow.reset_state()
        return flow

    for kit in (df, tp):
        found = [dp[0] >= 10_000 for _, dp in zip(range(2000), chain(kit), strict=False)]
        assert 0.7 < sum(found) / len(found) < 0.8


def test_reset_state_more_than_once_or_never() -> None:
    """Theirs takes neither from all its flows."""
    flow = df.MultiThreadMapData(firsts(df), 2, list)
    with flow:
        for _ in range(2):
            flow.reset_state()
        assert len(list(flow)) == 6
    with pytest.raises(AttributeError):
        next(iter(tp.CacheData(firsts(tp))))
    assert next(iter(df.CacheData(firsts(df)))) == [0]
