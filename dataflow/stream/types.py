"""What a node's value is, as far as it is known before anything is computed.

A part that is not known is None and fits everything: an `Image()` may have any size, depth and
number of channels. `Type` itself is a value of which nothing is known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dataflow.errors import ConfigError

__all__ = [
    "ANYTHING",
    "BOOL",
    "FLOAT",
    "INT",
    "NOTHING",
    "POINTS",
    "RECTANGLE",
    "SEED",
    "TEXT",
    "TOO_WIDE",
    "VIEW",
    "Array",
    "Image",
    "List",
    "Number",
    "Plain",
    "Record",
    "Records",
    "Type",
    "as_image",
]

TOO_WIDE = ("int64", "uint64")  # OpenCV cuts some to 32 bits, silently
_KINDS = ("bool", "int", "float")


@dataclass(frozen=True)
class Type:
    """Any value."""

    def accepts(self, other: Type) -> bool:
        """Whether a value of type `other` can be one of this; where that is unknown, it can."""
        return type(self) is Type or type(other) is Type or self._accepts(other)

    def _accepts(self, other: Type) -> bool:
        return self == other

    def __str__(self) -> str:
        return "anything"


@dataclass(frozen=True)
class Number(Type):
    """One number.

    Attributes:
        kind: ``bool``, ``int`` or ``float``. A narrower kind is accepted for a wider one.
    """

    kind: str = "float"

    def _accepts(self, other: Type) -> bool:
        return isinstance(other, Number) and _KINDS.index(other.kind) <= _KINDS.index(self.kind)

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True)
class Plain(Type):
    """A value without parts, by name: text, nothing, a seed."""

    name: str = "text"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Array(Type):
    """A NumPy array.

    Attributes:
        dtype: its name, such as ``float32``.
        shape: lengths of the axes, those that are not known None; None where not even the rank is.
    """

    dtype: str | None = None
    shape: tuple[int | None, ...] | None = None

    def _accepts(self, other: Type) -> bool:
        if isinstance(other, Image):
            other = other.as_array()
        if not isinstance(other, Array):
            return False
        if self.shape is not None and other.shape is not None:
            if len(self.shape) != len(other.shape):
                return False
            if not all(map(_fits, self.shape, other.shape)):
                return False
        return _fits(self.dtype, other.dtype)

    def __str__(self) -> str:
        shape = "…" if self.shape is None else "×".join(map(_text, self.shape))
        return f"{self.dtype or 'array'}[{shape}]"


@dataclass(frozen=True)
class Image(Type):
    """An image: H×W for one channel, H×W×C for more, colours in the order BGR.

    Attributes:
        channels: how many.
        depth: the dtype's name: ``uint8`` from 0 to 255, ``float32`` from 0 to 1 … Not 64-bit
            integers, which `st.astype` brings to fewer.
        width, height: in pixels.
        mask: it says what is where, so between two of its values there is nothing.
    """

    channels: int | None = None
    depth: str | None = None
    width: int | None = None
    height: int | None = None
    mask: bool = False

    def _accepts(self, other: Type) -> bool:
        if isinstance(other, Array):
            if other.shape is not None and len(other.shape) not in (2, 3):
                return False
            other = as_image(other)
        if not isinstance(other, Image) or other.depth in TOO_WIDE:
            return False
        return all(
            _fits(getattr(self, name), getattr(other, name))
            for name in ("channels", "depth", "width", "height")
        )

    def as_array(self) -> Array:
        """The same without the words of images."""
        if self.channels is None:
            return Array(self.depth)
        size = (self.height, self.width)
        return Array(self.depth, size if self.channels == 1 else (*size, self.channels))

    def sized(self, width: int | None, height: int | None) -> Image:
        """The same in another size."""
        return replace(self, width=width, height=height)

    def __str__(self) -> str:
        name = "mask" if self.mask else "image"
        return f"{name}[{_text(self.height)}×{_text(self.width)}×{_text(self.channels)}" + (
            f" {self.depth}]" if self.depth else "]"
        )


@dataclass(frozen=True)
class List(Type):
    """A Python list of values of one type."""

    element: Type = Type()
    length: int | None = None

    def _accepts(self, other: Type) -> bool:
        if not isinstance(other, List):
            return False
        return self.element.accepts(other.element) and _fits(self.length, other.length)

    def __str__(self) -> str:
        return f"list of {_text(self.length)} {self.element}"


@dataclass(frozen=True)
class Record(Type):
    """Named values that belong together; each is loaded where it is used."""

    fields: tuple[tuple[str, Type], ...] = ()

    def _accepts(self, other: Type) -> bool:
        if type(other) is not type(self) or not isinstance(other, Record):
            return False
        known = dict(other.fields)
        return all(name in known and kind.accepts(known[name]) for name, kind in self.fields)

    def field(self, name: str) -> Type:
        """The type of a field.

        Raises:
            ConfigError: there is none of that name.
        """
        found = dict(self.fields).get(name)
        if found is None:
            names = ", ".join(one for one, _ in self.fields)
            raise ConfigError(f"there is no field {name!r}: the record has {names}")
        return found

    def __str__(self) -> str:
        return f"record({', '.join(f'{name}: {kind}' for name, kind in self.fields)})"


@dataclass(frozen=True)
class Records(Record):
    """A table of records."""

    length: int | None = None
    segments: int | None = None

    def __str__(self) -> str:
        return f"{_text(self.length)} {super().__str__()}"


ANYTHING = Type()
BOOL = Number("bool")
INT = Number("int")
FLOAT = Number("float")
TEXT = Plain("text")
NOTHING = Plain("nothing")
SEED = Plain("seed")
POINTS = Array(None, (None, 2))
"""N×2, x and y in pixels from the image's upper left corner: the first pixel's centre is ½, ½."""
RECTANGLE = Array(None, (4,))
"""Left, top, right and bottom in pixels."""
VIEW = Array(None, (3, 3))
"""Takes (x, y, 1) of a point to where it will be."""


def as_image(array: Array) -> Image:
    """The type of an array that is an image."""
    if array.shape is None:
        return Image(depth=array.dtype)
    height, width, *rest = array.shape
    return Image(rest[0] if rest else 1, array.dtype, width, height)


def _fits(wanted: Any, given: Any) -> bool:
    return wanted is None or given is None or wanted == given


def _text(length: int | None) -> str:
    return "?" if length is None else str(length)
