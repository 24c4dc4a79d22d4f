"""Dataflows for JAX.

::

    from dataflow.adapters.jax import iterate

    for images, labels in iterate(ds):
        state = step(state, images, labels)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from dataflow.adapters.ahead import Ahead
from dataflow.adapters.structure import each_leaf
from dataflow.errors import ConfigError
from dataflow.ownership import own
from dataflow.utils.extras import missing

try:
    import jax
except ImportError as error:
    raise missing("jax", error) from error

__all__ = ["iterate"]


def iterate(ds: Iterable[Any], sharding: Any = None, *, ahead: int = 1) -> Ahead[Any]:
    """The datapoints with JAX's arrays; the next ones are transferred while this one is used.

    On the CPU an array may keep the memory that the datapoint came in, where JAX finds it aligned;
    nobody else writes there. 64-bit numbers become 32-bit ones unless ``jax_enable_x64`` is set.
    Arrays of text, objects or times stay as they are.

    Args:
        ds: a dataflow, or any iterable of arrays in lists, tuples and dicts.
        sharding: a device or a `jax.sharding.Sharding`, for every array, or one for each, in lists,
            tuples and dicts like those of the datapoints (None: JAX's own device, which is the
            default). Numbers, which cannot be divided, are replicated where it is a
            `NamedSharding`. With several processes each gives the datapoints of its own devices
            (see `ShardData`), and the arrays are global ones.
        ahead: datapoints that are on their way, at most; each takes memory of the device.

    Returns:
        An iterator, whose `state_dict` is that of a loop which has got what it has handed out; so
        is the flow's own.

    Raises:
        ConfigError: `ahead` is negative.
    """

    def put(leaf: Any, sharding: Any) -> Any:
        if not isinstance(leaf, (np.ndarray, np.generic)) or leaf.dtype.kind not in "biufc":
            return leaf
        array = np.asarray(leaf, leaf.dtype.newbyteorder("="))
        if array.ndim == 0 and isinstance(sharding, jax.sharding.NamedSharding):
            sharding = jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())
        if isinstance(sharding, jax.sharding.Sharding) and jax.process_count() > 1:
            return jax.make_array_from_process_local_data(sharding, array)
        return jax.device_put(array, sharding)

    def begin(datapoint: Any) -> Any:
        # Whoever made it may go on writing into what it holds of it.
        return _each(put, own(datapoint), sharding)

    return Ahead(ds, begin, lambda transferred: transferred, ahead)


def _each(put: Callable[[Any, Any], Any], value: Any, sharding: Any) -> Any:
    """`put` of every leaf, with its sharding."""
    if isinstance(sharding, Mapping) and isinstance(value, Mapping):
        return {name: _each(put, one, sharding.get(name)) for name, one in value.items()}
    if isinstance(sharding, (list, tuple)) and isinstance(value, (list, tuple)):
        if len(sharding) != len(value):
            raise ConfigError(
                f"sharding has {len(sharding)} parts, and the datapoint {len(value)} components"
            )
        parts = [_each(put, one, its) for one, its in zip(value, sharding, strict=True)]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return each_leaf(lambda leaf: put(leaf, sharding), value)
