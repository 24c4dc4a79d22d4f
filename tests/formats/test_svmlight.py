"""SVMlight files, as scikit-learn writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

import dataflow as df


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    rng = np.random.default_rng(0)
    rows = rng.random((50, 20)) * (rng.random((50, 20)) < 0.2)
    path = tmp_path_factory.mktemp("svm") / "file.svm"
    dump_svmlight_file(rows, rng.integers(0, 3, 50), str(path))
    return str(path)


def test_rows_and_labels(path: str) -> None:
    matrix, labels = load_svmlight_file(path)
    dense = matrix.toarray()
    ds = df.SVMLightData(path, False)
    assert len(ds) == 50
    for (row, label), expected, expected_label in zip(ds, dense, labels, strict=True):
        np.testing.assert_array_equal(row, expected)
        assert row.dtype == np.float64 and row.flags.writeable
        assert label == expected_label and type(label) is np.float64
    np.testing.assert_array_equal(ds[7][0], dense[7])


def test_it_is_shuffled_by_default_and_parallel(path: str) -> None:
    alone = list(df.SVMLightData(path).seed(1))
    with df.PrefetchDataZMQ(df.SVMLightData(path), 1).seed(1) as ds:
        for (row, label), (expected, expected_label) in zip(ds, alone, strict=True):
            np.testing.assert_array_equal(row, expected)
            assert label == expected_label
    order = [label for _, label in alone]
    assert order != [label for _, label in df.SVMLightData(path, False)]


def test_it_is_sparse_in_memory(tmp_path: Path) -> None:
    """Densely these ten rows would take 8 GB."""
    path = tmp_path / "wide.svm"
    path.write_text("".join(f"{i % 2} {i + 1}:0.5 {100_000_000 - i}:2\n" for i in range(10)))
    ds = df.SVMLightData(path, shuffle=False)
    key = ds.keys()[3]
    assert key[0].tolist() == [3, 99_999_996] and key[2] == 1
    assert [row[2] for row in ds.keys()[2:4]] == [0, 1]


@pytest.mark.parametrize("text", ["<html>\n", "1 a:b\n", "1 2:3:4\n"])
def test_files_that_are_none(text: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(df.CodecError, match=f"{path} is no SVMlight file") as caught:
        df.SVMLightData(path)
    assert caught.value.reason == "foreign"
    with pytest.raises(df.MissingData, match="nothing"):
        df.SVMLightData(tmp_path / "nothing")


def test_a_missing_library(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(df.MissingExtra, match=r"pip install scikit-learn"):
        df.SVMLightData(path)
