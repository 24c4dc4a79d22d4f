"""A mistake raises in the line that makes it, and says what is wrong with what."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dataflow as df
from dataflow import stream as st

IMAGE = np.zeros((4, 5, 3), np.uint8)
TABLE = {"image": IMAGE[None], "label": [1]}

MISTAKES: list[tuple[Callable[[], Any], str]] = [
    (lambda: st.resize(5, 3, 4), "resize(): image must be image[?×?×?], and is int 5"),
    (lambda: st.resize(IMAGE, 0, 4), "resize(): width=0 must be at least 1 pixel"),
    (lambda: st.resize(IMAGE, 3, 4, "best"), "resize(): interpolation='best' must be one of"),
    (lambda: st.resize(IMAGE), "resize(): missing a required argument: 'width'"),
    (lambda: st.noise(IMAGE, 0.1, much=2), "noise(): got an unexpected keyword argument 'much'"),
    (lambda: st.noise(IMAGE, 0.1, seed="x"), "noise(): seed must be st.seed() or an int"),
    (lambda: st.constant([1, 2])[5], "element(): index 5 of 2 elements"),
    (lambda: st.constant(IMAGE) + "a", "add(): one cannot calculate with text"),
    (lambda: st.constant(np.zeros((3, 4))) * np.zeros((5, 4)), "shapes 3×4 and 5×4"),
    (lambda: st.uniform(2, 1), "uniform(): low=2 must not be above high=1"),
    (lambda: st.integer(3, 3), "integer(): high=3 must be above low=3"),
    (lambda: st.bernoulli(1.5), "bernoulli(): p=1.5 must be from 0 to 1"),
    (lambda: st.switch([1, 2], weights=[1]), "weights has 1 entries for 2 branches"),
    (lambda: st.switch([]), "switch(): branches must be a list of at least one"),
    (lambda: st.conditional(True, IMAGE, 5), "conditional(): one value would be image"),
    (lambda: st.conditional(3, 1, 2), "conditional(): condition must be bool, and is int"),
    (lambda: st.records(**TABLE).random()["name"], "there is no field 'name'"),
    (lambda: st.records(a=[1, 2], b=[1]), "fields must be of one length: a has 2, b has 1"),
    (lambda: st.records(**TABLE).random_segment(), "has no segments"),
    (lambda: st.segments(st.records(**TABLE), [2]), "1 together, the number of records"),
    (lambda: st.convert(st.grayscale(IMAGE), "hsv"), "convert(): it takes 3 channels"),
    (lambda: st.crop(IMAGE, [1, 2, 1, 3]), "crop(): region=[1 2 1 3] is empty"),
    (lambda: st.median_blur(IMAGE, 4), "median_blur(): size=4 must be odd"),
    (lambda: st.morphology(IMAGE, "melt"), "morphology(): how='melt' must be one of erode"),
    (lambda: st.table([[1], [1, 2]]), "table(): rows must be of one length"),
    (lambda: st.input("no name", 1), "input(): name='no name' must be a name"),
    (lambda: st.constant({1, 2}), "cannot be a constant: numbers, text, arrays"),
    (lambda: st.constant(np.array([None])), "cannot be a constant"),
    (lambda: bool(st.uniform() < 1), "st.conditional(condition, then, otherwise) decides"),
    (lambda: len(st.sublist([1, 2], st.index(), 2)), "only known when it runs: st.length(…)"),
    (lambda: st.Stream([]), "a stream needs at least one output"),
    (lambda: st.Stream(None), "a stream needs at least one output: return a node"),
    (lambda: st.constant([1, 2])[:, 0], "list of 2 int has one axis: st.array makes an array"),
    (lambda: st.constant(IMAGE)[:, :, :, 0], "an array of 3 axes has no axis 3"),
    (lambda: st.constant(IMAGE)[::2], "step=2: st.take takes elements at any places"),
    (lambda: st.blur(np.zeros((3, 4), np.int64), 3), "; st.astype makes other numbers"),
    (lambda: st.brightness(IMAGE, math.nan), "brightness(): amount is no number: nan"),
    (lambda: st.gaussian_blur(IMAGE, -1), "gaussian_blur(): sigma=-1 must not be negative"),
    (lambda: st.noise(IMAGE[:, :, 0] > 3, 0.1), "has nothing between black and white: st.depth"),
    (lambda: st.uniform(-1e308, 1e308), "must not be above high=1e+308, nor too far below"),
    (lambda: st.uniform_image(3, 4, 2, 1), "low=2 must not be above high=1"),
    (lambda: st.switch([1, 2], [st.uniform(), 1]), "weights must be numbers that are known"),
    (lambda: st.concatenate(st.records(**TABLE), [1]), "records cannot be concatenated"),
    (lambda: st.concatenate(), "there is nothing to concatenate"),
]


@pytest.mark.parametrize(("mistake", "what"), MISTAKES, ids=[what[:40] for _, what in MISTAKES])
def test_what_is_said(mistake: Callable[[], Any], what: str) -> None:
    with pytest.raises(df.ConfigError) as caught:
        mistake()
    assert what in str(caught.value)


def test_the_line_is_the_users_own() -> None:
    def halved(image: Any) -> Any:
        return st.resize(image, st.constant("half"), 3)  # the line

    lines, start = inspect.getsourcelines(halved)
    line = start + next(at for at, text in enumerate(lines) if "# the line" in text)
    with pytest.raises(df.ConfigError) as caught:
        halved(IMAGE)
    assert str(caught.value).startswith(f"test_mistakes.py:{line}: resize(): width must be int")


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda x: st.bernoulli(x), r"bernoulli\(\): p=-1.0 must be from 0 to 1"),
        (lambda x: st.dropout(IMAGE, x), r"dropout\(\): p=-1.0 must be"),
        (lambda x: st.coarse_dropout(IMAGE, x), r"coarse_dropout\(\): p=-1.0 must be"),
        (lambda x: st.binary_image(3, 4, x), r"binary_image\(\): p=-1.0 must be"),
        (lambda x: st.normal(0, x), r"normal\(\): deviation=-1.0 must not be negative"),
        (lambda x: st.noise(IMAGE, math.inf * x), r"noise\(\): deviation=-inf must be finite"),
        (lambda x: st.uniform(0, x), r"uniform\(\): there is none from 0 to -1.0"),
        (lambda x: st.repeat(3, st.to_int(x)), r"repeat\(\): times=-1 must not be negative"),
        (lambda x: st.permutation(st.to_int(x)), r"permutation\(\): size=-1 must not be"),
        (
            lambda x: st.filter([1, 2], st.sublist([True, True], 0, 2 + st.to_int(x))),
            "keep has 1 booleans for 2 elements",
        ),
    ],
)
def test_what_is_only_known_where_it_runs_is_checked_there(wrong: Any, what: str) -> None:
    s = st.Stream(wrong(-st.to_float(st.index())))
    with pytest.raises(ValueError, match=what):
        s[1]


def test_where_it_runs_the_traceback_has_the_source() -> None:
    crop = st.crop(IMAGE, st.rectangle(0, 0, st.index() + 4, 3))
    s = st.Stream(crop, "cropped")
    assert s[1][0].shape == (3, 5, 3)
    with pytest.raises(ValueError, match="is not in an image") as caught:
        s[2]
    lines = [str(entry.statement) for entry in caught.traceback if "<stream" in str(entry.path)]
    assert len(lines) == 1 and " crop_" in lines[0] and "test_mistakes.py:" in lines[0]


def test_operations_of_ones_own_are_checked() -> None:
    with pytest.raises(df.ConfigError, match="takes image, amount, and there are types of image"):

        @st.op(image=st.Image(), gives=st.Image())
        def wrong(image: Any, amount: float) -> Any: ...

    with pytest.raises(df.ConfigError, match="there is an operation 'resize' already"):

        @st.op("resize", image=st.Image(), gives=st.Image())
        def another(image: Any) -> Any: ...

    for name in ("two words", "class", "seed", "value_3"):
        with pytest.raises(df.ConfigError, match="cannot be an operation's"):

            @st.op(name, x=st.FLOAT, gives=st.FLOAT)
            def named(x: float) -> float: ...
