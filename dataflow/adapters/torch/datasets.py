"""Flows as PyTorch's data sets."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Literal, TypeAlias

import torch
from torch.utils import data

from dataflow.adapters.structure import length_of
from dataflow.adapters.torch.tensors import tensors
from dataflow.errors import ConfigError, Dropped
from dataflow.flow import DataFlow

__all__ = ["IterableDataset", "MapDataset", "Opened"]

logger = logging.getLogger(__name__)

_Dropping: TypeAlias = Literal["skip", "substitute", "raise"]
_TRIED = 100


class IterableDataset(data.IterableDataset[Any]):
    """A dataflow as PyTorch's dataset: for ``DataLoader(…, num_workers=0)``, or as it is.

    The flow has its own threads and processes, so the loader needs none; with ``batch_size=None``
    it passes on the flow's batches. Each `iter()` that is read is the flow's next epoch. With
    ``num_workers=1`` each pass has a new process, in which the flow begins with the epoch that it
    has here: give the loader ``persistent_workers=True``, or call ``ds.set_epoch(n)`` before each
    pass.

    `state_dict` and `load_state_dict` are the flow's. So torchdata's ``StatefulDataLoader`` goes on
    in the middle of an epoch, without going through its beginning again.

    Trainers that count epochs (accelerate, Hugging Face's) call `set_epoch`; a loaded state, which
    knows its epoch, comes before that.

    Args:
        ds: the flow.
        length: what `len()` says: ``"exact"``, the datapoints of an epoch where that is known: not
            of a flow that leaves out what fails (``on_error="skip"``) or what a filter rejects,
            since trainers count on it; functions that may return None are believed not to, and a
            pass that is shorter is told of. A number, whatever comes; None: it says nothing.
    """

    _loaded = False

    def __init__(self, ds: DataFlow, *, length: int | Literal["exact"] | None = "exact") -> None:
        self.ds = ds
        self.length = length

    def __iter__(self) -> Iterator[Any]:
        worker = data.get_worker_info()
        if worker is not None and worker.num_workers > 1:
            raise ConfigError(
                f"num_workers={worker.num_workers}: each worker would go through the whole flow. "
                "Give the loader num_workers=0 and the flow its own workers, such as "
                "df.PrefetchDataZMQ(ds, num_proc=…)"
            )
        return self._pass()

    def _pass(self) -> Iterator[Any]:
        """A pass, which begins when its first datapoint is asked for: some open one, and look."""
        whole, self._loaded = not self._loaded, False
        said, number = self.said() if whole else None, 0
        for datapoint in self.ds:
            number += 1
            yield tensors(datapoint)
        self.tell(said, number)

    def said(self) -> int | None:
        """The datapoints that a pass is to have, where that was found out and not given."""
        return length_of(self.ds) if self.length == "exact" else None

    def tell(self, said: int | None, number: int) -> None:
        """Warn where a pass had fewer than it was to have."""
        if said is not None and number < said:
            logger.warning(
                "len() of the dataset is %d, and there were %d datapoints, since stages dropped "
                "the others: give IterableDataset(ds, length=None), or "
                "IterableDataset(df.FillUpData(ds)), which makes up for them",
                *(said, number),
            )

    def __len__(self) -> int:
        """Datapoints in an epoch; TypeError where that is not known."""
        if isinstance(self.length, int):
            return self.length
        length = length_of(self.ds) if self.length == "exact" else None
        if length is None:
            raise TypeError(
                "how many datapoints an epoch will have is not known: some may be left out. "
                "IterableDataset(ds, length=…) can say it, df.FillUpData(ds) makes it so"
            )
        return length

    def state_dict(self) -> dict[str, Any]:
        """The flow's."""
        return self.ds.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there."""
        self.ds.load_state_dict(state)
        self._loaded = True

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass that of an epoch, unless a state was loaded for it."""
        if not self._loaded:
            self.ds.set_epoch(epoch)


class Opened(data.IterableDataset[Any]):
    """A flow of messages that comes from elsewhere, opened by the process that iterates.

    So workers of a ``DataLoader`` have one each, which stays for the next passes; datapoints are
    shared out, or not, as the flow's sender does it.

    Args:
        flow: opens it.
        length: datapoints in a pass, in each process.
    """

    def __init__(self, flow: Callable[[], DataFlow], length: int) -> None:
        self.flow = flow
        self.length = length
        self._opened: dict[int, DataFlow] = {}  # by process: a forked one cannot use what it finds

    def __iter__(self) -> Iterator[Any]:
        if (pid := os.getpid()) not in self._opened:
            self._opened[pid] = self.flow()
        return map(tensors, islice(iter(self._opened[pid]), self.length))

    def __len__(self) -> int:
        return self.length

    def close(self) -> None:
        """Close the one that this process has."""
        if (flow := self._opened.pop(os.getpid(), None)) is not None:
            flow.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": {}}


class MapDataset(data.Dataset[Any]):
    """A flow with random access as PyTorch's map-style dataset, for samplers of PyTorch's own.

    Item i is ``ds[i]``, computed by whoever asks, such as the loader's workers. Its augmentation is
    another one each time, in each pass and for each repeat of a sampler, as that of torchvision's
    transforms: it is decided by a number that is drawn from PyTorch's generator, and so by
    ``torch.manual_seed`` (or the loader's ``generator``) and the number of workers.

    `set_epoch` gives a shuffled flow the order of another epoch; workers of a loader that are
    persistent do not hear of it.

    Args:
        ds: the flow.
        anew: with new random numbers each time; False: always ``ds[i]`` of the epoch, as for a
            validation.
        dropped: what becomes of what a stage drops, or of a dead link, in a batch: ``"skip"``
            leaves it out, so that the batch is smaller; ``"substitute"`` takes one of the next
            items instead; ``"raise"`` raises `Dropped`, as ``dataset[i]`` always does. Of all but
            the last it is told once in each process.

    Raises:
        ConfigError: `dropped` is something else.
        TypeError: (by an item) the flow can only be iterated.
    """

    _told = False

    def __init__(self, ds: DataFlow, *, anew: bool = True, dropped: _Dropping = "skip") -> None:
        if dropped not in ("skip", "substitute", "raise"):
            raise ConfigError(f"dropped={dropped!r} must be 'skip', 'substitute' or 'raise'")
        self.ds = ds
        self.anew = anew
        self.dropped: _Dropping = dropped

    def __len__(self) -> int:
        return len(self.ds)

    def __getitem__(self, index: int) -> Any:
        if not self.anew:
            return tensors(self.ds[index])
        session = self.ds._access().session
        session.visit = int(torch.randint(1, 1 << 62, ()))
        try:
            return tensors(self.ds[index])
        finally:
            session.visit = 0

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Those of a batch, without those that are dropped, or with others instead.

        Raises:
            Dropped: none is left; or where `dropped` says so.
        """
        items = []
        for index in indices:
            try:
                items.append(self[index])
            except Dropped as error:
                if self.dropped == "raise":
                    raise
                self._tell(error)
                if self.dropped == "substitute":
                    items.append(self._instead(index))
        if indices and not items:
            raise Dropped(
                f"all {len(indices)} items of a batch are dropped: MapDataset(ds, "
                'dropped="substitute") takes others instead'
            )
        return items

    def _instead(self, index: int) -> Any:
        """One of the items that follow."""
        size = len(self)
        for other in range(index + 1, index + min(size, _TRIED)):
            with suppress(Dropped):
                return self[other % size]
        raise Dropped(f"item {index} is dropped, and so are the {_TRIED - 1} that follow")

    def _tell(self, error: Dropped) -> None:
        if not self._told:
            self._told = True
            what = "left out" if self.dropped == "skip" else "replaced by others"
            logger.warning("items that are dropped are %s, this one first: %s", what, error)

    def set_epoch(self, epoch: int) -> None:
        """Make items those of an epoch."""
        self.ds.set_epoch(epoch)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_told"}
