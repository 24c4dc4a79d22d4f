"""What people write first: it works, or the error has the value and says what to write instead."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dataflow as df
from dataflow.dataset import NetworkImages


def numbers(size: int = 6) -> df.DataFlow:
    return df.DataFromList([[i] for i in range(size)], shuffle=False)


class Frame:
    """As far as it is looked at, a pandas DataFrame."""

    iloc = None

    def __len__(self) -> int:
        return 2


def images(datapoints: Any) -> NetworkImages:
    ds = NetworkImages()
    ds.datapoints = datapoints
    return ds


URL = "http://127.0.0.1:1/a.jpg"


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda: df.MapData([[1], [2]], print), ["MapData", "[[1], [2]]", "DataFromList("]),
        (lambda: df.BatchData(np.zeros((3, 2)), 2), ["BatchData", "ndarray", "DataFromList("]),
        (lambda: df.PrefetchDataZMQ("abc", 1), ["PrefetchDataZMQ", "'abc'"]),
        (lambda: df.BatchData(df.DataFromList, 2), ["class DataFromList", "call it"]),
        (lambda: df.CacheData(7), ["CacheData", "7"]),
        (lambda: numbers().batch("32"), ["batch_size='32'", "give 32"]),
        (lambda: numbers().batch(32.0), ["batch_size=32.0", "give 32"]),
        (lambda: numbers().batch(True), ["batch_size=True"]),
        (lambda: numbers().shuffled("9"), ["buffer_size='9'", "give 9"]),
        (lambda: df.PrefetchDataZMQ(numbers(), 2.0), ["num_proc=2.0", "give 2"]),
        (lambda: df.PrefetchDataZMQ(numbers(), 2, hwm="50"), ["buffer_size='50'", "give 50"]),
        (lambda: df.RepeatedData(numbers(), "2"), ["num='2'"]),
        (lambda: df.FixedSizeData(numbers(), None), ["size=None"]),
        (lambda: images([[URL]]).parallel("4"), ["num_threads='4'"]),
        (lambda: numbers().map(print).shuffle(9), ["shuffled(buffer_size)", "shuffle=True"]),
        (lambda: df.ConcatData(numbers(), numbers()), ["ConcatData([a, b])"]),
        (lambda: df.RandomChooseData(numbers(), numbers()), ["RandomChooseData([a, b])"]),
        (lambda: df.JoinData(numbers()), ["JoinData([a, b])"]),
        (lambda: list(images([URL, URL])), [URL, "[[url] for url in urls]"]),
        (lambda: list(images([{"url": URL, "label": 1}])), ["df.read_table(dicts, url='url')"]),
        (lambda: list(images(Frame())), ["Frame", "df.read_table(frame, url='url'"]),
        (lambda: df.DataFromList(Frame()), ["Frame", "df.Columns(frame)"]),
        (lambda: df.PrefetchDataZMQ(numbers(), 1, init=3), ["init=3"]),
        (lambda: df.PrefetchDataZMQ(numbers(), 1, task_timeout="3"), ["task_timeout='3'"]),
        (lambda: df.PrefetchDataZMQ(iter([[1]]), 1), ["iterator", "DataFromGenerator("]),
        (lambda: df.BatchData(None, 2), ["BatchData", "None"]),
        (lambda: df.DataFromList(3), ["lst=3"]),
        (lambda: df.DataFromList({"a": [1]}), ["lst={'a': [1]}"]),
        (lambda: df.DataFromList({1, 2}), ["lst={1, 2}", "list("]),
        (lambda: numbers().seed(1.7), ["seed=1.7"]),
        (lambda: numbers().seed("x"), ["seed='x'"]),
        (lambda: numbers().set_epoch("a"), ["epoch='a'"]),
        (lambda: numbers().set_epoch(-1), ["epoch=-1"]),
        (lambda: df.JoinData(3), ["df_lists=3"]),
        (lambda: df.SelectComponent(numbers(), 0), ["idxs=0", "[0]"]),
        (lambda: list(df.DataFromGenerator(lambda: None)), ["None", "yield"]),
        (lambda: numbers().batch(2, pad="x"), ["pad='x'"]),
        (lambda: numbers().batch(2, pad=0, collate=list), ["pad and collate"]),
        (lambda: numbers().batch(2, pad=0, use_list=True), ["use_list and pad"]),
    ],
)
def test_it_says_what_to_write(mistake: Callable[[], Any], words: list[str]) -> None:
    with pytest.raises(df.ConfigError) as caught:
        mistake()
    for word in words:
        assert word in str(caught.value)


def test_an_error_says_where() -> None:
    def work(dp: list[int]) -> list[int]:
        raise ValueError("boom")

    ds = numbers().map(work)
    with pytest.raises(ValueError, match="boom") as plain:
        list(ds)
    where = "position 0 of epoch 0, key [0], in MapData with work"
    if sys.version_info >= (3, 11):
        assert plain.value.__notes__ == [f"dataflow: for {where}"]
    with pytest.raises(df.WorkerError, match=re.escape(where)):
        list(df.MultiThreadMapData(ds, 1, lambda dp: dp))
    both = numbers()
    with pytest.raises(df.DataFlowTerminated, match=r"DataFromList: for two loops .* twice"):
        for _ in both:
            next(iter(both))


def test_dicts_with_a_common_key() -> None:
    ds = df.JoinData([df.DataFromList([{"a": 1, "b": 2}]), df.DataFromList([{"b": 3}])])
    with pytest.raises(df.ConfigError, match="key 'b'"):
        list(ds)


def test_places_from_the_end_and_slices() -> None:
    ds = numbers(6)
    assert ds[-1] == [5] and ds[-6] == [0]
    assert ds[2:5] == [[2], [3], [4]] and ds[::2] == [[0], [2], [4]] and ds[-2:] == [[4], [5]]
    assert ds[9:] == [] and ds[::-1][0] == [5]
    with pytest.raises(IndexError, match="-7"):
        ds[-7]
    assert ds.filter(lambda dp: dp[0] % 2)[0:4] == [[1], [3]]
    endless = ds.repeat(-1)
    assert endless[4:8] == [[4], [5], [0], [1]]
    with pytest.raises(TypeError, match="unknown length"):
        endless[-3:]


def test_what_can_be_iterated_will_do() -> None:
    class Own:
        def __iter__(self) -> Any:
            return iter([[1], [2]])

    assert list(df.MapData(Own(), lambda dp: dp)) == [[1], [2]]
