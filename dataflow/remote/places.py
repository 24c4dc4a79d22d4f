"""Where a sender's flow is, in a form that takes it there again, also in another process.

A sender tells its receiver places as it goes; to the receiver they are text. The receiver counts
the items since the last one, keeps both in its state, and gives them back where the sender has to
go on from there: because one of the two was started again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from dataflow.codec.tensor import bad
from dataflow.codec.wire import STATE_CHARACTERS
from dataflow.errors import NotResumable, PeerError
from dataflow.flow import DataFlow
from dataflow.resume import in_fixed_order

__all__ = ["GoBack", "Place", "load", "place_of", "read_place"]


class Place(NamedTuple):
    """Between two items of a sender.

    Attributes:
        run: tells the items of one sender from others; one that was taken back has the same.
        call: number of the `Sender.send`, from 1.
        item: items before it in the run.
        epoch: of the flow, as the sender counts them.
        position: datapoints of the epoch before it.
        flow: state of the flow.
    """

    run: str
    call: int
    item: int
    epoch: int
    position: int
    flow: dict[str, Any]

    def told(self) -> str | None:
        """As text; None where it is too long to be told."""
        import json

        text = json.dumps(self)
        return text if len(text) <= STATE_CHARACTERS else None


class GoBack(Exception):
    """The flow has to go on from another place. It never leaves this package."""


def read_place(text: str) -> Place:
    """A place that was told.

    Raises:
        CodecError: it is none.
    """
    import json

    try:
        place = Place(*json.loads(text))
        whole = all(type(number) is int and number >= 0 for number in place[1:5])
        if whole and type(place.run) is str and type(place.flow) is dict:
            return place
    except (ValueError, TypeError, RecursionError):
        pass
    bad("header", "RESUME: state is no place of ours")


def place_of(ds: Any) -> dict[str, Any] | None:
    """The state of a flow; None where it could not be taken to exactly the same place again."""
    if not isinstance(ds, DataFlow) or not in_fixed_order(ds):
        return None
    try:
        return ds.state_dict()
    except NotResumable:
        return None


def load(ds: Any, state: Mapping[str, Any]) -> None:
    """Take a flow to a place.

    Raises:
        PeerError: the flow cannot be taken anywhere.
        StateError: the place is one of another flow.
    """
    if not isinstance(ds, DataFlow):
        raise PeerError(
            f"the receiver wants a {type(ds).__name__} to go on in its middle, which only a "
            "dataflow can"
        )
    ds.load_state_dict(state)
