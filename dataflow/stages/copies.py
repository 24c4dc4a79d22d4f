"""Stages that deliver a datapoint several times."""

from __future__ import annotations

from collections.abc import Callable

from dataflow.epoch import Epoch, Stream
from dataflow.kinds import ProxyDataFlow
from dataflow.node import mark_ready
from dataflow.opening import stream
from dataflow.randomness import Tag
from dataflow.records import Copying, Record
from dataflow.stages.order import OrderStage

__all__ = ["Copies", "copy_of"]


class Copies(OrderStage, ProxyDataFlow):
    """A stage that may deliver a datapoint several times, which is made once.

    So it cannot be an order of keys like others: what is upstream is run by itself, in the workers
    of a runner downstream, too, and the datapoints, which are here then, are copied here.
    """

    copies = 1
    """How often each datapoint comes."""

    @property
    def _stays(self) -> bool:  # type: ignore[override]
        return self.copies > 1

    def _to_record(self, inputs: tuple[Record, ...]) -> Record:
        if self.copies > 1:
            return Copying(self, inputs, stays=True, movable=False)
        return super()._to_record(inputs)

    def reset_state(self) -> None:
        """What is upstream gets ready where it runs, which may be in workers."""
        if self.copies > 1:
            mark_ready(self)
        else:
            super().reset_state()

    def _from(self, epoch: Epoch, start: int) -> Stream:
        """The pass from a place of it on, where what is upstream may have places, too."""
        raise NotImplementedError(f"{type(self).__name__} defines no _from()")

    def _upstream(self, epoch: Epoch, place: int) -> tuple[Stream, Callable[[], bool]]:
        """The datapoints to be copied, from a place on; and what says whether they begin there.

        That is to be asked when the first one has come: what is upstream of a pool of other
        machines is not opened before. They come in their order, since their places decide about
        random numbers downstream.
        """
        session = epoch.session.apart_from(self.ds, epoch, place)
        epoch.session.need(lambda: session.replays(finished=False))
        if epoch.runners:
            epoch.runners[0]._claim(self.ds)
        pairs = stream(self.ds, epoch._replace(session=session, in_order=True))
        return pairs, lambda: session.began


def copy_of(tag: Tag, number: int, stage: int) -> Tag:
    """The tag of copy `number` of a datapoint; copies draw their own random numbers downstream.

    Args:
        tag: the datapoint's.
        number: which copy; the first one is the datapoint itself.
        stage: number of the stage that makes copies: others may copy the copies.
    """
    if not number:
        return tag
    if type(tag) is list:
        return [copy_of(part, number, stage) for part in tag]
    return (*tag, f"copy {stage}", number)
