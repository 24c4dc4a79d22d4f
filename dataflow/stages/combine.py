"""Several inputs as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dataflow.epoch import DROPPED, Datapoint, Epoch, Stream
from dataflow.errors import ConfigError
from dataflow.flow import DataFlow
from dataflow.node import inputs, is_flow, is_native, walk
from dataflow.opening import at, stream
from dataflow.ownership import copied
from dataflow.randomness import Tag, generator
from dataflow.stages.order import IndexSource, OrderStage

__all__ = ["ConcatData", "JoinData", "RandomChooseData", "RandomMixData"]

_BLOCK = 4096

_Choices: TypeAlias = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


class _Several(DataFlow):
    """A flow with several inputs.

    Args:
        df_lists: the inputs.
    """

    def __init__(self, df_lists: Sequence[Any], *others: Any) -> None:
        if others or is_flow(df_lists):
            name = type(self).__name__
            raise ConfigError(f"{name} takes one list of dataflows: {name}([a, b])")
        if not isinstance(df_lists, Iterable):
            raise ConfigError(f"df_lists={df_lists!r} must be a list of dataflows")
        self.df_lists = list(df_lists)
        if not self.df_lists:
            raise ConfigError("df_lists is empty: at least one dataflow is needed")
        for number, flow in enumerate(self.df_lists):
            if not is_flow(flow):
                raise ConfigError(f"df_lists[{number}] is no dataflow, but {flow!r}")

    _consumer_only = ("df_lists",)

    def _inputs(self) -> list[Any]:
        return self.df_lists

    def _refuse_two_passes(self) -> None:
        """All inputs are read at the same time, so what several have in common must bear that.

        Raises:
            ConfigError: where it does not.
        """
        for flow, numbers in _common(self.df_lists):
            if not _bears_two_passes(flow):
                first, second, *_ = numbers
                raise ConfigError(
                    f"df_lists[{first}] and df_lists[{second}] have the same "
                    f"{type(flow).__name__} upstream, which can be iterated by one of them only. "
                    "Let one MapData make what both need, or give each a dataflow of its own"
                )


class ConcatData(OrderStage, _Several):
    """One input after the other.

    Args:
        df_lists: the inputs.
    """

    def _length(self) -> int:
        return sum(map(len, self.df_lists))

    def _order(
        self, epoch: Epoch, sources: Sequence[IndexSource], start: int
    ) -> Iterator[tuple[Any, Any]]:
        for number, source in enumerate(sources):
            size = source.places()
            if size is not None and start >= size:
                start -= size
                continue
            pairs = source.open(epoch.input(number), start if size is not None else 0)
            for pair in pairs:
                if size is None and start:
                    start -= 1
                else:
                    yield pair
            if size is not None:
                start = 0

    def _places(self, sources: Sequence[IndexSource]) -> int | None:
        return _sum(sources)

    def _pick(self, epoch: Epoch, sources: Sequence[IndexSource], place: int) -> tuple[Any, Any]:
        number, place = _locate(_known(sources, self), place)
        return sources[number].at(epoch.input(number), place)

    def _stream(self, epoch: Epoch) -> Stream:
        cursor = epoch.session.cursor(self, epoch, _Input)
        for number in range(cursor.number, len(self.df_lists)):
            cursor.number = number
            yield from stream(self.df_lists[number], epoch.input(number))

    def _at(self, epoch: Epoch, index: int) -> tuple[Tag, Datapoint]:
        number, index = _locate([len(flow) for flow in self.df_lists], index)
        return at(self.df_lists[number], epoch.input(number), index)


class _Input:
    """Which input is running."""

    def __init__(self, saved: dict[str, Any]) -> None:
        self.number = int(saved.get("input", 0))

    def state(self) -> dict[str, Any]:
        return {"input": self.number}


class _Drawn:
    """How many draws were made."""

    def __init__(self, saved: dict[str, Any]) -> None:
        self.count = int(saved.get("drawn", 0))

    def state(self) -> dict[str, Any]:
        return {"drawn": self.count}


class _AtOnce(_Several):
    """A flow whose inputs are read at the same time."""

    def __init__(self, df_lists: Sequence[Any], *others: Any) -> None:
        super().__init__(df_lists, *others)
        self._refuse_two_passes()


class RandomMixData(OrderStage, _AtOnce):
    """The inputs interleaved at random, so that all end at about the same time.

    Args:
        df_lists: the inputs, of known lengths.
    """

    _kept: tuple[Any, _Choices] | None = None  # those of the epoch that was looked at last

    def _length(self) -> int:
        return sum(map(len, self.df_lists))

    def _choices(self, epoch: Epoch, sizes: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Which input comes at each place: a byte a datapoint."""
        if len(sizes) > 256:
            raise ConfigError(f"RandomMixData has {len(sizes)} inputs, more than 256")
        choices = np.repeat(np.arange(len(sizes), dtype=np.uint8), sizes)
        path = (epoch.number, self._stage_number(), *epoch.order_of(self))
        generator(epoch.seed, "mix", *path).shuffle(choices)
        return choices

    def _order(
        self, epoch: Epoch, sources: Sequence[IndexSource], start: int
    ) -> Iterator[tuple[Any, Any]]:
        if any(source.places() is None for source in sources):
            # What the inputs say of their lengths may be wrong, so places are found by going there.
            return islice(self._from_the_start(epoch, sources), start, None)
        return self._from(epoch, sources, start)

    def _from(
        self, epoch: Epoch, sources: Sequence[IndexSource], start: int
    ) -> Iterator[tuple[Any, Any]]:
        choices = self._choices(epoch, _known(sources, self))
        begun = np.bincount(choices[:start], minlength=len(sources)).tolist()
        pairs = [source.open(epoch.input(i), begun[i]) for i, source in enumerate(sources)]
        for block in range(start, len(choices), _BLOCK):
            for number in choices[block : block + _BLOCK].tolist():
                yield next(pairs[number])

    def _from_the_start(
        self, epoch: Epoch, sources: Sequence[IndexSource]
    ) -> Iterator[tuple[Any, Any]]:
        sizes = [_size(flow, number) for number, flow in enumerate(self.df_lists)]
        pairs = [source.open(epoch.input(i)) for i, source in enumerate(sources)]
        for number in self._choices(epoch, sizes).tolist():
            yield from islice(pairs[number], 1)
        for rest in pairs:
            yield from rest

    def _places(self, sources: Sequence[IndexSource]) -> int | None:
        return _sum(sources)

    def _pick(self, epoch: Epoch, sources: Sequence[IndexSource], place: int) -> tuple[Any, Any]:
        choices, begun = self._drawn(epoch, _known(sources, self))
        number = int(choices[place])
        block = place // _BLOCK
        within = np.count_nonzero(choices[block * _BLOCK : place] == number)
        return sources[number].at(epoch.input(number), int(begun[block, number]) + int(within))

    def _drawn(self, epoch: Epoch, sizes: Sequence[int]) -> _Choices:
        """The choices, and how many of each input come before each block of them."""
        of = (epoch.seed, epoch.number, epoch.order_of(self), *sizes)
        if self._kept is None or self._kept[0] != of:
            choices = self._choices(epoch, sizes)
            blocks = (choices[i : i + _BLOCK] for i in range(0, len(choices), _BLOCK))
            counts = [np.bincount(block, minlength=len(sizes)) for block in blocks]
            begun = np.cumsum([np.zeros(len(sizes), np.int64), *counts], axis=0)
            self._kept = of, (choices, begun)
        return self._kept[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_kept": None}

    def _stream(self, epoch: Epoch) -> Stream:
        cursor = epoch.session.cursor(self, epoch, _Drawn)
        streams = [stream(flow, epoch.input(i)) for i, flow in enumerate(self.df_lists)]
        sizes = [_size(flow, number) for number, flow in enumerate(self.df_lists)]
        choices = self._choices(epoch, sizes)
        for number in choices[cursor.count :].tolist():
            cursor.count += 1
            yield from _one(streams[number])
        for rest in streams:  # an input may have more than its len() says
            yield from rest


class RandomChooseData(OrderStage, _AtOnce):
    """Each datapoint from an input chosen at random; ends when the chosen one has no more.

    Args:
        df_lists: the inputs, or pairs of input and probability.
    """

    def __init__(self, df_lists: Sequence[Any], *others: Any) -> None:
        if others or is_flow(df_lists):
            super().__init__(df_lists, *others)  # which says how it should be
        weighted = [isinstance(entry, (tuple, list)) for entry in df_lists]
        if any(weighted) and not all(weighted):
            raise ConfigError("df_lists must have a probability for each input, or for none")
        if all(weighted):
            super().__init__([flow for flow, _ in df_lists])
            self.probs = [float(weight) for _, weight in df_lists]
        else:
            super().__init__(df_lists)
            self.probs = [1 / len(self.df_lists)] * len(self.df_lists)
        if min(self.probs) < 0 or abs(sum(self.probs) - 1) > 1e-6:
            raise ConfigError(f"the probabilities {self.probs} must be positive and add up to 1")

    def _choices(self, epoch: Epoch) -> Iterator[npt.NDArray[np.intp]]:
        """Which input comes next, in blocks without end."""
        path = (epoch.number, self._stage_number(), *epoch.order_of(self))
        rng = generator(epoch.seed, "choose", *path)
        bounds = np.cumsum(self.probs)
        while True:
            chosen = np.searchsorted(bounds, rng.random(_BLOCK) * bounds[-1], side="right")
            yield np.minimum(chosen, len(bounds) - 1)

    def _order(
        self, epoch: Epoch, sources: Sequence[IndexSource], start: int
    ) -> Iterator[tuple[Any, Any]]:
        begun = [0] * len(sources)
        blocks = self._choices(epoch)
        for _ in range(start // _BLOCK):
            block = np.bincount(next(blocks), minlength=len(sources))
            begun = [a + int(b) for a, b in zip(begun, block, strict=True)]
        first = next(blocks)
        skipped = np.bincount(first[: start % _BLOCK], minlength=len(sources))
        begun = [a + int(b) for a, b in zip(begun, skipped, strict=True)]
        pairs = [
            source.open(epoch.input(i), max(0, begun[i] - 1)) for i, source in enumerate(sources)
        ]
        # Where it was to be gone on from may lie beyond its end: an input had less than was chosen.
        if any(n and next(inner, None) is None for n, inner in zip(begun, pairs, strict=True)):
            return
        numbers = first[start % _BLOCK :].tolist()
        while True:
            for number in numbers:
                pair = next(pairs[number], None)
                if pair is None:
                    return
                yield pair
            numbers = next(blocks).tolist()

    def _places(self, sources: Sequence[IndexSource]) -> int | None:
        return None  # the draws decide

    def _stream(self, epoch: Epoch) -> Stream:
        cursor = epoch.session.cursor(self, epoch, _Drawn)
        streams = [stream(flow, epoch.input(i)) for i, flow in enumerate(self.df_lists)]
        skip = cursor.count
        for block in self._choices(epoch):
            for number in block[skip:].tolist():
                cursor.count += 1
                pairs = list(_one(streams[number]))
                if not pairs:
                    return
                yield from pairs
            skip = max(0, skip - len(block))


class JoinData(_AtOnce):
    """The components of one datapoint from each input, in one datapoint; ends with the shortest.

    The order of the inputs is kept upstream, also where workers run them, because a datapoint of
    one belongs to that of the others. Where inputs have a flow in common, such as a shuffled list,
    all get it in the same order. One and the same flow given twice is not joined with itself: each
    has an order of its own where it is shuffled, which makes random pairs.

    Args:
        df_lists: the inputs; all deliver lists (joined end to end), or all dicts (merged).
    """

    def _length(self) -> int:
        return min(map(len, self.df_lists))

    def _stream(self, epoch: Epoch) -> Stream:
        epoch = self._joint(epoch)._replace(in_order=True)
        streams = [stream(flow, epoch.input(i)) for i, flow in enumerate(self.df_lists)]
        while True:
            tags, parts = [], []
            for one in streams:
                for tag, datapoint in one:
                    tags.append(tag)
                    if datapoint is not DROPPED:
                        # While the others are read, this one may be refilled.
                        parts.append(datapoint if one is streams[-1] else copied(datapoint))
                        break
                else:
                    return
            yield tags, _joined(parts)

    def _at(self, epoch: Epoch, index: int) -> tuple[Tag, Datapoint]:
        epoch = self._joint(epoch)
        found = [at(flow, epoch.input(i), index) for i, flow in enumerate(self.df_lists)]
        if any(datapoint is DROPPED for _, datapoint in found):
            return [tag for tag, _ in found], DROPPED
        return [tag for tag, _ in found], _joined([datapoint for _, datapoint in found])

    def _joint(self, epoch: Epoch) -> Epoch:
        different = list({id(flow): flow for flow in self.df_lists}.values())
        return epoch.sharing(one for flow, _ in _common(different) for one in walk(flow))


def _common(flows: Sequence[Any]) -> list[tuple[Any, list[int]]]:
    """The flows that several of these have upstream, each with the numbers of those that have it.

    Only the furthest downstream: not what is upstream of one of them.
    """
    upstream = [{id(one): one for one in walk(flow)} for flow in flows]
    found: dict[int, tuple[Any, list[int]]] = {}
    for number, ones in enumerate(upstream):
        for key, one in ones.items():
            found.setdefault(key, (one, []))[1].append(number)
    shared = {key: pair for key, pair in found.items() if len(pair[1]) > 1}
    beyond = {id(one) for flow, _ in shared.values() for one in walk(flow) if one is not flow}
    return [pair for key, pair in shared.items() if key not in beyond]


def _bears_two_passes(flow: Any) -> bool:
    """Whether two passes over it can be under way at once, and give the same."""
    return all(
        is_native(one) and not one._one_at_a_time and (inputs(one) or one._has_keys)
        for one in walk(flow)
    )


def _joined(parts: list[Datapoint]) -> Datapoint:
    if all(isinstance(part, dict) for part in parts):
        names = [name for part in parts for name in part]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigError(
                f"JoinData merges dicts, and two of its inputs have the key {twice!r}: give one of "
                "them another name before, in a MapData"
            )
        return {name: value for part in parts for name, value in part.items()}
    for part in parts:
        if not isinstance(part, (list, tuple)):
            kinds = ", ".join(type(part).__name__ for part in parts)
            raise ValueError(f"JoinData needs lists from all inputs, or dicts from all: {kinds}")
    return [component for part in parts for component in part]


def _one(pairs: Stream) -> Iterator[tuple[Tag, Datapoint]]:
    """Up to and including the next datapoint that was not dropped."""
    for tag, datapoint in pairs:
        yield tag, datapoint
        if datapoint is not DROPPED:
            return


def _size(flow: Any, number: int) -> int:
    try:
        return len(flow)
    except (TypeError, NotImplementedError):
        raise TypeError(
            f"RandomMixData needs to know the length of df_lists[{number}], a "
            f"{type(flow).__name__} that cannot tell it"
        ) from None


def _sum(sources: Sequence[IndexSource]) -> int | None:
    total = 0
    for source in sources:
        size = source.places()
        if size is None:
            return None
        total += size
    return total


def _known(sources: Sequence[IndexSource], stage: DataFlow) -> list[int]:
    sizes = [source.places() for source in sources]
    for number, size in enumerate(sizes):
        if size is None:
            raise TypeError(
                f"{type(stage).__name__} needs to know the length of df_lists[{number}]"
            )
    return [size for size in sizes if size is not None]


def _locate(sizes: Sequence[int], place: int) -> tuple[int, int]:
    """The input that has a place, and the place in it."""
    for number, end in enumerate(accumulate(sizes)):
        if place < end:
            return number, place - (end - sizes[number])
    raise IndexError(f"place {place} of {sum(sizes)}")
