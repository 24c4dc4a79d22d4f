"""Streams in files, and in pictures."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

import dataflow as df
from dataflow import stream as st
from dataflow.codec.msgpack_numpy import decode, encode
from dataflow.stream.layout import layout

IMAGE = np.full((8, 9, 3), 100, np.uint8)


def example(folder: Path) -> st.Stream:
    """Of all kinds of constants."""
    cv2.imwrite(str(folder / "a.png"), IMAGE)
    cv2.imwrite(str(folder / "b.png"), 255 - IMAGE)
    table = st.records(image=np.stack([IMAGE, IMAGE + 50]), name=["one", "two"], size=[1.5, 2.5])
    kept = table.filter([True, True]).random(seed=st.seed())
    clip = st.segments(table, [1, 1]).random_segment()
    image = st.toggle(st.noise(kept["image"], 0.1), st.images(folder).random()["image"])
    image = st.view_image(image, st.affine_view(1.0, 2.0, st.input("angle", 0.0)), 9, 8)
    return st.Stream([image, kept["name"], clip[0]["size"], None, "text", [1, "two"]], "example")


def equal(one: Any, other: Any) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(one, other, strict=True))


def test_save_and_load(tmp_path: Path) -> None:
    s = example(tmp_path).seed(9).given(angle=0.3)
    st.save(s, tmp_path / "example.flow")
    loaded = st.load(tmp_path / "example.flow")
    assert loaded.source == s.source and loaded.name == "example"
    for index in range(6):
        assert equal(loaded[index], s[index])
    assert equal(loaded.seed(3)[2], example(tmp_path).seed(3).given(angle=0.3)[2])
    assert b"pickle" not in (data := (tmp_path / "example.flow").read_bytes())
    assert decode(data)["stream"] == 1


def test_the_images_may_have_moved(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    s = example(here).seed(2)
    st.save(s, tmp_path / "example.flow")
    before = [s[index] for index in range(4)]
    here.rename(there)
    loaded = st.load(tmp_path / "example.flow", folders={str(here): there})
    assert all(equal(loaded[index], before[index]) for index in range(4))


def test_sources_and_own_operations_are_needed_by_name(tmp_path: Path) -> None:
    flow = df.DataFromList([[place] for place in range(5)], shuffle=False)
    path = tmp_path / "any.flow"
    with pytest.raises(df.ConfigError, match="DataFromList needs a name to be kept"):
        st.save(st.Stream(st.source(flow, ("x",)).random()["x"]), path)
    s = st.Stream(halved(st.source(flow, ("x",), "numbers").random()["x"]))
    st.save(s, path)
    with pytest.raises(df.ConfigError, match="it needs the dataflow 'numbers'"):
        st.load(path)
    loaded = st.load(path, sources={"numbers": flow})
    assert [loaded[index] for index in range(5)] == [s[index] for index in range(5)]
    content = decode(path.read_bytes())
    for node in content["nodes"]:
        if node.get("op") == "halved":
            node["op"], node["module"] = "quartered", "os"
    path.write_bytes(encode(content))
    with pytest.raises(df.ConfigError, match=r"no operation 'quartered'; .* the module os: import"):
        st.load(path, sources={"numbers": flow})


@st.op(x=st.FLOAT, gives=st.FLOAT)
def halved(x: float) -> float:
    """Half of it."""
    return x / 2


def test_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / "any.flow"
    st.save(example(tmp_path), path)
    content = decode(path.read_bytes())
    for changed, what in (
        ({"stream": 2}, "has format 2, this version reads 1"),
        ({"outputs": [9999]}, "there is no node 9999"),
        ({"nodes": [{"op": "add", "args": [0, 0], "line": ["x", 1]}]}, "there is no node 0"),
        ({"nodes": 5}, "is broken"),
        ({"name": None, "given": 3}, "is broken"),
    ):
        path.write_bytes(encode({**content, **changed}))
        with pytest.raises(df.ConfigError, match=what):
            st.load(path)
    path.write_bytes(encode([1]))
    with pytest.raises(df.ConfigError, match="no saved stream"):
        st.load(path)
    columns = {"image": {"folder": "/", "files": ["../etc/passwd"]}}
    table = {"rows": None, "segments": None, "columns": columns}
    nodes = [{"table": table, "line": ["x", 1]}]
    path.write_bytes(encode({**content, "nodes": nodes, "outputs": [0]}))
    with pytest.raises(df.ConfigError, match="is not within its folder"):
        st.load(path)


def test_nothing_of_a_file_becomes_code(tmp_path: Path) -> None:
    """Names, lines and texts may say what they like."""
    path, evil = tmp_path / "any.flow", "x'\n)]; raise SystemExit #"
    st.save(st.Stream([st.uniform(), "text"], "name"), path)
    content = decode(path.read_bytes())
    content["name"] = evil
    for node in content["nodes"]:
        node["line"] = [evil, 1]
        if node.get("value") == "text":
            node["value"] = evil
    path.write_bytes(encode(content))
    loaded = st.load(path)
    assert loaded[0][1] == evil
    code = [line.partition("#")[0] for line in loaded.source.splitlines()]
    assert code[0] == "def x______raise_SystemExit__(seed, index):"
    assert not any("raise" in line for line in code[1:]) and len(code) == 4


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(some.data())
def test_broken_files_are_errors_of_their_own_kind(tmp_path: Path, data: some.DataObject) -> None:
    path = tmp_path / "whole.flow"
    if not path.exists():
        st.save(example(tmp_path), path)
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(some.integers(1, 4))):
        whole[data.draw(some.integers(0, len(whole) - 1))] = data.draw(some.integers(0, 255))
    (tmp_path / "broken.flow").write_bytes(whole[: data.draw(some.integers(0, len(whole)))])
    with suppress(df.ConfigError):
        st.load(tmp_path / "broken.flow")


def test_the_picture_of_the_graph(tmp_path: Path) -> None:
    s = example(tmp_path)
    s.draw(tmp_path / "example.svg")
    root = ElementTree.parse(tmp_path / "example.svg").getroot()
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"noise(0.1)", "integer(0, 2)", "select", "field('image')"} <= set(texts)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    boxes = [
        tuple(float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        for box in root.iter("{http://www.w3.org/2000/svg}rect")
        if "rx" in box.attrib
    ]
    for number, (x, y, w, h) in enumerate(boxes):
        assert 0 <= x <= width - w and 0 <= y <= height - h
        for other_x, other_y, other_w, _ in boxes[:number]:
            assert y != other_y or x >= other_x + other_w or other_x >= x + w
    with pytest.raises(df.ConfigError, match=r"must end in \.svg"):
        s.draw(tmp_path / "example.png")


@given(some.lists(some.tuples(some.integers(0, 30), some.integers(0, 30)), max_size=40))
def test_boxes_and_bends_of_a_layer_stand_side_by_side(pairs: list[tuple[int, int]]) -> None:
    edges = sorted({(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]})
    plan = layout({box: 20.0 + box for box in range(31)}, edges, 10)
    assert all(plan.places[upper][1] < plan.places[lower][1] for upper, lower in edges)
    layers: dict[int, list[tuple[float, float]]] = {}
    for box, (x, layer) in plan.places.items():
        layers.setdefault(layer, []).append((x, 20.0 + box))
    for stand in layers.values():
        stand.sort()
        for (x, width), (next_x, next_width) in pairwise(stand):
            assert next_x - x >= (width + next_width) / 2 + 10 - 1e-6
    assert all(0 <= x <= plan.width for route in plan.routes.values() for x, _ in route)


def test_the_picture_of_samples(tmp_path: Path) -> None:
    picture = example(tmp_path).collage(tmp_path / "samples.png", rows=2, columns=3)
    assert np.array_equal(cv2.imread(str(tmp_path / "samples.png")), picture)
    assert picture.shape[1] > picture.shape[0] > 100
