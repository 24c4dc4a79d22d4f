"""Dataflows for JAX.

::

    from dataflow.adapters.jax import iterate

    for images, labels in iterate(ds):
        state = step(state, images, labels)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from dataflow.adapters.structure import each_leaf
from dataflow.errors import ConfigError
from dataflow.ownership import own
from dataflow.utils.extras import missing

try:
    import jax
except ImportError as error:
    raise missing("jax", error) from error

__all__ = ["iterate"]


def iterate(ds: Iterable[Any], sharding: Any = None, *, ahead: int = 1) -> Iterator[Any]:
    """The datapoints with JAX's arrays; the next ones are transferred while this one is used.

    On the CPU an array may keep the memory that the datapoint came in, where JAX finds it aligned;
    nobody else writes there. 64-bit numbers become 32-bit ones unless ``jax_enable_x64`` is set.
    Arrays of text, objects or times stay as they are.

    Args:
        ds: a dataflow, or any iterable of arrays in lists, tuples and dicts.
        sharding: a device or a `jax.sharding.Sharding`, for every array; by default JAX's own
            device. With several processes each gives the datapoints of its own devices (see
            `ShardData`), and the arrays are global ones.
        ahead: datapoints that are on their way, at most; each takes memory of the device.

    Raises:
        ConfigError: `ahead` is negative.
    """
    if ahead < 0:
        raise ConfigError(f"ahead={ahead!r} must not be negative")

    def put(leaf: Any) -> Any:
        if not isinstance(leaf, (np.ndarray, np.generic)) or leaf.dtype.kind not in "biufc":
            return leaf
        array = np.asarray(leaf, leaf.dtype.newbyteorder("="))
        if isinstance(sharding, jax.sharding.Sharding) and jax.process_count() > 1:
            return jax.make_array_from_process_local_data(sharding, array)
        return jax.device_put(array, sharding)

    return _ahead((each_leaf(put, datapoint) for datapoint in _kept(ds)), ahead)


def _kept(ds: Iterable[Any]) -> Iterator[Any]:
    """The datapoints; whoever made them may go on writing into what it holds of them."""
    for datapoint in ds:
        kept = own(datapoint)
        yield kept


def _ahead(transferred: Iterator[Any], ahead: int) -> Iterator[Any]:
    """What was begun before it is asked for. (JAX transfers without being waited for.)"""
    under_way: deque[Any] = deque()
    for datapoint in transferred:
        under_way.append(datapoint)
        if len(under_way) > ahead:
            yield under_way.popleft()
    yield from under_way
