"""What each operation computes: against Python, NumPy and by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

import dataflow as df
from dataflow import stream as st

GREY = np.arange(20, dtype=np.uint8).reshape(4, 5) * 10
COLOUR = np.stack([GREY, GREY + 5, 255 - GREY], axis=2)
MASK = np.zeros((6, 8), np.uint8)
MASK[1:4, 2:7] = 255


def values(*nodes: Any, index: int = 0) -> Any:
    """Of nodes; of one node its value alone."""
    sample = st.Stream(list(nodes))[index]
    return sample[0] if len(nodes) == 1 else sample


finite = some.floats(-100, 100)


@given(finite, finite, some.integers(-50, 50), some.integers(1, 9))
def test_operators_on_numbers_are_pythons(x: float, y: float, i: int, j: int) -> None:
    a, b, m, n = (st.input(name, one) for name, one in zip("abmn", (x, y, i, j), strict=True))
    ours = values(
        *(a + b, a - b, a * b, m / n, m // n, m % n, m**n, -a, abs(m), 2 - m, 3 * m),
        *(a < b, a <= b, a > b, a >= b, m == n, m != n, (a < b) & (m < n), (a < b) | (m < n)),
        *((a < b) ^ (m < n), ~(a < b), st.minimum(a, b), st.maximum(a, b), st.clip(m, -3, 3)),
    )
    theirs = [
        *(x + y, x - y, x * y, i / j, i // j, i % j, i**j, -x, abs(i), 2 - i, 3 * i),
        *(x < y, x <= y, x > y, x >= y, i == j, i != j, x < y and i < j, x < y or i < j),
        *((x < y) != (i < j), not x < y, min(x, y), max(x, y), min(max(i, -3), 3)),
    ]
    assert ours == theirs and list(map(type, ours)) == list(map(type, theirs))


def test_functions_of_numbers_and_of_arrays() -> None:
    names = ("sin", "cos", "tan", "exp", "log", "sqrt", "floor", "ceil", "arctan")
    for name in names:
        number = values(getattr(st, name)(st.input("x", 0.7)))
        assert number == getattr(math, name.replace("arc", "a"))(0.7)
        array = values(getattr(st, name)(np.array([0.7, 2.0])))
        assert array[0] == pytest.approx(number) and array.shape == (2,)
    assert values(st.round(2.5), st.to_int(-2.7), st.to_float(3)) == [2, -2, 3.0]
    assert values(st.arctan2(1.0, -1.0)) == math.atan2(1, -1)
    assert values(st.arcsin(0.5), st.arccos(0.5)) == [math.asin(0.5), math.acos(0.5)]
    assert values(st.min([3, 1]), st.max(np.array([1.5, 2])), st.sum([1, 2]), st.mean([1, 2])) == [
        *(1, 2.0, 3, 1.5)
    ]


def test_images_stay_within_their_depth() -> None:
    image = st.constant(COLOUR)
    wide = COLOUR.astype(int)
    assert np.array_equal(values(image + 100), np.clip(wide + 100, 0, 255))
    assert np.array_equal(values(100 - image), np.clip(100 - wide, 0, 255))
    assert np.array_equal(values(image * 2), np.clip(wide * 2, 0, 255))
    assert np.array_equal(values(image - image), wide * 0)
    assert np.array_equal(
        values(image + np.array([1, 2, 3])), np.clip(wide + np.array([1, 2, 3]), 0, 255)
    )
    assert np.array_equal(values(image * (st.constant(GREY) > 50)), wide * (GREY > 50)[..., None])
    assert values(image / 2).dtype == np.uint8
    assert values(image > 50).dtype == bool


def test_colours_depths_and_light() -> None:
    image = st.constant(COLOUR)
    assert np.array_equal(values(st.invert(image)), 255 - COLOUR)
    assert np.array_equal(values(st.grayscale(image)), cv2.cvtColor(COLOUR, cv2.COLOR_BGR2GRAY))
    assert np.array_equal(values(st.convert(image, "rgb")), COLOUR[..., ::-1])
    there = st.convert(image, "lab")
    assert np.abs(values(st.convert(there, "lab", back=True)).astype(int) - COLOUR).max() < 6
    planes = [st.channel(image, number) for number in range(3)]
    assert np.array_equal(values(st.merge(*planes)), COLOUR)
    assert values(st.depth(image, "float32")).max() == pytest.approx(1)
    assert np.array_equal(values(st.depth(st.depth(image, "float32"), "uint8")), COLOUR)
    assert np.array_equal(values(st.threshold(GREY, 50)), np.where(GREY > 50, 255, 0))
    assert np.array_equal(values(st.brightness(image, 300)), np.full_like(COLOUR, 255))
    assert np.array_equal(values(st.solarize(GREY, 100)), np.where(GREY > 100, 255 - GREY, GREY))
    assert np.array_equal(values(st.contrast(image, 1.0)), COLOUR)
    assert np.array_equal(values(st.blend(image, image, 0.3)), COLOUR)


def test_sizes_and_parts() -> None:
    image = st.constant(COLOUR)
    assert values(image.width, image.height, image.channels) == [5, 4, 3]
    assert values(st.resize(image, 10, 6)).shape == (6, 10, 3)
    assert values(st.rescale(image, 2.0)).shape == (8, 10, 3)
    part = st.rectangle(1, 1, 4, 3)
    assert np.array_equal(values(st.crop(image, part)), COLOUR[1:3, 1:4])
    outside = values(st.safe_crop(image, st.rectangle(-2, -1, 3, 9)))
    assert outside.shape == (10, 5, 3) and np.array_equal(outside[1:5, 2:], COLOUR[:, :3])
    assert not outside[:1].any() and not outside[:, :2].any()
    edge = values(st.safe_crop(image, st.rectangle(-2, 0, 3, 4), "replicate"))
    assert np.array_equal(edge[:, 0], COLOUR[:, 0])
    assert np.array_equal(values(st.flip(image, True, True)), COLOUR[::-1, ::-1])
    assert np.array_equal(values(st.rotate90(image)), np.rot90(COLOUR, -1))
    assert np.array_equal(values(st.transpose(image)), COLOUR.transpose(1, 0, 2))
    x, y = np.meshgrid(np.arange(5, dtype=np.float32), np.arange(4, dtype=np.float32))
    assert np.array_equal(values(st.remap(image, 4 - x, y)), COLOUR[:, ::-1])
    assert values(st.piecewise_affine(image, 0.0)).tolist() == COLOUR.tolist()
    with pytest.raises(ValueError, match="is not in an image of 5×4"):
        values(st.crop(image, st.rectangle(0, 0, 6, 4)))


def test_filters() -> None:
    image = st.constant(COLOUR)
    assert np.array_equal(values(st.blur(image, 3)), cv2.blur(COLOUR, (3, 3)))
    assert np.array_equal(values(st.median_blur(image, 3)), cv2.medianBlur(COLOUR, 3))
    assert np.array_equal(
        values(st.gaussian_blur(image, 1.5)), cv2.GaussianBlur(COLOUR, (0, 0), 1.5)
    )
    assert np.array_equal(values(st.convolve(image, [[0, 0, 0], [0, 1, 0], [0, 0, 0]])), COLOUR)
    assert values(st.bilateral_filter(image, 3, 10.0, 10.0)).shape == COLOUR.shape
    assert values(st.sobel(GREY))[1, 1] == 80 and values(st.laplacian(GREY)).dtype == np.float32
    assert values(st.edges(MASK)).any()


def test_masks() -> None:
    mask = st.constant(MASK)
    assert values(st.mask_bounds(mask)).tolist() == [2, 1, 7, 4]
    assert values(st.dilate(mask)).sum() > MASK.sum() > values(st.erode(mask)).sum()
    assert (values(st.morphology(mask, "open")) <= MASK).all()
    area, x, y, *_ = values(st.moments(mask))
    assert (area, x / area, y / area) == (15, 4, 2)
    assert values(st.components(mask)).max() == 1
    assert values(st.distance_transform(mask)).max() == pytest.approx(2, abs=0.1)
    corners = st.corners(st.rectangle(2, 1, 7, 4))
    drawn = values(st.polygon_mask(corners, 8, 6))
    assert np.array_equal(drawn[2:3, 3:6], MASK[2:3, 3:6]) and not drawn[:, 0].any()
    assert values(st.points_mask([[2.5, 3.5]], 8, 6))[3, 2] == 255


def test_noise_is_of_its_deviation() -> None:
    grey = st.constant(np.full((200, 200, 3), 100, np.uint8))
    noisy = values(st.noise(grey, 0.1))
    assert noisy.std() == pytest.approx(25.5, rel=0.02) and noisy.mean() == pytest.approx(100, 0.01)
    lost = values(st.dropout(grey, 0.25))
    assert (lost == 0).mean() == pytest.approx(0.25, abs=0.02)
    coarse = values(st.coarse_dropout(grey, 0.5, 50))
    assert {square.max() - square.min() for square in (coarse[:50, :50], coarse[50:100, :50])} == {
        0
    }
    floats = values(st.noise(st.image(np.full((50, 50), 0.5, np.float32)), 0.1))
    assert floats.dtype == np.float32 and floats.min() >= 0 and floats.max() <= 1


def test_lists() -> None:
    numbers, texts = st.constant([3, 1, 2]), st.constant(["a", "b", "c"])
    assert values(numbers[1], texts[-1], st.length(texts)) == [1, "c", 3]
    assert values(texts.filter(st.array(numbers) > 1)) == ["a", "c"]
    assert values(st.take(texts, [2, 0]), st.sublist(texts, 1, 3)) == [["c", "a"], ["b", "c"]]
    assert values(st.concatenate(numbers, [4]), st.repeat("x", 2)) == [[3, 1, 2, 4], ["x", "x"]]
    assert values(st.range(2, 8, 3)).tolist() == [2, 5]
    table = st.table([[1, 2], [3, 4]])
    assert values(table[1, 0], table[0][1]) == [3, 2]
    first, second = st.pack(st.index(), 7)
    assert values(first, second, index=5) == [5, 7]
    s = st.Stream([texts.permuted(seed=1), numbers.permuted(seed=1), texts.random(seed=2)])
    orders = {tuple(s[index][0]) for index in range(60)}
    assert len(orders) == 6
    assert {s[index][2] for index in range(30)} == {"a", "b", "c"}
    for index in range(5):
        letters, figures, _ = s[index]
        assert dict(zip(letters, figures, strict=True)) == {"a": 3, "b": 1, "c": 2}


def test_records() -> None:
    images = np.arange(5 * 12, dtype=np.uint8).reshape(5, 4, 3)
    table = st.records(image=images, label=[0, 1, 0, 1, 1], name=list("abcde"))
    record = table.random()
    s = st.Stream([record["image"], record["name"], record])
    for index in range(8):
        image, name, whole = s[index]
        place = "abcde".index(name)
        assert np.array_equal(image, images[place]) and image.flags.writeable
        assert whole["label"] == [0, 1, 0, 1, 1][place]
    ones = table.filter(table.column("label") == 1)
    s = st.Stream(ones.random()["name"])
    assert {s[index][0] for index in range(30)} == {"b", "d", "e"}
    assert "filter" not in s.source, "it is computed once"
    clips = st.segments(table, [2, 3])
    clip = clips.random_segment()
    s = st.Stream([clip[0]["name"], st.length(clip), clips.segment(1).permuted()[0]["name"]])
    assert {tuple(s[index][:2]) for index in range(20)} == {("a", 2), ("c", 3)}
    assert {s[index][2] for index in range(30)} == {"c", "d", "e"}
    made = values(st.record(one=1, two=st.constant(GREY)))
    assert made["one"] == 1 and np.array_equal(made["two"], GREY)


def test_folders(tmp_path: Path) -> None:
    for place, name in enumerate(["cat/a.png", "cat/b.png", "dog/c.png"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.full((4, 5, 3), (10 * place, 0, 200), np.uint8))
    (tmp_path / "cat/notes.txt").write_text("no image")
    first = cv2.imread(str(tmp_path / "cat/a.png"))
    one = st.classes(tmp_path)[2]
    image, label, name, kind = values(one["image"], one["label"], one["name"], one["class_name"])
    assert image[0, 0].tolist() == [20, 0, 200] and (label, name, kind) == (1, "dog/c.png", "dog")
    assert np.array_equal(values(st.read_image(str(tmp_path / "cat/a.png"))), first)
    assert len(st.images(tmp_path / "cat")) == 2 and len(st.images(tmp_path, "**/*")) == 3
    with pytest.raises(df.MissingData, match=r"no images called \*"):
        st.images(tmp_path)
    (tmp_path / "dog/c.png").write_bytes(b"no image")
    with pytest.raises(df.DecodeError, match="not a usable image"):
        values(one["image"])


def test_sources_of_this_project() -> None:
    flow = df.DataFromList([[GREY + place, place] for place in range(4)], shuffle=False)
    record = st.source(flow, ("image", "label")).random()
    s = st.Stream([record["image"] + 0, record["label"], record["image"]])
    for index in range(6):
        image, label, other = s[index]
        assert np.array_equal(image, GREY + label)
        other[:] = 0
    assert flow[2][0].any(), "it is the source's own"
    with pytest.raises(df.ConfigError, match="it has 2"):
        st.source(flow, ("image",))
    with pytest.raises(df.ConfigError, match="cannot be looked up by index"):
        st.source(df.DataFromGenerator(lambda: iter([[1]])), ("image",))


def test_choices() -> None:
    s = st.Stream(
        [
            st.conditional(st.index() % 2 == 0, "even", "odd"),
            st.select(st.index(), "a", "b", "c"),
            st.switch(["x", "y"], weights=[0, 1]),
            st.toggle(1, 2, p=1),
        ]
    )
    assert [s[index][:2] for index in range(4)] == [
        *(["even", "a"], ["odd", "b"], ["even", "c"], ["odd", "c"])
    ]
    assert s[9][2:] == ["y", 1]
    only = st.Stream([st.switch([st.uniform()]), st.select(st.index() - 1, st.index())])
    assert only[3][1] == 3 and 0 <= only[3][0] < 1
    # What is no integer is cut off, also where that is only known when it runs.
    place = unknown(st.index() / 2)
    for optimize in (True, False):
        s = st.Stream(st.select(place, "a", "b", st.absolute(place)), optimize=optimize)
        assert [s[index][0] for index in range(6)] == ["a", "a", "b", "b", 2.0, 2.5]


@st.op(x=st.ANYTHING, gives=st.ANYTHING)
def unknown(x: Any) -> Any:
    """Nobody knows of what type."""
    return x


def test_inputs_are_set_later_and_leave_the_draws() -> None:
    strength = st.input("strength", 1.0)
    s = st.Stream([st.uniform(0, 1) * strength, st.uniform(0, strength)])
    assert s.given(strength=0.0)[3] == [0, 0]
    assert s.given(strength=2.0)[3] == [2 * one for one in s[3]]
    assert "2.0" in s.given(strength=2.0).source
    with pytest.raises(df.ConfigError, match="there is no input 'power'"):
        s.given(power=1)
    with pytest.raises(df.ConfigError, match="must be float, and is 'much'"):
        s.given(strength="much").source  # noqa: B018


def test_masks_may_have_any_numbers() -> None:
    """Where a mask is not 0 is in it, whatever its dtype."""
    for mask in (MASK, MASK > 0, MASK.astype(np.uint16) * 256, MASK / 1000, -MASK.astype(np.int16)):
        image = st.image(mask) if mask.dtype.kind != "i" else st.constant(mask)
        box, many, far, sums = values(
            *(st.mask_bounds(image), st.components(image)),
            *(st.distance_transform(image), st.moments(image)),
        )
        assert box.tolist() == [2, 1, 7, 4] and many.max() == 1 and sums[0] == 15
        assert np.array_equal(far > 0, MASK > 0)


def test_images_are_clipped_whatever_they_are_calculated_with() -> None:
    images = {name: st.image(GREY.astype(name)) for name in ("uint8", "uint16")}
    for name, image in images.items():
        most = np.iinfo(name).max
        assert (values(image * 1e9)[GREY > 0] == most).all() and not values(image * -1e9).any()
        assert (values(image * math.inf)[GREY > 0] == most).all()
        assert (values(image + 1e12) == most).all()
        assert not values(-image).any()
        assert np.array_equal(values(image % 7), GREY % 7)
        assert np.array_equal(values(image // 7), GREY // 7)
        squares = np.minimum(GREY.astype(np.int64) ** 2, most)
        assert np.array_equal(values(image**2), squares)
    assert np.array_equal(values(st.invert(st.image(GREY > 90))), GREY <= 90)
    floats = np.float32(GREY) / 255
    assert np.allclose(values(-st.image(floats)), -floats)


def test_numbers_of_another_dtype_end_where_it_ends() -> None:
    large = st.constant(np.array([1e30, -1e30, math.nan, 2.0**63]))
    for name in ("int8", "uint8", "int32", "int64", "uint64"):
        ends = np.iinfo(name)
        low, high = max(ends.min, -(2**63)), ends.max
        found = values(st.astype(large, name)).tolist()
        assert found[:3] == [high, low, 0] and found[3] in (high, 2**63)


def test_the_middle_of_points() -> None:
    assert values(st.centroid([[0, 0], [2, 4], [4, 2]])).tolist() == [2, 2]
    with pytest.raises(ValueError, match="there are no points"):
        st.Stream(st.centroid(st.random_points(st.index())))[0]
    assert values(st.concatenate([1], [2, 3], [], [4])) == [1, 2, 3, 4]
