"""Iterators that begin with what comes next while the loop has what came before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from dataflow.errors import ConfigError, NotResumable
from dataflow.flow import DataFlow

__all__ = ["Ahead"]

_UnderWay = TypeVar("_UnderWay")


class Ahead(Iterator[Any], Generic[_UnderWay]):
    """The batches of a flow, prepared before they are asked for; its states know of it.

    What `state_dict` tells, of this iterator or of the flow, counts what the loop has got, and not
    what is being prepared.

    Args:
        batches: a dataflow, something with one in its attribute `ds` or `dataset`, or any iterable.
        begin: starts on a batch.
        finish: what `begin` returned → what the loop gets.
        ahead: batches that are prepared at once, at most.

    Raises:
        ConfigError: `ahead` is negative.
    """

    def __init__(
        self,
        batches: Iterable[Any],
        begin: Callable[[Any], _UnderWay],
        finish: Callable[[_UnderWay], Any],
        ahead: int,
    ) -> None:
        if ahead < 0:
            raise ConfigError(f"ahead={ahead!r} must not be negative")
        self._flow = _flow_of(batches)
        self._batches = batches
        self._stream: Iterator[Any] | None = None
        self._begin = begin
        self._finish = finish
        self._ahead = ahead
        self._ended = False
        self._under_way: deque[tuple[_UnderWay, Any]] = deque()

    def __iter__(self) -> Ahead[_UnderWay]:
        return self

    def __next__(self) -> Any:
        if self._stream is None:
            self._stream = iter(self._batches)
        while not self._ended and len(self._under_way) <= self._ahead:
            try:
                batch = next(self._stream)
            except StopIteration:
                self._ended = True
                break
            # The flow's state now is that of a loop that has got this batch.
            self._under_way.append((self._begin(batch), self._state()))
        if not self._under_way:
            self._hold_back(None)  # the epoch is over for the loop, too
            raise StopIteration
        prepared, state = self._under_way.popleft()
        self._hold_back(state)
        return self._finish(prepared)

    def state_dict(self) -> dict[str, Any]:
        """Where the loop is: the flow's `state_dict`, as if nothing had been prepared.

        Raises:
            TypeError: the batches are none of a dataflow.
            NotResumable: as of the flow's.
        """
        if self._flow is None:
            raise TypeError(
                f"a {type(self._batches).__name__} has no state: give the dataflow itself"
            )
        return self._flow.state_dict()

    def close(self) -> None:
        """End the pass. What was prepared and not handed out is lost, but for `state_dict`."""
        self._ended = True
        self._under_way.clear()
        if callable(close := getattr(self._stream, "close", None)):
            close()

    def _state(self) -> Any:
        if self._flow is None or not self._ahead:
            return None
        try:
            self._hold_back(None)
            return self._flow.state_dict()
        except NotResumable:
            return None  # which the flow says itself where it is asked

    def _hold_back(self, state: Any) -> None:
        its_pass = None if self._flow is None else self._flow._current_pass()
        if its_pass is not None and self._ahead:
            its_pass.hold(state)


def _flow_of(batches: Any) -> DataFlow | None:
    """The flow that is iterated, if it is in this process."""
    if isinstance(batches, DataFlow):
        return batches
    if getattr(batches, "num_workers", 0):
        return None
    for name in ("ds", "dataset"):
        inner = getattr(batches, name, None)
        if isinstance(inner, DataFlow) or hasattr(inner, "ds"):
            return _flow_of(inner)
    return None
