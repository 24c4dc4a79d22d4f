"""NumPy's archives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dataflow as df

from .conftest import check, flow, points


def test_the_archive_has_two_plain_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    df.NumpySerializer.save(flow(), path)
    with np.load(path, allow_pickle=False) as archive:
        assert set(archive.files) == {"records", "ends"}
        assert archive["records"].dtype == np.uint8 and archive["ends"].dtype == np.int64
        assert archive["ends"][-1] == len(archive["records"])
    assert len(df.NumpySerializer.load(path).keys()[3:5]) == 2  # type: ignore[attr-defined]


def test_the_suffix_is_added(tmp_path: Path) -> None:
    df.NumpySerializer.save(flow(), tmp_path / "a")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize(
    "arrays",
    [
        {"records": np.zeros(5, np.uint8)},
        {"records": np.zeros(5, np.uint8), "ends": np.array([5]), "more": np.zeros(1)},
        {"x": np.zeros(5)},
        {},
    ],
)
def test_archives_of_something_else(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(df.CodecError, match=f"{path} has the arrays") as caught:
        df.NumpySerializer.load(path)
    assert caught.value.reason == "foreign"


@pytest.mark.parametrize(
    "ends", [[6], [4], [3, 2, 5], [-1, 5], [[5]], [5.0], []], ids=lambda ends: str(ends)
)
def test_ends_that_do_not_fit(ends: list[int], tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, records=np.zeros(5, np.uint8), ends=np.array(ends))
    with pytest.raises(df.CodecError, match="do not fit each other"):
        df.NumpySerializer.load(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_is_noticed_or_harmless(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.npz"
    if not path.exists():
        df.NumpySerializer.save(flow(5), path)
    damaged = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] ^= data.draw(st.integers(1, 255))
    other = tmp_path / "b.npz"
    other.write_bytes(damaged)
    try:
        found = list(df.NumpySerializer.load(other, shuffle=False))
    except df.CodecError as error:
        assert str(other) in str(error)
    else:
        check(found, points(5))
