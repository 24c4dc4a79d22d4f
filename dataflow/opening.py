"""A pass over any flow, ours or a foreign one: as a stream of tagged datapoints, or one of them."""

from __future__ import annotations

from itertools import count
from typing import Any

from dataflow.epoch import Datapoint, Epoch, Stream
from dataflow.node import Node, branches, is_native, reset
from dataflow.randomness import Tag

__all__ = ["at", "own_stream", "stream"]

_END = object()


def stream(flow: Any, epoch: Epoch) -> Stream:
    """The pass `epoch` over `flow`, whatever kind of flow it is."""
    opened = epoch.session.open(flow, epoch)
    if opened is not None:
        return opened  # type: ignore[no-any-return]
    return own_stream(flow, epoch)


def own_stream(flow: Any, epoch: Epoch) -> Stream:
    """What `flow` itself makes of the pass, the engine aside."""
    if is_native(flow):
        flow._prepare()
        return flow._stream(epoch)  # type: ignore[no-any-return]
    return _opaque_stream(flow, epoch)


def at(flow: Any, epoch: Epoch, index: int) -> tuple[Tag, Datapoint]:
    """The pair at one place of a pass over `flow`.

    Raises:
        TypeError: where the flow can only be iterated.
    """
    found = epoch.session.at(flow, epoch, index)
    if found is not None:
        return found  # type: ignore[no-any-return]
    if not is_native(flow):
        raise TypeError(f"{type(flow).__name__} can only be iterated")
    return flow._at(epoch, index)  # type: ignore[no-any-return]


def _opaque_stream(flow: Any, epoch: Epoch) -> Stream:
    """Iterate an opaque flow; its outputs are numbered, and it sees the epoch's seed and number."""
    reset(flow)
    for one, path in branches(flow, epoch.path):
        if isinstance(one, Node):
            one._join_pass(epoch.number, epoch.seed, path)
    iterator = iter(flow)
    try:
        for position in count():
            datapoint = [next(iterator, _END)]
            if datapoint[0] is _END:
                return
            # Nothing here holds the datapoint while others have it, so they may count who does.
            yield (epoch.number, position, *epoch.path), datapoint.pop()
    finally:
        if callable(close := getattr(iterator, "close", None)):
            close()
