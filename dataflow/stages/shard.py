"""One rank's share of every epoch, for training on several devices or machines."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, TypeAlias, TypeVar

from dataflow.epoch import DROPPED, Epoch, Stream
from dataflow.errors import ConfigError, StateError
from dataflow.kinds import ProxyDataFlow
from dataflow.node import inputs, walk
from dataflow.opening import at, stream
from dataflow.randomness import Tag
from dataflow.stages.copies import copy_of
from dataflow.stages.order import IndexSource, OrderStage

__all__ = ["ShardData", "rank_of", "resharded"]

Uneven: TypeAlias = Literal["pad", "drop", "keep"]

_T = TypeVar("_T")

_BESIDE = ".shard"


class ShardData(OrderStage, ProxyDataFlow):
    """This rank's share of every epoch: of each `world_size` datapoints in a row, number `rank`.

    All ranks build the same chain and set the same seed. Together they have every datapoint of an
    epoch once, but for what `uneven` says of the last few. Put it downstream of what decides the
    order and upstream of batches: then a rank loads only its own, and all ranks have equally many
    batches. (Datapoints that stages drop downstream are missing on their own rank alone.)

    A state of any rank, in a fixed order, goes on with another number of ranks, too: load it on
    each of them. It is taken for granted that all ranks had come to the same step. Where stages
    drop datapoints, ranks have come to different places at the same step: then each needs its own.

    Args:
        ds: the input.
        rank: 0 ≤ rank < `world_size`; by default that of `torch.distributed`, where a process group
            was begun.
        world_size: how many ranks there are; likewise.
        uneven: where the last row is short, so that all ranks have equally many: ``"pad"`` gives
            the others copies out of this row, ``"drop"`` leaves it out, ``"keep"`` leaves it short,
            so that some ranks have one more.

    Raises:
        ConfigError: these make no sense; or (by the iterator) there is no seed.
    """

    def __init__(
        self,
        ds: Any,
        rank: int | None = None,
        world_size: int | None = None,
        uneven: Uneven = "pad",
    ) -> None:
        super().__init__(ds)
        if rank is None or world_size is None:
            rank, world_size = _of_torch()
        if world_size < 1 or not 0 <= rank < world_size:
            raise ConfigError(
                f"rank={rank!r} of world_size={world_size!r}: ranks count from 0 to world_size - 1"
            )
        if uneven not in ("pad", "drop", "keep"):
            raise ConfigError(f"uneven={uneven!r} must be 'pad', 'drop' or 'keep'")
        self._share = int(rank), int(world_size)
        self.uneven: Uneven = uneven

    @property
    def rank(self) -> int:
        """Which share this is."""
        return self._share[0]

    @property
    def world_size(self) -> int:
        """How many there are."""
        return self._share[1]

    def _length(self) -> int:
        return self._own(len(self.ds))

    def _own(self, size: int) -> int:
        """How many of so many datapoints this rank has."""
        rows, rest = divmod(size, self.world_size)
        short = {"pad": rest > 0, "drop": False, "keep": self.rank < rest}
        return rows + short[self.uneven]

    def _order(
        self, epoch: Epoch, sources: Sequence[IndexSource], start: int
    ) -> Iterator[tuple[Any, Any]]:
        self._check_seed(epoch)

        def make(saved: Mapping[str, Any]) -> _Begin:
            return _Begin(int(saved.get("begin", 0)), self.world_size)

        begin = epoch.session.cursor(self, epoch, make, fixed=True, beside=_BESIDE).begin
        pairs = sources[0].open(epoch, begin + start * self.world_size)
        return (self._as_copy(pair, copied) for pair, copied in self._mine(pairs))

    def _mine(self, pairs: Iterator[_T]) -> Iterator[tuple[_T, bool]]:
        """This rank's of some rows, and whether it is another rank's, too."""
        rank, size = self._share
        while row := list(islice(pairs, size)):
            if rank < len(row) and (len(row) == size or self.uneven != "drop"):
                yield row[rank], False
            elif rank >= len(row) and self.uneven == "pad":
                yield row[rank % len(row)], True

    def _as_copy(self, pair: tuple[Tag, Any], copied: bool) -> tuple[Tag, Any]:
        tag, payload = pair
        return (copy_of(tag, 1, self._stage_number()), payload) if copied else pair

    def _places(self, sources: Sequence[IndexSource]) -> int | None:
        size = sources[0].places()
        return None if size is None else self._own(size)

    def _pick(self, epoch: Epoch, sources: Sequence[IndexSource], place: int) -> tuple[Any, Any]:
        size = sources[0].places()
        if size is None:
            raise TypeError("ShardData has no random access over an input of unknown length")
        index, copied = self._index(place, size)
        return self._as_copy(sources[0].at(epoch, index), copied)

    def _index(self, place: int, size: int) -> tuple[int, bool]:
        first = place * self.world_size
        index = first + self.rank
        return (index, False) if index < size else (first + self.rank % (size - first), True)

    def _stream(self, epoch: Epoch) -> Stream:
        self._check_seed(epoch)
        epoch.session.refuse("ShardData over batches holds some of them")
        kept = (pair for pair in stream(self.ds, epoch) if pair[1] is not DROPPED)
        for pair, copied in self._mine(kept):
            yield self._as_copy(pair, copied)

    def _at(self, epoch: Epoch, index: int) -> tuple[Tag, Any]:
        place, copied = self._index(index, len(self.ds))
        return self._as_copy(at(self.ds, epoch, place), copied)

    def _check_seed(self, epoch: Epoch) -> None:
        if self.world_size > 1 and not epoch.seeded:
            raise ConfigError(
                "ShardData without a seed: every rank would draw an order of its own. Call "
                "ds.seed(n) with the same n on each"
            )


class _Begin:
    """Where the rows of a pass begin: what came before was delivered to other ranks."""

    def __init__(self, begin: int, world_size: int) -> None:
        self.begin = begin
        self._world_size = world_size

    def state(self) -> dict[str, Any]:
        return {"begin": self.begin, "world_size": self._world_size}


def resharded(flow: Any, cursors: dict[str, Any]) -> dict[str, Any]:
    """The cursors of a state for the ranks that there are now.

    Raises:
        StateError: there were others, and what they had delivered cannot be told.
    """
    shards = {key: one for key, one in cursors.items() if key.endswith(_BESIDE)}
    stages = dict(_stages(flow))
    everywhere = list(_shards(cursors))
    if all(one["world_size"] == stages[key].world_size for key, one in everywhere):
        return cursors
    if len(everywhere) > len(shards):
        raise StateError(
            "the state is of another number of ranks, which cannot be taken over downstream of "
            "FixedSizeData or FillUpData: load it with as many"
        )
    places = [key for key, one in cursors.items() if "next" in one]
    order = next(one for one in walk(flow) if isinstance(one, OrderStage))
    if len(shards) > 1 or len(places) != 1 or order not in stages.values():
        raise StateError(
            "the state is of another number of ranks. It can only be taken over where ShardData "
            "stands downstream of all that decides the order (RepeatedData, LocallyShuffleData), "
            "with one source upstream"
        )
    ((key, shard),), place = shards.items(), cursors[places[0]]
    world_size = stages[key].world_size
    if "beyond" in place:
        raise StateError(
            "the state is of another number of ranks, and not in a fixed order, so it is not known "
            "what they had delivered. Leave out ordered=False"
        )
    begin = shard["begin"] + place["next"] * shard["world_size"]
    now = {**shard, "begin": begin, "world_size": world_size}
    return {**cursors, key: now, places[0]: {**place, "next": 0}}


def rank_of(flow: Any) -> int | None:
    """Whose share a chain delivers; None: all of it."""
    return next((one.rank for one in walk(flow) if isinstance(one, ShardData)), None)


def _shards(cursors: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Those of these stages, also within stages that go through their input by themselves."""
    for key, one in cursors.items():
        if key.endswith(_BESIDE):
            yield key, one
        yield from _shards(one.get("below", {}))


def _stages(flow: Any, *path: int) -> Iterator[tuple[str, ShardData]]:
    """Each of these stages from `flow` down, by the name of its cursor."""
    if isinstance(flow, ShardData):
        yield ".".join(map(str, (*path, flow._stage_number()))) + _BESIDE, flow
    upstream = inputs(flow)
    for number, one in enumerate(upstream):
        yield from _stages(one, *path, *([number] if len(upstream) > 1 else []))


def _of_torch() -> tuple[int, int]:
    # Whoever has begun a process group has imported it.
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is None or not (distributed.is_available() and distributed.is_initialized()):
        raise ConfigError(
            "rank and world_size are not given, and torch.distributed has no process group: call "
            "torch.distributed.init_process_group() before, or give both"
        )
    return distributed.get_rank(), distributed.get_world_size()
