"""What the flows of a chain are to the planner: each lowers itself to one of these.

A chain of flows becomes a tree of records, which say all that decides how it is run: so planning
looks at no class of a flow. Records do not change; where a flow does, its next record differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = [
    "BatchOp",
    "Copying",
    "ItemOp",
    "KeySource",
    "Opaque",
    "OrderOp",
    "Record",
    "RunnerOp",
    "Streamed",
]


@dataclass(frozen=True, eq=False)
class Record:
    """A flow.

    Attributes:
        flow: which.
        inputs: the records of the flows directly upstream.
    """

    flow: Any
    inputs: tuple[Record, ...] = ()


class KeySource(Record):
    """An ordered set of keys, which stay here, and a loader that may run anywhere."""


@dataclass(frozen=True, eq=False)
class Opaque(Record):
    """A flow that can only be iterated from its beginning to its end.

    Attributes:
        stays: it must be read where the loop is, such as a queue, whatever runs beside it.
        movable: a worker may iterate it instead.
    """

    stays: bool = False
    movable: bool = True


class Copying(Opaque):
    """One that can be iterated from any of its places, since it copies what has places."""


@dataclass(frozen=True, eq=False)
class ItemOp(Record):
    """One datapoint becomes one or none, independent of the others.

    Attributes:
        stage: the `ItemStage` that does it: the flow itself, or what stands for a foreign one.
        transfers: of an asynchronous one, how many datapoints are in flight; otherwise 0.
    """

    stage: Any = None
    transfers: int = 0


class OrderOp(Record):
    """Decides the order, or which datapoints come, and looks into none."""


@dataclass(frozen=True, eq=False)
class BatchOp(Record):
    """So many datapoints become one.

    Attributes:
        own: a method of the user's does it.
    """

    own: bool = False


class Streamed(Record):
    """Makes its datapoints of those upstream in turn, where the loop is."""


@dataclass(frozen=True, eq=False)
class RunnerOp(Record):
    """Has what is upstream done by workers.

    Attributes:
        stays: only itself can have its workers, such as those of a pool of other machines.
        replicas: so many workers each iterate all that is upstream; 0: they share it.
        whole: an opaque flow directly upstream goes to one worker.
        single: one worker runs everything and each failure ends the pass: then an opaque flow
            can go there together with the stages on it.
    """

    stays: bool = False
    replicas: int = 0
    whole: bool = False
    single: bool = False
