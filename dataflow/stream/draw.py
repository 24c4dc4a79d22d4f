"""A graph as a picture: SVG, in layers from what is given down to the sample."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflow.errors import ConfigError
from dataflow.stream.graph import Node, reachable
from dataflow.stream.layout import layout
from dataflow.stream.types import Number, Plain

if TYPE_CHECKING:
    from dataflow.stream.flow import Stream

__all__ = ["draw"]

_ROW, _GAP, _MARGIN, _HEIGHT = 92, 24, 24, 46
_CHARACTER = 7.0

_PAPER, _INK, _FAINT, _LINE = "#fbfaf8", "#2b2926", "#8a857c", "#b9b3a8"
_FILLS = {
    "constant": "#ece8df",
    "draws": "#f6d9a8",
    "choices": "#d9c7ec",
    "geometry": "#c9e3c8",
    "image": "#c4dcef",
    "other": "#ffffff",
}
_IMAGES = {"shape", "views", "colour", "noise", "filters", "regions"}


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
    outputs = {id(node) for node in stream.outputs}
    nodes = [node for node in reachable(stream.outputs) if id(node) in outputs or not _inline(node)]
    numbers = {id(node): number for number, node in enumerate(nodes)}
    ends = [
        (numbers[id(one)], number, at)
        for number, node in enumerate(nodes)
        for at, one in enumerate(node.inputs)
        if id(one) in numbers
    ]
    widths = {number: _width(node) for number, node in enumerate(nodes)}
    plan = layout(widths, sorted({(upper, lower) for upper, lower, _ in ends}), _GAP)
    width, height = plan.width + 2 * _MARGIN, plan.layers * _ROW + 2 * _MARGIN - 12
    body = [_edge(route) for route in plan.routes.values()]
    body += [
        _branch(at - 1, plan.routes[upper, lower])
        for upper, lower, at in ends
        if nodes[lower].name == "select" and at > 0
    ]
    body += [_box(node, plan.places[number], widths[number]) for number, node in enumerate(nodes)]
    body += [
        _output(number, plan.places[numbers[id(one)]]) for number, one in enumerate(stream.outputs)
    ]
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


def _at(place: tuple[float, int]) -> tuple[float, float]:
    """Pixels of a place's middle."""
    return _MARGIN + place[0], _MARGIN + place[1] * _ROW + _HEIGHT / 2


def _box(node: Node, place: tuple[float, int], width: float) -> str:
    x, y = _at(place)
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


def _edge(route: list[tuple[float, int]]) -> str:
    """From the lower side of a box to the upper side of another, straight past those between."""
    half = _HEIGHT / 2
    x, y = _at(route[0])
    path = f"M{x:.1f} {y + half:.1f}"
    y += half
    for place in route[1:]:
        to_x, to_y = _at(place)
        bend = (to_y - half - y) / 2
        path += f" C{x:.1f} {y + bend:.1f} {to_x:.1f} {y + bend:.1f} {to_x:.1f} {to_y - half:.1f}"
        if place is not route[-1]:
            path += f" V{to_y + half:.1f}"
        x, y = to_x, to_y + half
    return f'<path d="{path}" fill="none" stroke="{_LINE}" stroke-width="1.4"/>'


def _branch(number: int, route: list[tuple[float, int]]) -> str:
    """The number of a choice's branch, where it comes in."""
    (x0, _), (x, y) = _at(route[-2]), _at(route[-1])
    return (
        f'<text x="{x + (x0 - x) * 0.3:.1f}" y="{y - _HEIGHT / 2 - 14:.1f}" font-size="10" '
        f'fill="{_INK}" text-anchor="middle">{number}</text>'
    )


def _output(number: int, place: tuple[float, int]) -> str:
    x, y = _at(place)
    y += _HEIGHT / 2
    return (
        f'<path d="M{x:.1f} {y:.1f} v22 m-5 -6 l5 6 l5 -6" fill="none" stroke="{_INK}" '
        f'stroke-width="1.4"/><text x="{x + 9:.1f}" y="{y + 20:.1f}" font-size="10" '
        f'fill="{_INK}">{number}</text>'
    )
