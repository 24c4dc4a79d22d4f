"""What PixelPipes' own tests expect of its nodes, in this package's words (``docs/pixelpipes.md``).

Where these go further than its tests, they say what its documentation says.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import dataflow as df
from dataflow import stream as st

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (64, 48), np.uint8)
COLOUR = RNG.integers(0, 255, (64, 48, 3), np.uint8)


def run(*outputs: Any, index: int = 1) -> list[Any]:
    return st.Stream(outputs)[index]  # type: ignore[no-any-return]


def same(found: Sequence[Any], expected: Sequence[Any]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


# -- numbers -----------------------------------------------------------------------------------


def test_arithmetic() -> None:
    a, b = st.constant(6), st.constant(3)
    assert run(a + b, a - b, a * b, a / b, a**b, a % b, -a) == [9, 3, 18, 2, 216, 0, -6]


def test_images_are_saturated() -> None:
    white, two = st.constant(np.full((2, 2), 255, "u1")), st.constant(np.full((2, 2), 2, "u1"))
    found = run(white + two, white - two, white * two, white / two)
    assert [int(one[0, 0]) for one in found] == [255, 253, 255, 128]


def test_sampling() -> None:
    ds = st.Stream(
        [st.uniform(0, 30), st.normal(0, 1), st.binomial(10, 0.5), st.bernoulli(0.5)]
    ).take(200)
    samples = np.array([*ds], float)
    assert (samples[:, 0] >= 0).all() and (samples[:, 0] < 30).all()
    assert np.abs(samples[:, 1]).max() < 5
    assert set(samples[:, 2]) <= set(range(11)) and set(samples[:, 3]) == {0, 1}


def test_trigonometry() -> None:
    x = st.constant(0.5)
    found = run(
        *(st.sin(x), st.cos(x), st.tan(x), st.arccos(x), st.arcsin(x), st.arctan(x)),
        st.arctan2(x, x),
    )
    expected = [math.sin(0.5), math.cos(0.5), math.tan(0.5), math.acos(0.5), math.asin(0.5)]
    assert found == pytest.approx([*expected, math.atan(0.5), math.pi / 4])


def test_constants_and_conversion() -> None:
    same(run(1, 1.5, [0, 1, 2], "test", True), [1, 1.5, [0, 1, 2], "test", True])
    assert run(st.to_float(3), st.to_int(3.6)) == [3.0, 3]
    found = run(
        st.astype(np.array([3.6, 1000, -5, np.inf]), "uint8"),
        st.astype(np.array([1000, -70000]), "int16"),
    )
    same(found, [[3, 255, 0, 255], [1000, -32768]])
    assert [one.dtype.name for one in found] == ["uint8", "int16"]
    assert run(st.floor(3.6), st.round(3.6), st.ceil(3.6), st.sqrt(9)) == [3, 4, 4, 3]


def test_smaller_and_larger() -> None:
    table = np.array([[1, 2], [4, 5]], np.int32)
    same(run(st.minimum(3, 4), st.maximum(3, 4)), [3, 4])
    same(
        run(st.minimum(3, table), st.maximum(3, table)),
        [[[1, 2], [3, 3]], [[3, 3], [4, 5]]],
    )


# -- lists and arrays --------------------------------------------------------------------------


def test_ranges() -> None:
    same(run(st.round(st.spaced(0, 6, 6)), st.spaced(0, 5, 10)), [range(6), np.arange(10) / 2])


def test_tables_and_lists() -> None:
    same(run(st.table([[0, 1, 2], [3, 4, 5]])[0]), [[0, 1, 2]])
    items = st.pack(1, 2.3, [1, 2, 3])
    same(run(items[0], items[1], items[2]), [1, 2.3, [1, 2, 3]])
    arrays = [np.zeros((10, 10), "u1"), np.ones((15, 15), "f4"), np.full((20, 20), 9, "u2")]
    same(run(*(st.constant(arrays)[n] for n in range(3))), arrays)
    numbers = st.constant([1, 2, 3, 4])
    same(run(numbers[1:3], numbers[:-1], numbers[2:]), [[2, 3], [1, 2, 3], [3, 4]])
    with pytest.raises(df.ConfigError, match=r"st\.take"):
        numbers[::2]
    six = st.constant([1, 2, 3, 4, 5, 6])
    same(
        run(
            st.concatenate([1, 2, 3], [4, 5, 6]),
            st.length(six),
            st.sublist(six, 2, 4),
            st.repeat(1, 3),
            st.take([1, 2, 3], [2, 1, 0]),
            six.filter([True, False, True, False, True, False]),
        ),
        [[1, 2, 3, 4, 5, 6], 6, [3, 4], [1, 1, 1], [3, 2, 1], [1, 3, 5]],
    )


def test_lists_calculate() -> None:
    one, two, three = (st.constant(x) for x in ([1, 1, 1], [2.0, 2.0, 2.0], [4, 6, 8]))
    same(
        run(two + one, one + 5, 1.5 - two, one - two, one * two, three / two),
        [[3] * 3, [6] * 3, [-0.5] * 3, [-1] * 3, [2] * 3, [2, 3, 4]],
    )
    a, b = st.constant([0, 1, 1, 1]), st.constant([2, 0, 2, 1])
    t, f = True, False
    same(
        run(a > b, a >= 1, b <= 1.5, a != b, a == b, b < 2),
        [[f, t, f, f], [f, t, t, t], [f, t, f, t], [t, t, t, f], [f, f, f, t], [f, t, f, t]],
    )
    x, y = st.constant([t, f, t]), st.constant([f, t, t])
    same(run(x & y, x | y, ~y), [[f, f, t], [t, t, t], [t, f, f]])


def test_permutations() -> None:
    whole, permuted = run(st.permutation(10), st.permuted([10, 20, 30, 40, 50]))
    assert sorted(whole) == list(range(10)) and sorted(permuted) == [10, 20, 30, 40, 50]


def test_arrays() -> None:
    cube = RNG.integers(0, 255, (4, 20, 40), np.uint8)
    parts = [st.constant(part) for part in cube]
    stacked = st.stack(*parts)
    same(run(stacked, stacked[1], st.stack(list(cube))), [cube, cube[1], cube])
    same(
        run(
            st.reshape(cube, [20, 160]),
            st.reshape(cube, [20, -1]),
            st.permute_axes(cube, [1, 2, 0]),
            st.squeeze(cube[:1, :, :, np.newaxis]),
            st.expand_dims(st.expand_dims(cube[0], 0), 3),
        ),
        [
            *(cube.reshape(20, 160), cube.reshape(20, 160), cube.transpose(1, 2, 0), cube[0]),
            np.expand_dims(cube[0], (0, 3)),
        ],
    )
    # What is known of the result is true.
    for node in (st.reshape(cube, [20, -1]), st.permute_axes(cube, [1, 2, 0]), stacked):
        kind = node.type.as_array() if isinstance(node.type, st.Image) else node.type
        assert kind.shape == run(node)[0].shape and kind.dtype == "uint8"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: st.reshape(np.zeros((4, 5)), [3, -1]), r"shape=\[3, -1\] does not suit .* 4×5"),
        (lambda: st.permute_axes(np.zeros((4, 5)), [0, 0]), r"axes=\[0, 0\] are not those"),
        (lambda: st.expand_dims(np.zeros((4, 5)), 4), "axis=4 is none of the 3"),
        (lambda: st.stack(np.zeros(3), np.zeros(4)), "shapes 3 and 4 cannot be stacked"),
        (lambda: st.astype(np.zeros(3), "complex64"), "dtype='complex64' must be one of bool"),
    ],
)
def test_mistakes_with_arrays(make: Any, said: str) -> None:
    with pytest.raises(df.ConfigError, match=said):
        make()


def test_records_of_an_array() -> None:
    cube = RNG.random((10, 20, 20), np.float32)
    node = st.constant(cube)
    same(run(node[5], node[8], node[2] + node[3]), [cube[5], cube[8], cube[2] + cube[3]])


# -- flow --------------------------------------------------------------------------------------


def test_conditions() -> None:
    a = st.round(st.uniform(0, 30))
    for index in range(100):
        drawn, taken = run(a, st.conditional(a > 15, a, 2), index=index)
        assert taken == (drawn if drawn > 15 else 2)


def test_conditions_within_conditions() -> None:
    bits = [st.index() // 4 % 2, st.index() // 2 % 2, st.index() % 2]
    value: Any = 0
    for bit in bits:
        value = st.conditional(bit == 1, value * 2 + 1, value * 2)
    assert [run(value, index=index)[0] for index in range(8)] == list(range(8))


def test_what_is_optimised_gives_the_same() -> None:
    a, b = st.constant(20), st.constant(30)
    inner = st.switch([a, b, a + b], [0.2, 0.2, 0.9])
    outer = st.switch([inner, st.constant(4), a - 4], [0.5, 0.5, 0.5])
    fast, plain = st.Stream(outer), st.Stream(outer, optimize=False)
    assert [fast[i] for i in range(100)] == [plain[i] for i in range(100)]


def test_debug(capsys: pytest.CaptureFixture[str]) -> None:
    same(run(st.debug(6), st.debug(GREY, "image: ")), [6, GREY])
    said = capsys.readouterr().err.splitlines()
    assert sorted(said) == ["6", f"image: 64×48 uint8 in [{GREY.min()}, {GREY.max()}]"]


# -- geometry ----------------------------------------------------------------------------------


def test_points() -> None:
    pairs = np.array([[1, 1], [2, 2], [3, 4]])
    same(run(st.points([[1, 1]]), st.points(pairs.tolist())), [[[1, 1]], pairs])
    points, point = st.points(pairs.tolist()), st.points([[2, 2]])
    same(run((points + points - 3) * point / 2), [(pairs + pairs - 3) * 2 / 2])
    (random,) = run(st.random_points(50))
    assert random.shape == (50, 2) and (random >= 0).all() and (random < 1).all()
    assert run(st.random_points(50), index=2)[0].tolist() != random.tolist()


def test_views() -> None:
    view = st.chain(st.identity_view(), st.affine_view(0, 1), st.rotate(math.pi))
    (moved,) = run(st.view_points(st.points([[0, 0], [1, 1], [2, 2]]), view))
    np.testing.assert_allclose(moved, [[0, 1], [-1, 0], [-2, -1]], atol=1e-12)
    region = st.rectangle(0, 0, 10, 10)
    same(
        run(st.focus_view(region, 1, 1), st.center_view(region)),
        [[[0.1, 0, 0], [0, 0.1, 0], [0, 0, 1]], [[1, 0, -5], [0, 1, -5], [0, 0, 1]]],
    )


def test_rectangles() -> None:
    region = st.rectangle(0, 10, 10, 20)
    same(
        run(st.rectangle(0, 0, 10, 10), st.resize_rectangle(region, 2), st.area(region)),
        [[0, 0, 10, 10], [-5, 5, 15, 25], 100],
    )
    same(
        run(st.corners(region), st.center(st.bounds(st.corners(region)))),
        [[[0, 10], [10, 10], [10, 20], [0, 20]], [5, 15]],
    )


# -- images ------------------------------------------------------------------------------------


def test_depth_and_colour() -> None:
    floats, shorts = run(st.depth(GREY, "float32"), st.depth(GREY, "uint16"))
    assert floats.dtype == np.float32 and shorts.dtype == np.uint16
    grey = np.clip(GREY, 1, 253)
    colour = np.stack([grey - 1, grey, grey + 1], axis=2)
    (found,) = run(st.convert(colour, "gray"))
    assert np.abs(found.astype(int) - grey).max() <= 1
    same(run(st.convert(grey, "gray", True)), [np.stack([grey] * 3, axis=2)])


def test_values() -> None:
    same(
        run(
            st.threshold(GREY, 200),
            st.invert(GREY),
            st.mask(st.constant(GREY) == 128),
            st.solarize(GREY, 255),
            st.brightness(GREY, 0),
            st.brightness(GREY, 1),
        ),
        [
            *(np.where(GREY > 200, 255, 0), 255 - GREY, GREY == 128, GREY, GREY),
            np.clip(GREY.astype(int) + 1, 0, 255),
        ],
    )
    floats = np.array([[0, 1, 0, 1], [0, 0.5, 0, 0]], np.float32)
    whole = np.array([[0, 255, 0, 255], [0, 30, 0, 0]], np.uint8)
    halved = (whole / 2).astype(np.uint8)
    found = run(st.normalize(floats / 2), st.normalize(halved), st.normalize(GREY[:1, :1]))
    same(found, [floats, whole, GREY[:1, :1]])


def test_blends() -> None:
    other = GREY[::-1].copy()
    half = np.rint((GREY.astype(float) + other) / 2)
    first, middle, last = run(
        st.blend(GREY, GREY, 0.25), st.blend(GREY, other, 0.5), st.blend(GREY, other, 1.0)
    )
    same([first], [GREY])
    assert np.abs(middle.astype(float) - half).max() <= 1
    assert any(np.array_equal(last, one) for one in (GREY, other))


def test_filters_change_an_image() -> None:
    changed = run(
        *(st.gaussian_blur(GREY, 1.5), st.median_blur(GREY, 3), st.blur(GREY, 5)),
        *(st.bilateral_filter(GREY, 5, 0.2, 2.0), st.convolve(GREY, np.ones((3, 3)) / 9)),
        *(st.noise(GREY, 0.25), st.piecewise_affine(GREY, 5.0), st.dropout(GREY, 0.5)),
        *(st.coarse_dropout(GREY, 0.5, 8),),
    )
    for image in changed:
        assert image.shape == GREY.shape and not np.array_equal(image, GREY)
    same(run(st.convolve(GREY, np.ones((1, 1)))), [GREY])
    for image in run(st.sobel(GREY), st.edges(GREY), st.laplacian(GREY)):
        assert image.shape[:2] == GREY.shape


def test_sizes() -> None:
    image = st.constant(GREY)
    assert run(image.width, image.height, image.channels) == [48, 64, 1]
    for factor in (0.25, 0.5, 1.0, 2.0, 4.0):
        (scaled,) = run(st.rescale(image, factor))
        assert scaled.shape == (64 * factor, 48 * factor)
    (resized,) = run(st.resize(image, 100, 30))
    assert resized.shape == (30, 100)
    for size, expected in {(40, 60): (64, 48), (96, 60): (128, 96), (10, 128): (128, 96)}.items():
        (found,) = run(st.ensure_size(image, *size))
        assert found.shape == expected
    for flip in ((True, True), (False, True), (True, False)):
        same(run(st.flip(st.flip(image, *flip), *flip)), [GREY])


def test_parts() -> None:
    outside = np.pad(GREY[:20, :10], ((20, 0), (10, 0)))
    without = GREY.copy()
    without[60:, 40:] = 0
    same(
        run(
            st.crop(GREY, st.rectangle(10, 20, 30, 50)),
            st.safe_crop(GREY, st.rectangle(-10, -20, 10, 20)),
            st.cut(GREY, st.rectangle(40, 60, 100, 100)),
            st.mask_bounds(np.full((8, 9), 7, "u1")),
        ),
        [GREY[20:50, 10:30], outside, without, [0, 0, 9, 8]],
    )
    (seen,) = run(st.view_image(COLOUR, st.affine_view(10, 10), 30, 20))
    assert seen.shape == (20, 30, 3)


def test_rendering() -> None:
    normal, uniform, binary, across, down = run(
        st.normal_image(40, 30, 0.5, 0.05),
        st.uniform_image(40, 30, 0.2, 0.4),
        st.binary_image(10, 10, 0.5),
        st.linear_image(100, 50, 1, 50),
        st.linear_image(100, 50, 1, 50, True),
    )
    assert normal.shape == uniform.shape == (30, 40) and normal.dtype == np.float32
    assert abs(normal.mean() - 0.5) < 0.01 and abs(normal.std() - 0.05) < 0.01
    assert uniform.min() >= 0.2 and uniform.max() < 0.4 + 1e-6
    assert binary.shape == (10, 10) and (binary > 0).sum() == 50
    assert across[0, 0] == across[-1, 0] == 1 and across[0, -1] == across[-1, -1] == 50
    assert down[0, 0] == down[0, -1] == 1 and down[-1, 0] == down[-1, -1] == 50


def test_masks() -> None:
    corners = st.points([[10, 10], [50, 10], [50, 50], [10, 50]])
    filled, outline, discs = run(
        st.polygon_mask(corners, 60, 60),
        st.polygon_mask(corners, 60, 60, 3),
        st.points_mask(corners, 60, 60, 3),
    )
    assert filled[10:50, 10:50].all() and filled.sum() == 255 * 40 * 40
    assert outline[9:12, 20].any() and not outline[30, 30] and set(np.unique(outline)) == {0, 255}
    assert discs[10, 10] and not discs[30, 30]
    regions = np.zeros((10, 10), np.uint8)
    regions[:5, :5] = regions[6:, 6:] = 255
    labels, distances = run(st.components(regions), st.distance_transform(regions))
    assert labels.max() == 2 and distances.max() >= 4


def test_files(tmp_path: Path) -> None:
    path = str(tmp_path / "image.png")
    cv2.imwrite(path, COLOUR)
    data = st.read_file(path)
    same(
        run(data, st.decode_image(data), st.read_image(path)),
        [np.fromfile(path, np.uint8), COLOUR, COLOUR],
    )
    with pytest.raises(df.FetchError, match=r"nowhere\.bin"):
        run(st.read_file("nowhere.bin"))
    with pytest.raises(df.DecodeError):
        run(st.decode_image(np.zeros(9, np.uint8)))


# -- resources ---------------------------------------------------------------------------------


def test_resources() -> None:
    made = st.record(a=1, b=4.5, c="foo")
    assert run(made["a"], made["b"], made["c"]) == [1, 4.5, "foo"]
    chosen = st.conditional(st.index() % 2 == 0, st.record(a=1, b=2), st.record(a=1.4, b=1.5))
    assert run(chosen["a"], chosen["b"], index=1) == [1.4, 1.5]
    assert run(chosen["a"], chosen["b"], index=2) == [1, 2]
    table = st.records(a=[1, 2, 3, 4, 5, 6], b=[True, False] * 3)
    assert run(table[0]["a"], table[-1]["a"], st.length(table)) == [1, 6, 6]
    parts = st.segments(table, [4, 2])
    assert run(parts.segment(1)[0]["a"]) == [5]
    assert {run(parts.random_segment()[0]["a"], index=i)[0] for i in range(20)} == {1, 5}


# -- how nodes are called ----------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in st.__all__ if name.islower()])
def test_each_tells_its_arguments(name: str) -> None:
    parameters = inspect.signature(getattr(st, name)).parameters
    assert "args" not in parameters and "kwargs" not in parameters
    assert inspect.getdoc(getattr(st, name))


def test_arguments_may_be_named() -> None:
    assert str(inspect.signature(st.crop)) == "(image, region)"
    assert str(inspect.signature(st.uniform)) == "(low=0.0, high=1.0, *, seed=None)"
    assert run(st.add(x=1, y=2), st.sin(x=0.0), st.subtract(y=1, x=5)) == [3, 0.0, 4]
    with pytest.raises(df.ConfigError, match=r"it takes \(x, y\)"):
        st.add(1)


@pytest.mark.parametrize(
    "make",
    [
        *(lambda: st.normal(0, -1), lambda: st.normal(math.nan, 1), lambda: st.normal(0, math.inf)),
        *(lambda: st.uniform(0, math.inf), lambda: st.uniform(math.nan, 1)),
        *(lambda: st.uniform(2, 1), lambda: st.integer(3, 3), lambda: st.bernoulli(math.nan)),
        *(lambda: st.bernoulli(1.5), lambda: st.binomial(-1, 0.5), lambda: st.binomial(3, -0.1)),
        *(lambda: st.switch([1, 2], [1, math.inf]), lambda: st.switch([1, 2], [math.nan, 1])),
        *(lambda: st.switch([1, 2], [-1, 2]), lambda: st.toggle(1, 2, p=-1)),
        *(lambda: st.noise(GREY, -0.1), lambda: st.noise(GREY, math.nan)),
        *(lambda: st.dropout(GREY, math.nan), lambda: st.coarse_dropout(GREY, 0.5, 0)),
        *(lambda: st.normal_image(4, 4, 0, -1), lambda: st.uniform_image(4, 4, 0, math.inf)),
        *(lambda: st.binary_image(4, 4, 2.0), lambda: st.linear_image(0, 4, 0, 1)),
        lambda: st.spaced(0, math.nan, 3),
    ],
)
def test_what_no_distribution_can_have_is_refused(make: Any) -> None:
    with pytest.raises(df.ConfigError, match=r"test_pixelpipes\.py:\d+: \w+\(\)"):
        make()


# -- own nodes ---------------------------------------------------------------------------------


@st.op("pp_wrong", x=st.INT, gives=st.INT)
def wrong(x: int) -> Any:
    return [x, x / 2, "text", np.zeros(2), None, {"a": 1}][x]


@st.op("pp_grey", x=st.INT, gives=st.Image(channels=1, depth="uint8"))
def grey(x: int) -> Any:
    return [GREY, COLOUR, GREY.astype("f4"), GREY[0], object()][x]


@st.op("pp_list", x=st.INT, gives=st.List(st.FLOAT, 2))
def two(x: int) -> Any:
    return [[1.0, 2], (1, 2), [1.0], [1.0, "b"], 5][x]


@st.op("pp_record", x=st.INT, gives=st.Record((("a", st.INT),)))
def recorded(x: int) -> Any:
    return [{"a": 1}, {"a": 1, "b": 2}, {"b": 1}, {"a": 0.5}][x]


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize(
    ("op", "good", "bad"),
    [
        *((wrong, [0], [1, 2, 3, 4, 5]), (grey, [0], [1, 2, 3, 4])),
        *((two, [0, 1], [2, 3, 4]), (recorded, [0, 1], [2, 3])),
    ],
)
def test_what_a_node_gives_is_what_it_says(
    op: Any, good: list[int], bad: list[int], optimize: bool
) -> None:
    known = [st.Stream(op(x), optimize=optimize)[0] for x in good]
    late = [st.Stream(op(st.index() * 0 + x), optimize=optimize)[0] for x in good]
    assert len(known) == len(late) == len(good)
    for x in bad:
        for node in (op(x), op(st.index() * 0 + x)):
            with pytest.raises(TypeError, match=rf"{op.name}\(\) gave .* declared with gives= as"):
                st.Stream(node, optimize=optimize)[0]


# -- the page ----------------------------------------------------------------------------------


def test_the_page_names_what_there_is() -> None:
    text = (Path(df.__file__).parents[1] / "docs/pixelpipes.md").read_text("utf-8")
    named = set(re.findall(r"\bst\.(\w+)", text)) - {"op"}
    assert len(named) > 100
    assert {name for name in named if not hasattr(st, name)} == set()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    body = example[example.index("    image = st.") : example.index("\n\n\ns =")]
    space: dict[str, Any] = {"st": st, "images": RNG.integers(0, 255, (9, 4, 4), np.uint8)}
    exec(f"def some(images):\n{body}", space)
    assert st.stream(space["some"])(space["images"])[7][0].shape == (4, 4)
