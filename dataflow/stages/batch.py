"""Datapoints into batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np

from dataflow.epoch import DROPPED, Datapoint, Epoch, Stream
from dataflow.errors import ConfigError, UnknownLength
from dataflow.flows import ProxyDataFlow
from dataflow.opening import at, stream
from dataflow.randomness import Tag
from dataflow.records import BatchOp, Record

__all__ = ["BatchData"]

Empty: TypeAlias = Callable[[tuple[int, ...], Any], np.ndarray]
"""Makes an array of a shape and a dtype, as `numpy.empty` does."""


class BatchData(ProxyDataFlow):
    """Stack every `batch_size` datapoints, component by component, along a new first axis.

    Arrays and NumPy's scalars keep their dtype; Python ints become int32, floats float32, as in
    tensorpack.

    Args:
        ds: the input, lists or dicts whose arrays have equal shapes.
        batch_size: datapoints in a batch.
        remainder: deliver the last, smaller batch too.
        use_list: deliver each component as a list of the originals, of any shapes and types.

    Raises:
        ValueError: where the components cannot be stacked without loss; it names component and
            shapes.
    """

    def __init__(
        self, ds: Any, batch_size: int, remainder: bool = False, use_list: bool = False
    ) -> None:
        super().__init__(ds)
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size!r} must be at least 1")
        self.batch_size = int(batch_size)
        self.remainder = remainder
        self.use_list = use_list

    def _to_record(self, inputs: tuple[Record, ...]) -> Record:
        return BatchOp(self, inputs, own=self._is_own)

    def _length(self) -> int:
        full, rest = divmod(len(self.ds), self.batch_size)
        return full + (1 if rest and self.remainder else 0)

    def _stream(self, epoch: Epoch) -> Stream:
        inner = epoch.batched(self.batch_size)
        if self._is_own:
            yield from self._batches(epoch, stream(self.ds, inner))  # the user's code stays here
        else:
            yield from epoch.session.behind(self.ds, inner, partial(self._batches, epoch))

    @property
    def _is_own(self) -> bool:
        """Whether a method of the user's makes the batch."""
        return type(self).aggregate_batch is not BatchData.aggregate_batch

    def _batches(self, epoch: Epoch, pairs: Stream) -> Stream:
        tags: list[Tag] = []
        held: list[Datapoint] = []
        for tag, datapoint in pairs:
            # A dropped datapoint's tag goes with the batch that is being filled.
            tags.append(tag)
            if datapoint is not DROPPED:
                held.append(datapoint)
                if len(held) == self.batch_size:
                    yield tags, self._built(held, tags, epoch)
                    tags, held = [], []
        if held and self.remainder:
            yield tags, self._built(held, tags, epoch)
        elif tags:
            yield tags, DROPPED

    def _at(self, epoch: Epoch, index: int) -> tuple[Tag, Datapoint]:
        start = index * self.batch_size
        stop = start + self.batch_size
        with suppress(UnknownLength):  # what has no end has every place
            stop = min(stop, len(self.ds))
        pairs = [at(self.ds, epoch, place) for place in range(start, stop)]
        tags = [tag for tag, _ in pairs]
        if any(datapoint is DROPPED for _, datapoint in pairs):
            return tags, DROPPED  # which datapoints come instead, only iterating can tell
        return tags, self._built([datapoint for _, datapoint in pairs], tags, epoch)

    def _built(self, held: list[Datapoint], tags: list[Tag], epoch: Epoch) -> Datapoint:
        try:
            return self._aggregate(held)
        except Exception as error:
            return epoch.failed(error, tags)

    def _aggregate(self, held: list[Datapoint]) -> Datapoint:
        start = perf_counter()
        batch = self.aggregate_batch(held, self.use_list)
        self._meter.busy += perf_counter() - start
        self._meter.items += 1
        return batch

    def build(
        self, held: Sequence[Datapoint], empty: Empty
    ) -> tuple[Datapoint, list[int | str]] | None:
        """A batch whose arrays `empty` makes room for; each image is written once.

        Returns:
            The batch, and its components that are made of Python's own values. None where taking
            it apart would not give the same datapoints again, or where it cannot be built: then
            somebody else has to see to it.
        """
        kinds = _kinds(held)
        if self._is_own or self.use_list or kinds is None:
            return None
        try:
            plain = [key for key, kind in kinds.items() if kind in _PLAIN]
            return _aggregated(held, False, empty), plain
        except Exception:  # of whatever kind: it comes again where somebody is told
            return None

    @staticmethod
    def aggregate_batch(data_holder: Sequence[Datapoint], use_list: bool = False) -> Datapoint:
        """One batched datapoint from several: a list, or a dict where they are dicts."""
        return _aggregated(data_holder, use_list, np.empty)


def _aggregated(data_holder: Sequence[Datapoint], use_list: bool, empty: Empty) -> Datapoint:
    first = data_holder[0]
    if not isinstance(first, (list, tuple, dict)):
        what = type(first).__name__
        raise ValueError(f"a datapoint must be a list, tuple or dict, not {what}")
    for dp in data_holder:
        if len(dp) != len(first):
            raise _different(first, dp)
    try:
        if isinstance(first, dict):
            return {
                key: _join([dp[key] for dp in data_holder], key, use_list, empty) for key in first
            }
        return [_join([dp[k] for dp in data_holder], k, use_list, empty) for k in range(len(first))]
    except LookupError:
        raise next(
            _different(first, dp) for dp in data_holder if _structure(dp) != _structure(first)
        ) from None


_PLAIN = (bool, int, float, str, bytes)


def _kinds(held: Sequence[Datapoint]) -> dict[Any, type] | None:
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
