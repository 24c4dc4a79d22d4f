"""Looking at a dataflow while it runs."""

from __future__ import annotations

import numpy as np
import pytest
import tensorpack.dataflow as tp

import dataflow as df


def source(size: int = 3) -> df.DataFlow:
    return df.DataFromList([[np.full((2, 3), i, np.uint8), i, "x"] for i in range(size)], False)


def test_print_passes_everything_on_and_shows_the_first(capsys) -> None:
    ds = df.PrintData(source(), num=2, name="images")
    assert [dp[1] for dp in ds] == [0, 1, 2]
    assert len(ds) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "datapoint 1 of 2 of images: list of len 3\n"
        "   0: ndarray:uint8 of shape (2, 3) in range [0, 0]\n"
        "   1: int with value 0\n"
        "   2: str of len 1, 'x'\n"
        "datapoint 2 of 2 of images: list of len 3\n"
        "   0: ndarray:uint8 of shape (2, 3) in range [1, 1]\n"
        "   1: int with value 1\n"
        "   2: str of len 1, 'x'\n"
    )
    list(ds)
    assert capsys.readouterr().err == "", "only once, not in every epoch"


def test_print_shows_nested_ones_as_far_as_asked(capsys: pytest.CaptureFixture[str]) -> None:
    point = {"a": [1, [2, [3]]], "b": [1, 2, 3, 4, 5], "c": np.zeros(0), "d": np.array(["x"])}
    list(df.PrintData(df.DataFromList([point], False), max_depth=2, max_list=2))
    assert capsys.readouterr().err == (
        "datapoint 1 of 1: dict of len 4\n"
        "   a: list of len 2\n"
        "      0: int with value 1\n"
        "      1: list of len 2\n"
        "         ...\n"
        "   b: list of len 5\n"
        "      0: int with value 1\n"
        "      1: int with value 2\n"
        "      ...\n"
        "   c: ndarray:float64 of shape (0,)\n"
        "   d: ndarray:<U1 of shape (1,)\n"
    )


@pytest.mark.parametrize(
    "point",
    [7, None, "text", b"\xff\0", [], {}, [None], np.float32(2), [np.datetime64("2020-01-01")]],
)
def test_print_bears_any_datapoint(point, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(df.PrintData(df.DataFromList([point], False))) == [point]
    assert capsys.readouterr().err.startswith("datapoint 1 of 1: ")


def test_print_counts_datapoints_that_were_not_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    list(df.PrintData(source().filter(lambda dp: dp[1] == 2)))
    assert "int with value 2" in capsys.readouterr().err


def test_speed_runs_first_and_then_delivers_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    ds = df.TestDataSpeed(source(), size=2, warmup=1)
    assert [dp[1] for dp in ds] == [0, 1, 2]
    assert "2/2" in capsys.readouterr().err


@pytest.mark.parametrize(("size", "taken"), [(2, 3), (5, 5), (50, 5)])
def test_speed_takes_no_more_than_asked(size: int, taken: int) -> None:
    seen = []
    ds = source(5).map(lambda dp: seen.append(dp) or dp)
    df.TestDataSpeed(ds, size, warmup=1).start()
    assert len(seen) == taken


def test_speed_of_an_endless_flow() -> None:
    ds = df.TestDataSpeed(df.RepeatedData(source(), -1), size=20)
    ds.start()
    ds.start()


def test_speed_of_a_foreign_flow_that_needs_its_reset(capsys: pytest.CaptureFixture[str]) -> None:
    df.TestDataSpeed(tp.DataFromList([[1], [2]]), size=5).start()
    assert "2/5" in capsys.readouterr().err


def test_speed_of_workers_leaves_nothing_behind() -> None:
    with df.PrefetchDataZMQ(source(100), 2) as below:
        ds = df.TestDataSpeed(below, size=20)
        ds.start()
        assert sorted(dp[1] for dp in ds) == list(range(100))


@pytest.mark.parametrize("options", [{"size": -1}, {"warmup": -2}])
def test_values_that_cannot_be_are_refused(options) -> None:
    (name, value), *_ = options.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        df.TestDataSpeed(source(), **options)
