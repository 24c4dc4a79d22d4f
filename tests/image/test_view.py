"""Looking at what passes by, without a display and with a pretended one."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dataflow.engine.session import Session
from dataflow.epoch import DROPPED, Epoch
from dataflow.flow import DataFlow
from dataflow.image import Viewer
from dataflow.opening import stream
from dataflow.sources import DataFromList


def pictures(count: int = 20) -> DataFlow:
    """Pictures whose grey value is their label; every fifth datapoint is dropped."""
    points = [[np.full((4, 6, 3), i % 10, np.uint8), i % 10] for i in range(count)]
    return DataFromList(points, shuffle=False).filter(lambda dp: dp[1] % 5 != 4)


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No display, and an empty working directory."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.chdir(tmp_path)


def values(folder: str | Path) -> list[int]:
    return [int(cv2.imread(str(file))[0, 0, 0]) for file in sorted(Path(folder).glob("*.png"))]


def test_the_ancestor_s_arguments() -> None:
    parameters = inspect.signature(Viewer).parameters
    assert list(parameters) == ["ds", "condition", "name", "prob", "pos", "folder"]
    ds = Viewer(pictures())
    assert (ds.name, ds.prob, ds.pos) == ("label-0", 0.1, (0, 0))
    assert ds.condition([None, 0])
    assert not ds.condition([None, 1])


def test_files_where_there_is_no_window() -> None:
    ds = Viewer(pictures(), name="label 0/x", prob=1)
    with pytest.warns(RuntimeWarning, match="no window"):
        assert len(list(ds)) == 16
    assert [file.name for file in sorted(Path("viewer/label_0_x").iterdir())] == [
        "000000.png",
        "000001.png",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it was said
        list(ds)
    assert values("viewer/label_0_x") == [0, 0, 0, 0]


def test_everything_passes_on_unchanged(tmp_path: Path) -> None:
    source = pictures()
    ds = Viewer(source, lambda datapoint: datapoint[1] > 5, prob=1, folder=tmp_path / "seen")
    assert len(ds) == 20
    epoch = Epoch(1, 0, session=Session({}))
    pairs = list(stream(ds, epoch))
    assert [tag for tag, _ in pairs] == [tag for tag, _ in stream(source, epoch)]
    assert [datapoint is DROPPED for _, datapoint in pairs] == [i % 5 == 4 for i in range(20)]
    assert values(tmp_path / "seen") == [6, 7, 8, 6, 7, 8]


def test_nothing_is_made_where_nothing_matches(tmp_path: Path) -> None:
    list(Viewer(pictures(), lambda datapoint: False, prob=1))
    list(Viewer(pictures(), prob=0))
    assert list(tmp_path.iterdir()) == []


def test_the_seed_decides_what_is_shown(tmp_path: Path) -> None:
    def run(seed: int, folder: str) -> list[int]:
        ds: Any = Viewer(pictures(100), lambda datapoint: True, prob=0.3, folder=tmp_path / folder)
        list(ds.seed(seed))
        return values(tmp_path / folder)

    shown = run(1, "a")
    assert 10 < len(shown) < 40
    assert run(1, "b") == shown
    assert run(2, "c") != shown


def test_a_window_where_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[Any] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(
        cv2, "namedWindow", lambda name: calls.append(("window", name)), raising=False
    )
    monkeypatch.setattr(cv2, "moveWindow", lambda *a: calls.append(("move", *a)), raising=False)
    monkeypatch.setattr(
        cv2, "imshow", lambda name, p: calls.append(("show", p.shape)), raising=False
    )
    monkeypatch.setattr(cv2, "waitKey", lambda wait: calls.append(("wait", wait)), raising=False)
    list(Viewer(pictures(), name="zero", prob=1, pos=(30, 40)))
    assert calls[:2] == [("window", "zero"), ("move", "zero", 30, 40)]
    assert calls[2:] == [("show", (4, 6, 3)), ("wait", 1)] * 2
    assert list(tmp_path.iterdir()) == []


def test_an_opencv_without_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> None:
        raise cv2.error("not implemented")

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "namedWindow", missing, raising=False)
    with pytest.warns(RuntimeWarning, match="no window"):
        list(Viewer(pictures(), prob=1))
    assert values("viewer/label-0") == [0, 0]


def test_wrong_arguments() -> None:
    for arguments, message in (
        ({"condition": 3}, "condition=3"),
        ({"prob": 2}, "prob=2"),
        ({"pos": (1, 2, 3)}, "pos="),
    ):
        with pytest.raises(ValueError, match=message):
            Viewer(pictures(), **arguments)
