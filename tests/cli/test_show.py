"""``dataflow show``: the sheets that it writes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import pytest

import dataflow as df
from dataflow.cli.cells import Sheet
from dataflow.cli.main import main

Send: TypeAlias = "Callable[..., None]"

RED, BLUE = (255, 0, 0), (0, 0, 255)  # in the order red, green, blue


def filled(*colours: tuple[int, int, int], side: int = 32) -> np.ndarray:
    """A batch of images of one colour each."""
    return np.stack([np.full((side, side, 3), colour, "u1") for colour in colours])


def middles(path: Path, *, size: int, wide: int = 1) -> list[list[int]]:
    """The colours, blue, green and red, in the middle of the images of a sheet's first row."""
    sheet = cv2.imread(str(path))
    gap, found = max(6, size // 14), []
    x = gap
    while x + size <= sheet.shape[1]:
        for number in range(wide):
            left = x + number * (size + 2)
            found.append(sheet[gap + size // 2, left + size // 2].tolist())
        x += wide * (size + 2) - 2 + gap
    return found


@pytest.fixture
def place(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/s"


def test_a_batch(
    send: Send, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, path = filled(RED, BLUE, BLUE), tmp_path / "new" / "sheet.png"
    batch = [images, np.arange(3, dtype="i4")]
    send(f"zrpush+{place}", [batch], again=True, infos=["image", "label"])
    words = ["show", f"zrpull+{place}", "--out", str(path), "--size", "40"]
    assert main(words) == 0
    assert middles(path, size=40) == [[0, 0, 255], [255, 0, 0], [255, 0, 0]]
    out = capsys.readouterr().out
    assert out == f"{path}: 3 samples; 0 image: uint8 3×32×32×3; 1 label: int32 3\n"
    assert main([*words, "--bgr", "--columns", "2", "--rows", "1"]) == 0
    assert middles(path, size=40) == [[255, 0, 0], [0, 0, 255]]
    assert "2 of 3 samples" in capsys.readouterr().out


def test_pairs_several_sheets_and_those_left_out(
    send: Send, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Normalised with channels first, and a mask; every second batch."""
    images = filled(RED, BLUE)
    normal = ((images / 255 - 0.5) / 0.25).transpose(0, 3, 1, 2).astype("f4")
    mask = np.stack([np.full((32, 32), 0), np.full((32, 32), 20)]).astype("u1")
    batches = [[normal, mask], [normal[:1], mask[:1]]] * 3
    send(f"zrpush+{place}", batches)
    words = ["show", f"zrpull+{place}", "--out", str(tmp_path / "a.png"), "--size", "30"]
    assert main([*words, "--count", "2", "--every", "2"]) == 0
    colours = [[0, 0, 255], [0, 0, 0], [255, 0, 0], [255, 255, 255]]
    for number in (1, 2):
        assert middles(tmp_path / f"a-{number}.png", size=30, wide=2) == colours
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 2
    assert "0: float32 2×3×32×32 (stretched: black is -2, white is 2)" in told[0]
    assert "1: uint8 2×32×32 (stretched: black is 0, white is 20)" in told[0]


def test_single_datapoints_of_our_own_wire(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = [[np.full((20, 30, 3), (255, 0, 0), "u1"), i] for i in range(5)]
    classes, path = tmp_path / "classes.json", tmp_path / "sheet.png"
    classes.write_text(json.dumps(["cat", "dog"]))
    ds = df.DataFromList(points, shuffle=False)
    thread = threading.Thread(target=df.send, args=(ds, place))
    thread.start()
    words = ["--bind", "--out", str(path), "--size", "40", "--classes", str(classes)]
    assert main(["show", place, *words]) == 0
    thread.join()
    assert middles(path, size=40) == [[255, 0, 0]] * 5
    assert "5 samples; 0: uint8 20×30×3; 1: int" in capsys.readouterr().out


def test_what_came_before_silence_is_shown(
    send: Send, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sheet.png"
    send(f"zrpush+{place}", [[filled(RED)[0], np.array([7], "i4")]] * 3)
    words = ["show", f"zrpull+{place}", "--timeout", "0.3", "-b", "--size", "40"]
    assert main([*words, "--out", str(path), "--count", "1"]) == 0
    assert middles(path, size=40) == [[0, 0, 255]] * 3
    assert main([*words, "--out", str(path)]) == 1
    assert "nothing came from" in capsys.readouterr().err


def test_labels() -> None:
    sheet = Sheet(2, 2, {"1": "dog"})
    weights, words = np.array([0.5, 0.25]), ["a\x1b", "b"]
    batch = [filled(RED, BLUE), np.array([[0], [1]]), weights, words, np.zeros((2, 5))]
    assert sheet.add(batch, (), rgb=True, unbatched=False)
    assert [label for _, label in sheet.cells] == ["0, 0.5, a?", "dog, 0.25, b"]
    sheet = Sheet(1, 2, {})
    assert not sheet.add([filled(RED)[0], 3, "x"], (), rgb=True, unbatched=False)
    assert not sheet.full
    assert not sheet.add({"grey": np.zeros((9, 9), "u1")}, (), rgb=True, unbatched=True)
    assert sheet.full
    assert [label for _, label in sheet.cells] == ["3, x", ""]


def test_nothing_that_looks_like_an_image(
    send: Send, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    send(f"zrpush+{place}", [[np.zeros((16, 64), "f4"), np.zeros(16, "i4")]])
    assert main(["show", f"zrpull+{place}", "--out", str(tmp_path / "a.png")]) == 1
    err = capsys.readouterr().err
    assert "no component looks like images" in err and "0: float32 16×64; 1: int32 16" in err
    assert not (tmp_path / "a.png").exists()


def test_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    (tmp_path / "classes.json").write_text("5")
    for words, line in (
        ("", "there is no display for a window: write a picture with --out"),
        ("--out a.png --classes nothing.json", "cannot read --classes nothing.json"),
        (f"--out a.png --classes {tmp_path}/classes.json", "neither a list nor an object"),
        ("--out a.png --size 3", "'3' is not a number of pixels"),
        ("--out a.png --rgb --bgr", "not allowed with"),
        ("--out a.jpg", "'a.jpg' does not end with .png"),
        ("--out a.png --rows 0", "'0' is not a whole number"),
    ):
        assert main(["show", "zsub://127.0.0.1:9", *words.split()]) == 2
        err = capsys.readouterr().err
        assert line in err and err.count("\n") == 1


def test_a_picture_that_cannot_be_written(
    send: Send, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    send(f"zrpush+{place}", [[filled(RED)]])
    assert main(["show", f"zrpull+{place}", "--out", str(tmp_path / "file" / "a.png")]) == 2
    assert "cannot write" in capsys.readouterr().err
