"""Several datapoints as one: component by component, along a new first axis."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Sequence
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from dataflow.epoch import Datapoint
from dataflow.ownership import LARGE, Empty, copied

__all__ = ["PLAIN", "Collation", "aggregated", "kinds_of"]

# Of a batch that would take more, or is not meant to be filled, nothing is laid out beforehand.
_MOST = 1 << 30


class Collation:
    """A batch while its datapoints arrive: large arrays go to their places at once.

    So whoever made them has their memory back early, and may refill it; and little is left to do
    when the last one is there. All else is copied. The result is what `aggregated` makes of all
    datapoints.

    Args:
        size: datapoints of the whole batch.
        build: makes a batch of the datapoints; None: `aggregated`.
        empty: makes room for the large arrays.

    Attributes:
        seconds: that were spent on copies so far.
    """

    def __init__(
        self,
        size: int,
        build: Callable[[list[Datapoint]], Datapoint] | None = None,
        empty: Empty = np.empty,
    ) -> None:
        self._size = size
        self._build = build
        self._empty = empty
        self.seconds = 0.0
        self._held: list[Any] = []  # arrays that are in their places left out
        self._count = 0
        self._kind: Any = list  # of the first one
        self._length = 0
        self._large: list[_Large] = []  # the components that have places
        self._others: list[Any] = []  # keys of the rest

    def __len__(self) -> int:
        return self._count

    def add(self, datapoint: Datapoint) -> None:
        """One more datapoint, the next one."""
        self.put(self._count, datapoint)

    def put(self, number: int, datapoint: Datapoint) -> None:
        """One more datapoint, of any place that was not filled yet."""
        begun = perf_counter()
        if not self._count and self._build is None:
            self._begin(datapoint)
        if number >= len(self._held):
            self._held.extend([None] * (number + 1 - len(self._held)))
        self._held[number] = self._placed(number, datapoint) if self._large else copied(datapoint)
        self._count += 1
        self.seconds += perf_counter() - begun

    def _placed(self, number: int, datapoint: Datapoint) -> Datapoint:
        """A datapoint to be held, whose large arrays are in their places and left out."""
        if type(datapoint) is not self._kind or len(datapoint) != self._length:
            return self._without_places(datapoint)
        rest: Any = list(datapoint) if self._kind is tuple else datapoint.copy()
        try:
            for key, shape, dtype, place in self._large:
                value = rest[key]
                fits = type(value) is np.ndarray and value.shape == shape
                if not fits or (value.dtype is not dtype and value.dtype != dtype):
                    return self._without_places(datapoint)
                place[number] = value
                rest[key] = None
            for key in self._others:
                if type(rest[key]) not in PLAIN:
                    return copied(rest)
        except LookupError:  # a dict with other keys
            return self._without_places(datapoint)
        return rest

    def _without_places(self, datapoint: Datapoint) -> Datapoint:
        """The same where it is not like the first one: from here on nothing has a place."""
        self._take_back()
        return copied(datapoint)

    def result(self) -> Datapoint:
        """The batch of those that are there, which have to be the first ones.

        Raises:
            ValueError: where they do not fit together.
        """
        if self._build is not None:
            return self._build(self._held)
        if not self._large:
            return aggregated(self._held, empty=self._empty)
        places = {one.key: one.place for one in self._large}
        batch = aggregated(self._held, empty=self._empty, leave_out=places)
        for key, place in places.items():
            batch[key] = place if self._count == self._size else place[: self._count].copy()
        return batch

    def plain(self) -> list[int | str] | None:
        """The components whose members are values of Python's own types.

        Returns:
            None where the batch, taken apart again, would not give the very same datapoints.
        """
        kinds = kinds_of(self._held)
        return None if kinds is None else [key for key, kind in kinds.items() if kind in PLAIN]

    def members(self) -> list[Any]:
        """The datapoints as they were, by their places; None where there is none yet."""
        self._take_back()
        return self._held

    def _begin(self, first: Datapoint) -> None:
        """Make room for what the first one has."""
        self._kind = type(first)
        if self._kind not in (list, tuple, dict):
            return
        parts = first.items() if self._kind is dict else enumerate(first)
        large = {key: value for key, value in parts if _is_large(value)}
        self._length = len(first)
        if self._size * sum(value.nbytes for value in large.values()) <= _MOST:
            for key, value in large.items():
                place = self._empty((self._size, *value.shape), value.dtype)
                self._large.append(_Large(key, value.shape, value.dtype, place))
        keys = first if self._kind is dict else range(len(first))
        self._others = [key for key in keys if key not in large]

    def _take_back(self) -> None:
        """Put the arrays back into their datapoints."""
        for number, held in enumerate(self._held):
            for key, _, _, place in self._large if held is not None else ():
                held[key] = place[number]
        self._large = []


class _Large(NamedTuple):
    """A component whose arrays have places in the batch.

    Attributes:
        key: the component.
        shape: of each array.
        dtype: of all.
        place: the batch's.
    """

    key: Any
    shape: tuple[int, ...]
    dtype: Any
    place: np.ndarray


def _is_large(value: Any) -> bool:
    """Whether it is an array of numbers that goes to its place at once."""
    return type(value) is np.ndarray and value.nbytes >= LARGE and value.dtype.kind in "biufc"


def aggregated(
    data_holder: Sequence[Datapoint],
    use_list: bool = False,
    *,
    empty: Empty = np.empty,
    leave_out: Container[Any] = (),
    pad: Any = None,
) -> Datapoint:
    """One batched datapoint from several: a list, or a dict where they are dicts.

    Args:
        data_holder: the datapoints.
        use_list: each component becomes a list of the originals.
        empty: makes room for arrays.
        leave_out: components that somebody else sees to; they become None.
        pad: fills arrays up to the largest shape of each component; None: shapes have to be equal.

    Raises:
        ValueError: where they cannot be stacked without loss; it names component, datapoint and
            shapes.
    """
    first = data_holder[0]
    if not isinstance(first, (list, tuple, dict)):
        what = type(first).__name__
        raise ValueError(f"a datapoint must be a list, tuple or dict, not {what}")
    for dp in data_holder:
        if isinstance(dp, dict) != isinstance(first, dict) or len(dp) != len(first):
            raise _different(first, dp)

    def joined(key: Any) -> Any:
        if key in leave_out:
            return None
        column = [dp[key] for dp in data_holder]
        return column if use_list else _join(column, repr(key), empty, pad)

    try:
        if isinstance(first, dict):
            return {key: joined(key) for key in first}
        return [joined(key) for key in range(len(first))]
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
        if issubclass(kind, (dict, list, tuple)):
            return None
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


def _join(values: list[Any], where: str, empty: Empty, pad: Any) -> Any:
    """The values of one component, or of a leaf in it, as one.

    Args:
        values: one of each datapoint.
        where: which component, for messages.
        empty: makes room for arrays.
        pad: as of `aggregated`.
    """
    first = values[0]
    if any(isinstance(value, (dict, list, tuple)) for value in values):
        return _join_nested(values, where, empty, pad)
    for number, value in enumerate(values):
        if value is None:
            raise ValueError(
                f"component {where} of datapoint {number} of the batch is None, which has no array "
                "form. Put a value there before BatchData, or use use_list=True"
            )
    try:
        if any(isinstance(value, np.ndarray) for value in values):
            return _join_arrays(values, empty, pad)
        if (torch := sys.modules.get("torch")) is not None and isinstance(first, torch.Tensor):
            return _join_tensors(values, pad, torch)
        return _join_scalars(values)
    except (ValueError, TypeError, OverflowError) as error:
        shapes = {getattr(value, "shape", None) for value in values}
        has = sorted({str(getattr(value, "shape", type(value).__name__)) for value in values})
        remedy = "Use use_list=True, or a function, collate="
        if len(shapes) > 1 and None not in shapes:
            remedy = (
                "Make the shapes equal before BatchData, or use pad=0, use_list=True or collate="
            )
        raise ValueError(
            f"component {where} cannot be batched ({error}); it has: {', '.join(has[:8])}. {remedy}"
        ) from None


def _join_nested(values: list[Any], where: str, empty: Empty, pad: Any) -> Any:
    """Leaf by leaf, as torch's `default_collate` does it."""
    first = values[0]
    for number, value in enumerate(values):
        if isinstance(value, dict) != isinstance(first, dict) or not isinstance(
            value, (dict, list, tuple)
        ):
            raise ValueError(
                f"component {where} cannot be batched: it is a {type(first).__name__} in datapoint "
                f"0 of the batch, and a {type(value).__name__} in datapoint {number}. "
                "Use use_list=True, or a function, collate="
            )
        if (set(value) != set(first)) if isinstance(first, dict) else len(value) != len(first):
            raise ValueError(
                f"component {where} cannot be batched: it has {_structure(first)} in datapoint 0 "
                f"of the batch, and {_structure(value)} in datapoint {number}. "
                "Make them equal before BatchData, or use use_list=True or collate="
            )

    def leaf(key: Any) -> Any:
        return _join([value[key] for value in values], f"{where}[{key!r}]", empty, pad)

    if isinstance(first, dict):
        return {key: leaf(key) for key in first}
    leaves = list(map(leaf, range(len(first))))
    if isinstance(first, list):
        return leaves
    return type(first)(*leaves) if hasattr(first, "_fields") else tuple(leaves)


def _join_arrays(values: list[Any], empty: Empty, pad: Any) -> np.ndarray:
    """Arrays, among which may be scalars."""
    if any(isinstance(value, np.ma.MaskedArray) for value in values):
        stacked: np.ndarray = np.ma.stack(values)
        return stacked
    arrays = [np.asarray(value, _dtype_of(value)) for value in values]
    dtype = _common_dtype(arrays)
    shape = arrays[0].shape
    if pad is not None and any(array.shape != shape for array in arrays):
        return _padded(arrays, empty, dtype, pad)
    if dtype.hasobject:
        empty = np.empty
    block = empty((len(arrays), *shape), dtype)
    return np.stack(arrays, out=block, casting="unsafe")  # which it is not: that was looked at


def _padded(arrays: list[np.ndarray], empty: Empty, dtype: Any, pad: Any) -> np.ndarray:
    (ndim, *others) = {array.ndim for array in arrays}
    if others:
        raise ValueError("arrays of different numbers of axes cannot be padded")
    can = dtype.kind in "biufc" and (dtype.kind == "c" or not isinstance(pad, complex))
    with np.errstate(all="ignore"):
        if not can or not np.array_equal(np.asarray(pad).astype(dtype), pad, equal_nan=True):
            raise ValueError(f"pad={pad!r} is no value of dtype {dtype}")
    largest = [max(array.shape[axis] for array in arrays) for axis in range(ndim)]
    block = empty((len(arrays), *largest), dtype)
    block[...] = pad
    for place, array in zip(block, arrays, strict=True):
        place[tuple(map(slice, array.shape))] = array
    return block


def _common_dtype(arrays: list[np.ndarray]) -> Any:
    """The dtype that holds the values of all."""
    dtypes = {array.dtype for array in arrays}
    if len(dtypes) == 1:
        return dtypes.pop()
    if len({dtype.kind in "SU" for dtype in dtypes}) > 1:
        raise TypeError("text, and what is no text")
    if any(dtype.names is not None for dtype in dtypes):
        raise TypeError(f"rows of {', '.join(sorted(map(str, dtypes)))}")
    common = np.result_type(*dtypes)
    for number, array in enumerate(arrays):
        long = array.dtype.kind in "iu" and common.kind in "fc" and array.dtype.itemsize >= 8
        if long or (array.dtype.kind in "mM" and array.dtype != common):
            with np.errstate(invalid="ignore"):
                there = array.astype(common)
                there_and_back = (there.real if long else there).astype(array.dtype)
            if not np.array_equal(there_and_back, array):
                value = array[there_and_back != array].flat[0] if array.ndim else array[()]
                raise ValueError(
                    f"the value {value} of datapoint {number} of the batch has no {common}, which "
                    f"is common to {', '.join(sorted(map(str, dtypes)))}"
                )
    return common


_DTYPES: dict[type, Any] = {
    bool: np.bool_,
    int: np.int64,
    float: np.float32,
    complex: np.complex128,
}


def _dtype_of(value: Any) -> Any:
    """The dtype of a value; of Python's own numbers the one that is theirs here."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype
    if isinstance(value, (str, bytes)):
        return None
    try:
        return _DTYPES[type(value)]
    except KeyError:
        raise TypeError(f"values of type {type(value).__name__} have no array form") from None


def _join_scalars(values: list[Any]) -> np.ndarray:
    """An array of what are Python's or NumPy's scalars; nothing is cut off on the way."""
    kinds = set(map(type, values))
    if any(issubclass(kind, (str, bytes)) for kind in kinds):
        if len({issubclass(kind, str) for kind in kinds}) > 1 or not all(
            issubclass(kind, (str, bytes)) for kind in kinds
        ):
            raise TypeError("the values are of different types")
        if any(value[-1:] in ("\0", b"\0") for value in values):
            raise ValueError("arrays of text do not keep NUL characters at the end")
        return np.asarray(values)
    if kinds == {int}:
        return _of_numbers(values, np.int64)
    if kinds == {float}:
        return _of_numbers(values, np.float32)
    # What ints and floats have in common is float64, which is also what Python's floats are.
    with_ints = any(kind is int or issubclass(kind, np.integer) for kind in kinds)
    scalars = [
        _of_numbers([value], np.float64 if with_ints and type(value) is float else _dtype_of(value))
        for value in values
    ]
    return np.concatenate(scalars, dtype=_common_dtype(scalars), casting="unsafe")


def _of_numbers(values: list[Any], dtype: Any) -> np.ndarray:
    try:
        with np.errstate(all="ignore", over="raise"):
            return np.asarray(values, dtype) if dtype != np.float32 else _single(values)
    except (OverflowError, FloatingPointError):
        most = float(np.finfo(dtype).max) if dtype == np.float32 else int(np.iinfo(dtype).max)
        for number, value in enumerate(values):
            if abs(value) > most:
                raise OverflowError(
                    f"{value!r}, of datapoint {number} of the batch, is too large for "
                    f"{np.dtype(dtype)}"
                ) from None
        raise


def _single(values: list[Any]) -> np.ndarray:
    return np.asarray(values, np.float64).astype(np.float32)


def _join_tensors(values: list[Any], pad: Any, torch: Any) -> Any:
    others = [type(value).__name__ for value in values if not isinstance(value, torch.Tensor)]
    if others:
        raise TypeError(f"tensors, and {', '.join(sorted(set(others)))}")
    if len(dtypes := {str(value.dtype) for value in values}) > 1:
        raise TypeError(f"tensors of different dtypes: {', '.join(sorted(dtypes))}")
    shapes = {tuple(value.shape) for value in values}
    if len(shapes) == 1:
        return torch.stack(values)
    if pad is None:
        raise ValueError("all input tensors must have the same shape")
    if len(set(map(len, shapes))) > 1:
        raise ValueError("tensors of different numbers of axes cannot be padded")
    largest = [max(sizes) for sizes in zip(*shapes, strict=True)]
    block = values[0].new_full((len(values), *largest), pad)
    for place, value in zip(block, values, strict=True):
        place[tuple(map(slice, value.shape))] = value
    return block
