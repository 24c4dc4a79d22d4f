"""Columns of text files, whose types are known when all of them was read."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.sources.arrow import ArrowColumn
from dataflow.utils.extras import need

__all__ = ["ParsedColumn"]

_NOTHING = (b"", b"NA", b"N/A", b"NaN", b"nan", b"null", b"NULL", b"None")
_TRUE, _FALSE = "true", "false"


class ParsedColumn(ArrowColumn):
    """A column of a CSV file, as Arrow's binary: ints, floats or truth values if all values are.

    Among those, what is empty or says so (``NA``, ``null`` …) is None. Everything else is text;
    what is no UTF-8 in it is read as Latin-1.

    Args:
        values: the column.
    """

    def __init__(self, values: Any) -> None:
        super().__init__(values)
        self._convert = _CONVERT[self._kind()]

    def _kind(self) -> str:
        left = {"int", "float", "bool"}
        for chunk in self._chunks:
            left &= _kinds_of(chunk)
            if not left:
                return "text"
        return next(kind for kind in ("int", "float", "bool") if kind in left)

    def __getitem__(self, place: int) -> Any:
        return self._convert(super().__getitem__(place))

    def take(self, indices: npt.NDArray[np.int64]) -> list[Any]:
        """The plain Python values at these places, none of them negative."""
        return list(map(self._convert, super().take(indices)))


def _kinds_of(chunk: Any) -> set[str]:
    """As what all values of a chunk can be read."""
    arrow, compute = need("pyarrow"), need("pyarrow.compute")
    try:
        texts = chunk.cast(arrow.string())
    except arrow.ArrowInvalid:
        return set()
    nothing = compute.is_in(texts, value_set=arrow.array([word.decode() for word in _NOTHING]))
    texts = compute.if_else(nothing, arrow.scalar(None, arrow.string()), texts)
    found = set()
    for kind, wanted in (("int", arrow.int64()), ("float", arrow.float64())):
        try:
            texts.cast(wanted)
        except arrow.ArrowInvalid:
            continue
        found.add(kind)
    truth = compute.is_in(compute.utf8_lower(texts), value_set=arrow.array([_TRUE, _FALSE, None]))
    return found | {"bool"} if compute.all(truth).as_py() in (True, None) else found


def _text(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _int(value: bytes | None) -> int | None:
    return None if value is None or value in _NOTHING else int(value)


def _float(value: bytes | None) -> float | None:
    return None if value is None or value in _NOTHING else float(value)


def _bool(value: bytes | None) -> bool | None:
    return None if value is None or value in _NOTHING else value.lower() == _TRUE.encode()


_CONVERT: dict[str, Any] = {"text": _text, "int": _int, "float": _float, "bool": _bool}
