"""``dataflow stat``: the figures, and what is said of them."""

from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from optional import library
from tensorcom_peer import peer

import dataflow as df
from dataflow.cli.components import components, printable, samples
from dataflow.cli.main import main
from dataflow.cli.moments import Moments

Send: TypeAlias = "Callable[..., None]"

KINDS = ["b1", "u1", "i1", "i4", "i8", "u4", "f2", "f4", "f8"]
arrays = st.sampled_from(KINDS).flatmap(
    lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=3, max_side=5))
)


# -- figures -----------------------------------------------------------------------------------


@settings(max_examples=100)
@given(st.lists(arrays, min_size=1, max_size=4))
def test_moments_are_those_of_all_numbers_together(given: list[np.ndarray]) -> None:
    found = Moments()
    for array in given:
        found.add(array)
    with np.errstate(all="ignore"):
        flat = np.concatenate([array.reshape(-1).astype(np.float64) for array in given])
        finite = flat[np.isfinite(flat)]
        assert (found.nan, found.inf) == (np.isnan(flat).sum(), np.isinf(flat).sum())
        assert found.count == len(finite)
        if not len(finite):
            assert math.isnan(found.min) and math.isnan(found.std)
            return
        assert (found.min, found.max) == (finite.min(), finite.max())
        assert finite.min() <= found.mean <= finite.max() or math.isclose(
            found.mean, finite.mean(), rel_tol=1e-9
        )
        if abs(finite).max() < 1e100:
            close = {"rtol": 1e-9, "atol": 1e-9 * abs(finite).max()}
            np.testing.assert_allclose(found.mean, finite.mean(), **close)
            np.testing.assert_allclose(found.std, finite.std(), **close)
            assert found.histogram.counts.sum() == len(finite)


@pytest.mark.parametrize(
    ("numbers", "mean"),
    [([8.98e307] * 2, 8.98e307), ([1.7e308] * 3, 1.7e308), ([-1.7e308, 1.7e308], 0)],
)
def test_the_mean_of_numbers_whose_sum_is_no_number(numbers: list[float], mean: float) -> None:
    together, apart = Moments(), Moments()
    together.add(np.array(numbers))
    for number in numbers:
        apart.add(np.array([number]))
    assert together.mean == apart.mean == mean
    assert math.isinf(together.std) or mean


def test_small_differences_of_large_numbers_do_not_cancel() -> None:
    found, rng = Moments(), np.random.default_rng(0)
    parts = [1e9 + rng.normal(size=300_000) for _ in range(3)]  # more than is taken at once
    for part in parts:
        found.add(part)
    whole = np.concatenate(parts)
    assert found.std == pytest.approx(whole.std(), rel=1e-6)
    assert found.mean == pytest.approx(whole.mean(), rel=1e-15)


@given(st.lists(st.lists(st.integers(-3000, 3000), min_size=1), min_size=1, max_size=5))
def test_histograms_of_whole_numbers_are_exact(parts: list[list[int]]) -> None:
    found = Moments()
    for part in parts:
        found.add(np.array(part, "i4"))
    values = np.array([number for part in parts for number in part])
    counts, _ = np.histogram(values, found.histogram.edges)
    assert found.histogram.counts.tolist() == counts.tolist()


# -- what datapoints are -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shapes", "number"),
    [
        ([(4, 32, 32, 3), (4,)], 4),
        ([(4, 3, 32, 32), (4, 7)], 4),
        ([(4, 32, 32), (4,)], 4),
        ([(3, 32, 32), (3,)], 3),
        ([(5, 9)], 5),
        ([(32, 32, 3), ()], None),
        ([(32, 32, 3)], None),
        ([(3, 32, 32)], None),
        ([(32, 32, 3), (32, 32)], None),
        ([(3, 32, 32), (1, 32, 32)], None),
        ([], None),
    ],
)
def test_batches_are_told_from_single_samples(
    shapes: list[tuple[int, ...]], number: int | None
) -> None:
    assert samples(components([np.zeros(shape, "u1") for shape in shapes])) == number


def test_names_of_components() -> None:
    parts = components({"image": np.zeros((2, 3), "f4"), "name\x1b[31m": "x"})
    assert [(part.name, str(part.form)) for part in parts] == [
        ("image", "float32 2×3"),
        ("name?[31m", "text"),
    ]
    assert [part.name for part in components([1, 2.5], ["label"])] == ["0 label", "1"]
    assert [str(part.form) for part in components([1, None, b"x"])] == ["int", "NoneType", "bytes"]
    assert printable("x" * 50) == "x" * 39 + "…"


# -- the command -------------------------------------------------------------------------------


def test_all_numbers_of_a_stream(
    send: Send, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    batches = [
        [rng.normal(5, 2, (size, 3)).astype("f4"), np.full(size, 7, "i4")] for size in (4, 4, 2)
    ]
    batches[1][0][0, 0], batches[1][0][1, 1] = np.nan, np.inf
    url = f"ipc://{tmp_path}/s"
    send(f"zrpush+{url}", batches, infos=["x", "label"])
    assert main(["stat", f"zrpull+{url}", "-c", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    x, label = found["components"]
    flat = np.concatenate([batch[0].reshape(-1) for batch in batches]).astype("f8")
    flat = flat[np.isfinite(flat)]
    assert found["datapoints"] == 3
    assert (x["name"], x["numbers"], x["nan"], x["inf"]) == ("0 x", 28, 1, 1)
    assert x["forms"] == [
        {"dtype": "float32", "shape": [4, 3], "datapoints": 2},
        {"dtype": "float32", "shape": [2, 3], "datapoints": 1},
    ]
    for name in ("min", "max", "mean", "std"):
        assert x[name] == pytest.approx(getattr(flat, name)())
    assert (label["name"], label["std"], label["constant"]) == ("1 label", 0, True)


def test_what_looks_wrong_is_said(
    send: Send, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library("matplotlib")
    noise = np.linspace(-1, 1, 12, dtype="f4").reshape(4, 3)
    batch = [noise, np.where(noise > 0.9, np.nan, 2), np.full(4, np.nan), np.zeros((0, 2), "u1")]
    url, picture = f"ipc://{tmp_path}/s", tmp_path / "new" / "histograms.png"
    send(f"zrpush+{url}", [batch] * 3, allow64=True)
    assert main(["stat", f"zrpull+{url}", "-c", "3", "--out", str(picture)]) == 0
    out, err = capsys.readouterr()
    assert f"3 datapoints from zrpull+{url}" in out
    row = next(line for line in out.splitlines() if line.startswith("0 "))
    assert row.split() == ["0", "float32", "4×3", "-1", "1", "0", f"{noise.std():.5g}"]
    for remark in (
        "Component 1: 3 (0.083 of all) of its numbers are NaN.",
        "Component 1 is always 2.",
        "Component 2: all of its numbers are NaN.",
        "Component 3 has no numbers.",
    ):
        assert remark in out
    assert "Component 0" not in out
    assert str(picture) in err
    drawn = cv2.imread(str(picture))
    assert drawn is not None and drawn.std() > 10


def test_a_stream_that_stops(
    send: Send, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"ipc://{tmp_path}/s"
    send(f"zrpush+{url}", [[np.arange(4, dtype="u1")]] * 2)
    assert main(["stat", f"zrpull+{url}", "--timeout", "0.3"]) == 1
    out, err = capsys.readouterr()
    assert "2 datapoints" in out and "only 2 of 20" in err and "though 1 peer is connected" in err


def test_our_own_wire_to_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Datapoints are dicts, and have text; encrypted."""
    assert main(["keys", str(tmp_path / "keys")]) == 0
    points = [{"image": np.full((8, 8, 3), i, "u1"), "label": i, "name": "x"} for i in range(5)]
    url, keys = f"ipc://{tmp_path}/s", tmp_path / "keys"
    ds = df.DataFromList(points, shuffle=False)
    thread = threading.Thread(target=df.send, args=(ds, url), kwargs={"keys": keys})
    thread.start()
    assert main(["stat", url, "--bind", "--keys", str(keys), "--json"]) == 0
    thread.join()
    out, err = capsys.readouterr()
    image, label, name = json.loads(out.splitlines()[-1])["components"]
    assert (image["name"], image["mean"], image["numbers"]) == ("image", 2, 5 * 192)
    assert (label["name"], label["max"]) == ("label", 4)
    assert (name["numbers"], name["forms"][0]["dtype"]) == (0, "text")
    assert "only 5 of 20 datapoints came before the senders ended" in err


def test_all_three_with_the_real_tensorcom(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}"
    code = """
class Images:
    def send(self, data):
        i = int(data[1][0])
        images = np.full((2, 9, 9, 3), i % 256, "u1")
        connection.send([images, np.array([i, i], "i4")])
connection = Connection(url, infos=["image", "label"])
sending = Sending(Images())
"""
    with peer() as theirs:
        theirs(code, url=f"zpub://{place}")
        url = f"zsub://{place}"
        assert main(["stat", url, "-c", "5", "--json"]) == 0
        image, label = json.loads(capsys.readouterr().out)["components"]
        assert image["forms"] == [{"dtype": "uint8", "shape": [2, 9, 9, 3], "datapoints": 5}]
        assert (image["name"], label["name"]) == ("0 image", "1 label")
        assert label["max"] - label["min"] == 4
        assert main(["monitor", url, "-c", "5", "--json"]) == 0
        last = json.loads(capsys.readouterr().out.splitlines()[-1])["sources"][0]
        assert (last["batches"], last["samples"], last["bytes"]) == (5, 10, 5 * (2 * 243 + 8))
        assert main(["show", url, "--out", str(tmp_path / "sheet.png")]) == 0
        assert "2 samples; 0 image: uint8 2×9×9×3; 1 label: int32 2" in capsys.readouterr().out


def test_histograms_need_their_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert main(["stat", "zsub://127.0.0.1:9", "--out", "x.png"]) == 2
    assert "pip install matplotlib" in capsys.readouterr().err
