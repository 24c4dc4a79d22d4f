"""What datapoints of others are made of, told to a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "MOST",
    "Component",
    "Form",
    "components",
    "nbytes",
    "printable",
    "samples",
    "shape_text",
]

MOST = 32
"""Components that are looked at; whoever sends could send any number."""

_CHANNELS = (1, 3, 4)
_SIDE = 8  # pixels; what has fewer on a side is no image


class Form(NamedTuple):
    """What a value is.

    Attributes:
        dtype: of an array, or the type's name.
        shape: of an array or a number; None of anything else.
    """

    dtype: str
    shape: tuple[int, ...] | None

    def __str__(self) -> str:
        return self.dtype if not self.shape else f"{self.dtype} {shape_text(self.shape)}"


class Component(NamedTuple):
    """One part of a datapoint.

    Attributes:
        name: its number or key, and the info that was sent with it.
        value: itself.
    """

    name: str
    value: Any

    @property
    def form(self) -> Form:
        """Its type and shape."""
        if isinstance(self.value, (np.ndarray, np.generic)):
            return Form(str(self.value.dtype), self.value.shape)
        if isinstance(self.value, (bool, int, float)):
            return Form(type(self.value).__name__, ())
        return Form({"str": "text"}.get(name := type(self.value).__name__, name), None)


def components(datapoint: Any, infos: Sequence[str] = ()) -> list[Component]:
    """The first `MOST` parts of a list or dict, or the one that anything else is.

    Args:
        datapoint: what came.
        infos: texts that belong to the parts, in order; there may be fewer.
    """
    if isinstance(datapoint, Mapping):
        pairs = [(printable(key), value) for key, value in datapoint.items()]
    elif isinstance(datapoint, (list, tuple)):
        pairs = [(str(number), value) for number, value in enumerate(datapoint)]
    else:
        pairs = [("0", datapoint)]
    texts = [printable(info) for info in infos[:MOST]]
    texts += [""] * (MOST - len(texts))
    return [
        Component(f"{name} {text}".rstrip(), value)
        for (name, value), text in zip(pairs[:MOST], texts, strict=False)
    ]


def samples(parts: Sequence[Component]) -> int | None:
    """How many samples a batch has; None of what looks like a single one.

    Components of a batch have the same first dimension. A datapoint with a number is none, nor are
    images H×W×C with nothing beside them that has as many entries as they have rows.
    """
    shapes = [part.form.shape for part in parts]
    arrays = [shape for shape in shapes if shape is not None]
    if not arrays or () in arrays or len({shape[0] for shape in arrays}) > 1:
        return None
    ranks = Counter(map(len, arrays))
    alone = not (ranks.keys() - {2, 3})
    if alone and any(_is_coloured(shape) for shape in arrays):
        return None
    return arrays[0][0]


def nbytes(value: Any) -> int:
    """Bytes of the content: of arrays, text, and lists and dicts of these."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.nbytes
    if isinstance(value, (bytes, bytearray, str)):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(nbytes, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(nbytes, value))
    return 0 if value is None else 8


def printable(text: object, most: int = 40) -> str:
    """Text of others on one line, without what would steer a terminal."""
    found = "".join(c if c.isprintable() else "?" for c in str(text)[: most + 1])
    return found if len(found) <= most else found[: most - 1] + "…"


def shape_text(shape: Sequence[int]) -> str:
    """``64×224×224×3``; empty for a number."""
    return "×".join(map(str, shape))


def _is_coloured(shape: tuple[int, ...]) -> bool:
    """Whether an array can be an image with an axis of channels."""
    if len(shape) != 3:
        return False
    last, first = shape[2] in _CHANNELS, shape[0] in _CHANNELS
    sides = shape[:2] if last else shape[1:]
    return (last or first) and min(sides) >= _SIDE
