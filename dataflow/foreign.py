"""Flows of tensorpack's inside ours, recognised without importing tensorpack."""

from __future__ import annotations

import copy
from typing import Any

from dataflow.epoch import Datapoint
from dataflow.stages.item import ItemStage

__all__ = ["as_stage"]

_PER_ITEM = (
    *("MapData", "MapDataComponent"),
    *("AugmentImageComponent", "AugmentImageComponents", "AugmentImageCoordinates"),
)


class ForeignStage(ItemStage):
    """One of tensorpack's per-item stages: it keeps its function in ``func``."""

    def __init__(self, flow: Any) -> None:
        super().__init__(flow.ds)
        self.func = flow.func
        # Its augmentors draw their generators in reset_state, which the worker must call.
        self.augmentors = getattr(flow, "augs", None)

    def reset_state(self) -> None:
        if self.augmentors is not None:
            self.augmentors.reset_state()

    def apply(self, datapoint: Datapoint) -> Datapoint | None:
        return self.func(copy.copy(datapoint))


def as_stage(flow: Any) -> ItemStage | None:
    """A per-item stage for a foreign flow that is one, else None."""
    kind = type(flow)
    if kind.__module__.startswith("tensorpack.dataflow") and kind.__name__ in _PER_ITEM:
        return ForeignStage(flow)
    return None
