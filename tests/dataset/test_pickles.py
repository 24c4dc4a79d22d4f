"""Pickles from the network: values and arrays, never code."""

from __future__ import annotations

import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from published import python2_pickle

import dataflow as df
from dataflow.dataset.pickles import load_plain_pickle


def load(body: bytes, folder: Path) -> dict[bytes, Any]:
    path = folder / "batch"
    path.write_bytes(body)
    return load_plain_pickle(path)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.uint8).reshape(3, 4),
        np.asfortranarray(np.arange(12, dtype=np.uint8).reshape(3, 4)),
        np.arange(3, dtype=">i4"),
        np.linspace(0, 1, 5),
        np.array([True, False]),
        np.zeros((0, 7), np.float32),
    ],
)
def test_arrays(array: np.ndarray, tmp_path: Path) -> None:
    body = python2_pickle({"data": array, "n": -3, "names": ["a", "b"], "more": {"x": 0.5}})
    found = load(body, tmp_path)
    assert found[b"data"].dtype == array.dtype
    np.testing.assert_array_equal(found.pop(b"data"), array)
    assert found == {b"n": -3, b"names": [b"a", b"b"], b"more": {b"x": 0.5}}


def test_they_are_what_python_2_wrote() -> None:
    opcodes = {
        op.name for op, *_ in pickletools.genops(python2_pickle({"a": np.zeros(2, np.uint8)}))
    }
    assert "BINSTRING" in opcodes and not opcodes & {"BINUNICODE", "BINBYTES", "FRAME"}


class _Evil:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.way = function, arguments

    def __reduce__(self) -> Any:
        return self.way


@pytest.mark.parametrize(
    "function",
    [os.system, eval, exec, getattr, __import__, pickle.loads, np.load, np.fromfile, np.memmap],
)
def test_code_is_refused(function: Any, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    evil = _Evil(function, f"open({str(marker)!r}, 'w')")
    with pytest.raises(df.MissingData, match="batch cannot be read: it asks for"):
        load(pickle.dumps({"data": evil}, 2), tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "value",
    [
        np.array([None, 1], object),
        np.zeros(2, [("a", "u1")]),
        np.array(["text"]),
        np.array(["2020-01-01"], "M8[D]"),
        np.array([1j]),
    ],
)
def test_arrays_of_other_things_are_refused(value: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(df.MissingData):
        load(python2_pickle({"data": value}), tmp_path)


def test_a_shape_that_does_not_fit_is_refused_before_there_is_room_for_it(tmp_path: Path) -> None:
    body = python2_pickle({"data": np.zeros((3, 5), np.uint8)})
    lie = body.replace(b"K\x03K\x05", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f"[:10])
    assert lie != body
    with pytest.raises(df.MissingData, match="do not fit"):
        load(lie, tmp_path)


@pytest.mark.parametrize("body", [b"", b"<html>", pickle.dumps([1], 2), b"\x80\x02}q\x00("])
def test_what_is_no_pickle_of_a_dict(body: bytes, tmp_path: Path) -> None:
    with pytest.raises(df.MissingData, match="batch cannot be read"):
        load(body, tmp_path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(df.MissingData, match="none is missing"):
        load_plain_pickle(tmp_path / "none")


GOOD = python2_pickle({"data": np.zeros((2, 3), np.uint8), "labels": [1, 2]})


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255), cut=st.booleans())
def test_damage_is_an_error_or_another_dict(
    place: int, byte: int, cut: bool, tmp_path: Path
) -> None:
    body = GOOD[:place] if cut else GOOD[:place] + bytes([byte]) + GOOD[place + 1 :]
    try:
        assert isinstance(load(body, tmp_path), dict)
    except df.MissingData as error:
        assert "batch" in str(error)
