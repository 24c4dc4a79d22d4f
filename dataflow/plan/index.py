"""Index sources: where tasks come from, which are the leaves of a chain and the orders of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice, repeat
from typing import Any

from dataflow.epoch import DROPPED, Epoch, Stream
from dataflow.errors import UnknownLength
from dataflow.failures import ErrorPolicy
from dataflow.node import inputs, is_native, is_runner, meter_of
from dataflow.opening import own_stream
from dataflow.ownership import own
from dataflow.plan.tasks import Task
from dataflow.randomness import Tag
from dataflow.sources.keyed import KeyedSource
from dataflow.stages.order import IndexSource, OrderStage

__all__ = ["Endless", "Keys", "Ordered", "Outputs", "Shifted", "goes_on"]

_new: Any = tuple.__new__

# The payload of a pair is (number of the op chain, key).


def goes_on(flow: Any) -> bool:
    """Whether a flow read in step begins by itself where its cursor was, not at the beginning."""
    return bool(getattr(flow, "_goes_on", False))


class Keys:
    """The keys of a source."""

    def __init__(self, source: KeyedSource) -> None:
        self._source = source

    def open(self, epoch: Epoch, start: int = 0) -> Iterator[tuple[Any, Any]]:
        self._source._prepare()
        return ((tag, (0, key)) for tag, key in self._source._keys(epoch, start))

    def tasks(self, epoch: Epoch, start: int = 0) -> Iterator[Task]:
        """The same as tasks, which costs less than to make them of pairs."""
        # Not `Task(…)`, which is a Python function that does the same.
        tags, keys = self.columns(epoch, start)
        return map(_new, repeat(Task), zip(tags, repeat(0), keys, strict=False))

    def columns(self, epoch: Epoch, start: int = 0) -> tuple[Iterator[Tag], Iterator[Any]]:
        """Tags, of which there may be more, and keys."""
        self._source._prepare()
        return self._source._columns(epoch, start)

    def places(self) -> int | None:
        try:
            return len(self._source.keys())
        except UnknownLength:  # they become known on the way
            return None

    def at(self, epoch: Epoch, place: int) -> tuple[Any, Any]:
        self._source._prepare()
        tag, key = self._source._key_at(epoch, place)
        return tag, (0, key)


class Outputs:
    """The datapoints of a flow that can only be iterated; they are leased themselves.

    Args:
        flow: any.
        policy: decides about failures in the flow that it does not decide about itself.
        upstream: of a pool of other machines, the index source of what these run; of a stage that
            makes copies, that of the copies. It has the places that the flow has, dropped ones too.
        seeks: the flow can begin at any of these.
    """

    def __init__(
        self,
        flow: Any,
        policy: ErrorPolicy | None = None,
        upstream: IndexSource | None = None,
        *,
        seeks: bool = False,
    ) -> None:
        self._flow = flow
        self._policy = policy
        self._upstream = upstream
        self._seeks = seeks
        self._pool = is_runner(flow)

    def open(self, epoch: Epoch, start: int = 0) -> Iterator[tuple[Any, Any]]:
        if epoch.in_step and goes_on(self._flow):
            return self._pairs(epoch)
        if self._seeks:
            return self._pairs(epoch, start)
        return islice(self._pairs(epoch), start, None)

    def _pairs(self, epoch: Epoch, start: int = 0) -> Iterator[tuple[Any, Any]]:
        if self._pool:  # its own place is not that of its readers
            epoch.session.refuse(
                "a pool of other machines is upstream of a runner, or beside a flow"
            )
        inner = [meter_of(flow) for flow in inputs(self._flow)]
        before = sum(meter.waiting for meter in inner)
        try:
            for tag, datapoint in self._stream(self._judged(epoch), start):
                if datapoint is DROPPED:
                    if self._upstream is not None or self._pool:
                        yield tag, (0, datapoint)
                    continue
                # It waits for a worker, or for its turn, while the flow goes on.
                kept = datapoint if epoch.in_step else own(datapoint)
                yield tag, (0, kept)
        finally:
            # Who reads here counts all the time that it takes; what the flow itself waited for
            # is no work of its own.
            meter_of(self._flow).busy -= sum(meter.waiting for meter in inner) - before

    def _stream(self, epoch: Epoch, start: int) -> Stream:
        return self._flow._from(epoch, start) if self._seeks else own_stream(self._flow, epoch)

    def places(self) -> int | None:
        return None if self._upstream is None else self._upstream.places()

    def at(self, epoch: Epoch, place: int) -> tuple[Any, Any]:
        if is_native(self._flow):
            tag, datapoint = self._flow._at(self._judged(epoch), place)
            return tag, (0, datapoint)
        raise TypeError(
            f"{type(self._flow).__name__} can only be iterated, so this dataflow has no random "
            "access"
        )

    def _judged(self, epoch: Epoch) -> Epoch:
        return epoch if self._policy is None else epoch._replace(policy=self._policy)


class Endless:
    """The positions of a flow that a worker iterates; where it ends, only the worker can tell.

    Args:
        chain: number of the op chain that iterates it.
        pass_of: the epoch as that worker shall see it, and the flows' own seeds; see `FlowLoader`.
    """

    def __init__(self, chain: int, pass_of: Any, *branch: int) -> None:
        self._chain = chain
        self._pass_of = pass_of
        self._branch = branch

    def open(self, epoch: Epoch, start: int = 0) -> Iterator[tuple[Any, Any]]:
        own = self._pass_of(epoch)
        branch = (*epoch.path, *self._branch)
        return (
            ((epoch.number, place, *branch), (self._chain, (own, place))) for place in count(start)
        )

    def places(self) -> int | None:
        return None

    def at(self, epoch: Epoch, place: int) -> tuple[Any, Any]:
        raise TypeError("a flow that runs whole in a worker has no random access")


class Ordered:
    """An order stage over the index sources of its inputs."""

    def __init__(self, stage: OrderStage, inputs: Sequence[IndexSource]) -> None:
        self._stage = stage
        self._inputs = inputs

    def open(self, epoch: Epoch, start: int = 0) -> Iterator[tuple[Any, Any]]:
        return self._stage._order(epoch, self._inputs, start)

    def places(self) -> int | None:
        return self._stage._places(self._inputs)

    def at(self, epoch: Epoch, place: int) -> tuple[Any, Any]:
        return self._stage._pick(epoch, self._inputs, place)


class Shifted:
    """An index source whose op chains have other numbers, because it is one of several."""

    def __init__(self, inner: IndexSource, by: int) -> None:
        self._inner = inner
        self._by = by

    def open(self, epoch: Epoch, start: int = 0) -> Iterator[tuple[Any, Any]]:
        return (self._shifted(pair) for pair in self._inner.open(epoch, start))

    def places(self) -> int | None:
        return self._inner.places()

    def at(self, epoch: Epoch, place: int) -> tuple[Any, Any]:
        return self._shifted(self._inner.at(epoch, place))

    def _shifted(self, pair: tuple[Any, Any]) -> tuple[Any, Any]:
        tag, (chain, key) = pair
        return tag, (chain + self._by, key)
