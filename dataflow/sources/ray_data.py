"""The rows of Ray Datasets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dataflow.errors import ConfigError
from dataflow.sources.generator import DataFromIterable
from dataflow.utils.extras import need

__all__ = ["from_ray"]


def from_ray(dataset: Any, columns: Sequence[str] | None = None) -> DataFromIterable:
    """The rows of a `ray.data.Dataset`, in its order, which each pass executes anew.

    They are read where the loop is. Arrays are views of Ray's object store, without a copy, and
    cannot be written into; ``ds.map(copy.deepcopy)`` makes such as can. That the order is the
    dataset's, and each pass the same, is asked of the dataset (``preserve_order``), for which it is
    changed. The other way goes `dataflow.adapters.ray.dataset`.

    Args:
        dataset: what Ray Data has made.
        columns: the names of those that make a datapoint, a list; by default it is a dict of all.

    Raises:
        ConfigError: `dataset` is none; (by the iterator) it lacks a column.
        MissingExtra: Ray is not installed.
    """
    if not isinstance(dataset, need("ray.data").Dataset):
        raise ConfigError(f"dataset={type(dataset).__name__} is no ray.data.Dataset")
    return DataFromIterable(_Rows(dataset, columns))


class _Rows:
    """The rows of a dataset."""

    def __init__(self, dataset: Any, columns: Sequence[str] | None) -> None:
        self._dataset = dataset
        self._columns = None if columns is None else list(columns)

    def __len__(self) -> int:
        return int(self._dataset.count())

    def __iter__(self) -> Iterator[Any]:
        ray, accessor = need("ray"), need("ray.data.block").BlockAccessor
        self._dataset.context.execution_options.preserve_order = True
        # (`iter_batches` leaves a thread behind where a loop is left early.)
        bundles = self._dataset.iter_internal_ref_bundles()
        for reference in (one for bundle in bundles for one in bundle.block_refs):
            block = accessor.for_block(ray.get(reference)).to_numpy()
            names = list(block) if self._columns is None else self._columns
            if lost := [name for name in names if name not in block]:
                raise ConfigError(f"columns={names!r}: the dataset has no {lost[0]!r}")
            rows = zip(*(map(_plain, block[name]) for name in names), strict=True)
            if self._columns is None:
                yield from (dict(zip(names, row, strict=True)) for row in rows)
            else:
                yield from map(list, rows)


def _plain(value: Any) -> Any:
    """A number as Python has it; an array as it is."""
    return value.item() if isinstance(value, np.generic) else value
