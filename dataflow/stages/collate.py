"""Several datapoints as one: component by component, along a new first axis."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from functools import partial
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np

from dataflow.epoch import Datapoint

__all__ = ["PLAIN", "Collation", "Empty", "aggregated", "kinds_of"]

Empty: TypeAlias = Callable[[tuple[int, ...], Any], np.ndarray]
"""Makes an array of a shape and a dtype, as `numpy.empty` does."""

# An array of fewer bytes is better kept until all are there: copying each by itself costs more.
_LARGE = 2048
# Of a batch that would take more, or is not meant to be filled, nothing is laid out beforehand.
_MOST = 1 << 30


class Collation:
    """A batch while its datapoints arrive: large arrays go to their places at once.

    So whoever made them has their memory back early, and little is left to do when the last one is
    there. The result is what `aggregated` makes of all datapoints.

    Args:
        size: datapoints of the whole batch.
        build: makes a batch of the datapoints; None: `aggregated`.

    Attributes:
        seconds: that were spent on copies so far.
    """

    def __init__(
        self, size: int, build: Callable[[list[Datapoint]], Datapoint] | None = None
    ) -> None:
        self._size = size
        self._build = build
        self.seconds = 0.0
        self._held: list[Datapoint] = []  # arrays that are in their places left out
        self._places: dict[Any, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._held)

    def add(self, datapoint: Datapoint) -> None:
        """One more datapoint."""
        number = len(self._held)
        if not number and self._build is None:
            self._begin(datapoint)
        if not self._places or not self._fits(datapoint):
            self._held = self._members()
            self._places = {}
            self._held.append(datapoint)
            return
        begun = perf_counter()
        rest = datapoint.copy() if isinstance(datapoint, dict) else list(datapoint)
        for key, place in self._places.items():
            np.copyto(place[number], datapoint[key], casting="unsafe")
            rest[key] = None
        self._held.append(rest)
        self.seconds += perf_counter() - begun

    def result(self) -> Datapoint:
        """The batch of those that are there.

        Raises:
            ValueError: where they do not fit together.
        """
        if self._build is not None:
            return self._build(self._held)
        if not self._places:
            return aggregated(self._held, False, np.empty)
        batch = aggregated(self._held, False, np.empty, leave_out=self._places)
        for key, place in self._places.items():
            count = len(self._held)
            batch[key] = place if count == self._size else place[:count].copy()
        return batch

    def _begin(self, first: Datapoint) -> None:
        """Make room for what the first one has."""
        large = {key: value for key, value in _components(first) if _is_large(value)}
        if self._size * sum(value.nbytes for value in large.values()) <= _MOST:
            for key, value in large.items():
                self._places[key] = np.empty((self._size, *value.shape), value.dtype)

    def _fits(self, datapoint: Datapoint) -> bool:
        if not self._held:
            return True
        first = self._held[0]
        if isinstance(datapoint, dict) != isinstance(first, dict) or len(datapoint) != len(first):
            return False
        found = dict(_components(datapoint))
        return all(
            _is_large(found.get(key)) and found[key].shape == place.shape[1:]
            for key, place in self._places.items()
        )

    def _members(self) -> list[Datapoint]:
        """The datapoints as they were."""
        for number, held in enumerate(self._held):
            for key, place in self._places.items():
                held[key] = place[number]
        return self._held


def _is_large(value: Any) -> bool:
    """Whether it is an array of numbers that goes to its place at once."""
    return type(value) is np.ndarray and value.nbytes >= _LARGE and value.dtype.kind in "biufc"


def _components(datapoint: Datapoint) -> Iterable[tuple[Any, Any]]:
    if isinstance(datapoint, dict):
        return datapoint.items()
    return enumerate(datapoint) if isinstance(datapoint, (list, tuple)) else ()


def aggregated(
    data_holder: Sequence[Datapoint],
    use_list: bool,
    empty: Empty,
    leave_out: Container[Any] = (),
) -> Datapoint:
    """One batched datapoint from several: a list, or a dict where they are dicts.

    Args:
        data_holder: the datapoints.
        use_list: each component becomes a list of the originals.
        empty: makes room for arrays.
        leave_out: components that somebody else sees to; they become None.

    Raises:
        ValueError: where they cannot be stacked without loss; it names component and shapes.
    """
    first = data_holder[0]
    if not isinstance(first, (list, tuple, dict)):
        what = type(first).__name__
        raise ValueError(f"a datapoint must be a list, tuple or dict, not {what}")
    for dp in data_holder:
        if len(dp) != len(first):
            raise _different(first, dp)
    joined = partial(_join, use_list=use_list, empty=empty)
    try:
        if isinstance(first, dict):
            return {
                key: None if key in leave_out else joined([dp[key] for dp in data_holder], key)
                for key in first
            }
        return [
            None if key in leave_out else joined([dp[key] for dp in data_holder], key)
            for key in range(len(first))
        ]
    except LookupError:
        raise next(
            _different(first, dp) for dp in data_holder if _structure(dp) != _structure(first)
        ) from None


PLAIN = (bool, int, float, str, bytes)


def kinds_of(held: Sequence[Datapoint]) -> dict[Any, type] | None:
    """The types of the components, where they go into arrays without being converted.

    None where those of some datapoint differ from another's.
    """
    first = held[0]
    if isinstance(first, dict):
        keys = list(first)
        if any(type(dp) is not dict or list(dp) != keys for dp in held):
            return None
        columns: Any = ([dp[key] for dp in held] for key in keys)
    elif isinstance(first, (list, tuple)):
        keys = list(range(len(first)))
        if any(type(dp) is not type(first) or len(dp) != len(keys) for dp in held):
            return None
        columns = zip(*held, strict=True)
    else:
        return None
    kinds = {}
    for key, column in zip(keys, columns, strict=True):
        (kind, *others) = set(map(type, column))
        if others or (hasattr(kind, "dtype") and len({part.dtype for part in column}) > 1):
            return None
        kinds[key] = kind
    return kinds


def _different(first: Datapoint, other: Datapoint) -> ValueError:
    return ValueError(
        "a batch needs datapoints with the same components: one has "
        f"{_structure(first)}, another {_structure(other)}"
    )


def _structure(datapoint: Datapoint) -> str:
    if isinstance(datapoint, dict):
        return f"a dict with {sorted(map(repr, datapoint))}".replace('"', "")
    return f"{len(datapoint)} components"


def _join(values: list[Any], where: int | str, use_list: bool, empty: Empty) -> Any:
    if use_list:
        return values
    first = values[0]
    try:
        if isinstance(first, np.ndarray):
            # np.stack alone would promote where dtypes differ: the first one decides.
            block = empty((len(values), *first.shape), first.dtype)
            return np.stack(values, out=block, casting="unsafe")
        return _join_scalars(values)
    except (ValueError, TypeError, OverflowError) as error:
        shapes = sorted({str(getattr(value, "shape", type(value).__name__)) for value in values})
        raise ValueError(
            f"component {where!r} cannot be batched ({error}); it has: {', '.join(shapes[:8])}. "
            "Make the shapes equal before BatchData, or use use_list=True"
        ) from None


def _join_scalars(values: list[Any]) -> np.ndarray:
    """An array of what are Python's or NumPy's scalars; nothing is cut off on the way."""
    match values[0]:
        case str() | bytes():  # before np.generic: NumPy's own text has the length of one value
            if any(value[-1:] in ("\0", b"\0") for value in values):
                raise ValueError("arrays of text do not keep NUL characters at the end")
            return np.asarray(values)
        case np.generic() as first:  # before float, which np.float64 is, too
            return np.asarray(values, dtype=first.dtype)
        case bool():
            return _narrowed(values, "b", np.bool_)
        case int():
            return _narrowed(values, "bi", np.int32)
        case float():
            return _narrowed(values, "bif", np.float32)
        case other:
            raise TypeError(f"values of type {type(other).__name__} have no array form")


def _narrowed(values: list[Any], kinds: str, dtype: Any) -> np.ndarray:
    wide = np.asarray(values)
    if wide.dtype.kind not in kinds or wide.ndim != 1:
        raise TypeError("the values are of different types")
    if dtype is np.int32 and wide.size and (wide.min() < -(1 << 31) or wide.max() >= 1 << 31):
        raise OverflowError("a value is too large for int32")
    return wide.astype(dtype)
