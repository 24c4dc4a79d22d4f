"""Dataflows for TensorFlow and Keras.

::

    from dataflow.adapters.tensorflow import dataset

    model.fit(dataset(ds), epochs=3)
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, Literal

import numpy as np

from dataflow.adapters.structure import each_leaf, length_of
from dataflow.errors import ConfigError, NotResumable
from dataflow.flow import DataFlow
from dataflow.utils.extras import missing

try:
    import tensorflow as tf
except ImportError as error:
    raise missing("tensorflow", error) from error

__all__ = ["dataset", "iterate", "signature_of"]


def dataset(
    ds: DataFlow, signature: Any = None, *, length: int | Literal["exact"] | None = "exact"
) -> Any:
    """A dataflow as a `tf.data.Dataset`; each pass over it is the flow's next epoch.

    Lists become tuples, as TensorFlow has it: ``(images, labels)``. TensorFlow copies the arrays
    once, into its own memory; `iterate` does not. Use ``.prefetch(1)`` to have that done meanwhile.

    Args:
        ds: the flow.
        signature: `tf.TensorSpec`s in tuples and dicts like those of the datapoints; by default
            that of the first one, see `signature_of`. That one is read now, and not lost.
        length: what the dataset's cardinality is asserted to be: ``"exact"``, the datapoints of an
            epoch where that is known: not where stages leave some out, nor where the flow goes on
            in the middle of an epoch (so load a state before). Functions that may return None are
            believed not to; where they do, TensorFlow fails at the end of the pass, and None, for
            an unknown number, is to be given. Keras needs a known one for its steps.

    Raises:
        ConfigError: the flow is empty, so it has no first datapoint.
    """
    rest = _goes_on(ds)
    first: list[Any] = []
    if signature is None:
        beginning = iter(ds)
        for datapoint in beginning:
            signature = signature_of(datapoint)
            first.append((datapoint, beginning))
            break
        else:
            raise ConfigError("the dataflow has no datapoints, so give a signature")

    def epoch() -> Iterator[Any]:
        if not first:
            return map(_tuples, ds)
        datapoint, rest = first.pop()
        return map(_tuples, chain([datapoint], rest))

    made = tf.data.Dataset.from_generator(epoch, output_signature=signature)
    number = length
    if length == "exact":
        number = None if rest else length_of(ds)
    if number is None:
        return made
    return made.apply(tf.data.experimental.assert_cardinality(number))


def _goes_on(ds: DataFlow) -> bool:
    """Whether the next pass is only the rest of an epoch."""
    try:
        state = ds.state_dict()
    except NotResumable:
        return False
    return bool(state.get("cursors") or state.get("replay"))


def signature_of(datapoint: Any) -> Any:
    """The `tf.TensorSpec`s of a datapoint.

    The first dimension of each array is left open: the last batch of an epoch may be smaller.
    Where other dimensions differ between datapoints, change what this returns.
    """

    def spec(leaf: Any) -> Any:
        array = np.asarray(leaf)
        dtype = tf.as_dtype(array.dtype) if array.dtype.kind not in "USO" else tf.string
        return tf.TensorSpec((None, *array.shape[1:]) if array.ndim else (), dtype)

    return each_leaf(spec, _tuples(datapoint))


def iterate(ds: DataFlow) -> Iterator[Any]:
    """The datapoints with TensorFlow's tensors, for a loop of one's own, without `tf.data`.

    On the CPU a tensor has the array's own memory (DLPack), where that is aligned to 64 bytes,
    writable and C-contiguous; others are copied. It is nobody else's: do not write to the array.
    """
    return (each_leaf(_tensor, datapoint) for datapoint in ds)


def _tensor(leaf: Any) -> Any:
    if not isinstance(leaf, (np.ndarray, np.generic)):
        return leaf
    array = np.asarray(leaf)
    fits = array.flags.c_contiguous and array.flags.writeable and array.ctypes.data % 64 == 0
    if array.ndim and fits and array.dtype.kind in "iuf" and array.dtype.isnative:
        return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    return tf.convert_to_tensor(array)


def _tuples(value: Any) -> Any:
    """Lists as tuples: TensorFlow would take a list for one tensor."""
    if isinstance(value, dict):
        return {key: _tuples(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(map(_tuples, value))
    return value
