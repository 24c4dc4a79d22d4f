"""Where the boxes of a picture stand: a graph in layers [1]_.

An edge goes down through the layers between its ends, with a place of its own in each, so that no
box stands in its way.

.. [1] Sugiyama, Tagawa and Toda, "Methods for visual understanding of hierarchical system
   structures", IEEE Transactions on Systems, Man and Cybernetics 11, 1981.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Layout", "layout"]

Edge = tuple[int, int]

_BEND = 16.0
_SWEEPS = 12


@dataclass(frozen=True)
class Layout:
    """A picture's places.

    Attributes:
        places: the middle of each box, (x, layer).
        routes: for each edge the points (x, layer) from its upper to its lower end.
        width: of the whole picture.
        layers: how many there are.
    """

    places: dict[int, tuple[float, int]]
    routes: dict[Edge, list[tuple[float, int]]]
    width: float
    layers: int


def layout(widths: Mapping[int, float], edges: Sequence[Edge], gap: float) -> Layout:
    """Lay out a graph without circles.

    Args:
        widths: of the boxes, by number: a box's number is above those of all boxes that feed it.
        edges: from box to box.
        gap: between boxes of a layer.
    """
    depth = _depths(widths, edges)
    whole = dict(widths)
    routes: dict[Edge, list[int]] = {}
    neighbours: dict[int, list[int]] = defaultdict(list)
    for upper, lower in edges:
        route = [upper]
        for at in range(depth[upper] + 1, depth[lower]):
            bend = max(whole) + 1
            whole[bend], depth[bend] = _BEND, at
            route.append(bend)
        routes[upper, lower] = route = [*route, lower]
        for one, other in pairwise(route):
            neighbours[one].append(other)
            neighbours[other].append(one)
    layers: list[list[int]] = [[] for _ in range(1 + max(depth.values()))]
    for box in whole:
        layers[depth[box]].append(box)
    x = _settled(layers, neighbours, whole, gap)
    left = min(x[box] - whole[box] / 2 for box in whole)
    places = {box: (x[box] - left, depth[box]) for box in whole}
    right = max(places[box][0] + whole[box] / 2 for box in whole)
    return Layout(
        {box: places[box] for box in widths},
        {edge: [places[box] for box in route] for edge, route in routes.items()},
        right,
        len(layers),
    )


def _depths(boxes: Mapping[int, float], edges: Sequence[Edge]) -> dict[int, int]:
    """The layer of each box: below all that feed it, and just above the first that it feeds."""
    above: dict[int, list[int]] = defaultdict(list)
    below: dict[int, list[int]] = defaultdict(list)
    for upper, lower in edges:
        above[lower].append(upper)
        below[upper].append(lower)
    depth: dict[int, int] = {}
    for box in sorted(boxes):
        depth[box] = 1 + max((depth[one] for one in above[box]), default=-1)
    for box in sorted(boxes, reverse=True):
        if below[box]:
            depth[box] = min(depth[one] for one in below[box]) - 1
    return depth


def _settled(
    layers: list[list[int]],
    neighbours: Mapping[int, list[int]],
    widths: Mapping[int, float],
    gap: float,
) -> dict[int, float]:
    """x of each box: in each layer ordered, and then placed, by the mean of its neighbours."""
    x: dict[int, float] = {}
    for layer in layers:
        _pack(layer, dict.fromkeys(layer, 0.0), widths, gap, x)
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 else reversed(layers):
            wish = {
                box: sum(x[one] for one in neighbours[box]) / len(neighbours[box])
                if neighbours.get(box)
                else x[box]
                for box in layer
            }
            if sweep < _SWEEPS - 2:
                layer.sort(key=lambda box: wish[box])
            _pack(layer, wish, widths, gap, x)
    return x


def _pack(
    layer: list[int],
    wish: Mapping[int, float],
    widths: Mapping[int, float],
    gap: float,
    x: dict[int, float],
) -> None:
    """As near to the wishes as the order allows: groups of boxes that touch share their shift."""
    groups: list[tuple[list[int], float]] = []  # boxes, and where the first one's left edge is
    for box in layer:
        members, left = [box], wish[box] - widths[box] / 2
        while groups and groups[-1][1] + _span(groups[-1][0], widths, gap) + gap > left:
            members = [*groups.pop()[0], *members]
            offsets, at = [], 0.0
            for one in members:
                offsets.append(wish[one] - widths[one] / 2 - at)
                at += widths[one] + gap
            left = sum(offsets) / len(offsets)
        groups.append((members, left))
    for members, left in groups:
        for box in members:
            x[box] = left + widths[box] / 2
            left += widths[box] + gap


def _span(boxes: list[int], widths: Mapping[int, float], gap: float) -> float:
    return sum(widths[box] + gap for box in boxes) - gap
