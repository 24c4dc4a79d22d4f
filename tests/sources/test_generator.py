"""Generators as dataflows."""

from __future__ import annotations

from itertools import count

import pytest

import dataflow as df
from dataflow.flow import UnknownLength


def points():
    yield [1]
    yield [2]


class Pages:
    """An iterable with a length."""

    def __iter__(self):
        return points()

    def __len__(self) -> int:
        return 2


def test_a_function_is_called_once_an_epoch() -> None:
    calls = []

    def source():
        calls.append(1)
        return points()

    ds = df.DataFromGenerator(source)
    assert not calls
    assert list(ds) == list(ds) == [[1], [2]]
    assert len(calls) == 2


def test_an_iterable_begins_anew_in_every_epoch() -> None:
    ds = df.DataFromGenerator(Pages())
    assert list(ds) == list(ds) == [[1], [2]]
    assert len(ds) == 2


def test_a_generator_object_is_empty_after_its_epoch() -> None:
    ds = df.DataFromGenerator(points())
    assert list(ds) == [[1], [2]]
    assert list(ds) == []


@pytest.mark.parametrize("gen", [points, points()])
def test_the_length_is_unknown(gen: object) -> None:
    ds = df.DataFromGenerator(gen)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="not known"):
        len(ds)
    with pytest.raises(UnknownLength):
        ds.size()
    assert list(ds) == [[1], [2]], "list() asks for the length, too"


@pytest.mark.parametrize("wrap", [lambda ds: ds.map(lambda dp: dp), lambda ds: ds.batch(2)])
def test_the_length_stays_unknown_above(wrap) -> None:
    with pytest.raises(NotImplementedError):
        len(wrap(df.DataFromGenerator(points)))


def test_endless_ones_are_read_as_far_as_needed() -> None:
    read = []

    def endless():
        for number in count():
            read.append(number)
            yield [number]

    for (number,) in df.DataFromGenerator(endless):
        if number == 3:
            break
    assert read == [0, 1, 2, 3]


def test_leaving_the_loop_closes_the_generator() -> None:
    closed = []

    def source():
        try:
            yield [1]
            yield [2]
        finally:
            closed.append(True)

    with df.DataFromGenerator(source) as ds:
        for _ in ds:
            break
    assert closed


def test_an_exception_of_the_generator_arrives() -> None:
    def broken():
        yield [1]
        raise KeyError("mine")

    iterator = iter(df.DataFromGenerator(broken))
    assert next(iterator) == [1]
    with pytest.raises(KeyError, match="mine"):
        next(iterator)


def test_what_cannot_be_iterated_is_refused() -> None:
    with pytest.raises(ValueError, match="gen=3"):
        df.DataFromGenerator(3)  # type: ignore[arg-type]


class Numbers:
    """Iterable by index alone, and callable, which is nobody's business."""

    def __getitem__(self, index: int) -> list[int]:
        return [[0], [1], [2]][index]

    def __call__(self) -> None:
        raise AssertionError("who calls this?")


@pytest.mark.parametrize(
    "make", [lambda: [[0], [1], [2]], Numbers, lambda: ([i] for i in range(3))]
)
def test_from_an_iterable(make) -> None:
    iterable = make()
    ds = df.DataFromIterable(iterable)
    assert list(ds) == [[0], [1], [2]]
    again = [] if iter(iterable) is iterable else [[0], [1], [2]]
    assert list(ds) == again, "an iterator is used up"
    if isinstance(iterable, list):
        assert len(ds) == 3
    else:
        with pytest.raises(NotImplementedError):
            len(ds)


def test_an_iterable_through_processes_and_resumed() -> None:
    def chain() -> df.DataFlow:
        return df.DataFromIterable([[i] for i in range(20)]).map(lambda dp: [dp[0] + 1])

    with df.PrefetchDataZMQ(chain(), 2) as ds:
        assert sorted(dp[0] for dp in ds) == list(range(1, 21))
    ds = chain()
    iterator = iter(ds)
    for _ in range(7):
        next(iterator)
    other = chain()
    other.load_state_dict(ds.state_dict())
    assert [dp[0] for dp in other] == list(range(8, 21))


def test_what_cannot_be_iterated() -> None:
    with pytest.raises(df.ConfigError, match="iterable=3"):
        df.DataFromIterable(3)
