"""What the demo's ten classes look like: a shape and a palette each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["SCENES", "VARIANTS", "Scene", "bgr", "label_of", "shapes"]

Outline = npt.NDArray[np.float64]
"""A closed polygon, K×2, within about the unit circle."""

VARIANTS = 48
"""How many different outlines a scene has."""


@dataclass(frozen=True)
class Scene:
    """One class of photographs.

    Attributes:
        name: of the class, also its folder's.
        outline: draws the outline of one thing; as many corners each time.
        colours: of the things, as ``#rrggbb``.
        backdrop: colours of the background from top to bottom.
    """

    name: str
    outline: Callable[[np.random.Generator], Outline]
    colours: tuple[str, ...]
    backdrop: tuple[str, str]


@functools.cache
def shapes(scene: Scene) -> npt.NDArray[np.complex128]:
    """The scene's outlines as complex numbers, VARIANTS×K."""
    rng = np.random.default_rng(1)
    return np.array([scene.outline(rng) @ (1, 1j) for _ in range(VARIANTS)])


def bgr(colour: str) -> npt.NDArray[np.float32]:
    """``#rrggbb`` as blue, green and red, 0 to 255."""
    return np.array([int(colour[i : i + 2], 16) for i in (5, 3, 1)], np.float32)


def _polar(radius: npt.NDArray[np.float64]) -> Outline:
    angle = np.linspace(0, 2 * np.pi, len(radius), endpoint=False)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _angles(points: int) -> npt.NDArray[np.float64]:
    return np.linspace(0, 2 * np.pi, points, endpoint=False)


def _disc(rng: np.random.Generator) -> Outline:
    return _polar(np.ones(28)) * [1, rng.uniform(0.88, 1)]


def _pebble(rng: np.random.Generator) -> Outline:
    angle = _angles(30)
    radius = np.full(30, 0.9)
    for k in (2, 3, 4):
        radius += rng.uniform(-0.16, 0.16) / k * np.cos(k * angle + rng.uniform(0, 6.3))
    return _polar(radius) * [1, rng.uniform(0.6, 0.95)]


def _leaf(rng: np.random.Generator) -> Outline:
    t = np.linspace(-1, 1, 15)
    half = rng.uniform(0.28, 0.42) * (1 - t**2) ** 0.8 * (1 - 0.3 * t)
    bend = rng.uniform(-0.25, 0.25) * (1 - t**2)
    return np.concatenate([np.stack([t, bend + half], 1), np.stack([t, bend - half], 1)[::-1]])


def _flower(rng: np.random.Generator) -> Outline:
    return _polar(0.68 + 0.32 * np.abs(np.cos(rng.integers(4, 7) / 2 * _angles(60))))


def _star(rng: np.random.Generator) -> Outline:
    radius = np.ones(10)
    radius[1::2] = rng.uniform(0.42, 0.5)
    return _polar(radius)


def _triangle(rng: np.random.Generator) -> Outline:
    corners = _angles(3) + rng.uniform(-0.4, 0.4, 3)
    return np.stack([np.cos(corners), np.sin(corners)], axis=1)


def _tile(rng: np.random.Generator) -> Outline:
    side = 0.78
    return side * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float) + rng.uniform(
        -0.06, 0.06, (4, 2)
    )


def _brick(rng: np.random.Generator) -> Outline:
    return _tile(rng) * [1.2, rng.uniform(0.42, 0.55)]


def _blade(rng: np.random.Generator) -> Outline:
    return _leaf(rng) * [1.35, 0.42]


def _butterfly(rng: np.random.Generator) -> Outline:
    angle = np.rad2deg(_angles(64))
    angle = np.minimum(angle, 360 - angle)  # from the head, the same on both sides
    fore, hind = rng.uniform(48, 60), rng.uniform(120, 135)
    wings = np.exp(-(((angle - fore) / 27) ** 2)) + 0.72 * np.exp(-(((angle - hind) / 25) ** 2))
    return _polar(0.18 + 0.82 * wings) * [1, rng.uniform(0.75, 1)]


SCENES: tuple[Scene, ...] = (
    Scene(
        "pebbles",
        _pebble,
        ("#8d8578", "#b9b0a2", "#5e5a54", "#d2c8b6", "#7b6a58"),
        ("#6f6a61", "#3d3934"),
    ),
    Scene(
        "leaves",
        _leaf,
        ("#4f7d2a", "#7fa63b", "#2f5a22", "#a9bf4e", "#61902f"),
        ("#9db98a", "#22361a"),
    ),
    Scene(
        "flowers",
        _flower,
        ("#d95f8d", "#f0a3bf", "#b33a72", "#f7d7e0", "#e88a5c"),
        ("#88a86a", "#34502c"),
    ),
    Scene(
        "berries",
        _disc,
        ("#a5182b", "#c8354a", "#7a1022", "#d9576a", "#4c0f1c"),
        ("#5b7a4a", "#1d2b18"),
    ),
    Scene(
        "tiles",
        _tile,
        ("#2b6ca3", "#5b9bd0", "#1b4a7a", "#bcd6ea", "#e9e4d4"),
        ("#9fb4c4", "#5a6a78"),
    ),
    Scene(
        "shards",
        _triangle,
        ("#bfe3e6", "#8cc4cf", "#e6f4f3", "#5a9aab", "#3f7688"),
        ("#d5e4e6", "#4a6a74"),
    ),
    Scene(
        "stars",
        _star,
        ("#f0b429", "#f7d774", "#d98a1f", "#fbe9b0", "#c46f1a"),
        ("#2a3566", "#11162e"),
    ),
    Scene(
        "bricks",
        _brick,
        ("#a8492f", "#c46a48", "#84351f", "#d68d6a", "#97604a"),
        ("#b9ada0", "#6d6259"),
    ),
    Scene(
        "grass",
        _blade,
        ("#b9a95a", "#8a9a3c", "#d6c884", "#6c7a2e", "#a3863c"),
        ("#b8cfe0", "#6a6a34"),
    ),
    Scene(
        "butterflies",
        _butterfly,
        ("#8a5fa8", "#b894cf", "#6a4088", "#dcc6e6", "#c7a3b8"),
        ("#d3dbe2", "#7d9463"),
    ),
)


def label_of(index: int) -> int:
    """The class of photo `index`: an index into `SCENES`."""
    return index % len(SCENES)
