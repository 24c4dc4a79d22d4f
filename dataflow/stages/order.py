"""Stages that decide the order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from dataflow.epoch import Epoch
from dataflow.flow import DataFlow
from dataflow.records import OrderOp, Record

__all__ = ["IndexSource", "OrderStage"]


class IndexSource(Protocol):
    """An order that is known without looking into a datapoint: pairs of tag and payload.

    A payload may be a datapoint, or the key from which one will be loaded. Every pair has a
    place, counted from 0 in each epoch.
    """

    def open(self, epoch: Epoch, start: int = 0) -> Iterator[tuple[Any, Any]]:
        """The pairs of an epoch from place `start` on."""

    def places(self) -> int | None:
        """How many there are in an epoch; None where that is not known."""

    def at(self, epoch: Epoch, place: int) -> tuple[Any, Any]:
        """One pair, for 0 ≤ place < `places()`.

        Raises:
            TypeError: where only all pairs in turn can be had.
        """


class OrderStage(DataFlow):
    """A stage that decides the order and never looks into a datapoint.

    The engine lets it work on keys instead of datapoints wherever it can: then it stays in the
    consumer while the per-item stages upstream go to the workers, it holds no datapoints, and any
    place of it can be found again. For that a stage defines `_order`, `_places` and `_pick`. Over
    flows whose order is known only as they run (batches, whose members may be dropped) it streams
    like any other stage.
    """

    def _to_record(self, inputs: tuple[Record, ...]) -> Record:
        return OrderOp(self, inputs)

    def _order(
        self, epoch: Epoch, sources: Sequence[IndexSource], start: int
    ) -> Iterator[tuple[Any, Any]]:
        """The pairs in the new order, from place `start` on."""
        raise NotImplementedError(f"{type(self).__name__} defines no _order()")

    def _places(self, sources: Sequence[IndexSource]) -> int | None:
        """How many pairs an epoch has."""
        raise NotImplementedError(f"{type(self).__name__} defines no _places()")

    def _pick(self, epoch: Epoch, sources: Sequence[IndexSource], place: int) -> tuple[Any, Any]:
        """The pair at one place."""
        raise TypeError(f"{type(self).__name__} has no random access: its order is drawn in turn")
