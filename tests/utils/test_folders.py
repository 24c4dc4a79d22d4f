"""Where the cache folder is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dataflow.utils.folders import cache_folder, dataset_folder, kept_file


def test_cache_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATAFLOW_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="the XDG convention")
def test_cache_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DATAFLOW_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "dataflow"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "dataflow"


def test_where_data_sets_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATAFLOW_DATASET", "TENSORPACK_DATASET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATAFLOW_CACHE", str(tmp_path))
    assert dataset_folder("mnist_data") == tmp_path / "datasets" / "mnist_data"
    monkeypatch.setenv("TENSORPACK_DATASET", "~/theirs")
    assert dataset_folder("mnist_data") == Path.home() / "theirs" / "mnist_data"
    monkeypatch.setenv("DATAFLOW_DATASET", str(tmp_path / "ours"))
    assert dataset_folder("mnist_data") == tmp_path / "ours" / "mnist_data"
    assert dataset_folder() == tmp_path / "ours"


def test_what_is_kept_of_a_thing_is_of_its_last_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAFLOW_CACHE", str(tmp_path))
    first = kept_file("kind", "/data/a", "1", ".x")
    assert first.parent == tmp_path / "kind" and not first.exists()
    other = kept_file("kind", "/data/b", "1", ".x")
    for path in (first, other):
        path.touch()
    assert kept_file("kind", "/data/a", "1", ".x") == first and first.exists()
    second = kept_file("kind", "/data/a", "2", ".x")
    assert second != first and not first.exists() and other.exists()
