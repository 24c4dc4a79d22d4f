"""A graph as a picture: SVG, in layers from what is given down to the sample."""

from __future__ import annotations

import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from dataflow.errors import ConfigError
from dataflow.stream.flow import Stream
from dataflow.stream.graph import Node, reachable
from dataflow.stream.types import Number, Plain

__all__ = ["draw"]

_ROW, _GAP, _MARGIN, _HEIGHT = 92, 24, 24, 46
_CHARACTER = 7.0
_SWEEPS = 8

_PAPER, _INK, _FAINT, _LINE = "#fbfaf8", "#2b2926", "#8a857c", "#b9b3a8"
_FILLS = {
    "constant": "#ece8df",
    "draws": "#f6d9a8",
    "choices": "#d9c7ec",
    "geometry": "#c9e3c8",
    "image": "#c4dcef",
    "other": "#ffffff",
}
_IMAGES = {"shape", "colour", "noise", "filters", "regions"}


def draw(stream: Stream, path: str | os.PathLike[str]) -> None:
    """Write a picture of a stream's graph as SVG.

    Amber nodes draw random numbers, violet ones choose a branch, green ones are geometry, blue ones
    images. Numbers and text stand in the nodes that they feed.

    Raises:
        ConfigError: the path does not end in ``.svg``.
    """
    if Path(path).suffix.lower() != ".svg":
        raise ConfigError(f"path={os.fspath(path)!r} must end in .svg")
    Path(path).write_text(_svg(stream), "utf-8")


def _svg(stream: Stream) -> str:
    nodes = [node for node in reachable(stream.outputs) if not _inline(node)]
    for output in stream.outputs:
        if _inline(output) and all(node is not output for node in nodes):
            nodes.append(output)
    layers = _layered(nodes)
    widths = {id(node): _width(node) for node in nodes}
    spans = [sum(widths[id(node)] + _GAP for node in layer) - _GAP for layer in layers]
    whole = max(spans)
    middle: dict[int, tuple[float, float]] = {}
    for row, (layer, span) in enumerate(zip(layers, spans, strict=True)):
        x = _MARGIN + (whole - span) / 2
        for node in layer:
            middle[id(node)] = x + widths[id(node)] / 2, _MARGIN + row * _ROW + _HEIGHT / 2
            x += widths[id(node)] + _GAP
    width, height = whole + 2 * _MARGIN, 2 * _MARGIN + len(layers) * _ROW + 8
    body = [_edge(one, node, at, middle) for node in nodes for at, one in _drawn_inputs(node)]
    body += [_box(node, middle[id(node)], widths[id(node)]) for node in nodes]
    body += _outputs(stream, middle, height)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'width="{width:.0f}" height="{height:.0f}" font-family="sans-serif" font-size="12">',
            f'<rect width="100%" height="100%" fill="{_PAPER}"/>',
            *body,
            "</svg>",
            "",
        ]
    )


def _inline(node: Node) -> bool:
    """A constant that fits into the nodes that it feeds."""
    if node.op is not None:
        return False
    return isinstance(node.type, (Number, Plain)) or isinstance(node.value, (list, tuple))


def _drawn_inputs(node: Node) -> list[tuple[int, Node]]:
    return [(at, one) for at, one in enumerate(node.inputs) if not _inline(one)]


def _layered(nodes: list[Node]) -> list[list[Node]]:
    """Each node below all that feed it; in a layer near to what it is joined with."""
    depth: dict[int, int] = {}
    for node in nodes:
        depth[id(node)] = 1 + max((depth[id(one)] for _, one in _drawn_inputs(node)), default=-1)
    users: dict[int, list[Node]] = {id(node): [] for node in nodes}
    for node in nodes:
        for _, one in _drawn_inputs(node):
            users[id(one)].append(node)
    # Sources move down to what they feed.
    for node in reversed(nodes):
        if users[id(node)]:
            depth[id(node)] = min(depth[id(user)] for user in users[id(node)]) - 1
    layers: list[list[Node]] = [[] for _ in range(1 + max(depth.values(), default=0))]
    for node in nodes:
        layers[depth[id(node)]].append(node)
    layers = [layer for layer in layers if layer]
    for sweep in range(_SWEEPS):
        place = {id(node): (at + 0.5) / len(one) for one in layers for at, node in enumerate(one)}
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            layer.sort(key=lambda node: _pull(node, users, place))
    return layers


def _pull(node: Node, users: Mapping[int, list[Node]], place: Mapping[int, float]) -> float:
    joined = [one for _, one in _drawn_inputs(node)] + users[id(node)]
    return sum(place[id(one)] for one in joined) / len(joined) if joined else place[id(node)]


def _title(node: Node) -> str:
    if node.op is None:
        return "records" if hasattr(node.value, "fields") else "constant"
    given = [_short(one.value) for one in node.args if _inline(one)]
    return f"{node.op.name}({', '.join(given)})" if given else node.op.name


def _short(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 24 else text[:23] + "…"


def _about(node: Node) -> str:
    text = str(node.type)
    return text if len(text) <= 40 else text[:39] + "…"


def _width(node: Node) -> float:
    return max(60.0, 20 + _CHARACTER * max(len(_title(node)), len(_about(node)) * 0.8))


def _fill(node: Node) -> str:
    if node.op is None:
        return _FILLS["constant"]
    if node.op.draws:
        return _FILLS["draws"]
    family = node.op.__module__.rpartition(".")[2]
    return _FILLS["image" if family in _IMAGES else family if family in _FILLS else "other"]


def _box(node: Node, middle: tuple[float, float], width: float) -> str:
    x, y = middle
    dash = ' stroke-dasharray="4 3"' if node.name == "select" else ""
    return (
        f'<g><title>{escape(repr(node))}</title><rect x="{x - width / 2:.1f}" '
        f'y="{y - _HEIGHT / 2:.1f}" width="{width:.1f}" height="{_HEIGHT}" rx="8" '
        f'fill="{_fill(node)}" stroke="{_LINE}"{dash}/>'
        f'<text x="{x:.1f}" y="{y - 3:.1f}" text-anchor="middle" fill="{_INK}">'
        f"{escape(_title(node))}</text>"
        f'<text x="{x:.1f}" y="{y + 13:.1f}" text-anchor="middle" font-size="10" fill="{_FAINT}">'
        f"{escape(_about(node))}</text></g>"
    )


def _edge(one: Node, node: Node, at: int, middle: Mapping[int, tuple[float, float]]) -> str:
    (x0, y0), (x1, y1) = middle[id(one)], middle[id(node)]
    y0, y1 = y0 + _HEIGHT / 2, y1 - _HEIGHT / 2
    bend = max(18.0, (y1 - y0) / 2)
    branch = ""
    if node.name == "select" and 0 < at < len(node.args):
        branch = (
            f'<text x="{x1 + (x0 - x1) * 0.12:.1f}" y="{y1 - 8:.1f}" font-size="10" '
            f'fill="{_FAINT}" text-anchor="middle">{at - 1}</text>'
        )
    return (
        f'<path d="M{x0:.1f} {y0:.1f} C{x0:.1f} {y0 + bend:.1f} {x1:.1f} {y1 - bend:.1f} '
        f'{x1:.1f} {y1:.1f}" fill="none" stroke="{_LINE}" stroke-width="1.4"/>{branch}'
    )


def _outputs(stream: Stream, middle: Mapping[int, tuple[float, float]], height: float) -> list[str]:
    drawn = []
    for number, node in enumerate(stream.outputs):
        x, y = middle[id(node)]
        y += _HEIGHT / 2
        drawn.append(
            f'<path d="M{x:.1f} {y:.1f} v22 m-5 -6 l5 6 l5 -6" fill="none" stroke="{_INK}" '
            f'stroke-width="1.4"/><text x="{x + 9:.1f}" y="{y + 20:.1f}" font-size="10" '
            f'fill="{_INK}">{number}</text>'
        )
    return drawn
